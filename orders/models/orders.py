"""Orders and what hangs on them. Of Shopify's, the newest version wins; paid_at and cancelled_at join from any age."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.db.models.functions import Coalesce, Now

from shopsync.models import TenantModel


class Money(models.DecimalField):  # type: ignore[type-arg]  # django-stubs' field generics are filled by the base
    """An amount in major units; the ISO currency stands beside it. Four decimals hold every currency in use."""

    def __init__(self, **options: object) -> None:
        super().__init__(**{"max_digits": 20, "decimal_places": 4, "default": 0, **options})  # type: ignore[arg-type]


# An order that may grow old waiting. The conditions are those of two indexes too: whoever asks asks in these words.
_WAITING = Q(cancelled_at__isnull=True, closed_at__isnull=True, held_at__isnull=True, is_test=False)
_SETTLED = ("paid", "partially_refunded", "refunded", "voided")
UNPAID = _WAITING & Q(paid_at__isnull=True) & ~Q(financial_status__in=_SETTLED)
UNFULFILLED = (
    _WAITING & ~Q(financial_status__in=("refunded", "voided")) & ~Q(fulfillment_status__in=("fulfilled", "restocked"))
)
PLACED = Coalesce("placed_at", "created_at")
PAID_OR_PLACED = Coalesce("paid_at", "placed_at", "created_at")


class Order(TenantModel):
    """An order. `total_*` never change; `current_*` follow edits and refunds.

    Shopify's have a `shopify_id`; ours (source `api`) have none until Shopify knows them. `stock_state` says of ours
    where their units stand.
    """

    class Source(models.TextChoices):
        SHOPIFY = "shopify"
        API = "api"

    class StockState(models.TextChoices):
        NONE = "", "Shopify's to know"
        RESERVED = "reserved", "held until it is paid"
        COMMITTED = "committed", "sold"
        UNALLOCATED = "unallocated", "its reservation expired before it was paid"
        PAID_UNALLOCATED = "paid_unallocated", "paid, and the units are gone"
        RELEASED = "released", "given back"

    shopify_id = models.BigIntegerField(null=True, blank=True)
    source = models.CharField(max_length=7, choices=Source, default=Source.SHOPIFY, db_default="shopify")
    reservation = models.OneToOneField(
        "inventory.Reservation", null=True, blank=True, on_delete=models.PROTECT, related_name="order"
    )
    stock_state = models.CharField(max_length=16, choices=StockState, blank=True, default="", db_default="")
    name = models.CharField(max_length=60, blank=True, default="")
    email = models.CharField(max_length=320, blank=True, default="", help_text="normalised")
    phone = models.CharField(max_length=20, blank=True, default="", help_text="E.164")
    customer_shopify_id = models.BigIntegerField(null=True, blank=True)
    customer_first_name = models.CharField(max_length=200, blank=True, default="")
    customer_last_name = models.CharField(max_length=200, blank=True, default="")
    customer_locale = models.CharField(max_length=20, blank=True, default="")
    country = models.CharField(max_length=2, blank=True, default="")
    currency = models.CharField(max_length=3)
    presentment_currency = models.CharField(max_length=3, blank=True, default="")
    subtotal_amount = Money()
    discount_amount = Money()
    tax_amount = Money()
    shipping_amount = Money()
    total_amount = Money()
    current_total_amount = Money()
    current_subtotal_amount = Money()
    current_discount_amount = Money()
    current_tax_amount = Money()
    presentment_total_amount = Money()
    presentment_subtotal_amount = Money()
    presentment_discount_amount = Money()
    presentment_tax_amount = Money()
    presentment_shipping_amount = Money()
    shipping_address = models.JSONField(default=dict, blank=True)
    billing_address = models.JSONField(default=dict, blank=True)
    discounts = models.JSONField(default=list, blank=True, help_text="codes and their amounts, in the shop's currency")
    taxes = models.JSONField(default=list, blank=True, help_text="titles, rates and amounts")
    shipping_lines = models.JSONField(default=list, blank=True)
    staff_tags = models.JSONField(default=list, blank=True, help_text="our own, beside Shopify's")
    staff_note = models.TextField(blank=True, default="", db_default="")
    hold_reason = models.CharField(max_length=200, blank=True, default="", db_default="", help_text="why it waits")
    held_at = models.DateTimeField(null=True, blank=True)
    financial_status = models.CharField(max_length=30, blank=True, default="")
    fulfillment_status = models.CharField(max_length=30, blank=True, default="")
    tags = models.JSONField(default=list, blank=True)
    note = models.TextField(blank=True, default="")
    is_test = models.BooleanField(default=False)
    placed_at = models.DateTimeField(null=True, blank=True)
    paid_at = models.DateTimeField(null=True, blank=True)
    paid_by_hand_amount = Money(db_default=0, help_text="what a person noted as paid, beside what gateways brought")
    cancelled_at = models.DateTimeField(null=True, blank=True)
    cancel_reason = models.CharField(max_length=30, blank=True, default="")
    closed_at = models.DateTimeField(null=True, blank=True)
    source_updated_at = models.DateTimeField(null=True, blank=True, help_text="Shopify's updated_at of this version")
    source_version = models.CharField(max_length=120, db_collation="C", help_text="sorts by age; the newest wins")
    created_at = models.DateTimeField(db_default=Now())
    updated_at = models.DateTimeField(db_default=Now())

    class Meta(TenantModel.Meta):
        ordering = ("-id",)
        constraints = (
            models.UniqueConstraint(
                fields=(
                    "tenant",
                    "shopify_id",
                ),
                name="order_has_its_own_shopify_id",
            ),
            models.CheckConstraint(name="order_currency_is_iso_4217", condition=Q(currency__regex=r"^[A-Z]{3}$")),
            models.CheckConstraint(
                name="order_is_shopifys_or_ours",
                condition=Q(source="shopify", shopify_id__isnull=False) | Q(source="api"),
            ),
            models.CheckConstraint(
                name="order_of_ours_has_a_stock_state", condition=Q(source="shopify") | ~Q(stock_state="")
            ),
            models.CheckConstraint(
                name="order_holds_stock_through_its_reservation",
                condition=~Q(stock_state__in=("reserved", "committed")) | Q(reservation__isnull=False),
            ),
        )
        indexes = (
            models.Index(
                fields=(
                    "tenant_id",
                    "-id",
                ),
                name="order_newest",
            ),
            models.Index(fields=("tenant_id", "name"), name="order_name", condition=~Q(name="")),
            models.Index(
                fields=(
                    "tenant_id",
                    "customer_shopify_id",
                ),
                name="order_customer",
            ),
            models.Index(
                fields=(
                    "tenant_id",
                    "email",
                ),
                name="order_email",
                condition=~Q(email=""),
            ),
            models.Index(
                fields=(
                    "tenant_id",
                    "phone",
                ),
                name="order_phone",
                condition=~Q(phone=""),
            ),
            # What the watches look through: few rows, so that it costs the same among a million finished orders.
            models.Index("tenant_id", PLACED, name="order_unpaid", condition=UNPAID),
            models.Index("tenant_id", PAID_OR_PLACED, name="order_unfulfilled", condition=UNFULFILLED),
        )

    def __str__(self) -> str:
        return self.name or str(self.shopify_id or self.pk)

    @property
    def is_paid(self) -> bool:
        """Was it ever paid in full?"""
        return self.paid_at is not None

    @property
    def is_cancelled(self) -> bool:
        """Was it cancelled?"""
        return self.cancelled_at is not None


class OrderLine(TenantModel):
    """A line of an order's newest version. A line that was edited away stays, with current_quantity 0."""

    order = models.ForeignKey(Order, on_delete=models.CASCADE, related_name="lines")
    shopify_id = models.BigIntegerField(null=True, blank=True)
    variant = models.ForeignKey(
        "inventory.Variant",
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="+",
        help_text="of our orders",
    )
    position = models.PositiveIntegerField()
    variant_shopify_id = models.BigIntegerField(null=True, blank=True)
    product_shopify_id = models.BigIntegerField(null=True, blank=True)
    title = models.CharField(max_length=500, blank=True, default="")
    variant_title = models.CharField(max_length=500, blank=True, default="")
    sku = models.CharField(max_length=300, blank=True, default="")
    quantity = models.PositiveBigIntegerField()
    current_quantity = models.PositiveBigIntegerField()
    # Of our orders: what became of the units bought. The rest, quantity - sent - cancelled - lost, waits to be sent.
    sent_quantity = models.PositiveBigIntegerField(default=0, db_default=0)
    cancelled_quantity = models.PositiveBigIntegerField(default=0, db_default=0, help_text="not sent, put back")
    lost_quantity = models.PositiveBigIntegerField(default=0, db_default=0, help_text="not sent, not put back")
    refunded_quantity = models.PositiveBigIntegerField(default=0, db_default=0, help_text="sent, and refunded")
    returned_quantity = models.PositiveBigIntegerField(default=0, db_default=0, help_text="sent, refunded, put back")
    price_amount = Money(help_text="one unit, in the order's currency")
    presentment_price_amount = Money(help_text="one unit, in the buyer's currency")
    discount_amount = Money()
    tax_amount = Money()
    requires_shipping = models.BooleanField(default=True)

    class Meta(TenantModel.Meta):
        ordering = ("order_id", "position")
        constraints = (
            models.UniqueConstraint(
                fields=(
                    "order",
                    "shopify_id",
                ),
                name="orderline_is_once_in_its_order",
            ),
            models.CheckConstraint(
                name="orderline_sends_no_more_than_it_has",
                condition=Q(
                    quantity__gte=models.F("sent_quantity") + models.F("cancelled_quantity") + models.F("lost_quantity")
                ),
            ),
            models.CheckConstraint(
                name="orderline_refunds_and_returns_no_more_than_it_sent",
                condition=Q(
                    sent_quantity__gte=models.F("refunded_quantity"),
                    refunded_quantity__gte=models.F("returned_quantity"),
                ),
            ),
            models.CheckConstraint(
                name="orderline_of_ours_adds_up",
                condition=Q(shopify_id__isnull=False)
                | Q(
                    quantity=models.F("current_quantity")
                    + models.F("cancelled_quantity")
                    + models.F("lost_quantity")
                    + models.F("refunded_quantity")
                ),
            ),
        )
        indexes = (
            models.Index(
                fields=(
                    "tenant_id",
                    "variant_shopify_id",
                ),
                name="orderline_variant",
            ),
        )

    def __str__(self) -> str:
        return f"{self.quantity} x {self.title}"

    @property
    def unsent_quantity(self) -> int:
        """Units of ours that wait to be sent."""
        return self.quantity - self.sent_quantity - self.cancelled_quantity - self.lost_quantity


