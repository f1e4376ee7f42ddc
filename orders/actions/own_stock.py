"""The stock of our own orders: held until they are paid, then sold, and given back as far as they are cancelled."""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime

from django.db import transaction

from audit.actions import Event, record
from config.infra.transactions import retrying_atomic
from inventory.actions import order_holds, reservations
from inventory.actions.reservations import InsufficientStock, Request, ReservationEnded, Wanted
from inventory.models import Reservation, Variant
from inventory.rules import Destination, Pick
from orders.actions.stock import counts_here, set_stock
from orders.models import Allocation, Commitment, Order, OrderLine
from orders.rules import StockTarget
from shopsync.actions.alerts import close_alert, raise_alert

State = Order.StockState
UNALLOCATED = "order.paid_unallocated"


def sell_stock(order: Order, *, actor: str, now: datetime) -> bool:
    """Turn what a locked order holds into a sale; when its time is up, reserve anew.

    Where nothing is left the order is paid_unallocated, an alert says so, and False is returned.
    """
    lines = list(OrderLine.objects.filter(order=order).order_by("pk"))
    if order.stock_state == State.COMMITTED or not any(line.unsent_quantity for line in lines):
        return True  # sold already, when it was sent before it was paid; or nothing is left to sell
    if counts_here(order.tenant_id) and any(_target(line).gone for line in lines):
        follow_lines(order, actor=actor, now=now)  # units lost while Shopify counted are held still, and not for sale
        order.refresh_from_db(fields=["reservation"])
    try:
        sold = _commit(order, actor=actor, now=now)
    except ReservationEnded:
        try:
            with transaction.atomic():
                reserve_anew(order, actor=actor, now=now)
                sold = _commit(order, actor=actor, now=now)
        except InsufficientStock as error:
            _note_unallocated(order, str(error))
            return False
    if counts_here(order.tenant_id):
        _allocate(lines, sold, {line.pk: line.unsent_quantity for line in lines})
    order.stock_state = State.COMMITTED
    order.save(update_fields=["stock_state"])
    close_alert(kind=UNALLOCATED, subject=f"order:{order.pk}")
    return True


def _commit(order: Order, *, actor: str, now: datetime) -> Sequence[Pick]:
    assert order.reservation_id is not None  # order_holds_stock_through_its_reservation
    return reservations.commit(reservation_id=order.reservation_id, actor=actor, now=now, for_order=True).picks


def reserve_anew(order: Order, *, actor: str, now: datetime) -> None:
    """Give a locked order that lost its units others, as many as wait to be sent.

    Raises: InsufficientStock.
    """
    lines = OrderLine.objects.filter(order=order).order_by("pk")
    wanted = tuple(
        Wanted(line.variant_id, line.unsent_quantity) for line in lines if line.variant_id and line.unsent_quantity
    )
    request = Request(lines=wanted, destination=Destination(country=order.country), reference=f"order:{order.pk}")
    order.reservation, _ = reservations.reserve(
        request=request, idempotency_key=f"order:{uuid.uuid4()}", actor=actor, now=now
    )
    Reservation.objects.filter(pk=order.reservation.pk).update(is_of_order=True)
    order.stock_state = State.RESERVED
    order.save(update_fields=["reservation", "stock_state"])


def _note_unallocated(order: Order, why: str) -> None:
    Order.objects.filter(pk=order.pk).update(stock_state=State.PAID_UNALLOCATED)
    order.refresh_from_db(fields=["stock_state", "reservation"])
    record(name="order.left_unallocated", subject=f"order:{order.pk}", actor="system")
    message = f"Order {order} is paid, its reservation had expired, and the units are gone. {why}"
    raise_alert(kind=UNALLOCATED, subject=f"order:{order.pk}", message=message[:500], severity="critical")


def _allocate(lines: Sequence[OrderLine], picks: Sequence[Pick], wanted: Mapping[int, int]) -> None:
    """Say of each line which level its sold units come from, as many as it wants; lines may share a variant.

    What none of them wants any more goes to the last that could have had it, so that it is an order's to give back.
    """
    left = {index: pick.quantity for index, pick in enumerate(picks)}
    taken: dict[tuple[int, int], int] = defaultdict(int)
    for line in lines:
        missing = wanted[line.pk]
        for index, pick in enumerate(picks):
            part = min(missing, left[index]) if pick.variant_id == line.variant_id else 0
            taken[line.pk, pick.level_id] += part
            left[index] -= part
            missing -= part
    last = {line.variant_id: line.pk for line in lines}
    for index, pick in enumerate(picks):
        taken[last[pick.variant_id], pick.level_id] += left[index]
    commitments = dict(Commitment.objects.filter(line__in=lines).values_list("line_id", "pk"))
    rows = Allocation.objects.filter(commitment_id__in=commitments.values())
    there = {(row.commitment_id, row.level_id): row for row in rows}
    new: list[Allocation] = []
    for (line_id, level_id), quantity in taken.items():
        if row := there.get((commitments[line_id], level_id)):
            row.committed += quantity
        elif quantity:
            new.append(Allocation(commitment_id=commitments[line_id], level_id=level_id, committed=quantity, gone=0))
    Allocation.objects.bulk_update(there.values(), ["committed"], batch_size=500)
    Allocation.objects.bulk_create(new)


