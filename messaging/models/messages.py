"""Messages: one recipient, one channel, one row; the attempts made and the reports that came back."""

from __future__ import annotations

import uuid
from typing import Any

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from config.infra.work import Queue, Status, WorkRow
from messaging.models.automations import AutomationVersion
from messaging.models.contacts import Channel, Contact
from shopsync.models import Connection, TenantModel


class Attempt(TenantModel):
    """One call of a provider, for one or many messages."""

    connection = models.ForeignKey(Connection, on_delete=models.PROTECT, related_name="+")
    message_count = models.PositiveIntegerField()
    started_at = models.DateTimeField(db_default=Now())
    closed_at = models.DateTimeField(null=True, blank=True)
    outcome = models.CharField(max_length=20, blank=True, default="")
    error = models.TextField(blank=True, default="")

    class Meta(TenantModel.Meta):
        ordering = ("-id",)

    def __str__(self) -> str:
        return f"attempt {self.pk}"


class Message(TenantModel, WorkRow):
    """A message on its way. `outcome` says how it ended and only moves forward; until then `status` says where it
    stands."""

    queue = Queue(
        name="messages",
        drain_task="messaging.tasks.drain_messages",
        celery_queue="messages",
        on_expiry="park",
        has_lanes=False,
        batch_size=500,
    )

    class Outcome(models.TextChoices):
        SKIPPED = "skipped"
        SENT = "sent"
        FAILED = "failed"
        DELIVERED = "delivered"

    contact = models.ForeignKey(Contact, on_delete=models.PROTECT, related_name="messages")
    automation_version = models.ForeignKey(
        AutomationVersion, null=True, blank=True, on_delete=models.PROTECT, related_name="messages"
    )
    trigger = models.CharField(max_length=120, blank=True, default="", help_text="what it answers, e.g. order:123")
    channel = models.CharField(max_length=10, choices=Channel)
    address = models.CharField(max_length=320, blank=True, default="")
    text = models.TextField(blank=True, default="")
    reference = models.UUIDField(default=uuid.uuid4, unique=True, help_text="sent along; reports echo it")
    outcome = models.CharField(max_length=10, choices=Outcome, blank=True, default="")
    reason = models.CharField(max_length=200, blank=True, default="", help_text="why it was skipped or failed")
    attempt = models.ForeignKey(Attempt, null=True, blank=True, on_delete=models.PROTECT, related_name="messages")
    connection = models.ForeignKey(Connection, null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    provider_id = models.CharField(max_length=128, blank=True, default="")
    sent_at = models.DateTimeField(null=True, blank=True)
    delivered_at = models.DateTimeField(null=True, blank=True)

    tenant_id: Any

    class Meta(TenantModel.Meta, WorkRow.Meta):
        ordering = ("-id",)
        constraints = (
            *WorkRow.Meta.constraints,
            models.UniqueConstraint(
                fields=(
                    "automation_version",
                    "contact",
                    "trigger",
                ),
                name="message_is_sent_once_per_automation_and_trigger",
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
                condition=Q(status="done", outcome__in=("skipped", "sent", "failed", "delivered"))
                | (~Q(status="done") & Q(outcome="")),
            ),
            models.CheckConstraint(
                name="message_is_skipped_with_a_reason", condition=~Q(outcome="skipped") | ~Q(reason="")
            ),
        )
        indexes = (
            *WorkRow.Meta.indexes,
            models.Index(
                fields=(
                    "tenant_id",
                    "-id",
                ),
                name="message_newest",
            ),
        )

    def __str__(self) -> str:
        return f"{self.channel} to {self.address}"

    @property
    def state(self) -> str:
        """Say in one word where the message stands: its outcome, else `queued`, `calling`, `unknown`, `buried`."""
        words = {Status.READY: "queued", Status.LEASED: "calling" if self.started_at else "queued"}
        return self.outcome or words.get(Status(self.status), self.status)


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
