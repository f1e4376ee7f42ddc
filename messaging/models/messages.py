"""Messages: one recipient, one channel, one row; the attempts made and the reports that came back."""

from __future__ import annotations

import re
import uuid
from typing import Any

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from django.utils import timezone

from config.infra.work import UPKEEP_INDEXES, Queue, Status, WorkRow
from messaging.models.automations import Automation, AutomationVersion
from messaging.models.campaigns import Campaign
from messaging.models.contacts import Channel, Contact
from messaging.models.credits import Credits
from messaging.models.flows import Flow
from shopsync.models import Connection, Tenant, TenantModel

_ATTEMPT = re.compile(r"attempt-([1-9][0-9]{0,17})", re.ASCII)


class Attempt(TenantModel):
    """One call of a provider, for one or many messages."""

    connection = models.ForeignKey(Connection, on_delete=models.PROTECT, related_name="+")
    message_count = models.PositiveIntegerField()
    granted_at = models.DateTimeField(null=True, blank=True, help_text="by Redis's clock; null before there was one")
    started_at = models.DateTimeField(db_default=Now())
    closed_at = models.DateTimeField(null=True, blank=True)
    outcome = models.CharField(max_length=20, blank=True, default="")
    error = models.TextField(blank=True, default="")

    class Meta(TenantModel.Meta):
        ordering = ("-id",)

    def __str__(self) -> str:
        return f"attempt {self.pk}"

    @property
    def reference(self) -> str:
        """What is sent along where a call has one reference for all its messages; with the address it names one."""
        return f"attempt-{self.pk}"

    @staticmethod
    def pk_of(reference: str) -> int | None:
        """Return the key of the attempt that has this reference; None when it is no attempt's."""
        found = _ATTEMPT.fullmatch(reference)
        return int(found[1]) if found else None