class Commitment(TenantModel):
    """What a line still asks of the stock: *set* to its newest fulfillable quantity, 0 when the order is cancelled."""

    line = models.OneToOneField(OrderLine, on_delete=models.CASCADE, related_name="commitment")
    quantity = models.PositiveBigIntegerField()
    backordered = models.PositiveBigIntegerField(default=0)
    unplaced = models.PositiveBigIntegerField(
        default=0, db_default=0, help_text="units that left before any level of theirs was known"
    )
    counted_before = models.PositiveBigIntegerField(
        default=0, db_default=0, help_text="units that had left before the present count began"
    )
    counted_gross = models.PositiveBigIntegerField(
        null=True, blank=True, help_text="the same, before what came back by then; null: not asked yet"
    )
    item = models.ForeignKey(
        "inventory.InventoryItem", null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )
    since = models.DateTimeField(db_default=Now(), help_text="backorders are filled oldest first")

    class Meta(TenantModel.Meta):
        ordering = ("line_id",)
        indexes = (
            models.Index(
                fields=("item", "since", "id"),
                name="commitment_backorders",
                condition=Q(backordered__gt=0) | Q(unplaced__gt=0),
            ),
        )
        constraints = (
            models.CheckConstraint(
                name="commitment_backorders_no_more_than_it_asks", condition=Q(backordered__lte=models.F("quantity"))
            ),
        )

    def __str__(self) -> str:
        return f"{self.quantity} for line {self.line_id}"


