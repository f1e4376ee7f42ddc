"""What the API shows of orders and what hangs on them."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from shopsync.serializers import MoneyField, ShopifyIdField


class LineRow(serializers.Serializer[Any]):
    """A line, with what it still asks of the stock."""

    id = serializers.IntegerField(read_only=True)
    shopify_id = ShopifyIdField()
    variant_shopify_id = ShopifyIdField(allow_null=True)
    product_shopify_id = ShopifyIdField(allow_null=True)
    title = serializers.CharField(read_only=True)
    variant_title = serializers.CharField(read_only=True)
    sku = serializers.CharField(read_only=True)
    quantity = serializers.IntegerField(read_only=True)
    current_quantity = serializers.IntegerField(read_only=True)
    price_amount = MoneyField(currency="order.currency")
    discount_amount = MoneyField(currency="order.currency")
    committed = serializers.IntegerField(read_only=True, source="commitment.quantity", default=0)
    backordered = serializers.IntegerField(read_only=True, source="commitment.backordered", default=0)


class RefundRow(serializers.Serializer[Any]):
    """Money given back."""

    id = serializers.IntegerField(read_only=True)
    shopify_id = ShopifyIdField()
    amount = MoneyField()
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
    shopify_id = ShopifyIdField()
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
    lines = LineRow(many=True, read_only=True)
    refunds = RefundRow(many=True, read_only=True)
    fulfillments = FulfillmentRow(many=True, read_only=True, help_text="Shopify's own parcels")
    shipments = ParcelRow(many=True, read_only=True, help_text="ours; more of each at /api/v1/shipments/ID")