class Message(TenantModel, WorkRow):
    """A message on its way. `outcome` says how it ended and only moves forward; until then `status` says where it
    stands.

    A ready one without a flow waits to be prepared: its text is rendered, its price is set aside, its flow is chosen.
    `credit` says where its price is: held while it is on its way, then settled, released, or paid by the house.
    """

    queue = Queue(
        name="messages",
        drain_task="messaging.tasks.drain_messages",
        celery_queue="messages",
        on_expiry="park",
        has_lanes=False,
        batch_size=500,
        may_wait=True,
    )

    class Outcome(models.TextChoices):
        SKIPPED = "skipped"
        SENT = "sent"
        FAILED = "failed"
        DELIVERED = "delivered"
        UNKNOWN_FINAL = "unknown_final", "perhaps sent; nobody will know any more"

    class Purpose(models.TextChoices):
        MARKETING = "marketing", "sent to who agreed to it"
        TRANSACTIONAL = "transactional", "asked for: sent unless the address is suppressed"
        CONFIRMATION = "confirmation", "confirms an opt-out: sent once although suppressed"

    class Credit(models.TextChoices):
        HELD = "held"
        SETTLED = "settled"
        RELEASED = "released"
        HOUSE = "house"

    # Each index of this table is written three times a message; message_newest finds a tenant's.
    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="+", db_index=False)
    contact = models.ForeignKey(Contact, on_delete=models.PROTECT, related_name="messages")
    automation = models.ForeignKey(
        Automation, null=True, blank=True, on_delete=models.PROTECT, related_name="+", db_index=False
    )
    automation_version = models.ForeignKey(
        AutomationVersion, null=True, blank=True, on_delete=models.PROTECT, related_name="messages", db_index=False
    )
    campaign = models.ForeignKey(
        Campaign, null=True, blank=True, on_delete=models.PROTECT, related_name="messages", db_index=False
    )
    flow = models.ForeignKey(
        Flow, null=True, blank=True, on_delete=models.PROTECT, related_name="messages", db_index=False
    )
    trigger = models.CharField(max_length=120, blank=True, default="", help_text="what it answers, e.g. order:123")
    purpose = models.CharField(
        max_length=13, choices=Purpose, default=Purpose.MARKETING, db_default=Purpose.MARKETING.value
    )
    channel = models.CharField(max_length=10, choices=Channel)
    address = models.CharField(max_length=320, blank=True, default="")
    sender = models.CharField(max_length=320, blank=True, default="", help_text="empty: the connection's own")
    text = models.TextField(blank=True, default="")
    parts = models.PositiveSmallIntegerField(default=0, db_default=0, help_text="of an SMS; 1 on other channels")
    price = Credits(default=0, db_default=0)
    credit = models.CharField(max_length=8, choices=Credit, blank=True, default="", db_default="")
    reference = models.UUIDField(default=uuid.uuid4, unique=True, help_text="sent along; reports echo it")
    outcome = models.CharField(max_length=13, choices=Outcome, blank=True, default="")
    reason = models.CharField(max_length=200, blank=True, default="", help_text="why it was skipped or failed")
    attempt = models.ForeignKey(
        Attempt, null=True, blank=True, on_delete=models.PROTECT, related_name="messages", db_index=False
    )
    connection = models.ForeignKey(
        Connection, null=True, blank=True, on_delete=models.PROTECT, related_name="+", db_index=False
    )
    provider_id = models.CharField(max_length=128, blank=True, default="")
    sent_at = models.DateTimeField(null=True, blank=True)
    delivered_at = models.DateTimeField(null=True, blank=True)

    tenant_id: Any

    class Meta(TenantModel.Meta, WorkRow.Meta):
        ordering = ("-id",)
        constraints = (
            *WorkRow.Meta.constraints,
            models.UniqueConstraint(
                fields=("automation", "trigger"),
                name="message_is_sent_once_per_automation_and_trigger",
                condition=Q(automation__isnull=False),
            ),
            models.CheckConstraint(
                name="message_names_its_automation",
                condition=Q(automation__isnull=True, automation_version__isnull=True)
                | Q(automation__isnull=False, automation_version__isnull=False),
            ),
            models.UniqueConstraint(
                fields=(
                    "connection",
                    "provider_id",
                ),
                name="message_has_its_own_provider_id",
                condition=~Q(provider_id=""),
            ),
            models.CheckConstraint(
                name="message_is_done_with_an_outcome",
                condition=Q(status="done", outcome__in=("skipped", "sent", "failed", "delivered", "unknown_final"))
                | (~Q(status="done") & Q(outcome="")),
            ),
            models.CheckConstraint(
                name="message_is_skipped_with_a_reason", condition=~Q(outcome="skipped") | ~Q(reason="")
            ),
            models.UniqueConstraint(
                fields=("campaign", "contact"), name="message_is_one_per_contact", condition=Q(campaign__isnull=False)
            ),
            models.UniqueConstraint(
                fields=("campaign", "address"),
                name="message_is_one_per_address",
                condition=Q(campaign__isnull=False) & ~Q(outcome="skipped"),
            ),
            models.CheckConstraint(
                name="message_is_called_while_its_price_is_held",
                condition=~Q(status="leased", started_at__isnull=False) | Q(price=0) | Q(credit="held"),
            ),
            models.CheckConstraint(
                name="message_credit_is_known", condition=Q(credit__in=("", "held", "settled", "released", "house"))
            ),
            models.CheckConstraint(name="message_price_is_not_negative", condition=Q(price__gte=0)),
            models.UniqueConstraint(
                fields=("tenant", "trigger"),
                name="message_confirms_an_opt_out_once",
                condition=Q(purpose="confirmation"),
            ),
        )
        indexes = (
            *(index for index in UPKEEP_INDEXES if not index.name.endswith("_token")),  # attempts name their own rows
            models.Index(fields=("flow", "due_at", "id"), name="message_ready_in_flow", condition=Q(status="ready")),
            models.Index(
                fields=("campaign", "id"),
                name="message_to_prepare",
                condition=Q(status="ready", flow__isnull=True, campaign__isnull=False),
            ),
            models.Index(
                fields=("tenant_id", "id"),
                name="message_single_to_prepare",
                condition=Q(status="ready", flow__isnull=True, campaign__isnull=True),
            ),
            models.Index(fields=("attempt", "id"), name="message_of_attempt", condition=Q(attempt__isnull=False)),
            models.Index(fields=("address", "id"), name="message_called_at", condition=Q(attempt__isnull=False)),
            models.Index(
                fields=(
                    "tenant_id",
                    "-id",
                ),
                name="message_newest",
            ),
            # Of what went amiss alone: what is sent and delivered writes neither.
            models.Index(
                fields=("campaign", "outcome", "-id"),
                name="message_of_campaign_amiss",
                condition=Q(campaign__isnull=False, outcome__in=("skipped", "failed", "unknown_final")),
            ),
            models.Index(fields=("tenant_id", "reason", "-id"), name="message_with_reason", condition=~Q(reason="")),
        )

    def __str__(self) -> str:
        return f"{self.channel} to {self.address}"

    @property
    def state(self) -> str:
        """Say in one word where the message stands: its outcome, else `waiting` (to be prepared), `queued`, `calling`,
        `unknown`, `buried`."""
        queued = "queued" if self.flow_id else "waiting"
        words = {Status.READY: queued, Status.LEASED: "calling" if self.started_at else "queued"}
        return self.outcome or words.get(Status(self.status), self.status)

    @property
    def waits_for(self) -> str:
        """Name what a message that is not on its way waits for: its own blocker, or its campaign's, flow's or queue's.

        Empty for one that is called or has its end; `its_time` until it is due, `its_turn` when nothing is in its way.
        Reads `campaign`, `flow` and the flow's queue.
        """
        if self.status != Status.READY:
            return "" if self.status != Status.UNKNOWN else "a_report_or_an_operator"
        holders = (self.campaign, self.flow, self.flow.queue if self.flow else None)
        named = (*(holder.blocker for holder in holders if holder is not None), self.blocker)
        own = "its_time" if self.due_at > timezone.now() else "its_turn" if self.flow else "being_prepared"
        return next(filter(None, named), own)


