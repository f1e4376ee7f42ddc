"""The nightly comparison of payments with orders: what differs is a row, open until it no longer does."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial
from itertools import groupby

from django.db import transaction
from django.db.models import Min, Q, QuerySet

from audit.actions import record
from config.infra import tenancy
from orders.actions.authorised_holds import AUTHORISED_FOR
from orders.actions.dues import kept_amount, sums_of
from orders.actions.paid_orders import describe_foreign, foreign_payments, review_alerts
from orders.actions.payments import adopt_lost_payments, ask_gateway
from orders.models import Order, Payment, PaymentMismatch
from orders.payments.sums import Sums
from shopsync.actions.alerts import close_alert, raise_alert
from shopsync.models import Connection, Tenant
from shopsync.money import format_amount

SETTLE = timedelta(minutes=15)  # what came a moment ago may still wait for its other half
_Kind = PaymentMismatch.Kind
_ALERT = {"kind": "payment.mismatch", "subject": "payments"}


class MismatchClosed(Exception):  # noqa: N818
    """The difference is gone."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that differs; `subject` is order:ID or payment:ID."""

    kind: str
    subject: str
    detail: str
    order_id: int | None = None
    payment_id: int | None = None


@dataclass(frozen=True, slots=True)
class Reconciled:
    """What a comparison found: all that differs now, how many of these are new, and how many no longer do."""

    findings: tuple[Finding, ...]
    opened: int
    closed: int


def reconcile_everywhere(*, now: datetime) -> int:
    """Reconcile every tenant; return how many things differ."""
    tenants = list(Tenant.objects.order_by("pk").values_list("pk", flat=True))
    reconcile = partial(reconcile_payments, now=now, settle=SETTLE, actor="reconcile_payments")
    return tenancy.for_each(tenants, lambda: len(reconcile().findings))


def reconcile_payments(*, now: datetime, settle: timedelta, actor: str) -> Reconciled:
    """Compare the payments of the tenant in scope with its orders; ask about authorisations that should have ended.

    Payments that have no order and name one that is here are given to it before. settle: what is younger is left for
    the next time.
    """
    adopt_lost_payments()  # in transactions of its own: it locks orders, one by one
    return _reconcile(now=now, settle=settle, actor=actor)


@transaction.atomic
def _reconcile(*, now: datetime, settle: timedelta, actor: str) -> Reconciled:
    review_alerts()  # first, since it locks orders
    for payment in _doubtful_authorisations(now=now, before=now - settle):
        ask_gateway(payment=payment)
    found = {(one.kind, one.subject): one for one in _find(before=now - settle)}
    opened, closed = _write(found, now)
    _tell()
    if opened or closed:
        tenant_id = tenancy.current_tenant_id()
        data = {"open": len(found), "opened": opened, "closed": closed}
        record(name="payments.reconciled", subject=f"tenant:{tenant_id}", actor=actor, data=data)
    return Reconciled(tuple(found[key] for key in sorted(found)), opened, closed)


def _doubtful_authorisations(*, now: datetime, before: datetime) -> QuerySet[Payment]:
    """Find what should not be authorised any more: its time is up, or its order was cancelled or is paid without it."""
    is_over = Q(expires_at__lt=now) | Q(expires_at=None, last_event_at__lt=now - AUTHORISED_FOR)
    has_ended = Q(order__cancelled_at__isnull=False) | Q(order__paid_at__isnull=False)
    not_needed = has_ended | Q(order__financial_status__in=("voided", "refunded"))
    doubtful = is_over | Q(not_needed, last_event_at__lte=before)
    return Payment.objects.filter(doubtful, status=Payment.Status.AUTHORIZED).order_by("pk")


def _tell() -> None:
    """Raise the alert while something differs that nobody has explained."""
    if unexplained := PaymentMismatch.objects.filter(closed_at=None, accepted_at=None).count():
        message = f"{unexplained} differences between payments and orders are not explained; the admin lists them."
        raise_alert(**_ALERT, message=message)
    else:
        close_alert(**_ALERT)


@transaction.atomic
def accept_mismatch(*, mismatch_id: int, note: str, actor: str, now: datetime) -> PaymentMismatch:
    """Note why a difference is all right as it stands: it stays listed, and raises no alert unless it changes.

    note: at most 500 characters. Raises: PaymentMismatch.DoesNotExist, MismatchClosed.
    """
    mismatch = PaymentMismatch.objects.select_for_update().get(pk=mismatch_id)
    if not mismatch.is_open:
        raise MismatchClosed("It no longer differs: there is nothing to explain.")
    mismatch.accepted_at, mismatch.accepted_by, mismatch.note = now, actor[:150], note
    mismatch.save(update_fields=["accepted_at", "accepted_by", "note"])
    record(
        name="payment_mismatch.accepted",
        subject=f"payment_mismatch:{mismatch.pk}",
        actor=actor,
        data={"kind": mismatch.kind, "of": mismatch.subject},
    )
    _tell()
    return mismatch