def follow_lines(order: Order, *, actor: str, now: datetime) -> None:
    """Bring a locked order's units to what its lines say since some were sent, cancelled or returned."""
    lines = list(OrderLine.objects.filter(order=order).select_related("variant", "commitment").order_by("pk"))
    if order.stock_state == State.COMMITTED and counts_here(order.tenant_id):
        set_stock(order, _targets(order, lines, actor=actor), actor=actor)
        return
    freed: Sequence[Pick] = ()
    if holds_stock(order) and order.reservation_id is not None:
        freed = _shrink(order, lines, actor=actor, now=now)
    if counts_here(order.tenant_id):
        _let_go(order, lines, freed, actor=actor)
    for line in lines:
        line.commitment.quantity = line.unsent_quantity
    Commitment.objects.bulk_update([line.commitment for line in lines], ["quantity"])
    if order.is_cancelled:
        close_alert(kind=UNALLOCATED, subject=f"order:{order.pk}")
        Order.objects.filter(pk=order.pk).exclude(stock_state=State.COMMITTED).update(stock_state=State.RELEASED)


def adopt_hold(order: Order, *, actor: str) -> None:
    """Let a locked, sold order that Shopify's count did not know take its units in our count, now that we count."""
    lines = list(OrderLine.objects.filter(order=order).select_related("variant", "commitment").order_by("pk"))
    set_stock(order, _targets(order, lines, actor=actor), actor=actor)


def _targets(
    order: Order, lines: Sequence[OrderLine], *, actor: str
) -> list[tuple[OrderLine, Variant | None, StockTarget]]:
    """Say what the lines of a sold order are to have, where we count.

    What is still held from when Shopify counted becomes units of its lines first.
    """
    reservation = order.reservation
    if reservation is not None and reservation.settles_by == Reservation.SettlesBy.ORDER:
        picks = order_holds.sell_held(reservation_id=reservation.pk, actor=actor)
        _allocate(lines, picks, _held_beside(lines))
    return [(line, line.variant, _target(line)) for line in lines]


def _held_beside(lines: Sequence[OrderLine]) -> dict[int, int]:
    """Say how many units of each line are to be held beside Shopify's count, which knows nothing of the order.

    Those that wait to be sent, and those that have left and are counted still. What came back and is not counted again
    may go to others, but not in the place of what waits.
    """
    counted = counted_still(lines)
    return {line.pk: line.unsent_quantity + max(0, counted[line.pk]) for line in lines}


def counted_still(lines: Sequence[OrderLine]) -> dict[int, int]:
    """Say, by line id, how many units have left that Shopify's count has still; below 0: back, and not counted yet.

    What had left when its count began lay on no shelf that it counted, nor does what a person says is off it.
    """
    rows = Allocation.objects.filter(commitment__line__in=lines).values_list("commitment__line_id", "gone")
    left: dict[int, int] = defaultdict(int)
    for line_id, gone in rows:
        left[line_id] += gone
    return {line.pk: _target(line).gone - left[line.pk] for line in lines}


def holds_stock(order: Order) -> bool:
    """Are units held or sold for it, so that they can be lost with it?"""
    if order.stock_state == State.RESERVED and order.reservation is not None:
        return order.reservation.status == Reservation.Status.ACTIVE
    return order.stock_state == State.COMMITTED


def _shrink(order: Order, lines: Sequence[OrderLine], *, actor: str, now: datetime) -> list[Pick]:
    """Hold no more than the lines still ask for; return what is not held any more.

    Units that have left, or are not put back, are off the shelf: where we count, the count says so; where Shopify does,
    which knows nothing of it, they stay held.
    """
    is_ours = counts_here(order.tenant_id)
    wanted = {line.pk: line.unsent_quantity for line in lines} if is_ours else _held_beside(lines)
    kept: dict[int, int] = defaultdict(int)
    for line in lines:
        if line.variant_id is not None:
            kept[line.variant_id] += wanted[line.pk]
    assert order.reservation_id is not None
    return order_holds.shrink(reservation_id=order.reservation_id, kept=kept, actor=actor, now=now)


def _let_go(order: Order, lines: Sequence[OrderLine], freed: Sequence[Pick], *, actor: str) -> None:
    """Take what has left off our count, of an order whose units are not sold: it has left all the same.

    It leaves the levels that held it, as far as it was `freed` just now.
    """
    targets = [(line, line.variant, StockTarget(committed=0, gone=_target(line).gone)) for line in lines]
    if any(target.gone for _, _, target in targets) or Allocation.objects.filter(commitment__line__in=lines).exists():
        set_stock(order, targets, freed=freed, actor=actor)


def _target(line: OrderLine) -> StockTarget:
    gone = line.sent_quantity - line.returned_quantity + line.lost_quantity
    return StockTarget(committed=line.unsent_quantity, gone=gone)


@retrying_atomic
def note_expired(*, event: Event) -> None:
    """Say of the order whose reservation expired that nothing is held for it: the subscriber of reservation.expired."""
    reservation_id = int(event.subject.partition(":")[2])
    order = Order.objects.select_for_update().filter(reservation_id=reservation_id, stock_state=State.RESERVED).first()
    if order is not None:
        Order.objects.filter(pk=order.pk).update(stock_state=State.UNALLOCATED)
        record(name="order.reservation_lost", subject=f"order:{order.pk}", actor="system")
