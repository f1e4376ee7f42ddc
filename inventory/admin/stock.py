"""Products and stock for operators: mirrors and their ledger, so read-only."""

from __future__ import annotations

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from inventory.models import Product, StockLevel, StockMovement, Variant
from shopsync.admin.base import ReadOnlyInline, TenantModelAdmin


class VariantInline(ReadOnlyInline):
    """A product's variants."""

    model = Variant
    fields = ("sku", "title", "price_amount", "policy", "item", "shopify_id", "removed_at")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Variant]:
        """Fetch what is counted along."""
        rows: QuerySet[Variant] = super().get_queryset(request)
        return rows.select_related("item")


@admin.register(Product)
class ProductAdmin(TenantModelAdmin):
    """Products."""

    list_display = ("title", "vendor", "product_type", "status", "shopify_id", "updated_at")
    list_filter = ("status",)
    search_fields = ("title", "vendor", "variants__sku")
    inlines = (VariantInline,)


class MovementInline(ReadOnlyInline):
    """A level's ledger."""

    model = StockMovement
    fields = ("sequence", "delta", "before", "after", "reason", "reference", "actor", "created_at")


@admin.register(StockLevel)
class StockLevelAdmin(TenantModelAdmin):
    """How many there are, and every movement that led there."""

    list_display = ("id", "item", "location", "available", "held", "updated_at")
    list_select_related = ("item", "location")
    search_fields = ("=item__variants__sku", "=item__shopify_id")
    search_help_text = "SKU or inventory item id, in full"
    inlines = (MovementInline,)
