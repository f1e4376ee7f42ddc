"""The trail (AuditEvent, append-only) and its outbox (EventDelivery, one row per event and subscriber)."""

from __future__ import annotations

from typing import Any, ClassVar, Self

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from config.infra.tenancy import TenantManager
from config.infra.work import Queue, WorkRow


class AuditEvent(models.Model):
    """Something we did, named `noun.past_participle`. Append-only: a trigger refuses UPDATE and DELETE.

    `tenant_id` is plain: audit lies below the app that owns tenants. Null is the system's own doing.
    """

    tenant_id = models.BigIntegerField(null=True, blank=True)
    name = models.CharField(max_length=80)
    subject = models.CharField(max_length=120, help_text="what it happened to, e.g. order:123")
    actor = models.CharField(max_length=120, help_text="who did it, e.g. shopify, user:7, system")
    data = models.JSONField(default=dict, blank=True, help_text="allow-listed fields, never personal data")
    once_key = models.CharField(max_length=160, null=True, blank=True)  # noqa: DJ001  null: may happen many times
    created_at = models.DateTimeField(db_default=Now())

    objects: ClassVar[TenantManager[Self]] = TenantManager()

    class Meta:
        base_manager_name = "objects"
        ordering = ("-id",)
        constraints = (
            models.UniqueConstraint(
                fields=(
                    "tenant_id",
                    "once_key",
                ),
                name="auditevent_happens_once",
                condition=Q(once_key__isnull=False),
            ),
        )
        indexes = (
            models.Index(
                fields=(
                    "tenant_id",
                    "-id",
                ),
                name="auditevent_newest",
            ),
            models.Index(
                fields=(
                    "tenant_id",
                    "subject",
                    "-id",
                ),
                name="auditevent_subject",
            ),
        )

    def __str__(self) -> str:
        return f"{self.name} {self.subject}"


class EventDelivery(WorkRow):
    """One audit event on its way to one subscriber."""

    queue = Queue(
        name="events", drain_task="audit.tasks.drain_events", celery_queue="events", on_expiry="repeat", batch_size=100
    )

    tenant_id: Any = models.BigIntegerField()
    event = models.ForeignKey(AuditEvent, on_delete=models.PROTECT, related_name="deliveries")
    subscriber = models.CharField(max_length=160, help_text="a dotted path from config/wiring.py")

    objects: ClassVar[TenantManager[Self]] = TenantManager()

    class Meta(WorkRow.Meta):
        base_manager_name = "objects"
        verbose_name_plural = "event deliveries"
        constraints = (
            *WorkRow.Meta.constraints,
            models.UniqueConstraint(
                fields=(
                    "event",
                    "subscriber",
                ),
                name="eventdelivery_goes_to_a_subscriber_once",
            ),
        )

    def __str__(self) -> str:
        return f"{self.event_id} to {self.subscriber}"


class DeadLetter(models.Model):
    """The dead-letter office: every buried, unknown or quarantined row of every queue (a database view).

    The view is written anew after each migrate from the queues there are (audit/views_sql.py).
    """

    key = models.CharField(max_length=80, primary_key=True)
    queue = models.CharField(max_length=40)
    row_id = models.BigIntegerField()
    tenant_id = models.BigIntegerField(null=True)
    status = models.CharField(max_length=12)
    lane = models.CharField(max_length=200)
    attempts = models.PositiveIntegerField()
    last_error = models.TextField()
    started_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField()

    objects: ClassVar[TenantManager[Self]] = TenantManager()

    class Meta:
        managed = False
        db_table = "audit_dead_letter_office"
        base_manager_name = "objects"
        ordering = ("-created_at", "key")

    def __str__(self) -> str:
        return self.key
