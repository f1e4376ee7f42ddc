"""Promises: units set aside for a buyer for a while, and the calls that tell Shopify of them."""

from __future__ import annotations

import uuid
from datetime import datetime

from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now

from config.infra.work import Queue, WorkRow
from inventory.models.products import Variant
from inventory.models.stock import StockLevel
from shopsync.models import TenantModel


class Reservation(TenantModel):
    """Units held for a buyer until `expires_at`: all of its lines or none.

    `settles_by` says what takes a committed hold off the level where Shopify counts: its next snapshot, which has the
    sale in it, or our own order, which Shopify does not know.
    """

    class Status(models.TextChoices):
        ACTIVE = "active"
        COMMITTED = "committed"
        RELEASED = "released"
        EXPIRED = "expired"

    class SettlesBy(models.TextChoices):
        SNAPSHOT = "snapshot"
        ORDER = "order"

    idempotency_key = models.CharField(max_length=200)
    request_digest = models.CharField(max_length=64, help_text="SHA-256 of what was asked for under this key")
    status = models.CharField(max_length=9, choices=Status, default=Status.ACTIVE)
    reference = models.CharField(max_length=160, blank=True, default="", help_text="the caller's own, e.g. a cart")
    actor = models.CharField(max_length=120, blank=True, default="")
    is_of_order = models.BooleanField(
        default=False, db_default=False, help_text="of an order of ours, which says what becomes of it"
    )
    settles_by = models.CharField(max_length=8, choices=SettlesBy, blank=True, default="")
    created_at = models.DateTimeField(db_default=Now())
    expires_at = models.DateTimeField()
    extended_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta(TenantModel.Meta):
        ordering = ("-id",)
        constraints = (
            models.UniqueConstraint(
                fields=(
                    "tenant",
                    "idempotency_key",
                ),
                name="reservation_has_its_own_idempotency_key",
            ),
            models.CheckConstraint(
                name="reservation_status_is_known",
                condition=Q(status__in=("active", "committed", "released", "expired")),
            ),
            models.CheckConstraint(
                name="reservation_ends_once",
                condition=Q(status="active", ended_at__isnull=True) | (~Q(status="active") & Q(ended_at__isnull=False)),
            ),
        )
        indexes = (
            models.Index(fields=("expires_at", "id"), name="reservation_to_expire", condition=Q(status="active")),
            models.Index(fields=("tenant_id", "-id"), name="reservation_newest"),
        )

    def __str__(self) -> str:
        return f"{self.status} {self.pk}"

    def is_overdue(self, now: datetime) -> bool:
        """Has its time run out?"""
        return self.expires_at <= now


class ReservationLine(TenantModel):
    """Units of one variant promised from one level.

    `held` of them weigh on our level; `pushed` of them are set aside in Shopify itself, where `available` has them off.
    One that was given up whole stays, of no units, while calls to Shopify name it.
    """

    reservation = models.ForeignKey(Reservation, on_delete=models.CASCADE, related_name="lines")
    variant = models.ForeignKey(Variant, on_delete=models.PROTECT, related_name="+")
    level = models.ForeignKey(StockLevel, on_delete=models.PROTECT, related_name="reservation_lines")
    quantity = models.PositiveBigIntegerField()
    held = models.PositiveBigIntegerField()
    pushed = models.PositiveBigIntegerField(default=0, db_default=0)

    class Meta(TenantModel.Meta):
        ordering = ("reservation_id", "id")
        constraints = (
            models.UniqueConstraint(
                fields=(
                    "reservation",
                    "level",
                    "variant",
                ),
                name="reservationline_is_one_per_level",
            ),
            models.CheckConstraint(
                name="reservationline_holds_no_more_than_reserved", condition=Q(quantity__gte=F("held") + F("pushed"))
            ),
        )
        indexes = (models.Index(fields=("level",), name="reservationline_holding", condition=Q(held__gt=0)),)

    def __str__(self) -> str:
        return f"{self.quantity} of {self.variant_id} from {self.level_id}"


class HoldPush(TenantModel, WorkRow):
    """One call that moves held units in Shopify: available to reserved (`hold`), or back (`give_back`)."""

    class Direction(models.TextChoices):
        HOLD = "hold"
        GIVE_BACK = "give_back"

    queue = Queue(
        name="holds",
        drain_task="inventory.tasks.drain_holds",
        celery_queue="maintenance",
        on_expiry="park",
        batch_size=50,
    )

    line = models.ForeignKey(ReservationLine, on_delete=models.CASCADE, related_name="pushes")
    direction = models.CharField(max_length=9, choices=Direction)
    quantity = models.PositiveBigIntegerField()
    key = models.UUIDField(default=uuid.uuid4, help_text="the call's idempotency key")
    from_available = models.BigIntegerField(null=True, blank=True, help_text="what the swap compares with")
    from_reserved = models.BigIntegerField(null=True, blank=True)
    outcome = models.CharField(max_length=200, blank=True, default="")

    class Meta(TenantModel.Meta, WorkRow.Meta):
        ordering = ("-id",)
        verbose_name_plural = "hold pushes"
        constraints = (
            *WorkRow.Meta.constraints,
            models.UniqueConstraint(
                fields=("line",), name="holdpush_sets_a_line_aside_once", condition=Q(direction="hold")
            ),
            models.CheckConstraint(
                name="holdpush_direction_is_known", condition=Q(direction__in=("hold", "give_back"))
            ),
            models.CheckConstraint(name="holdpush_moves_something", condition=Q(quantity__gt=0)),
        )

    def __str__(self) -> str:
        return f"{self.direction} {self.quantity} for line {self.line_id}"
