"""Products for operators: mirrors of Shopify's, so read-only; the first units of a variant are received from here."""

from __future__ import annotations

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse

from inventory.actions.stock import Spot, StockError, receive_stock
from inventory.admin.forms import ReceiveNewForm
from inventory.admin.stock import who_counts
from inventory.models import Product, Variant
from shopsync.admin.base import ReadOnlyInline, actor_of
from shopsync.admin.forms import ActingAdmin, Page, row_action


class VariantInline(ReadOnlyInline):
    """A product's variants."""

    model = Variant
    fields = ("sku", "title", "price_amount", "policy", "item", "shopify_id", "removed_at")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Variant]:
        """Fetch what is counted along."""
        rows: QuerySet[Variant] = super().get_queryset(request)
        return rows.select_related("item")


@admin.register(Product)
class ProductAdmin(ActingAdmin):
    """Products."""

    refusals = (StockError,)
    list_display = ("title", "vendor", "product_type", "status", "shopify_id", "updated_at")
    list_filter = ("status",)
    search_fields = ("title", "vendor", "variants__sku")
    inlines = (VariantInline,)
    actions_detail = ("receive",)

    @row_action("Receive units", path="receive", icon="add")
    def receive(self, request: HttpRequest, product: Product) -> HttpResponse:
        """Ask what arrived where, also at a location that never had any, then add it."""
        variants = Variant.objects.filter(product=product, item__isnull=False, removed_at__isnull=True)
        form = ReceiveNewForm(request.POST, variants=list(variants.order_by("position", "pk")))
        actor = actor_of(request)

        def run() -> None:
            given = form.given()
            spot = Spot(given.pop("variant_id"), given.pop("location_id"))
            receive_stock(spot=spot, actor=actor, **given)

        page = Page(
            title=f"Receive units of {product}",
            sentences=("Waiting orders are served first.", *who_counts(product.tenant)),
            button="Receive",
            done="Received.",
            form=form,
            run=run,
        )
        return self.ask(request, product, page)
