"""Refunds of our own orders: money back, and units by where they go, once per refund line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from audit.actions import Value, record
from config.infra.transactions import retrying_atomic
from orders.actions.dues import CAME_BACK, left_to_refund, prices_of, refund_key, refunded_by_hand
from orders.actions.gateway_refunds import RefundRequest, has_lost, refundable_amount, request_refund
from orders.actions.moves import (
    OrderError,
    TooMany,
    amounts_now,
    lines_of,
    lock_own,
    name_fulfillment,
    note_refunded,
    recount,
    store_lines,
)
from orders.actions.own_stock import follow_lines, holds_stock
from orders.models import GatewayRefund, Order, OrderLine, Payment, Refund, RefundLine
from orders.rules import IllegalMove, ensure_move
from shopsync.money import coarseness_of, format_amount, round_amount, unit_of

Restock = RefundLine.RestockType


class RefundTooLarge(OrderError):  # noqa: N818
    """More money than the order has left to give back."""


class AmountTooFine(OrderError):  # noqa: N818
    """An amount that is finer than the currency, here or where it was charged, can be paid in."""


@dataclass(frozen=True, slots=True)
class Back:
    """Units of a line to refund. cancel: not sent, put back; return: sent, put back; no_restock: neither."""

    line_id: int
    quantity: int
    restock_type: str = Restock.NO_RESTOCK


@retrying_atomic
def refund_order(
    *,
    order_id: int,
    backs: Sequence[Back],
    amount: Decimal | None,
    note: str,
    actor: str,
    now: datetime,
) -> Refund:
    """Refund units and money of a paid order of ours; without an amount, what the units cost.

    An amount below that keeps the rest on purpose: a restocking fee (`dues.kept_amount`).

    Raises: Order.DoesNotExist, ShopifysOrder, IllegalMove, TooMany, UnknownLine, RefundTooLarge, AmountTooFine.
    """
    order = lock_own(order_id)
    if amount is not None:
        _ensure_not_too_fine(amount, order.currency)
    lines = {line.pk: line for line in lines_of(order, {back.line_id: back.quantity for back in backs})}
    worth = _worths(order, backs)
    asked = sum(worth.values(), Decimal(0)) if amount is None else amount
    target = _target(order, asked, has_units=bool(backs))
    by_hand = order.paid_by_hand_amount - refunded_by_hand(order)
    refund = Refund(order=order, amount=asked, currency=order.currency, note=note, refunded_at=now, source_version="")
    refund.save()
    _write_lines(refund, lines, backs=backs, worth=worth)
    if not _give_back_through_gateway(order, refund, by_hand=by_hand, is_last=target == "refunded", actor=actor):
        order.financial_status = target  # else the gateway's word decides, once the money has moved
    order.updated_at = now
    store_lines(list(lines.values()))
    recount(order)
    order.save()
    order.fulfillment_status = name_fulfillment(order)
    order.save(update_fields=["fulfillment_status"])
    follow_lines(order, actor=actor, now=now)
    data: dict[str, Value] = {"refund": refund.pk, "units": sum(back.quantity for back in backs)}
    note_refunded(order)
    record(name="order.refunded", subject=f"order:{order.pk}", actor=actor, data=data)
    return refund


def _target(order: Order, asked: Decimal, *, has_units: bool) -> str:
    """Say where a refund moves an order's money; units that come back without money move none of it, nor does money
    that came too late for an order that was cancelled, and voided.

    Raises: RefundTooLarge, IllegalMove.
    """
    if not asked and has_units and order.is_paid:
        stays: str = order.financial_status
        return stays
    if order.financial_status == "refunded":
        raise IllegalMove("money", "refunded", "refunded")
    left = left_to_refund(order)
    target = "refunded" if asked == left else "partially_refunded"
    if order.is_cancelled and order.financial_status == "voided" and left:
        target = "voided"
    if target != order.financial_status:
        ensure_move("money", order.financial_status, target)
    if asked > left:
        raise RefundTooLarge(_describe_too_large(order, asked, left), field="amount")
    return target


def _describe_too_large(order: Order, asked: Decimal, left: Decimal) -> str:
    was, can = (format_amount(amount, order.currency) for amount in (asked, left))
    return f"{was} {order.currency} were asked for, and {can} {order.currency} of the order can be given back."


def _ensure_not_too_fine(amount: Decimal, currency: str) -> None:
    if amount != round_amount(amount, currency):
        raise AmountTooFine(f"{coarseness_of(currency)} {amount} is finer.", field="amount")


def _give_back_through_gateway(order: Order, refund: Refund, *, by_hand: Decimal, is_last: bool, actor: str) -> bool:
    """Queue the money's way back through the gateway that charged, in the currency that it charged; say whether there
    is one: the first payment with enough left, of which no dispute is open if possible. by_hand: what of the order was
    paid by hand, and is not given back; it goes back like that. is_last: is nothing of the order's left after this?

    Raises: RefundTooLarge when no payment of the order has that much left; AmountTooFine when it is nothing in the
    currency that was charged, and something is left that it could go back with.
    """
    if not refund.amount:
        return False
    payments = list(Payment.objects.filter(order=order, amount_captured__gt=0).order_by("pk"))
    payments.sort(key=lambda payment: payment.status == Payment.Status.DISPUTED)  # what is disputed may be lost
    amounts = {order.presentment_currency: _shown(order, refund), order.currency: refund.amount}
    for payment in payments:
        amount = amounts.get(payment.currency)
        if amount == 0 and is_last:
            return False  # what went back before was rounded up by as much
        if amount == 0:
            least = f"{unit_of(payment.currency)} {payment.currency}"
            sentence = (
                f"The buyer paid in {payment.currency}, and this is less than half of {least}; refund more at once."
            )
            raise AmountTooFine(sentence, field="amount")
        if amount is not None and refundable_amount(payment=payment) >= amount:
            request = RefundRequest(payment_id=payment.pk, amount=amount, currency=payment.currency)
            request_refund(request=request, idempotency_key=refund_key(refund), actor=actor)
            return True
    if by_hand >= refund.amount:
        return False
    why = ": of one a dispute is lost, and the buyer has the money" if any(map(has_lost, payments)) else ""
    sentence = f"No payment of the order has that much left{why}; refund it in parts, or its payments one by one."
    raise RefundTooLarge(sentence, field="amount")


def _shown(order: Order, refund: Refund) -> Decimal:
    """Say what a refund is in the buyer's currency: rounded so that all refunds together are what they are at once."""
    rows = GatewayRefund.objects.filter(payment__order=order, currency=order.presentment_currency)
    given = dict(rows.exclude(status__in=CAME_BACK).values_list("idempotency_key", "amount"))
    before = {refund_key(one): one.amount for one in Refund.objects.filter(order=order)}
    earlier = before.keys() & given.keys()
    amount = sum((before[key] for key in earlier), refund.amount)
    return prices_of(order).show(amount) - sum((given[key] for key in earlier), Decimal())


