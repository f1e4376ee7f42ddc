"""Parcels that we send ourselves: which units, their label, where they are; and the calls to the carrier.

Shopify's own parcels are `Fulfillment` rows and stay as they are; these stand beside them.
"""

from __future__ import annotations

import uuid

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from config.infra.work import Queue, WorkRow
from orders.models.orders import Money, Order, OrderLine
from shopsync.models import Connection, TenantModel


class Shipment(TenantModel):
    """Units of one order in one parcel.

    created → labelled → shipped → delivered or returned; voided before it was shipped. `reference` is what the carrier
    knows it by: it is stored, and sent along, before anything is bought.
    """

    class Status(models.TextChoices):
        CREATED = "created"
        LABELLED = "labelled", "the label is bought"
        SHIPPED = "shipped", "on its way"
        DELIVERED = "delivered"
        RETURNED = "returned", "back to the sender"
        VOIDED = "voided", "given up; its units are free again"

    class VoidStatus(models.TextChoices):
        NONE = "", "not asked for"
        REQUESTED = "requested", "asked for, not answered yet"
        SUBMITTED = "submitted", "the carrier decides"
        REFUNDED = "refunded"
        REJECTED = "rejected"
        NOT_APPLICABLE = "not_applicable", "billed on scan: nothing to refund"

    order = models.ForeignKey(Order, on_delete=models.PROTECT, related_name="shipments")
    status = models.CharField(max_length=9, choices=Status, default=Status.CREATED)
    reference = models.UUIDField(default=uuid.uuid4, unique=True, help_text="the carrier knows it by this")
    connection = models.ForeignKey(Connection, null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    remote_id = models.CharField(max_length=80, blank=True, default="", help_text="the carrier's id")
    from_address = models.JSONField(default=dict, blank=True)
    to_address = models.JSONField(default=dict, blank=True)
    parcel = models.JSONField(default=dict, blank=True, help_text="weight_grams, length_mm, width_mm, height_mm")
    rates = models.JSONField(default=list, blank=True, help_text="what the carrier offered last")
    cost_amount = Money(help_text="what the label cost")
    cost_currency = models.CharField(max_length=3, blank=True, default="")
    company = models.CharField(max_length=100, blank=True, default="", help_text="who carries it, e.g. UPS")
    service = models.CharField(max_length=100, blank=True, default="")
    tracking_number = models.CharField(max_length=100, blank=True, default="")
    tracking_url = models.URLField(max_length=500, blank=True, default="")
    tracking_status = models.CharField(max_length=30, blank=True, default="", help_text="the carrier's newest word")
    tracking_detail = models.CharField(max_length=60, blank=True, default="")
    tracked_at = models.DateTimeField(null=True, blank=True, help_text="the time of the carrier's newest word")
    label_url = models.URLField(max_length=1000, blank=True, default="", help_text="where the carrier has the label")
    label_file = models.CharField(max_length=200, blank=True, default="", help_text="its name in our storage")
    label_type = models.CharField(max_length=40, blank=True, default="")
    void_status = models.CharField(max_length=14, choices=VoidStatus, blank=True, default="")
    void_told_at = models.DateTimeField(null=True, blank=True, help_text="the time of the carrier's newest word on it")
    created_at = models.DateTimeField(db_default=Now())
    labelled_at = models.DateTimeField(null=True, blank=True)
    shipped_at = models.DateTimeField(null=True, blank=True)

    class Meta(TenantModel.Meta):
        ordering = ("-id",)
        constraints = (
            models.CheckConstraint(
                name="shipment_status_is_known",
                condition=Q(status__in=("created", "labelled", "shipped", "delivered", "returned", "voided")),
            ),
            models.CheckConstraint(
                name="shipment_void_status_is_known",
                condition=Q(void_status__in=("", "requested", "submitted", "refunded", "rejected", "not_applicable")),
            ),
            models.CheckConstraint(
                name="shipment_on_its_way_has_left",
                condition=Q(shipped_at__isnull=False) | Q(status__in=("created", "labelled", "voided")),
            ),
            models.CheckConstraint(
                name="shipment_voided_has_not_left", condition=~Q(status="voided") | Q(shipped_at__isnull=True)
            ),
            models.CheckConstraint(
                name="shipment_label_was_bought_of_somebody",
                condition=Q(labelled_at__isnull=True) | Q(connection__isnull=False) & ~Q(remote_id=""),
            ),
            models.UniqueConstraint(
                fields=("connection", "remote_id"), name="shipment_has_its_own_remote_id", condition=~Q(remote_id="")
            ),
        )
        indexes = (
            models.Index(fields=("tenant_id", "-id"), name="shipment_newest"),
            models.Index(
                fields=("tenant_id", "tracking_number"), name="shipment_tracking", condition=~Q(tracking_number="")
            ),
        )

    def __str__(self) -> str:
        return self.tracking_number or f"shipment {self.pk}"

    @property
    def has_left(self) -> bool:
        """Was it handed over?"""
        return self.shipped_at is not None


class ShipmentLine(TenantModel):
    """Units of a line in a parcel. A trigger holds: never more than the line has (0202_shipments_guard)."""

    shipment = models.ForeignKey(Shipment, on_delete=models.CASCADE, related_name="lines")
    line = models.ForeignKey(
        OrderLine,
        null=True,
        on_delete=models.SET_NULL,
        related_name="shipment_lines",
        help_text="null: Shopify took the line out of its order",
    )
    quantity = models.PositiveBigIntegerField()

    class Meta(TenantModel.Meta):
        ordering = ("shipment_id", "id")
        constraints = (
            models.UniqueConstraint(fields=("shipment", "line"), name="shipmentline_is_once_in_its_shipment"),
            models.CheckConstraint(name="shipmentline_sends_something", condition=Q(quantity__gt=0)),
        )

    def __str__(self) -> str:
        return f"{self.quantity} of line {self.line_id}"


class TrackingEvent(TenantModel):
    """One thing the carrier said of a parcel; where the parcel stands follows from all of them, in any order."""

    shipment = models.ForeignKey(Shipment, on_delete=models.CASCADE, related_name="tracking")
    happened_at = models.DateTimeField()
    status = models.CharField(max_length=30)
    detail = models.CharField(max_length=60, blank=True, default="")
    message = models.CharField(max_length=300, blank=True, default="")
    created_at = models.DateTimeField(db_default=Now())

    class Meta(TenantModel.Meta):
        ordering = ("shipment_id", "happened_at", "id")
        constraints = (
            models.UniqueConstraint(
                fields=("shipment", "happened_at", "status", "detail", "message"),
                name="trackingevent_is_stored_once",
            ),
        )

    def __str__(self) -> str:
        return f"{self.status} {self.happened_at}"


class ShipmentCall(TenantModel, WorkRow):
    """One call to the carrier; calls of one shipment share a lane, so that they are never made side by side."""

    class Kind(models.TextChoices):
        RATE = "rate", "ask for rates"
        BUY = "buy", "buy the label"
        LABEL = "label", "fetch the label's file"
        VOID = "void", "ask for the label's refund"
        CHECK = "check", "ask what became of the refund"

    queue = Queue(
        name="shipping",
        drain_task="orders.tasks.drain_shipping",
        celery_queue="maintenance",
        on_expiry="park",
        batch_size=20,
        lease_seconds=120,  # a purchase asks, buys and may ask again: none may be asked about while it is on its way
    )

    shipment = models.ForeignKey(Shipment, on_delete=models.CASCADE, related_name="calls")
    kind = models.CharField(max_length=5, choices=Kind)
    rate_id = models.CharField(max_length=80, blank=True, default="", help_text="of a purchase: the rate")
    outcome = models.CharField(max_length=300, blank=True, default="", help_text="empty while it is on its way")

    class Meta(TenantModel.Meta, WorkRow.Meta):
        ordering = ("-id",)
        constraints = (
            *WorkRow.Meta.constraints,
            models.UniqueConstraint(
                fields=("shipment", "kind"),
                name="shipmentcall_is_one_at_a_time",
                condition=~Q(status="done"),
            ),
            models.CheckConstraint(
                name="shipmentcall_kind_is_known", condition=Q(kind__in=("rate", "buy", "label", "void", "check"))
            ),
            models.CheckConstraint(name="shipmentcall_buys_at_a_rate", condition=~Q(kind="buy") | ~Q(rate_id="")),
        )

    def __str__(self) -> str:
        return f"{self.kind} of shipment {self.shipment_id}"
