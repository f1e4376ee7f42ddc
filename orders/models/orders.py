"""Orders and what hangs on them. Shopify's newest version wins; paid_at and cancelled_at join from a version of any
age."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from shopsync.models import TenantModel


class Money(models.DecimalField):  # type: ignore[type-arg]  # django-stubs' field generics are filled by the base
    """An amount in major units; the ISO currency stands beside it. Four decimals hold every currency in use."""

    def __init__(self, **options: object) -> None:
        super().__init__(**{"max_digits": 20, "decimal_places": 4, "default": 0, **options})  # type: ignore[arg-type]


class Order(TenantModel):
    """An order. `total_amount` never changes; `current_total_amount` follows edits and refunds."""

    shopify_id = models.BigIntegerField()
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
    presentment_total_amount = Money()
    financial_status = models.CharField(max_length=30, blank=True, default="")
    fulfillment_status = models.CharField(max_length=30, blank=True, default="")
    tags = models.JSONField(default=list, blank=True)
    note = models.TextField(blank=True, default="")
    is_test = models.BooleanField(default=False)
    placed_at = models.DateTimeField(null=True, blank=True)
    paid_at = models.DateTimeField(null=True, blank=True)
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
        )
        indexes = (
            models.Index(
                fields=(
                    "tenant_id",
                    "-id",
                ),
                name="order_newest",
            ),
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
        )

    def __str__(self) -> str:
        return self.name or str(self.shopify_id)

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
    shopify_id = models.BigIntegerField()
    position = models.PositiveIntegerField()
    variant_shopify_id = models.BigIntegerField(null=True, blank=True)
    product_shopify_id = models.BigIntegerField(null=True, blank=True)
    title = models.CharField(max_length=500, blank=True, default="")
    variant_title = models.CharField(max_length=500, blank=True, default="")
    sku = models.CharField(max_length=300, blank=True, default="")
    quantity = models.PositiveBigIntegerField()
    current_quantity = models.PositiveBigIntegerField()
    price_amount = Money(help_text="one unit, in the order's currency")
    discount_amount = Money()
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


class Commitment(TenantModel):
    """What a line still asks of the stock: *set* to its newest fulfillable quantity, 0 when the order is cancelled."""

    line = models.OneToOneField(OrderLine, on_delete=models.CASCADE, related_name="commitment")
    quantity = models.PositiveBigIntegerField()
    backordered = models.PositiveBigIntegerField(default=0)

    class Meta(TenantModel.Meta):
        ordering = ("line_id",)
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
    order_shopify_id = models.BigIntegerField()
    shopify_id = models.BigIntegerField()
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
