"""What an order's lines take from the stock, where we count: *set* to what its newest facts say, never added up.

Setting makes it indifferent to the order in which deliveries arrive, and to how often. Taking what exists and leaving
the rest backordered, it never refuses an order of Shopify's.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from inventory.actions.authority import authority_of
from inventory.actions.levels import Move, explain_movements, lock_levels, move_units, note_increases
from inventory.actions.reservations import offers_of
from inventory.models import StockLevel, Variant
from inventory.rules import Destination, Pick, nearness, take
from orders.models import Allocation, Commitment, Order, OrderLine
from orders.rules import StockTarget
from shopsync.models import Tenant


@dataclass(slots=True)
class _Line:
    """One commitment on its way to its target, with its allocations by level."""

    commitment: Commitment
    variant: Variant | None
    target: StockTarget
    allocations: dict[int, Allocation] = field(default_factory=dict)

    @property
    def committed(self) -> int:
        return sum(allocation.committed for allocation in self.allocations.values())

    @property
    def gone(self) -> int:
        return sum(allocation.gone for allocation in self.allocations.values())

    def on(self, level_id: int) -> Allocation:
        if level_id not in self.allocations:
            tenant_id = self.commitment.tenant_id
            self.allocations[level_id] = Allocation(
                tenant_id=tenant_id, commitment=self.commitment, level_id=level_id, committed=0, gone=0
            )
        return self.allocations[level_id]


class _Stock:
    """The locked levels of the lines' items, and the moves that they are to make."""

    def __init__(self, levels: Sequence[StockLevel], destination: Destination, freed: Iterable[Pick]) -> None:
        self.levels = {level.pk: level for level in levels}
        self.was = {level.pk: level.sellable for level in levels}
        self.destination = destination
        self._moves: dict[int, Move] = defaultdict(Move)
        self._freed: dict[tuple[int, int], int] = defaultdict(int)
        for pick in freed:
            self._freed[pick.variant_id, pick.level_id] += pick.quantity

    def leave(self, variant: Variant, units: int) -> list[Pick]:
        """Say which levels units leave that nothing was set aside for: those that held them, else the nearest."""
        picks = []
        for (variant_id, level_id), held in self._freed.items():
            if variant_id == variant.pk and (part := min(units, held)):
                self._freed[variant_id, level_id] -= part
                picks.append(Pick(variant_id, level_id, part))
                units -= part
        if units and (places := self.near(variant)):
            picks.append(Pick(variant.pk, places[0].pk, units))
        return picks

    def near(self, variant: Variant) -> list[StockLevel]:
        offers = offers_of([level for level in self.levels.values() if level.item_id == variant.item_id], [variant])
        return [self.levels[offer.level_id] for offer in sorted(offers, key=lambda o: nearness(o, self.destination))]

    def move(self, level_id: int, move: Move) -> None:
        self._moves[level_id] += move
        level = self.levels[level_id]
        if level.available is not None:
            level.available += move.available

    def flush(self, *, reason: str, order: Order, actor: str) -> None:
        if self._moves:
            explain_movements(reason=reason, reference=f"order:{order.pk}", actor=actor)
            move_units(self._moves)
            self._moves.clear()


def set_stock(
    order: Order,
    targets: Iterable[tuple[OrderLine, Variant | None, StockTarget]],
    *,
    actor: str,
    freed: Iterable[Pick] = (),
) -> None:
    """Bring the units of an order's lines to their targets; the order is locked, where we count.

    freed: what was held for it until just now, so that units that are gone leave the levels that held them.

    Raises: IntegrityError naming the constraint, should this ever oversell.
    """
    lines = _load(targets)
    items = {line.variant.item_id for line in lines if line.variant and line.variant.item_id}
    items |= {allocation.level.item_id for line in lines for allocation in line.allocations.values()}
    stock = _Stock(lock_levels(item_id__in=sorted(items)) if items else [], Destination(country=order.country), freed)
    # 1. What left before our count began. 2. What came back or left, which is true whatever we counted. 3. What is
    # taken off. 4. What is asked for.
    for line in lines:
        _recount(line, stock)
    stock.flush(reason="handed_over", order=order, actor=actor)
    for line in lines:
        _settle_gone(line, stock)
    stock.flush(reason="shipped", order=order, actor=actor)
    for line in lines:
        _give_up(line, stock)
    stock.flush(reason="released", order=order, actor=actor)
    for line in lines:
        _take(line, stock)
    stock.flush(reason="committed", order=order, actor=actor)
    _store(lines)
    note_increases(((level, stock.was[level.pk]) for level in stock.levels.values()), fills_backorders=True)


def drop_stock(order: Order, lines: Sequence[OrderLine], *, actor: str) -> None:
    """Give back what these lines, which are about to go, still have set aside; what has left stays away."""
    gone: dict[int, int] = defaultdict(int)
    for allocation in Allocation.objects.filter(commitment__line__in=lines).select_related("commitment"):
        gone[allocation.commitment.line_id] += allocation.gone
    set_stock(order, [(line, None, StockTarget(committed=0, gone=gone[line.pk])) for line in lines], actor=actor)


