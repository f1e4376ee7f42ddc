"""The ledger for operators: every change of every level, newest first, read-only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.contrib import admin
from django.db.models import Prefetch, QuerySet
from django.http import HttpRequest
from unfold.decorators import display

from inventory.models import STATES, StockMovement, Variant
from shopsync.admin.base import ByIdFilter, TenantModelAdmin


def skus_of(item: Any) -> str:
    """Name an item by the SKUs it is sold under, or by its id where it is sold under none."""
    found = [str(variant) for variant in item.variants.all()]
    return ", ".join(found[:3]) + (" …" if len(found) > 3 else "") if found else f"item {item.shopify_id}"


class LevelFilter(ByIdFilter):
    """The ledger of one level."""

    title = "level"
    parameter_name = "level"
    column = "level_id"


class StateFilter(admin.SimpleListFilter):
    """Which of a level's numbers changed."""

    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Offer the states, without a scan of the ledger."""
        return [(state, state.replace("_", " ")) for state in STATES]

    def queryset(self, request: HttpRequest, queryset: QuerySet[StockMovement]) -> QuerySet[StockMovement]:
        """Choose by state."""
        return queryset.filter(state=self.value()) if self.value() else queryset


@admin.register(StockMovement)
class StockMovementAdmin(TenantModelAdmin):
    """Movements; the database's trigger writes them, and nobody changes them."""

    list_display = ("id", "sku", "location", "state", "delta", "before", "after", "reason", "reference", "actor",
                    "created_at")  # fmt: skip
    list_select_related = ("level__item", "level__location")
    list_filter = (LevelFilter, StateFilter)
    search_fields = ("=reason", "=reference")
    search_help_text = "reason (received) or reference, in full"
    readonly_fields = ("sku", "location")
    fields = (("sku", "location"), ("level", "sequence"), "state", ("delta", "before", "after"), ("reason",
              "reference"), ("actor", "created_at"), "tenant")  # fmt: skip

    def get_queryset(self, request: HttpRequest) -> QuerySet[StockMovement]:
        """Fetch what the items are sold as along."""
        rows: QuerySet[StockMovement] = super().get_queryset(request)
        return rows.prefetch_related(Prefetch("level__item__variants", Variant.objects.order_by("pk")))

    def get_ordering(self, request: HttpRequest) -> Sequence[str]:
        """Read one level's ledger along its own numbering, which is indexed."""
        return ("-sequence",) if "level" in request.GET else ("-id",)

    @display(description="SKU")
    def sku(self, movement: StockMovement) -> str:
        """Say what moved."""
        return skus_of(movement.level.item)

    @display(description="location")
    def location(self, movement: StockMovement) -> str:
        """Say where."""
        return str(movement.level.location)
