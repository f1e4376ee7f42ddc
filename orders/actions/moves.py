"""What people and payments do to our orders: pay, hold, cancel, allocate, note. Shopify's are changed in Shopify."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from audit.actions import Value, record
from config.infra.transactions import retrying_atomic
from orders.actions.dues import by_hand_amount
from orders.actions.own_stock import follow_lines, holds_stock, sell_stock
from orders.models import Order, OrderLine
from orders.money import Amounts, PricedLine, amounts_of
from orders.rules import IllegalMove, ensure_move, fulfillment_of
from shopsync.actions.alerts import close_alert, raise_alert

State = Order.StockState
PAID_AFTER_CANCELLED = "order.paid_after_cancelled"
CANCEL_REASONS = ("customer", "fraud", "inventory", "declined", "staff", "other")


class OrderError(Exception):
    """An order can't be placed or moved as asked; the message says what to do instead. `field` names what is wrong."""

    def __init__(self, message: str, *, field: str = "") -> None:
        super().__init__(message)
        self.field = field


class ShopifysOrder(OrderError):  # noqa: N818
    """Shopify's orders are changed in Shopify, which then tells us."""

    def __init__(self) -> None:
        super().__init__("This order is Shopify's: change it there, and it will change here.")


class TooMany(OrderError):  # noqa: N818
    """More units were named than the line has left for this."""


class UnknownLine(OrderError):  # noqa: N818
    """A line was named that the order does not have."""


def lock_order(order_id: int) -> Order:
    """Lock an order of the tenant in scope: the first lock that anybody takes.

    Raises: Order.DoesNotExist.
    """
    return Order.objects.select_for_update().get(pk=order_id)


def lock_own(order_id: int) -> Order:
    """Lock an order that is ours to change.

    Raises: Order.DoesNotExist, ShopifysOrder.
    """
    order = lock_order(order_id)
    if order.source != Order.Source.API:
        raise ShopifysOrder
    return order


def life_of(order: Order) -> str:
    """Say where an order stands, in the words of rules.LIFE_MOVES."""
    if order.is_cancelled:
        return "cancelled"
    if order.held_at is not None:
        return "on_hold"
    return "closed" if order.closed_at is not None else "open"


@retrying_atomic
def mark_paid(*, order_id: int, actor: str, now: datetime) -> Order:
    """Note that an order of ours is paid in full, and sell its units.

    Raises: Order.DoesNotExist, ShopifysOrder, IllegalMove.
    """
    order = lock_own(order_id)
    ensure_move("money", order.financial_status, "paid")
    pay(order=order, actor=actor, now=now, by_hand=by_hand_amount(order))
    return order


def pay(*, order: Order, actor: str, now: datetime, by_hand: Decimal = Decimal(0)) -> None:
    """Move a locked order of ours to paid: order.paid once; its units are sold, reserved anew, or missing.

    by_hand: what of it no gateway brought. One that was cancelled sells nothing: an alert asks for its refund. Whoever
    calls has decided that it may be.
    """
    order.financial_status, order.paid_at, order.updated_at = "paid", order.paid_at or now, now
    order.paid_by_hand_amount += by_hand
    order.save(update_fields=["financial_status", "paid_at", "updated_at", "paid_by_hand_amount"])
    record(name="order.paid", subject=f"order:{order.pk}", actor=actor, once_key=f"order.paid:{order.pk}")
    if order.is_cancelled:
        message = f"{order} was cancelled, and then it was paid in full: refund the buyer."
        raise_alert(kind=PAID_AFTER_CANCELLED, subject=f"order:{order.pk}", message=message, severity="critical")
    else:
        sell_stock(order, actor=actor, now=now)


def note_refunded(order: Order) -> None:
    """Close what asked for an order's refund, once all of its money was given back."""
    if order.financial_status == "refunded":
        close_alert(kind=PAID_AFTER_CANCELLED, subject=f"order:{order.pk}")


