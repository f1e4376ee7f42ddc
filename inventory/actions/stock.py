"""Moving stock by hand where we count: receive, adjust, transfer. Where Shopify counts, it is changed in Shopify."""

from __future__ import annotations

from dataclasses import dataclass

from audit.actions import Value, record
from config.infra import tenancy
from config.infra.transactions import retrying_atomic
from inventory.actions.authority import authority_of
from inventory.actions.levels import explain_movements, lock_levels, note_increase
from inventory.models import InventoryItem, Location, StockLevel, Variant
from shopsync.models import Tenant

REASONS = ("correction", "cycle_count", "damaged", "lost", "found", "promotion", "other")


class StockError(Exception):
    """Stock can't be moved as asked; the message says why and what to do."""


class ShopifyCounts(StockError):  # noqa: N818
    """The tenant's stock is Shopify's to count."""

    def __init__(self) -> None:
        super().__init__("Shopify counts this tenant's stock: change it there, or hand the count over to us first.")


class NotStocked(StockError):  # noqa: N818
    """The place named has no count to move: no such variant or location, or it is not tracked."""

    def __init__(self, message: str, *, field: str) -> None:
        super().__init__(message)
        self.field = field


class TooFew(StockError):  # noqa: N818
    """There is less to move than asked: what is held for buyers stays."""

    def __init__(self, asked: int, sellable: int) -> None:
        super().__init__(f"{asked} were to be moved, and {max(sellable, 0)} are free to; holds stay where they are.")
        self.asked, self.sellable = asked, sellable


@dataclass(frozen=True, slots=True)
class Spot:
    """A variant at a location, by our ids."""

    variant_id: int
    location_id: int


def _ensure_shopsync_counts() -> None:
    if authority_of(tenancy.current_tenant_id()) != Tenant.StockAuthority.SHOPSYNC:
        raise ShopifyCounts


def _find(spot: Spot) -> tuple[InventoryItem, Location]:
    variant = Variant.objects.select_related("item").filter(pk=spot.variant_id).first()
    if variant is None or variant.item is None:
        raise NotStocked(f"Variant {spot.variant_id} is unknown, or nothing of it is counted.", field="variant_id")
    location = Location.objects.filter(pk=spot.location_id).first()
    if location is None:
        raise NotStocked(f"Location {spot.location_id} is unknown.", field="location_id")
    return variant.item, location


def _lock_spots(*spots: Spot, begin_at: int | None = None) -> list[StockLevel]:
    """Lock the levels of these spots by primary key, making those that are new; they come in the spots' order.

    begin_at: what a new level has; it is not tracked without.
    """
    places = [_find(spot) for spot in spots]
    tenant_id = tenancy.current_tenant_id()
    begun = {"available": begin_at, "on_hand": begin_at, "committed": begin_at}
    rows = [StockLevel(tenant_id=tenant_id, item=item, location=location, **begun) for item, location in places]
    StockLevel.objects.bulk_create(rows, ignore_conflicts=True)
    items, locations = [item.pk for item, _ in places], [location.pk for _, location in places]
    levels = lock_levels(item_id__in=items, location_id__in=locations)
    by_place = {(level.item_id, level.location_id): level for level in levels}
    return [by_place[item.pk, location.pk] for item, location in places]


def _add(level: StockLevel, delta: int) -> None:
    """Add to what is there; a level that was not tracked is from now on, and owes what was sold from it by then."""
    if level.available is None:
        level.committed = level.committed or 0
        level.available, level.on_hand = -level.committed, 0
    level.available += delta
    level.on_hand = (level.on_hand or 0) + delta
    level.save(update_fields=["available", "on_hand", "committed", "incoming", "updated_at"])


