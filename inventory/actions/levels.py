"""Levels: snapshots of Shopify's count, and the one statement that moves units of many levels."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from django.db import connection, transaction
from django.db.models import Sum
from django.utils import timezone

from audit.actions import Happening, Value, record, record_all
from config.infra import tenancy
from inventory.actions.authority import authority_of
from inventory.actions.products import ask_for_adoption, ensure_items
from inventory.models import STATES, InventoryItem, Location, Reservation, ReservationLine, StockLevel
from inventory.shopify import LevelSnapshot, parse_level
from shopsync.models import Tenant
from shopsync.shopify import Delivery


@transaction.atomic(savepoint=False)
def sync_level(*, delivery: Delivery) -> None:
    """Take a snapshot of a level: absolute, newest wins, one movement of the difference (written by the trigger).

    Where we count (stock_authority `shopsync`), it is a signal of drift: kept beside our own count, which stays.

    Raises: UnreadablePayloadError.
    """
    snapshot = parse_level(delivery)
    apply_snapshot(snapshot, reference=f"webhook_event:{delivery.id}")


def apply_snapshot(snapshot: LevelSnapshot, *, reference: str) -> None:
    """Write a snapshot if it is newer than what the level shows."""
    level = _lock_level(snapshot)
    if snapshot.version <= level.source_version:
        return  # stale or repeated: a newer snapshot is already here
    level.source_version = snapshot.version
    level.mirrored_available, level.mirrored_at = snapshot.available, snapshot.taken_at
    level.updated_at = timezone.now()
    changed = ["source_version", "mirrored_available", "mirrored_at", "updated_at"]
    if authority_of(level.tenant_id) == Tenant.StockAuthority.SHOPIFY:
        was = level.sellable
        changed += _mirror(level, snapshot, reference=reference)
        level.save(update_fields=changed)
        note_increase(level, was=was)
        return
    if level.available is None and snapshot.available is not None:
        changed += _begin_count(level, snapshot.available, snapshot, reference=reference)
    level.save(update_fields=changed)
    if snapshot.available != level.available:
        data = {"ours": level.available, "shopify": snapshot.available}
        record(name="stock.differed", subject=f"level:{level.pk}", actor="shopify", data=data)


def _mirror(level: StockLevel, snapshot: LevelSnapshot, *, reference: str) -> list[str]:
    """Let the level show what Shopify counts, in each state that it told; return the columns that change."""
    explain_movements(reason="snapshot", reference=reference, actor="shopify")
    level.held -= _settle_committed(level, counted_at=snapshot.taken_at)
    level.available = snapshot.available
    told = {state: units for state, units in snapshot.states.items() if state in STATES}
    for state, units in told.items():
        setattr(level, state, units)
    return ["available", "held", *told]


def _begin_count(level: StockLevel, available: int, snapshot: LevelSnapshot, *, reference: str) -> list[str]:
    """Let our count begin with the first that we hear of a level; return the columns that change.

    What was sold from it while it was untracked is owed from it: Shopify's count has the units of its own orders off,
    and those that orders of ours may wait for, which it does not know, come off as well.
    """
    explain_movements(reason="first_seen", reference=reference, actor="shopify")
    first = InventoryItem.objects.filter(pk=level.item_id, counted_at__isnull=True)
    if first.update(counted_at=snapshot.taken_at):
        ask_for_adoption([level.item_id])
    level.committed = level.committed or 0
    level.available = available - _sold_beside(level)
    level.on_hand = level.available + level.committed
    data = {"item_id": level.item_id, "location_id": level.location_id, "was": None, "sellable": level.sellable}
    record(name="stock.increased", subject=f"level:{level.pk}", actor="shopify", data=data)
    return ["available", "on_hand", "committed"]


def _sold_beside(level: StockLevel) -> int:
    """Say how many units at most orders of ours, which Shopify does not know, wait for from a level."""
    if not level.committed:
        return 0
    sold = ReservationLine.objects.filter(
        level=level, reservation__is_of_order=True, reservation__status=Reservation.Status.COMMITTED
    )
    return min(level.committed, sold.aggregate(units=Sum("quantity"))["units"] or 0)


def _settle_committed(level: StockLevel, *, counted_at: datetime) -> int:
    """End the holds of sales that Shopify has counted by now; return how many units they held."""
    lines = ReservationLine.objects.filter(
        level=level,
        held__gt=0,
        reservation__status=Reservation.Status.COMMITTED,
        reservation__settles_by=Reservation.SettlesBy.SNAPSHOT,
        reservation__ended_at__lt=counted_at,
    )
    held = dict(lines.select_for_update().order_by("pk").values_list("pk", "held"))
    ReservationLine.objects.filter(pk__in=held).update(held=0)
    return sum(held.values())


def _lock_level(snapshot: LevelSnapshot) -> StockLevel:
    tenant_id = tenancy.current_tenant_id()
    item = ensure_items({snapshot.item_shopify_id})[snapshot.item_shopify_id]
    Location.objects.bulk_create(
        [Location(tenant_id=tenant_id, shopify_id=snapshot.location_shopify_id)], ignore_conflicts=True
    )
    location = Location.objects.get(shopify_id=snapshot.location_shopify_id)
    authority_of(tenant_id)
    explain_movements(reason="first_seen", reference="", actor="shopify")
    StockLevel.objects.bulk_create(
        [StockLevel(tenant_id=tenant_id, item=item, location=location)], ignore_conflicts=True
    )
    return StockLevel.objects.select_for_update().get(item=item, location=location)


def explain_movements(*, reason: str, reference: str, actor: str) -> None:
    """Tell the ledger's trigger why levels change for the rest of this transaction."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT set_config('shopsync.movement_reason', %s, true),"
            " set_config('shopsync.movement_reference', %s, true), set_config('shopsync.movement_actor', %s, true)",
            [reason, reference[:160], actor[:120]],
        )


