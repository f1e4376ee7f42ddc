"""The API's products and stock."""

from __future__ import annotations

from typing import Any

from django.db.models import Prefetch, QuerySet
from django_filters import CharFilter
from django_filters.rest_framework import FilterSet
from rest_framework.serializers import BaseSerializer
from rest_framework.viewsets import ReadOnlyModelViewSet

from inventory.models import Product, StockLevel, Variant
from inventory.serializers.products import ProductDetail, ProductRow, VariantDetail, VariantRow
from shopsync.serializers import WholeNumberFilter


class ProductFilters(FilterSet):
    """Filters of products."""

    shopify_id = WholeNumberFilter()
    status = CharFilter()
    vendor = CharFilter()
    sku = CharFilter(field_name="variants__sku", distinct=True)


class Products(ReadOnlyModelViewSet[Product]):
    """Products with their variants; in the detail with their stock."""

    queryset = Product.objects.none()
    filterset_class = ProductFilters

    def get_queryset(self) -> QuerySet[Product]:
        """Read the tenant's products, their variants in one more query."""
        variants = Variant.objects.select_related("item", "tenant").order_by("product_id", "position", "id")
        products = Product.objects.prefetch_related(Prefetch("variants", variants))
        if not self.detail:
            return products
        levels = StockLevel.objects.select_related("location").order_by("id")
        return products.prefetch_related(Prefetch("variants__item__levels", levels))

    def get_serializer_class(self) -> type[BaseSerializer[Any]]:
        """Show stock in the detail only."""
        return ProductDetail if self.action == "retrieve" else ProductRow


class VariantFilters(FilterSet):
    """Filters of variants."""

    shopify_id = WholeNumberFilter()
    product_id = WholeNumberFilter()
    sku = CharFilter()
    barcode = CharFilter()


class Variants(ReadOnlyModelViewSet[Variant]):
    """What is sold; in the detail with its stock."""

    queryset = Variant.objects.none()
    filterset_class = VariantFilters

    def get_queryset(self) -> QuerySet[Variant]:
        """Read the tenant's variants."""
        variants = Variant.objects.select_related("item", "tenant")
        if not self.detail:
            return variants
        levels = StockLevel.objects.select_related("location").order_by("id")
        return variants.prefetch_related(Prefetch("item__levels", levels))

    def get_serializer_class(self) -> type[BaseSerializer[Any]]:
        """Show stock in the detail only."""
        return VariantDetail if self.action == "retrieve" else VariantRow