@retrying_atomic
def receive_stock(*, spot: Spot, quantity: int, reference: str, actor: str, from_incoming: bool = False) -> StockLevel:
    """Add units that arrived; with `from_incoming` they are no longer on their way.

    Raises: ShopifyCounts, NotStocked, ValueError for a quantity below one.
    """
    if quantity < 1:
        raise ValueError("receive 1 or more")
    _ensure_shopsync_counts()
    (level,) = _lock_spots(spot)
    was = level.sellable
    explain_movements(reason="received", reference=reference, actor=actor)
    if from_incoming and level.incoming is not None:
        level.incoming = max(level.incoming - quantity, 0)
    _add(level, quantity)
    _record("stock.received", level, actor, quantity=quantity, reference=reference)
    note_increase(level, was=was, fills_backorders=True)
    return level


@retrying_atomic
def expect_stock(*, spot: Spot, delta: int, reference: str, actor: str) -> StockLevel:
    """Say that units are on their way (below 0: that so many are not any more); they can't be sold before they arrive.

    Raises: ShopifyCounts, NotStocked, TooFew for more than are on their way, ValueError for no change.
    """
    if delta == 0:
        raise ValueError("expect something other than 0")
    _ensure_shopsync_counts()
    explain_movements(reason="expected", reference=reference, actor=actor)
    (level,) = _lock_spots(spot, begin_at=0)  # nothing is there yet; untracked, it would be sold without end
    incoming = level.incoming or 0
    if incoming + delta < 0:
        raise TooFew(-delta, incoming)
    level.incoming = incoming + delta
    level.save(update_fields=["incoming", "updated_at"])
    _record("stock.expected", level, actor, delta=delta, reference=reference)
    return level


@retrying_atomic
def adjust_stock(*, spot: Spot, delta: int, reason: str, reference: str, actor: str) -> StockLevel:
    """Correct the count by `delta` units; a count that finds fewer than are promised leaves a shown shortfall.

    Raises: ShopifyCounts, NotStocked, ValueError for no change or an unknown reason.
    """
    if delta == 0:
        raise ValueError("adjust by something other than 0")
    if reason not in REASONS:
        raise ValueError(f"the reason is one of {', '.join(REASONS)}")
    _ensure_shopsync_counts()
    (level,) = _lock_spots(spot)
    if level.available is None and delta < 0:
        raise NotStocked("This level is not tracked: receive what is there first.", field="location_id")
    was = level.sellable
    explain_movements(reason="adjusted", reference=f"{reason}:{reference}" if reference else reason, actor=actor)
    _add(level, delta)
    _record("stock.adjusted", level, actor, delta=delta, reason=reason, reference=reference)
    note_increase(level, was=was, fills_backorders=True)
    return level


@retrying_atomic
def transfer_stock(
    *, source: Spot, target: Spot, quantity: int, reference: str, actor: str
) -> tuple[StockLevel, StockLevel]:
    """Move units of one variant to another location; what is held for buyers can't be moved.

    Raises: ShopifyCounts, NotStocked, TooFew, ValueError.
    """
    if quantity < 1:
        raise ValueError("transfer 1 or more")
    if source.variant_id != target.variant_id or source.location_id == target.location_id:
        raise ValueError("transfer one variant between two locations")
    _ensure_shopsync_counts()
    giving, taking = _lock_spots(source, target)
    if giving.available is None:
        raise NotStocked("The source is not tracked: receive what is there first.", field="location_id")
    if giving.sellable is not None and giving.sellable < quantity:
        raise TooFew(quantity, giving.sellable)
    was = taking.sellable
    explain_movements(reason="transferred", reference=reference, actor=actor)
    for level, delta in sorted(((giving, -quantity), (taking, quantity)), key=lambda pair: pair[0].pk):
        _add(level, delta)
    _record("stock.transferred", giving, actor, quantity=quantity, to_level=taking.pk, reference=reference)
    note_increase(taking, was=was, fills_backorders=True)
    return giving, taking


def _record(name: str, level: StockLevel, actor: str, **data: Value) -> None:
    values = {**data, "item_id": level.item_id, "location_id": level.location_id}
    record(name=name, subject=f"level:{level.pk}", actor=actor, data=values)
