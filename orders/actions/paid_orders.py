"""Orders of our own as their payments say: how they stand by them, what pays them in full, and where they move."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from django.db import transaction
from django.utils import timezone

from audit.actions import Event
from orders.actions.authorised_holds import follow_authorisation
from orders.actions.dues import due_amount, prices_of, refunded_amount, sums_of
from orders.actions.moves import PAID_AFTER_CANCELLED, lock_order, note_refunded, pay
from orders.models import Order, Payment
from orders.payments.sums import Sums
from orders.rules import MONEY_MOVES
from shopsync.actions.alerts import close_alert, raise_alert
from shopsync.models import Alert
from shopsync.money import format_amount

CURRENCY_DIFFERS, ORDER_DIFFERS = "payment.currency_differs", "payment.order_differs"


@dataclass(frozen=True, slots=True)
class Standing:
    """How an order stands by its payments. target: its financial status by them, empty when they say nothing."""

    payments: tuple[Payment, ...]
    foreign: tuple[Payment, ...]
    target: str
    is_paid: bool
    sums: Sums

    @property
    def is_empty(self) -> bool:
        """Was all of its money given back, or lost to disputes?"""
        return self.sums.captured > 0 and self.sums.left <= 0


def follow_due(*, event: Event) -> None:
    """Look again at an order that costs less now: what was paid may be enough (hears order.lines_cancelled)."""
    order = Order.objects.filter(pk=int(event.subject.partition(":")[2])).first()
    if order is not None:
        apply_payment_state(order=order)


def review_order(*, event: Event) -> None:
    """Look whether an order that was cancelled agrees with its payments now (hears order.cancelled)."""
    _close_settled(int(event.subject.partition(":")[2]))


def review_alerts() -> None:
    """Close the alerts of the tenant in scope about orders that agree with their payments by now."""
    kinds = (CURRENCY_DIFFERS, ORDER_DIFFERS, PAID_AFTER_CANCELLED)
    subjects = Alert.objects.filter(kind__in=kinds, closed_at__isnull=True).values_list("subject", flat=True)
    for order_id in sorted({int(subject.partition(":")[2]) for subject in subjects}):
        _close_settled(order_id)


@transaction.atomic(savepoint=False)
def _close_settled(order_id: int) -> None:
    order = Order.objects.select_for_update().filter(pk=order_id, source=Order.Source.API).first()
    if order is None:
        return
    standing = _stand(order)
    if not standing.foreign:
        close_alert(kind=CURRENCY_DIFFERS, subject=f"order:{order.pk}")
    if standing.target in {"", order.financial_status}:
        close_alert(kind=ORDER_DIFFERS, subject=f"order:{order.pk}")
    if standing.is_empty:
        close_alert(kind=PAID_AFTER_CANCELLED, subject=f"order:{order.pk}")


@transaction.atomic(savepoint=False)
def apply_payment_state(*, order: Order) -> None:
    """Move an order of our own where its payments say it stands; one that is paid is paid once, and its units are sold.

    Shopify's orders are Shopify's to say: their payments are only compared, by the reconciliation. Where the payments
    may not move it, or are in a currency that it has no price in, it is left to a person, and raises an alert.
    """
    order = lock_order(order.pk)
    if order.source != Order.Source.API:
        return
    standing = _stand(order)
    follow_authorisation(order, standing.payments, now=timezone.now())
    differs = ""
    if standing.target not in {"", order.financial_status}:
        if _follows(order, standing):
            _move(order, standing)
        else:
            stands = f"{order} is {order.financial_status}, and by its payments it would be {standing.target}"
            differs = f"{stands}: look at both."
    if standing.is_empty:
        close_alert(kind=PAID_AFTER_CANCELLED, subject=f"order:{order.pk}")
    _tell(order, CURRENCY_DIFFERS, describe_foreign(order, standing.foreign))
    _tell(order, ORDER_DIFFERS, differs)


def _stand(order: Order) -> Standing:
    prices, due = prices_of(order), due_amount(order=order)
    everything = list(Payment.objects.filter(order=order).order_by("pk"))
    payments = tuple(payment for payment in everything if prices.takes(payment.currency))
    sums = sums_of(order, payments)
    target = financial_status(due=due, sums=sums, payments=payments, is_whole=_is_whole(order, sums))
    if _stays_void(order, sums):
        target = order.financial_status
    return Standing(
        payments=payments,
        foreign=tuple(foreign_payments(order, everything)),
        target=target,
        is_paid=sums.captured > 0 and sums.pay(due),
        sums=sums,
    )


def _is_whole(order: Order, sums: Sums) -> bool:
    """Do its payments keep all that an order was placed for, and did its own refunds give nothing back?

    What else went back was paid twice, or too much: it is no refund of the order.
    """
    return sums.cover(order.total_amount) and not refunded_amount(order)


def _stays_void(order: Order, sums: Sums) -> bool:
    """Was an order voided with its cancellation, and is nothing left of what came later?"""
    return order.is_cancelled and order.financial_status == "voided" and sums.captured > 0 and sums.left <= 0


def _follows(order: Order, standing: Standing) -> bool:
    """May its payments move the order there? Those that pay it in full may, whatever was given back, or came back.

    One that waits for its money goes wherever they say: the buyer may give an attempt up and make another, and we may
    hear of them in any order. One that was cancelled waits for none.
    """
    is_waiting = not order.is_paid and not order.is_cancelled
    return is_waiting or standing.is_paid or standing.target in MONEY_MOVES.get(order.financial_status, ())


def _move(order: Order, standing: Standing) -> None:
    now = timezone.now()
    if standing.is_paid and not order.is_paid:
        pay(order=order, actor=standing.payments[0].gateway, now=now)
    order.financial_status, order.updated_at = standing.target, now
    order.save(update_fields=["financial_status", "updated_at"])
    note_refunded(order)


def _tell(order: Order, kind: str, message: str) -> None:
    """Raise an alert while there is something to say, and close it once there is nothing."""
    if message:
        raise_alert(kind=kind, subject=f"order:{order.pk}", message=message)
    else:
        close_alert(kind=kind, subject=f"order:{order.pk}")


def foreign_payments(order: Order, payments: Sequence[Payment]) -> list[Payment]:
    """Find the payments that hold money in a currency that the order has no price in."""
    prices = prices_of(order)
    return [
        payment
        for payment in payments
        if not prices.takes(payment.currency)
        and (payment.amount_captured > payment.amount_refunded or payment.status == Payment.Status.AUTHORIZED)
    ]


def describe_foreign(order: Order, foreign: Sequence[Payment]) -> str:
    """Say in which currencies an order and its payment are; empty where there is none."""
    if not foreign:
        return ""
    one = foreign[0]
    own = " or ".join(sorted({order.currency, order.presentment_currency} - {""}))
    money = f"{format_amount(one.amount_captured or one.amount, one.currency)} {one.currency}"
    return f"{order} is in {own}, and its payment {one} is of {money}: it counts for nothing; give it back."


def financial_status(*, due: Decimal, sums: Sums, payments: Sequence[Payment], is_whole: bool) -> str:
    """Say in Shopify's words how an order stands by its payments; empty when there are none.

    due: in the order's currency. is_whole: whatever was given back, it was not the order's. One that was never paid in
    full is partially paid until all that was captured is given back.
    """
    if not payments:
        return ""
    words = {payment.status for payment in payments}
    if sums.refunded and sums.kept <= 0:
        return "refunded"
    if sums.captured:
        is_less = sums.refunded and not is_whole
        return "partially_paid" if not sums.pay(due) else "partially_refunded" if is_less else "paid"
    for word, said in (("authorized", "authorized"), ("processing", "pending"), ("requires_payment", "pending")):
        if word in words:
            return said
    return "expired" if "expired" in words else "voided" if words == {"canceled"} else "pending"