@retrying_atomic
def allocate(*, order_id: int, actor: str, now: datetime) -> Order:
    """Try again to find the units of a paid order that has none.

    Raises: Order.DoesNotExist, ShopifysOrder, OrderError when it is not paid_unallocated, or there is still too little.
    """
    order = lock_own(order_id)
    if order.stock_state != State.PAID_UNALLOCATED:
        raise OrderError(f"The order's stock is {order.stock_state}: there is nothing to allocate.")
    if not sell_stock(order, actor=actor, now=now):
        raise OrderError("There is still not enough stock; receive some, or refund the order.")
    record(name="order.allocated", subject=f"order:{order.pk}", actor=actor)
    return order


@retrying_atomic
def cancel_order(*, order_id: int, reason: str, restock: bool, actor: str, now: datetime) -> Order:
    """Cancel an order of ours of which nothing was sent; its units go back once, or not at all if not asked to.

    Raises: Order.DoesNotExist, ShopifysOrder, IllegalMove when it was cancelled, closed or (partly) sent already.
    """
    order = lock_own(order_id)
    ensure_move("life", life_of(order), "cancelled")
    if order.fulfillment_status != "unfulfilled":
        raise IllegalMove("fulfilment", order.fulfillment_status, "cancelled")
    lines = list(OrderLine.objects.filter(order=order).order_by("pk"))
    for line in lines:
        _take_off(line, line.unsent_quantity, restock=restock or not holds_stock(order))
    order.cancelled_at, order.cancel_reason, order.fulfillment_status = now, reason[:30], "restocked"
    if order.financial_status in {"pending", "authorized", "expired"}:
        order.financial_status = "voided"
    _store(order, lines, now)
    follow_lines(order, actor=actor, now=now)
    data: dict[str, Value] = {"reason": reason, "restock": restock}
    once = f"order.cancelled:{order.pk}"
    record(name="order.cancelled", subject=f"order:{order.pk}", actor=actor, data=data, once_key=once)
    order.refresh_from_db()
    return order


@retrying_atomic
def cancel_lines(*, order_id: int, quantities: Mapping[int, int], restock: bool, actor: str, now: datetime) -> Order:
    """Take units that were not sent off an order of ours; by line id. To take off all there are is to cancel it.

    Raises: Order.DoesNotExist, ShopifysOrder, IllegalMove, TooMany, UnknownLine.
    """
    order = lock_own(order_id)
    ensure_move("life", life_of(order), "cancelled")
    lines = lines_of(order, quantities)
    if _is_all_of_it(order, quantities):
        return cancel_order(order_id=order_id, reason="other", restock=restock, actor=actor, now=now)
    for line in lines:
        if quantities[line.pk] > line.unsent_quantity:
            raise TooMany(f"Line {line.pk} has {line.unsent_quantity} units left that were not sent.", field="lines")
        _take_off(line, quantities[line.pk], restock=restock or not holds_stock(order))
    _store(order, lines, now)
    order.fulfillment_status = name_fulfillment(order)
    order.save(update_fields=["fulfillment_status"])
    follow_lines(order, actor=actor, now=now)
    data: dict[str, Value] = {"units": sum(quantities.values()), "restock": restock}
    record(name="order.lines_cancelled", subject=f"order:{order.pk}", actor=actor, data=data)
    return order


def _is_all_of_it(order: Order, quantities: Mapping[int, int]) -> bool:
    """Are these all the units of an order of which nothing was sent?"""
    lines = OrderLine.objects.filter(order=order)
    is_unsent = order.fulfillment_status == "unfulfilled"
    return is_unsent and all(quantities.get(line.pk, 0) == line.unsent_quantity for line in lines)


