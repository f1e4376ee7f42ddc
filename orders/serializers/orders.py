"""What the API shows of orders and what hangs on them."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from orders.actions.dues import kept_amount
from orders.models import Order
from shopsync.money import format_amount
from shopsync.serializers import MoneyField, ShopifyIdField


class LineRow(serializers.Serializer[Any]):
    """A line, with what it still asks of the stock."""

    id = serializers.IntegerField(read_only=True)
    shopify_id = ShopifyIdField(allow_null=True)
    variant_id = serializers.IntegerField(read_only=True, allow_null=True, help_text="of our orders")
    variant_shopify_id = ShopifyIdField(allow_null=True)
    product_shopify_id = ShopifyIdField(allow_null=True)
    title = serializers.CharField(read_only=True)
    variant_title = serializers.CharField(read_only=True)
    sku = serializers.CharField(read_only=True)
    quantity = serializers.IntegerField(read_only=True)
    current_quantity = serializers.IntegerField(read_only=True)
    price_amount = MoneyField(currency="order.currency")
    presentment_price_amount = MoneyField(currency="order.presentment_currency")
    discount_amount = MoneyField(currency="order.currency")
    tax_amount = MoneyField(currency="order.currency")
    sent_quantity = serializers.IntegerField(read_only=True, help_text="of our orders, as the four below")
    cancelled_quantity = serializers.IntegerField(read_only=True, help_text="not sent, put back")
    lost_quantity = serializers.IntegerField(read_only=True, help_text="not sent, not put back")
    refunded_quantity = serializers.IntegerField(read_only=True, help_text="sent, and refunded")
    returned_quantity = serializers.IntegerField(read_only=True, help_text="sent, refunded, put back")
    stock_flags = serializers.SerializerMethodField(
        help_text="backordered, oversold, untracked, unknown_variant: what is odd about the line's stock"
    )
    committed = serializers.IntegerField(read_only=True, source="commitment.quantity", default=0)
    backordered = serializers.IntegerField(read_only=True, source="commitment.backordered", default=0)

    def get_stock_flags(self, line: Any) -> list[str]:
        """Say what is odd about the line's stock (worked out for the whole order by the view)."""
        flags: dict[int, list[str]] = self.context.get("stock_flags", {})
        return flags.get(line.pk, [])


class RefundLineRow(serializers.Serializer[Any]):
    """Units that were refunded, and where they went."""

    line_id = serializers.IntegerField(read_only=True, allow_null=True)
    quantity = serializers.IntegerField(read_only=True)
    restock_type = serializers.CharField(read_only=True, help_text="no_restock, cancel, return or legacy_restock")
    amount = MoneyField(currency="refund.currency")


class RefundRow(serializers.Serializer[Any]):
    """Money given back."""

    id = serializers.IntegerField(read_only=True)
    shopify_id = ShopifyIdField(allow_null=True)
    amount = MoneyField()
    note = serializers.CharField(read_only=True)
    lines = RefundLineRow(many=True, read_only=True)
    currency = serializers.CharField(read_only=True)
    refunded_at = serializers.DateTimeField(read_only=True, allow_null=True)


class FulfillmentRow(serializers.Serializer[Any]):
    """A parcel."""

    id = serializers.IntegerField(read_only=True)
    shopify_id = ShopifyIdField()
    status = serializers.CharField(read_only=True)
    shipment_status = serializers.CharField(read_only=True)
    tracking_company = serializers.CharField(read_only=True)
    tracking_number = serializers.CharField(read_only=True)


class OrderRow(serializers.Serializer[Any]):
    """An order without its lines."""

    id = serializers.IntegerField(read_only=True)
    shopify_id = ShopifyIdField(allow_null=True)
    source = serializers.CharField(read_only=True, help_text="shopify or api")  # type: ignore[assignment]
    stock_state = serializers.CharField(
        read_only=True, help_text="of ours: reserved, committed, unallocated, paid_unallocated or released"
    )
    name = serializers.CharField(read_only=True)
    email = serializers.CharField(read_only=True)
    phone = serializers.CharField(read_only=True)
    customer_shopify_id = ShopifyIdField(allow_null=True)
    customer_first_name = serializers.CharField(read_only=True)
    customer_last_name = serializers.CharField(read_only=True)
    country = serializers.CharField(read_only=True)
    currency = serializers.CharField(read_only=True)
    subtotal_amount = MoneyField()
    discount_amount = MoneyField()
    tax_amount = MoneyField()
    shipping_amount = MoneyField()
    total_amount = MoneyField(help_text="as it was placed; never changes")
    current_total_amount = MoneyField(help_text="after edits and refunds")
    presentment_currency = serializers.CharField(read_only=True)
    presentment_total_amount = MoneyField(currency="presentment_currency")
    financial_status = serializers.CharField(read_only=True)
    fulfillment_status = serializers.CharField(read_only=True)
    tags = serializers.ListField(child=serializers.CharField(), read_only=True)
    staff_tags = serializers.ListField(child=serializers.CharField(), read_only=True)
    hold_reason = serializers.CharField(read_only=True)
    held_at = serializers.DateTimeField(read_only=True, allow_null=True)
    is_test = serializers.BooleanField(read_only=True)
    placed_at = serializers.DateTimeField(read_only=True, allow_null=True)
    paid_at = serializers.DateTimeField(read_only=True, allow_null=True)
    cancelled_at = serializers.DateTimeField(read_only=True, allow_null=True)
    cancel_reason = serializers.CharField(read_only=True)
    updated_at = serializers.DateTimeField(read_only=True)


class ParcelRow(serializers.Serializer[Any]):
    """A parcel of ours, in short."""

    id = serializers.IntegerField(read_only=True)
    status = serializers.CharField(read_only=True)
    company = serializers.CharField(read_only=True)
    tracking_number = serializers.CharField(read_only=True)
    tracking_status = serializers.CharField(read_only=True)


class OrderDetail(OrderRow):
    """An order with its lines, refunds and parcels."""

    note = serializers.CharField(read_only=True)
    staff_note = serializers.CharField(read_only=True)
    reservation_id = serializers.IntegerField(read_only=True, allow_null=True)
    current_subtotal_amount = MoneyField()
    current_discount_amount = MoneyField()
    current_tax_amount = MoneyField()
    presentment_subtotal_amount = MoneyField(currency="presentment_currency")
    presentment_discount_amount = MoneyField(currency="presentment_currency")
    presentment_tax_amount = MoneyField(currency="presentment_currency")
    presentment_shipping_amount = MoneyField(currency="presentment_currency")
    shipping_address = serializers.DictField(read_only=True)
    billing_address = serializers.DictField(read_only=True)
    discounts = serializers.ListField(child=serializers.DictField(), read_only=True)
    taxes = serializers.ListField(child=serializers.DictField(), read_only=True)
    shipping_lines = serializers.ListField(child=serializers.DictField(), read_only=True)
    lines = LineRow(many=True, read_only=True)
    refunds = RefundRow(many=True, read_only=True)
    kept_amount = serializers.SerializerMethodField(help_text="of the worth of refunded units, kept as a fee")
    fulfillments = FulfillmentRow(many=True, read_only=True, help_text="Shopify's own parcels")
    shipments = ParcelRow(many=True, read_only=True, help_text="ours; more of each at /api/v1/shipments/ID")

    def get_kept_amount(self, order: Order) -> str:
        """Write what was kept of its refunds on purpose."""
        return format_amount(kept_amount(order), order.currency)