@dataclass(frozen=True, slots=True)
class Move:
    """How many units a level's states gain (negative: lose)."""

    available: int = 0
    held: int = 0
    committed: int = 0
    on_hand: int = 0
    incoming: int = 0

    def __add__(self, other: Move) -> Move:
        return Move(
            self.available + other.available,
            self.held + other.held,
            self.committed + other.committed,
            self.on_hand + other.on_hand,
            self.incoming + other.incoming,
        )


# A state that is untracked stays so: null plus anything is null. What is sold and not sent is counted all the same, so
# that it is what the orders take, whenever the level begins to be counted.
_MOVE = """
UPDATE inventory_stocklevel AS l SET available = l.available + d.available, held = l.held + d.held,
    committed = CASE WHEN d.committed = 0 THEN l.committed ELSE coalesce(l.committed, 0) + d.committed END,
    on_hand = l.on_hand + d.on_hand, incoming = l.incoming + d.incoming, updated_at = clock_timestamp()
FROM unnest(%s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[])
     AS d(id, available, held, committed, on_hand, incoming)
WHERE l.id = d.id AND l.tenant_id = %s"""


def move_units(moves: Mapping[int, Move]) -> None:
    """Move units of levels that this transaction has locked, all in one statement; the trigger writes the ledger.

    Raises: IntegrityError naming stocklevel_holds_no_more_than_available and its like when it would oversell.
    """
    ids = [level_id for level_id, move in moves.items() if move != Move()]
    if not ids:
        return
    states = ("available", "held", "committed", "on_hand", "incoming")
    columns = [[getattr(moves[level_id], state) for level_id in ids] for state in states]
    with connection.cursor() as cursor:
        cursor.execute(_MOVE, [ids, *columns, tenancy.current_tenant_id()])
        if cursor.rowcount != len(ids):
            raise LookupError(f"{len(ids)} levels were to be moved, {cursor.rowcount} are this tenant's")


def lock_levels(**conditions: object) -> list[StockLevel]:
    """Lock who counts them, then levels in primary-key order: the order that everybody locks them in."""
    authority_of(tenancy.current_tenant_id())
    rows = StockLevel.objects.filter(**conditions).select_related("location").select_for_update(of=("self",))
    return list(rows.order_by("pk"))


def note_increase(level: StockLevel, *, was: int | None, fills_backorders: bool = False) -> None:
    """Record that a level can be sold from again, and, where we count, that backorders may be filled from it."""
    note_increases([(level, was)], fills_backorders=fills_backorders)


def note_increases(levels: Iterable[tuple[StockLevel, int | None]], *, fills_backorders: bool = False) -> None:
    """Do so of several levels, each with what could be sold from it before."""
    again: list[Happening] = []
    more: list[Happening] = []
    for level, was in levels:
        now = level.sellable
        if now is None or now <= 0 or (was is not None and now <= was):
            continue
        data: dict[str, Value] = {"item_id": level.item_id, "location_id": level.location_id, "was": was}
        happening = Happening(f"level:{level.pk}", {**data, "sellable": now})
        more.append(happening)
        if was is not None and was <= 0:
            again.append(happening)
    record_all(name="stock.replenished", actor="system", happenings=again)
    if fills_backorders:
        record_all(name="stock.increased", actor="system", happenings=more)
