"""What an order of ours costs and what it has received: by its payments, and by hand."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal

from django.db.models import Sum
from django.db.models.functions import Coalesce

from orders.models import GatewayRefund, Order, Payment, Refund, RefundLine
from orders.payments.sums import Paid, Prices, Sums, add_up

ORDER_REFUND = "order-refund:"  # how keys begin under which refunds of orders go to gateways
LOST = "lost"  # the gateway's word for a dispute that the buyer won
CAME_BACK = (GatewayRefund.Status.FAILED, GatewayRefund.Status.CANCELED)


@dataclass(slots=True)
class _Part:
    """Money that is added up beside the payments: noted by hand, or off what they brought."""

    currency: str
    amount_captured: Decimal
    amount_refunded: Decimal = Decimal()


def prices_of(order: Order) -> Prices:
    """Say what an order was placed for, in both of its currencies."""
    return Prices(order.currency, order.total_amount, order.presentment_currency, order.presentment_total_amount)


def due_amount(*, order: Order) -> Decimal:
    """Say how much pays an order of ours in full: what its lines cost now, with the units that were refunded.

    A cancelled one was paid if it was before; money that comes later is measured by what was asked for.
    """
    if order.is_cancelled:
        asked: Decimal = order.total_amount
        return Decimal() if order.is_paid else asked
    returned: Decimal = RefundLine.objects.filter(refund__order=order).aggregate(sum=Sum("amount"))["sum"] or Decimal()
    costs: Decimal = min(order.total_amount, order.current_total_amount + returned)
    return costs


def sums_of(order: Order, payments: Iterable[Paid]) -> Sums:
    """Add up what an order received, gave back and lost to disputes, by these payments and by hand."""
    parts: list[Paid] = [*payments]
    lost = lost_amounts([part for part in parts if isinstance(part, Payment)])
    if order.paid_by_hand_amount:
        parts.append(_Part(order.currency, order.paid_by_hand_amount, refunded_by_hand(order)))
    return add_up(prices_of(order), parts, lost=lost)


def lost_amounts(payments: Sequence[Payment]) -> dict[str, Decimal]:
    """Say by currency what buyers took of these payments by disputes, at most what was not given back.

    Of one that was lost in another currency nobody can say how much: all of its payment's counts as lost.
    """
    sums: dict[str, Decimal] = {}
    for payment in payments:
        disputes = [dispute for dispute in payment.disputes.all() if dispute.status == LOST]  # perhaps fetched along
        kept = payment.amount_captured - payment.amount_refunded
        is_known = all(dispute.currency == payment.currency for dispute in disputes)
        taken = min(kept, sum((one.amount for one in disputes), Decimal())) if is_known else kept
        sums[payment.currency] = sums.get(payment.currency, Decimal()) + taken
    return sums


def by_hand_amount(order: Order) -> Decimal:
    """Say what is to be noted as paid by hand when a person says that an order is paid: what no gateway has brought."""
    sums = sums_of(order, Payment.objects.filter(order=order))
    return max(due_amount(order=order) - sums.value(sums.captured), Decimal())


def refunded_by_hand(order: Order) -> Decimal:
    """Say what was given back by hand: refunds of the order that no gateway was asked for."""
    asked = {key for key, _ in _asked_for(order)}
    refunds = Refund.objects.filter(order=order)
    return sum((one.amount for one in refunds if refund_key(one) not in asked), Decimal())


def left_to_refund(order: Order) -> Decimal:
    """Say what of an order can still be given back, in its currency: received, and neither returned nor on its way.

    What went back through its payments beside its refunds may have been paid twice or too much: it is off what was
    received, and not off what the order was placed for. What a gateway could not give back is still to be.
    """
    payments: list[Paid] = [*Payment.objects.filter(order=order), *_beside(order)]
    sums = sums_of(order, payments)
    placed: Decimal = order.total_amount
    return max(min(sums.value(sums.captured), placed) - refunded_amount(order), Decimal())


def refunded_amount(order: Order) -> Decimal:
    """Say what the refunds of an order gave back, by hand or through gateways, or are to; what came back is not."""
    came_back = _came_back(order)
    refunds = Refund.objects.filter(order=order)
    return sum((one.amount for one in refunds if refund_key(one) not in came_back), Decimal())


def _beside(order: Order) -> list[_Part]:
    """Take off what was received what its payments gave back, or are to, beside the order's refunds."""
    ours = {refund_key(one) for one in Refund.objects.filter(order=order)}
    beside = [refund for key, refund in _asked_for(order) if key not in ours and refund.status not in CAME_BACK]
    return [_Part(refund.currency, -refund.amount) for refund in beside]


def kept_amount(order: Order) -> Decimal:
    """Say what of its refunded units' worth was kept of an order of ours on purpose, in its currency: a restocking fee.

    Of each refund that is the worth of its units less its amount. Where the same money was given back by another one,
    before or after, nothing is kept; what a gateway could not give back is still to be given, and no fee.
    """
    if order.source != Order.Source.API:
        return Decimal()
    came_back = _came_back(order)
    refunds = Refund.objects.filter(order=order).annotate(worth=Coalesce(Sum("lines__amount"), Decimal()))
    fees, given_too_little = Decimal(), Decimal()
    for refund in refunds:
        fees += max(refund.worth - refund.amount, Decimal())
        given_too_little += refund.worth - (Decimal() if refund_key(refund) in came_back else refund.amount)
    return max(min(fees, given_too_little), Decimal())


def refund_key(refund: Refund) -> str:
    """Name the refund at the gateway that gives back an order's refund."""
    return f"{ORDER_REFUND}{refund.pk}"


def _came_back(order: Order) -> set[str]:
    return {key for key, refund in _asked_for(order) if refund.status in CAME_BACK}


def _asked_for(order: Order) -> list[tuple[str, GatewayRefund]]:
    return [(refund.idempotency_key, refund) for refund in GatewayRefund.objects.filter(payment__order=order)]