def lines_of(order: Order, quantities: Mapping[int, int]) -> list[OrderLine]:
    """Find the lines named, of this order and no other.

    Raises: UnknownLine.
    """
    lines = list(OrderLine.objects.filter(order=order, pk__in=quantities).order_by("pk"))
    if unknown := sorted(set(quantities) - {line.pk for line in lines}):
        raise UnknownLine(f"The order has no line {unknown[0]}.", field="lines")
    return lines


def _take_off(line: OrderLine, quantity: int, *, restock: bool) -> None:
    line.current_quantity -= quantity
    if restock:
        line.cancelled_quantity += quantity
    else:
        line.lost_quantity += quantity


def _store(order: Order, lines: list[OrderLine], now: datetime) -> None:
    """Write the lines, and the order with its current amounts."""
    store_lines(lines)
    recount(order)
    order.updated_at = now
    order.save()


def store_lines(lines: list[OrderLine]) -> None:
    """Write what became of lines' units."""
    OrderLine.objects.bulk_update(
        lines,
        [
            *("current_quantity", "sent_quantity", "cancelled_quantity"),
            *("lost_quantity", "refunded_quantity", "returned_quantity"),
        ],
    )


def recount(order: Order) -> None:
    """Let the current amounts of an order of ours follow its lines; what was placed stays as it was."""
    amounts = amounts_now(order, list(OrderLine.objects.filter(order=order)))
    order.current_subtotal_amount, order.current_discount_amount = amounts.subtotal, amounts.discount
    order.current_tax_amount, order.current_total_amount = amounts.tax, amounts.total


def amounts_now(order: Order, lines: Sequence[OrderLine]) -> Amounts:
    """Say what an order of ours costs with the units that its lines have now."""
    priced = [
        PricedLine(
            price=line.price_amount,
            quantity=line.quantity,
            units=line.current_quantity,
            discount=line.discount_amount,
            tax=line.tax_amount,
        )
        for line in lines
    ]
    shipping = order.shipping_amount if not order.is_cancelled else Decimal(0)
    return amounts_of(priced, shipping=shipping, currency=order.currency)


def name_fulfillment(order: Order) -> str:
    """Name how far an order of ours is sent."""
    lines = OrderLine.objects.filter(order=order)
    sent = {line.pk: (line.current_quantity, line.sent_quantity - line.refunded_quantity) for line in lines}
    return fulfillment_of(sent)


@retrying_atomic
def hold_order(*, order_id: int, reason: str, actor: str, now: datetime) -> Order:
    """Keep an order from being worked on, with a reason; any order, Shopify's too: the hold is ours.

    Raises: Order.DoesNotExist, IllegalMove.
    """
    order = lock_order(order_id)
    ensure_move("life", life_of(order), "on_hold")
    order.held_at, order.hold_reason = now, reason
    order.save(update_fields=["held_at", "hold_reason"])
    record(name="order.held", subject=f"order:{order.pk}", actor=actor)
    return order


@retrying_atomic
def unhold_order(*, order_id: int, actor: str) -> Order:
    """Let a held order go on.

    Raises: Order.DoesNotExist, IllegalMove.
    """
    order = lock_order(order_id)
    if order.held_at is None:  # one that was cancelled meanwhile may be held still
        ensure_move("life", life_of(order), "open")
    order.held_at, order.hold_reason = None, ""
    order.save(update_fields=["held_at", "hold_reason"])
    record(name="order.unheld", subject=f"order:{order.pk}", actor=actor)
    return order


@retrying_atomic
def note_order(*, order_id: int, values: Mapping[str, Any], actor: str) -> Order:
    """Change our own tags and note of an order: staff_tags, staff_note.

    Raises: Order.DoesNotExist.
    """
    order = lock_order(order_id)
    changed = sorted(set(values) & {"staff_tags", "staff_note"})
    for name in changed:
        setattr(order, name, values[name])
    order.save(update_fields=changed)
    record(name="order.noted", subject=f"order:{order.pk}", actor=actor, data={"fields": changed})
    return order
