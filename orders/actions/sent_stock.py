"""Units of our own orders that were sent while Shopify counts: held beside its count until it is told without them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime

from audit.actions import Value, record
from config.infra.transactions import retrying_atomic
from inventory.actions.reservations import lock_reservation
from orders.actions.moves import OrderError, lock_own
from orders.actions.own_stock import counted_still, follow_lines, holds_stock
from orders.actions.stock import counts_here
from orders.models import Allocation, Commitment, Order, OrderLine


class NothingHeld(OrderError):  # noqa: N818  (the API's words)
    """No unit of the order that was sent is held beside Shopify's count."""


@retrying_atomic
def note_counted(*, order_id: int, actor: str, now: datetime) -> Order:
    """Take a person's word that Shopify's count no longer has what was sent of an order of ours: it is held no more.

    Shopify knows nothing of the order, so nothing that it says tells when that is so. Units that are returned later lie
    beside its count again, until it is corrected and this is said once more.

    Raises: Order.DoesNotExist, ShopifysOrder, NothingHeld.
    """
    order = lock_own(order_id)
    if counts_here(order.tenant_id):
        raise NothingHeld("We count: what is sent leaves the count at once.")
    if order.reservation_id is None or not holds_stock(order):
        raise NothingHeld("The order holds nothing.")
    held: dict[int | None, dict[int, int]] = defaultdict(dict)
    for row in lock_reservation(order.reservation_id).lines:
        held[row.variant_id][row.level_id] = row.held + row.pushed
    lines = list(OrderLine.objects.filter(order=order).select_related("variant", "commitment").order_by("pk"))
    moved = _move_to_gone(lines, held)
    if not moved:
        raise NothingHeld("Nothing that was sent of the order is held beside Shopify's count.")
    follow_lines(order, actor=actor, now=now)
    data: dict[str, Value] = {"units": moved}
    record(name="order.counted", subject=f"order:{order.pk}", actor=actor, data=data)
    return order


def _move_to_gone(lines: Sequence[OrderLine], held: Mapping[int | None, dict[int, int]]) -> int:
    """Write of each line that as many units lie on no shelf that Shopify counts as have left; return how many changed.

    held: units by variant and level, from which they left as far as that goes.
    """
    counted, changed = counted_still(lines), 0
    for line in lines:
        missing = counted[line.pk]
        changed += abs(missing)
        levels = held.get(line.variant_id, {})
        for level_id in list(levels):
            part = min(missing, levels[level_id]) if missing > 0 else 0
            levels[level_id] -= part
            missing -= part
            _add_gone(line.commitment, level_id, part)
        for row in line.commitment.allocations.order_by("pk") if missing < 0 else ():  # it came back
            part = min(-missing, row.gone)
            missing += part
            _add_gone(line.commitment, row.level_id, -part)
    return changed


def _add_gone(commitment: Commitment, level_id: int, units: int) -> None:
    if units:
        row, _ = Allocation.objects.get_or_create(commitment=commitment, level_id=level_id)
        row.gone += units
        row.save(update_fields=["gone"])