def _write(found: dict[tuple[str, str], Finding], now: datetime) -> tuple[int, int]:
    """Open, see again, and close; return how many were opened and closed."""
    rows = PaymentMismatch.objects.select_for_update().filter(
        closed_at__isnull=True
    )  # somebody may explain one just now
    open_rows = {(row.kind, row.subject): row for row in rows.order_by("pk")}
    new = [
        PaymentMismatch(
            kind=one.kind,
            subject=one.subject,
            detail=one.detail[:300],
            order_id=one.order_id,
            payment_id=one.payment_id,
            last_seen_at=now,
        )
        for key, one in sorted(found.items())
        if key not in open_rows
    ]
    made = PaymentMismatch.objects.bulk_create(new, ignore_conflicts=True)
    gone = [row.pk for key, row in open_rows.items() if key not in found]
    for key in sorted(open_rows.keys() & found.keys()):
        row, detail = open_rows[key], found[key].detail[:300]
        if row.detail != detail:  # what was explained is not this
            row.accepted_at, row.accepted_by, row.note = None, "", ""
        row.detail, row.last_seen_at = detail, now
        row.save(update_fields=["detail", "last_seen_at", "accepted_at", "accepted_by", "note"])
    PaymentMismatch.objects.filter(pk__in=gone).update(closed_at=now)
    return len(made), len(gone)


def _find(*, before: datetime) -> Iterator[Finding]:
    yield from _orders_without_payment(before)
    yield from _payments_without_order(before)
    known = Payment.objects.filter(order__isnull=False).order_by("order_id", "pk")
    rows = known.select_related("order").prefetch_related("order__refunds", "disputes").iterator(chunk_size=500)
    for _, group in groupby(rows, key=lambda payment: payment.order_id):
        payments = list(group)
        order = payments[0].order
        if order is not None and all(payment.last_event_at <= before for payment in payments):
            yield from compare(order, payments)


def _orders_without_payment(before: datetime) -> Iterator[Finding]:
    """Find paid orders that no payment is for, since the tenant has a gateway; test orders and free ones need none.

    Nor do those that a person noted as paid by hand: without a payment, that is in full (`moves.mark_paid`).
    """
    since = Connection.objects.filter(service="stripe", is_active=True).aggregate(since=Min("created_at"))["since"]
    if since is None:
        return
    paid = Order.objects.filter(paid_at__gte=since, paid_at__lte=before, payments__isnull=True)
    for order in (
        paid.filter(is_test=False, total_amount__gt=0, paid_by_hand_amount=0).order_by("pk").iterator(chunk_size=500)
    ):
        said = f"{order} is paid ({_written(order.total_amount, order.currency)}), and no payment is for it"
        yield Finding(_Kind.ORDER_WITHOUT_PAYMENT, f"order:{order.pk}", said, order_id=order.pk)


def _payments_without_order(before: datetime) -> Iterator[Finding]:
    moved = Q(amount_captured__gt=0) | Q(status="authorized")
    rows = Payment.objects.filter(moved, order__isnull=True, last_event_at__lte=before).order_by("pk")
    for payment in rows.iterator(chunk_size=500):
        names = f"names {payment.order_key}" if payment.order_key else "names no order"
        said = f"{payment} ({_written(payment.amount_captured, payment.currency)}) {names}, and none is known"
        yield Finding(_Kind.PAYMENT_WITHOUT_ORDER, f"payment:{payment.pk}", said, payment_id=payment.pk)


def compare(order: Order, payments: list[Payment]) -> Iterator[Finding]:
    """Compare one order with its payments: currency, then what was captured, then what was given back."""
    subject = f"order:{order.pk}"
    if foreign := foreign_payments(order, payments):
        yield Finding(_Kind.CURRENCY_DIFFERS, subject, describe_foreign(order, foreign), order.pk, foreign[0].pk)
        return
    sums = sums_of(order, payments)
    if not _agrees(order, sums):
        owed = f"{_written(sums.owed(_costs(order)), sums.currency)} ({'paid' if order.is_paid else 'not paid'})"
        if kept := kept_amount(order):
            owed += f", keeps {_written(sums.owed(kept), sums.currency)} of its refunds"
        said = f"{order} is of {owed}, and its payments captured {_written(sums.captured, sums.currency)}"
        yield Finding(_Kind.AMOUNT_DIFFERS, subject, said, order.pk, payments[0].pk)
    told = sum((one.amount for one in order.refunds.all()), Decimal())
    is_comparable = sums.currency == order.currency and not sums.slack
    if is_comparable and order.shopify_id and sums.refunded != told:
        both = f"{_written(told, sums.currency)} by the order, {_written(sums.refunded, sums.currency)} by its payments"
        yield Finding(_Kind.REFUNDS_DIFFER, subject, f"{order} was refunded {both}", order.pk, payments[0].pk)


def _is_ours(order: Order) -> bool:
    return order.source == Order.Source.API


def _costs(order: Order) -> Decimal:
    """Say what an order is of: ours of what it costs now, Shopify's of what it was placed for."""
    placed: Decimal = order.total_amount
    current: Decimal = order.current_total_amount
    return current if _is_ours(order) else placed


def _agrees(order: Order, sums: Sums) -> bool:
    """Do the sums of an order's payments fit what it says of itself?

    Of ours, money that was given back may belong to units that were taken off or be a courtesy: enough was captured,
    and no more is kept than it costs and than was kept of its refunds on purpose. What a lost dispute took is not kept.
    """
    costs = _costs(order)
    if order.financial_status == "partially_paid":
        if _is_ours(order):
            return sums.captured > 0 and not sums.pay(costs)
        return not sums.pay(max(costs, order.current_total_amount))  # another gateway may have taken the part
    if not _is_ours(order):
        return abs(sums.captured - (sums.owed(costs) if order.is_paid else 0)) <= sums.slack
    if not order.is_paid:
        return sums.left == 0
    return sums.pay(costs) and not (sums.exceed(costs) and sums.exceed(costs + kept_amount(order)))


def _written(amount: Decimal, currency: str) -> str:
    return f"{format_amount(amount, currency)} {currency}"
