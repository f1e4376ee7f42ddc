"""Stock for operators: how many there are where; where we count, receive, adjust and transfer."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import F, Prefetch, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from unfold.decorators import display

from inventory.actions.stock import (
    NotStocked,
    ShopifyCounts,
    Spot,
    StockError,
    adjust_stock,
    expect_stock,
    receive_stock,
    transfer_stock,
)
from inventory.admin.forms import AdjustForm, ExpectForm, ReceiveForm, TransferForm
from inventory.admin.ledger import skus_of
from inventory.models import StockLevel, StockMovement, Variant
from shopsync.admin.base import ReadOnlyInline, actor_of
from shopsync.admin.forms import ActingAdmin, Page, row_action
from shopsync.models import Tenant

MOVEMENTS_SHOWN = 50


def who_counts(tenant: Tenant) -> tuple[str, ...]:
    """Say beforehand that a form will be refused, where Shopify counts."""
    return (str(ShopifyCounts()),) if tenant.stock_authority == Tenant.StockAuthority.SHOPIFY else ()


def _spot(level: StockLevel) -> Spot:
    """Name a level as the actions do.

    Raises: NotStocked.
    """
    variant = next(iter(level.item.variants.all()), None)
    if variant is None:
        raise NotStocked("Nothing is sold from this item yet: its product has not come from Shopify.", field="")
    return Spot(variant.pk, level.location_id)


class MovementInline(ReadOnlyInline):
    """The newest of a level's ledger; the whole of it is a list of its own."""

    model = StockMovement
    hide_title = True
    verbose_name_plural = f"ledger, the newest {MOVEMENTS_SHOWN}"
    ordering = ("-sequence",)
    fields = ("sequence", "state", "delta", "before", "after", "reason", "reference", "actor", "created_at")

    def get_queryset(self, request: HttpRequest) -> QuerySet[StockMovement]:
        """Read no more of this level's than is shown."""
        rows: QuerySet[StockMovement] = super().get_queryset(request)
        level_id = str(request.resolver_match.kwargs.get("object_id", "")) if request.resolver_match else ""
        is_id = level_id.isascii() and level_id.isdigit()
        newest = StockMovement.objects.filter(level_id=int(level_id) if is_id else 0).order_by("-sequence")
        return rows.filter(pk__in=newest.values("pk")[:MOVEMENTS_SHOWN])


