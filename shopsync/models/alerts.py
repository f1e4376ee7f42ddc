"""What needs a person: one open alert for each thing that is wrong, counted while it lasts."""

from __future__ import annotations

from typing import Any, ClassVar, Self

from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now

from config.infra.tenancy import TenantManager
from shopsync.models.tenants import Tenant


class Alert(models.Model):
    """Something is wrong with a subject, from `opened_at` until `closed_at`; without a tenant it is the system's.

    Not a TenantModel, whose tenant is never null; its manager fails closed all the same, and one tenant's scope never
    shows the system's.
    """

    class Severity(models.TextChoices):
        WARNING = "warning"
        CRITICAL = "critical"

    tenant = models.ForeignKey(Tenant, null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    tenant_id: Any
    kind = models.CharField(max_length=80, help_text="noun.what, e.g. stock.low")
    subject = models.CharField(max_length=120, help_text="what it is about, e.g. level:12")
    message = models.TextField(help_text="a sentence for people, the newest one")
    severity = models.CharField(max_length=8, choices=Severity, default=Severity.WARNING)
    count = models.PositiveIntegerField(default=1, help_text="how often it was raised since it opened")
    opened_at = models.DateTimeField(db_default=Now())
    last_seen_at = models.DateTimeField(db_default=Now())
    closed_at = models.DateTimeField(null=True, blank=True)
    acknowledged_by = models.CharField(max_length=120, blank=True, default="", help_text="who looks after it")
    acknowledged_at = models.DateTimeField(null=True, blank=True)
    digested_at = models.DateTimeField(null=True, blank=True, help_text="when an e-mail last told of it")

    objects: ClassVar[TenantManager[Self]] = TenantManager()

    class Meta:
        base_manager_name = "objects"
        ordering = ("-id",)
        constraints = (
            models.UniqueConstraint(
                fields=(
                    "tenant",
                    "kind",
                    "subject",
                ),
                name="alert_is_open_once_per_kind_and_subject",
                condition=Q(closed_at__isnull=True),
                nulls_distinct=False,
            ),
            models.CheckConstraint(name="alert_severity_is_known", condition=Q(severity__in=("warning", "critical"))),
            models.CheckConstraint(name="alert_kind_is_dotted", condition=Q(kind__regex=r"^[a-z_]+(\.[a-z_]+)+$")),
            models.CheckConstraint(name="alert_was_raised_at_least_once", condition=Q(count__gte=1)),
            models.CheckConstraint(
                name="alert_closes_after_it_opened",
                condition=Q(closed_at__isnull=True) | Q(closed_at__gte=F("opened_at")),
            ),
            models.CheckConstraint(
                name="alert_is_acknowledged_by_somebody_at_a_time",
                condition=Q(acknowledged_by="", acknowledged_at__isnull=True)
                | (~Q(acknowledged_by="") & Q(acknowledged_at__isnull=False)),
            ),
        )
        indexes = (
            models.Index(
                fields=(
                    "tenant_id",
                    "-id",
                ),
                name="alert_newest",
            ),
            models.Index(
                fields=(
                    "tenant_id",
                    "subject",
                    "-id",
                ),
                name="alert_subject",
            ),
        )

    def __str__(self) -> str:
        return f"{self.kind} {self.subject}"

    @property
    def is_open(self) -> bool:
        """Is it still wrong?"""
        return self.closed_at is None
