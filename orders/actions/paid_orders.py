"""Orders of our own as their payments say: how they stand by them, what pays them in full, and where they move."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal

from django.db import transaction
from django.db.models import Sum
from django.utils import timezone

from audit.actions import Event
from orders.actions.authorisations import follow_authorisation
from orders.actions.moves import lock_order, note_refunded, pay
from orders.models import Order, Payment, RefundLine
from orders.rules import MONEY_MOVES
from shopsync.actions.alerts import raise_alert


def follow_due(*, event: Event) -> None:
    """Look again at an order that costs less now: what was paid may be enough (hears order.lines_cancelled)."""
    order = Order.objects.filter(pk=int(event.subject.partition(":")[2])).first()
    if order is not None:
        apply_payment_state(order=order)


@transaction.atomic(savepoint=False)
def apply_payment_state(*, order: Order) -> None:
    """Move an order of our own where its payments say it stands; one that is paid is paid once, and its units are sold.

    Shopify's orders are Shopify's to say: their payments are only compared, by the reconciliation. Where the payments
    may not move it, it is left to a person, and raises an alert.
    """
    order = lock_order(order.pk)
    if order.source != Order.Source.API:
        return
    payments = list(Payment.objects.filter(order=order, currency=order.currency).order_by("pk"))
    due = due_amount(order=order)
    target = financial_status(due=due, payments=payments)
    captured = _captured(payments)
    is_paid = captured > 0 and captured >= due
    follow_authorisation(order, payments, is_authorised=target == "authorized", now=timezone.now())
    if not target or target == order.financial_status:
        return
    if not _follows(order, target, is_paid=is_paid):
        message = f"{order} is {order.financial_status}, and by its payments it would be {target}: look at both."
        raise_alert(kind="payment.order_differs", subject=f"order:{order.pk}", message=message)
        return
    now = timezone.now()
    if is_paid and not order.is_paid:
        pay(order=order, actor=payments[0].gateway, now=now)
    order.financial_status, order.updated_at = target, now
    order.save(update_fields=["financial_status", "updated_at"])
    note_refunded(order)


def _follows(order: Order, target: str, *, is_paid: bool) -> bool:
    """May its payments move the order there? is_paid: they pay it in full, whatever of it was given back, or came back.

    One that waits for its money goes wherever they say: the buyer may give an attempt up and make another, and we may
    hear of them in any order. One that was cancelled waits for none.
    """
    is_waiting = not order.is_paid and not order.is_cancelled
    return is_waiting or is_paid or target in MONEY_MOVES.get(order.financial_status, ())


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


def financial_status(*, due: Decimal, payments: Sequence[Payment]) -> str:
    """Say in Shopify's words how an order stands by its payments; empty when there are none.

    One that was never paid in full is partially paid until all that was captured is given back.
    """
    if not payments:
        return ""
    captured = _captured(payments)
    refunded = sum((payment.amount_refunded for payment in payments), Decimal())
    words = {payment.status for payment in payments}
    if refunded and refunded >= captured:
        return "refunded"
    if captured:
        return "partially_paid" if captured < due else "partially_refunded" if refunded else "paid"
    for word, said in (("authorized", "authorized"), ("processing", "pending"), ("requires_payment", "pending")):
        if word in words:
            return said
    return "expired" if "expired" in words else "voided" if words == {"canceled"} else "pending"


def _captured(payments: Iterable[Payment]) -> Decimal:
    return sum((payment.amount_captured for payment in payments), Decimal())
