"""E-mail digests of alerts: who gets them and when (DigestPlan), and each one on its way (Digest)."""

from __future__ import annotations

from typing import Any, ClassVar, Self

from django.contrib.postgres.fields import ArrayField
from django.core.validators import MaxValueValidator
from django.db import models
from django.db.models import Q

from config.infra.tenancy import TenantManager
from config.infra.work import Queue, WorkRow
from shopsync.models.tenants import TenantModel

SYSTEM = 0  # the `tenant_id` of the system's own digests: no tenant has it, so no tenant's scope shows them


class DigestPlan(TenantModel):
    """To whom a tenant's alerts are mailed: daily at an hour of the tenant's own clock, critical ones within the
    hour."""

    recipients = ArrayField(models.EmailField(), size=20, help_text="addresses, separated by commas")
    daily_hour = models.PositiveSmallIntegerField(
        default=8, validators=[MaxValueValidator(23)], help_text="0 to 23, in the tenant's time zone"
    )
    has_hourly_critical = models.BooleanField(default=True, help_text="mail critical alerts within the hour")
    is_active = models.BooleanField(default=True)

    class Meta(TenantModel.Meta):
        ordering = ("id",)
        constraints = (
            models.UniqueConstraint(fields=("tenant",), name="digestplan_is_one_per_tenant"),
            models.CheckConstraint(name="digestplan_hour_is_0_to_23", condition=Q(daily_hour__range=(0, 23))),
            models.CheckConstraint(name="digestplan_has_recipients", condition=Q(recipients__len__gte=1)),
        )

    def __str__(self) -> str:
        return f"{len(self.recipients)} recipients"


class Digest(WorkRow):
    """One e-mail with a tenant's alerts, as it was written. Never sent twice by itself: an unknown one is parked."""

    queue = Queue(
        name="digests",
        drain_task="shopsync.tasks.drain_digests",
        celery_queue="messages",
        on_expiry="park",
        has_lanes=False,
        max_attempts=16,
        batch_size=20,
        backoff_base_seconds=30.0,
    )

    tenant_id: Any = models.BigIntegerField(help_text="0: the system's")
    slot = models.CharField(max_length=40, help_text="which digest it is, e.g. daily:2026-11-21")
    recipients = ArrayField(models.EmailField(), size=20)
    subject = models.CharField(max_length=200)
    text = models.TextField()
    alert_count = models.PositiveIntegerField()

    objects: ClassVar[TenantManager[Self]] = TenantManager()

    class Meta(WorkRow.Meta):
        base_manager_name = "objects"
        ordering = ("-id",)
        constraints = (
            *WorkRow.Meta.constraints,
            models.UniqueConstraint(fields=("tenant_id", "slot"), name="digest_is_written_once_per_slot"),
        )

    def __str__(self) -> str:
        return f"{self.slot} of {self.tenant_id or 'the system'}"