def _load(targets: Iterable[tuple[OrderLine, Variant | None, StockTarget]]) -> list[_Line]:
    wanted = {line.pk: (variant, target) for line, variant, target in targets}
    commitments = Commitment.objects.filter(line_id__in=wanted).select_for_update().order_by("pk")
    lines = {row.pk: _Line(row, *wanted[row.line_id]) for row in commitments}
    for line in lines.values():
        if line.target.counted_gross is not None:
            line.commitment.counted_gross = line.target.counted_gross
    for allocation in Allocation.objects.filter(commitment_id__in=lines).select_related("level").order_by("pk"):
        line = lines[allocation.commitment_id]
        line.allocations[allocation.level_id] = allocation
    return list(lines.values())


def _recount(line: _Line, stock: _Stock) -> None:
    """Put back the units that our count had off from its beginning, so that taking them now takes them once.

    What a line took before any count began (`_take`) it took from nothing that is counted, so it stays taken.
    """
    counted = line.target.counted_before
    places = [level for level in stock.near(line.variant) if level.available is not None] if line.variant else []
    if counted is None or counted == line.commitment.counted_before or not places:
        return
    delta = counted - line.commitment.counted_before
    stock.move(places[0].pk, Move(available=delta, on_hand=delta))
    line.commitment.counted_before = counted


def _settle_gone(line: _Line, stock: _Stock) -> None:
    missing = line.target.gone - line.gone
    for allocation in list(line.allocations.values()):
        if missing < 0:  # it came back
            part = min(-missing, allocation.gone)
            allocation.gone -= part
            stock.move(allocation.level_id, Move(available=part, on_hand=part))
            missing += part
        else:  # what was set aside has left
            part = min(missing, allocation.committed)
            allocation.committed -= part
            allocation.gone += part
            stock.move(allocation.level_id, Move(committed=-part, on_hand=-part))
            missing -= part
    if missing > 0 and line.variant is not None:
        # Sent although nothing was set aside: it has left all the same, and the count says so.
        for pick in stock.leave(line.variant, missing):
            line.on(pick.level_id).gone += pick.quantity
            stock.move(pick.level_id, Move(available=-pick.quantity, on_hand=-pick.quantity))
            missing -= pick.quantity
    line.commitment.unplaced = max(missing, 0)


def _give_up(line: _Line, stock: _Stock) -> None:
    surplus = line.committed - line.target.committed
    for allocation in reversed(list(line.allocations.values())):
        part = max(0, min(surplus, allocation.committed))
        allocation.committed -= part
        surplus -= part
        stock.move(allocation.level_id, Move(available=part, committed=-part))


def _take(line: _Line, stock: _Stock) -> None:
    missing = line.target.committed - line.committed
    if missing > 0 and line.variant is not None:
        places = [level for level in stock.near(line.variant) if level.location.is_active]
        for pick in take(missing, offers_of(places, [line.variant])):
            line.on(pick.level_id).committed += pick.quantity
            stock.move(pick.level_id, Move(available=-pick.quantity, committed=pick.quantity))
            missing -= pick.quantity
    line.commitment.quantity = line.target.committed
    line.commitment.backordered = max(0, missing)
    line.commitment.item_id = line.variant.item_id if line.variant else None
    if line.target.counted_before is None:
        line.commitment.counted_before = line.committed + line.gone


def _store(lines: Sequence[_Line]) -> None:
    allocations = [allocation for line in lines for allocation in line.allocations.values()]
    empty = [a.pk for a in allocations if a.pk and not a.committed and not a.gone]
    Allocation.objects.filter(pk__in=empty).delete()
    Allocation.objects.bulk_update(
        [a for a in allocations if a.pk and a.pk not in empty], ["committed", "gone"], batch_size=500
    )
    Allocation.objects.bulk_create([a for a in allocations if not a.pk and (a.committed or a.gone)])
    Commitment.objects.bulk_update(
        [line.commitment for line in lines],
        ["quantity", "backordered", "unplaced", "item", "counted_before", "counted_gross"],
        batch_size=500,
    )


def lock_with_levels(order_ids: Sequence[int]) -> dict[int, Order]:
    """Lock several orders by primary key, then the levels of all their items, as whoever locks one of them does."""
    rows = Order.objects.filter(pk__in=order_ids).select_for_update(of=("self",)).select_related("reservation")
    orders = {order.pk: order for order in rows.order_by("pk")}
    named = OrderLine.objects.filter(order_id__in=orders, variant_shopify_id__isnull=False)
    sold = Variant.objects.filter(shopify_id__in=named.values("variant_shopify_id"), item__isnull=False)
    lock_levels(item_id__in=list(sold.values_list("item_id", flat=True)))
    return orders


def counts_here(tenant_id: int) -> bool:
    """Is it we who count this tenant's stock?"""
    return authority_of(tenant_id) == Tenant.StockAuthority.SHOPSYNC