class ShortfallFilter(admin.SimpleListFilter):
    """More is promised or sold than is there, nothing is counted, or all is well."""

    title = "shortfall"
    parameter_name = "shortfall"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Offer the kinds."""
        return [("short", "shortfalls"), ("none", "nothing to sell"), ("untracked", "not tracked")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[StockLevel]) -> QuerySet[StockLevel]:
        """Choose by what may still be sold."""
        if self.value() == "short":
            return queryset.filter(available__lt=F("held"))
        if self.value() == "none":
            return queryset.filter(available__lte=F("held"))
        return queryset.filter(available__isnull=True) if self.value() == "untracked" else queryset


@admin.register(StockLevel)
class StockLevelAdmin(ActingAdmin):
    """How many there are, and the newest movements that led there."""

    refusals = (StockError,)
    list_display = ("id", "sku", "location", "available", "held", "sellable_units", "on_hand", "committed", "incoming",
                    "shortfall", "updated_at")  # fmt: skip
    list_display_links = ("id", "sku")
    list_select_related = ("item", "location")
    list_filter = (ShortfallFilter, "location")
    search_fields = ("=item__variants__sku", "=item__shopify_id")
    search_help_text = "SKU or inventory item id, in full"
    inlines = (MovementInline,)
    readonly_fields = ("sku", "sellable_units", "shortfall")
    fields = (("sku", "location"), ("available", "held", "sellable_units"), ("on_hand", "committed", "incoming"),
              "shortfall", ("reserved", "damaged"), ("safety_stock", "quality_control"), ("mirrored_available", "item"),
              "updated_at", "tenant")  # fmt: skip
    actions_detail = ("receive", "expect", "adjust", "transfer", "show_ledger")

    def get_queryset(self, request: HttpRequest) -> QuerySet[StockLevel]:
        """Fetch what the items are sold as along."""
        rows: QuerySet[StockLevel] = super().get_queryset(request)
        return rows.prefetch_related(Prefetch("item__variants", Variant.objects.order_by("pk")))

    @display(description="SKU")
    def sku(self, level: StockLevel) -> str:
        """Say what is counted."""
        return skus_of(level.item)

    @display(description="sellable")
    def sellable_units(self, level: StockLevel) -> int | None:
        """Say how many may still be promised."""
        return level.sellable

    @display(description="shortfall", label={"short": "danger"})
    def shortfall(self, level: StockLevel) -> str | None:
        """Say whether more is promised than is there."""
        return "short" if level.sellable is not None and level.sellable < 0 else None

    @row_action("Receive", path="receive", icon="add")
    def receive(self, request: HttpRequest, level: StockLevel) -> HttpResponse:
        """Ask how many arrived, then add them."""
        form = ReceiveForm(request.POST)
        actor = actor_of(request)
        page = Page(
            title=f"Receive {self.sku(level)} at {level.location}",
            sentences=(
                f"Available now: {level.available}. Waiting orders are served first.",
                *who_counts(level.tenant),
            ),
            button="Receive",
            done="Received.",
            form=form,
            run=lambda: receive_stock(spot=_spot(level), actor=actor, **form.given()),
        )
        return self.ask(request, level, page)

    @row_action("Expect", path="expect", icon="schedule")
    def expect(self, request: HttpRequest, level: StockLevel) -> HttpResponse:
        """Ask how many are on their way, then say so."""
        form = ExpectForm(request.POST)
        actor = actor_of(request)
        page = Page(
            title=f"Expect {self.sku(level)} at {level.location}",
            sentences=(
                f"On their way now: {level.incoming or 0}. They can be sold once they are received.",
                *who_counts(level.tenant),
            ),
            button="Expect",
            done="Expected.",
            form=form,
            run=lambda: expect_stock(spot=_spot(level), actor=actor, **form.given()),
        )
        return self.ask(request, level, page)

    @row_action("Adjust", path="adjust", icon="exposure")
    def adjust(self, request: HttpRequest, level: StockLevel) -> HttpResponse:
        """Ask by how many the count is wrong, and why, then correct it."""
        form = AdjustForm(request.POST)
        actor = actor_of(request)
        words = f"Available now: {level.available}, held for buyers: {level.held}."
        page = Page(
            title=f"Adjust {self.sku(level)} at {level.location}",
            sentences=(f"{words} A count below what is held is a shown shortfall.", *who_counts(level.tenant)),
            button="Adjust",
            done="Adjusted.",
            form=form,
            run=lambda: adjust_stock(spot=_spot(level), actor=actor, **form.given()),
        )
        return self.ask(request, level, page)

    @row_action("Transfer", path="transfer", icon="move_down")
    def transfer(self, request: HttpRequest, level: StockLevel) -> HttpResponse:
        """Ask how many go where, then move them."""
        form = TransferForm(request.POST, source_id=level.location_id)
        actor = actor_of(request)

        def run() -> None:
            given, spot = form.given(), _spot(level)
            target = Spot(spot.variant_id, given.pop("to_location_id"))
            transfer_stock(source=spot, target=target, actor=actor, **given)

        page = Page(
            title=f"Transfer {self.sku(level)} from {level.location}",
            sentences=(f"Free to move: {level.sellable}. Holds stay where they are.", *who_counts(level.tenant)),
            button="Transfer",
            done="Transferred.",
            form=form,
            run=run,
        )
        return self.ask(request, level, page)

    @row_action("Whole ledger", path="ledger", icon="list", permission="view")
    def show_ledger(self, request: HttpRequest, level: StockLevel) -> HttpResponse:
        """Go to the level's whole ledger, page by page."""
        return HttpResponseRedirect(f"{reverse('admin:inventory_stockmovement_changelist')}?level={level.pk}")
