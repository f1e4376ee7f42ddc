"""What the API shows of products and their stock."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from shopsync.serializers import MoneyField, ShopifyIdField


class LevelRow(serializers.Serializer[Any]):
    """How many of a variant there are at one location."""

    id = serializers.IntegerField(read_only=True)
    location_id = serializers.IntegerField(read_only=True)
    location = serializers.CharField(read_only=True, source="location.shown_name")
    location_shopify_id = ShopifyIdField(source="location.shopify_id")
    available = serializers.IntegerField(read_only=True, allow_null=True, help_text="null: not tracked")
    held = serializers.IntegerField(read_only=True, help_text="our own reservations")
    updated_at = serializers.DateTimeField(read_only=True)


class VariantRow(serializers.Serializer[Any]):
    """A variant."""

    id = serializers.IntegerField(read_only=True)
    shopify_id = ShopifyIdField()
    item_shopify_id = ShopifyIdField(source="item.shopify_id", allow_null=True, default=None)
    title = serializers.CharField(read_only=True)
    sku = serializers.CharField(read_only=True)
    barcode = serializers.CharField(read_only=True)
    price_amount = MoneyField(currency="tenant.currency")
    currency = serializers.CharField(read_only=True, source="tenant.currency")
    policy = serializers.CharField(read_only=True, help_text="deny or continue, once nothing is left")
    removed_at = serializers.DateTimeField(read_only=True, allow_null=True)


class VariantDetail(VariantRow):
    """A variant with its stock."""

    levels = LevelRow(many=True, read_only=True, source="item.levels.all", default=())


class ProductRow(serializers.Serializer[Any]):
    """A product with its variants."""

    id = serializers.IntegerField(read_only=True)
    shopify_id = ShopifyIdField()
    title = serializers.CharField(read_only=True)
    handle = serializers.CharField(read_only=True)
    vendor = serializers.CharField(read_only=True)
    product_type = serializers.CharField(read_only=True)
    status = serializers.CharField(read_only=True)
    tags = serializers.ListField(child=serializers.CharField(), read_only=True)
    updated_at = serializers.DateTimeField(read_only=True)
    variants = VariantRow(many=True, read_only=True)


class ProductDetail(ProductRow):
    """A product with its variants and their stock."""

    variants = VariantDetail(many=True, read_only=True)
