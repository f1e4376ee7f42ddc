"""Campaigns: an audience, a text, a moment; one message row per recipient is the only truth of what became of it."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from messaging.models.contacts import Channel
from messaging.models.credits import Credits
from messaging.models.segments import Segment
from messaging.models.senders import Sender
from messaging.models.templates import TemplateVersion
from shopsync.models import TenantModel


class Campaign(TenantModel):
    """A message to many. `status` is where it stands, `blocker` what keeps it there.

    draft → scheduled → sending → done; from scheduled and sending to paused and back; from anywhere before the end to
    cancelled. It is frozen (its recipients are rows) when its time comes.
    """

    class Status(models.TextChoices):
        DRAFT = "draft"
        SCHEDULED = "scheduled"
        SENDING = "sending"
        PAUSED = "paused"
        DONE = "done"
        CANCELLED = "cancelled"

    name = models.CharField(max_length=100)
    channel = models.CharField(max_length=10, choices=Channel)
    segment = models.ForeignKey(Segment, on_delete=models.PROTECT, related_name="campaigns")
    template_version = models.ForeignKey(TemplateVersion, on_delete=models.PROTECT, related_name="campaigns")
    sender = models.ForeignKey(Sender, null=True, blank=True, on_delete=models.PROTECT, related_name="campaigns")
    status = models.CharField(max_length=9, choices=Status, default=Status.DRAFT)
    blocker = models.CharField(max_length=60, blank=True, default="", help_text="what it waits for")
    scheduled_at = models.DateTimeField(null=True, blank=True)
    is_local_time = models.BooleanField(
        default=False, help_text="each recipient gets it when their clocks show the time that the tenant's show then"
    )
    expires_at = models.DateTimeField(null=True, blank=True, help_text="what is not sent by then is skipped")
    holdout_percent = models.DecimalField(max_digits=5, decimal_places=2, default=0, db_default=0)
    keeps_quiet_hours = models.BooleanField(default=True)
    preflight = models.JSONField(null=True, blank=True, help_text="the last report made before its launch")
    frozen_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(db_default=Now())
    updated_at = models.DateTimeField(db_default=Now())

    class Meta(TenantModel.Meta):
        ordering = ("-id",)
        constraints = (
            models.CheckConstraint(
                name="campaign_status_is_known",
                condition=Q(status__in=("draft", "scheduled", "sending", "paused", "done", "cancelled")),
            ),
            models.CheckConstraint(name="campaign_holds_out_0_to_90", condition=Q(holdout_percent__range=(0, 90))),
            models.CheckConstraint(
                name="campaign_is_sent_once_frozen",
                condition=~Q(status__in=("sending", "done")) | Q(frozen_at__isnull=False),
            ),
            models.CheckConstraint(
                name="campaign_is_scheduled_for_a_time",
                condition=~Q(status="scheduled") | Q(scheduled_at__isnull=False),
            ),
            models.CheckConstraint(
                name="campaign_ends_when_it_is_finished",
                condition=Q(status__in=("done", "cancelled"), finished_at__isnull=False)
                | (~Q(status__in=("done", "cancelled")) & Q(finished_at__isnull=True)),
            ),
        )
        indexes = (
            models.Index(fields=("tenant_id", "-id"), name="campaign_newest"),
            models.Index(
                fields=("status", "id"), name="campaign_open", condition=~Q(status__in=("draft", "done", "cancelled"))
            ),
        )

    def __str__(self) -> str:
        return self.name


class CampaignTally(TenantModel):
    """How many messages of a campaign came into (or left) a state: written by trigger, added up when asked.

    Rows are added, never changed, so that senders do not wait for each other; now and then they are folded into one.
    """

    campaign = models.ForeignKey(Campaign, on_delete=models.CASCADE, related_name="tallies")
    state = models.CharField(max_length=13)
    reason = models.CharField(max_length=200, blank=True, default="", help_text="of skipped ones")
    messages = models.BigIntegerField()
    parts = models.BigIntegerField()
    cost = Credits()

    class Meta(TenantModel.Meta):
        ordering = ("id",)
        verbose_name_plural = "campaign tallies"
        indexes = (models.Index(fields=("campaign", "id"), name="campaigntally_of_campaign"),)

    def __str__(self) -> str:
        return f"{self.messages:+} {self.state}"