class MessageBody(TenantModel):
    """What an e-mail has beside its text."""

    message = models.OneToOneField(Message, on_delete=models.CASCADE, related_name="body")
    subject = models.CharField(max_length=500)
    html = models.TextField()

    class Meta(TenantModel.Meta):
        ordering = ("id",)
        verbose_name_plural = "message bodies"

    def __str__(self) -> str:
        return self.subject


class DeliveryReport(TenantModel):
    """What a provider said of a message: kept also when nobody knows the message yet."""

    connection = models.ForeignKey(Connection, on_delete=models.PROTECT, related_name="+")
    message = models.ForeignKey(Message, null=True, blank=True, on_delete=models.CASCADE, related_name="reports")
    provider_id = models.CharField(max_length=128)
    reference = models.CharField(max_length=128, blank=True, default="")
    status = models.CharField(max_length=20)
    raw_status = models.CharField(max_length=64, blank=True, default="")
    error = models.CharField(max_length=500, blank=True, default="")
    reported_at = models.DateTimeField(null=True, blank=True)
    asked_at = models.DateTimeField(
        null=True, blank=True, help_text="when the provider was last asked whose it is, while nobody knew"
    )
    created_at = models.DateTimeField(db_default=Now())

    class Meta(TenantModel.Meta):
        ordering = ("-id",)
        constraints = (
            models.UniqueConstraint(
                fields=(
                    "connection",
                    "provider_id",
                    "raw_status",
                    "reported_at",
                ),
                name="deliveryreport_is_kept_once",
                nulls_distinct=False,
            ),
        )
        indexes = (
            models.Index(
                fields=(
                    "connection",
                    "provider_id",
                ),
                name="deliveryreport_orphan",
                condition=Q(message__isnull=True),
            ),
        )

    def __str__(self) -> str:
        return f"{self.provider_id} {self.raw_status}"