class Refund(TenantModel):
    """Money given back, once per Shopify refund; it may arrive before its order."""

    order = models.ForeignKey(Order, null=True, blank=True, on_delete=models.CASCADE, related_name="refunds")
    order_shopify_id = models.BigIntegerField(null=True, blank=True)
    shopify_id = models.BigIntegerField(null=True, blank=True)
    reason = models.CharField(max_length=40, blank=True, default="", db_default="")
    amount = Money(help_text="the sum of its successful refund transactions")
    currency = models.CharField(max_length=3, blank=True, default="")
    note = models.TextField(blank=True, default="")
    refunded_at = models.DateTimeField(null=True, blank=True)
    source_version = models.CharField(max_length=120, db_collation="C", help_text="sorts by age; the newest wins")
    created_at = models.DateTimeField(db_default=Now())

    class Meta(TenantModel.Meta):
        ordering = ("-id",)
        constraints = (
            models.UniqueConstraint(
                fields=(
                    "tenant",
                    "shopify_id",
                ),
                name="refund_has_its_own_shopify_id",
            ),
        )
        indexes = (
            models.Index(
                fields=(
                    "tenant_id",
                    "order_shopify_id",
                ),
                name="refund_order",
            ),
        )

    def __str__(self) -> str:
        return f"{self.amount} {self.currency}"


class Fulfillment(TenantModel):
    """A parcel, newest version wins; it may arrive before its order."""

    order = models.ForeignKey(Order, null=True, blank=True, on_delete=models.CASCADE, related_name="fulfillments")
    order_shopify_id = models.BigIntegerField()
    shopify_id = models.BigIntegerField()
    status = models.CharField(max_length=30, blank=True, default="")
    shipment_status = models.CharField(max_length=30, blank=True, default="")
    tracking_company = models.CharField(max_length=200, blank=True, default="")
    tracking_number = models.CharField(max_length=200, blank=True, default="")
    lines = models.JSONField(default=dict, blank=True, help_text="units by Shopify's line id")
    sent_at = models.DateTimeField(null=True, blank=True)
    source_version = models.CharField(max_length=120, db_collation="C", help_text="sorts by age; the newest wins")
    created_at = models.DateTimeField(db_default=Now())

    class Meta(TenantModel.Meta):
        ordering = ("-id",)
        constraints = (
            models.UniqueConstraint(
                fields=(
                    "tenant",
                    "shopify_id",
                ),
                name="fulfillment_has_its_own_shopify_id",
            ),
        )
        indexes = (
            models.Index(
                fields=(
                    "tenant_id",
                    "order_shopify_id",
                ),
                name="fulfillment_order",
            ),
        )

    def __str__(self) -> str:
        return self.tracking_number or str(self.shopify_id)