def _worths(order: Order, backs: Sequence[Back]) -> dict[int, Decimal]:
    """Say, by line id, what units cost: as much as the order costs less without them, one line after another.

    So all of its units, in any parts, are worth what it is.
    """
    lines = {line.pk: line for line in OrderLine.objects.filter(order=order).order_by("pk")}
    worths, before = {}, amounts_now(order, list(lines.values())).total
    for back in backs:
        lines[back.line_id].current_quantity -= back.quantity
        after = amounts_now(order, list(lines.values())).total
        worths[back.line_id], before = before - after, after
    return worths


def _write_lines(
    refund: Refund, lines: dict[int, OrderLine], *, backs: Sequence[Back], worth: dict[int, Decimal]
) -> None:
    for back in backs:
        _take_back(lines[back.line_id], back)
    RefundLine.objects.bulk_create(
        [
            RefundLine(
                refund=refund,
                line=lines[back.line_id],
                quantity=back.quantity,
                restock_type=back.restock_type,
                amount=worth[back.line_id],
            )
            for back in backs
        ]
    )


def _take_back(line: OrderLine, back: Back) -> None:
    """Count the units where they went.

    Raises: TooMany.
    """
    kept = line.sent_quantity - line.refunded_quantity
    free = {Restock.CANCEL: line.unsent_quantity, Restock.RETURN: kept}.get(
        Restock(back.restock_type), kept + line.unsent_quantity
    )
    if back.quantity > free:
        words = "that were not sent" if back.restock_type == Restock.CANCEL else "to refund like this"
        raise TooMany(f"Line {line.pk} has {free} units left {words}.", field="lines")
    line.current_quantity -= back.quantity
    if back.restock_type == Restock.CANCEL:
        line.cancelled_quantity += back.quantity
        return
    sent = min(kept, back.quantity)  # units that the buyer has go first
    line.refunded_quantity += sent
    if holds_stock(line.order):
        line.lost_quantity += back.quantity - sent
    else:
        line.cancelled_quantity += back.quantity - sent
    if back.restock_type == Restock.RETURN:
        line.returned_quantity += sent
