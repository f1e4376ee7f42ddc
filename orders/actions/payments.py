"""Payments as a gateway tells of them: whatever it says is kept once, and the rows follow from all that was said.

Whoever writes about a payment first locks its order, then takes the advisory lock of the order's key, then the
payment's: events of one payment come side by side, and the rows are a function of the whole set; and of a payment and
its order that come side by side, the second finds the first.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import timedelta
from decimal import Decimal
from typing import Any

from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from audit.actions import Event, Value, record
from config.infra import tenancy, work
from config.infra.transactions import lock_name, retrying_atomic
from config.infra.work import Status
from orders.actions.paid_orders import apply_payment_state
from orders.models import Dispute, GatewayRefund, Order, Payment, PaymentCall, PaymentEvent
from orders.payments.states import DisputeState, PaymentState, RefundState, fold
from orders.webhooks import Fact, read_event
from shopsync.actions.alerts import close_alert, raise_alert
from shopsync.money import format_amount
from shopsync.shopify import Delivery

ASK_ABOUT_GAPS_AFTER = timedelta(minutes=1)  # the event that is missing is mostly on its way
CANCEL_REFUSED, CAPTURE_REFUSED = "payment.cancel_refused", "payment.capture_refused"
REFUND_FAILED = "refund.failed"
_ALARMING = ("lost", "needs_response", "under_review")


class _OtherOrder(Exception):  # noqa: N818  (nothing is wrong: the order is only not locked yet)
    """A payment turned out to be of an order that was not locked before it."""

    def __init__(self, order_id: int) -> None:
        super().__init__(order_id)
        self.order_id = order_id


def sync_stripe_event(*, delivery: Delivery) -> None:
    """Take one of Stripe's events.

    Raises: UnreadablePayloadError.
    """
    assert delivery.connection_id is not None  # the view stores it with the token's connection
    take_facts(connection_id=delivery.connection_id, facts=read_event(delivery.body))


@retrying_atomic
def take_facts(*, connection_id: int, facts: Sequence[Fact], answers: PaymentCall | None = None) -> None:
    """Keep what a gateway said, each thing once, and bring the rows in line with all that it has said.

    Where its events contradict each other, or tell of a payment that we know nothing of, it is asked. `answers`: the
    call that this is the answer to; whoever holds it completes it, and an answer raises no further question.
    """
    order_ids = _find_orders(connection_id, facts)
    while True:
        try:
            with transaction.atomic():  # a savepoint: undone, it lets the payments go again
                _take(connection_id, facts, answers, order_ids=order_ids)
        except _OtherOrder as found:
            order_ids.add(found.order_id)
        else:
            return


def _find_orders(connection_id: int, facts: Sequence[Fact]) -> set[int]:
    """Find, before anything is locked, the orders that these payments are of."""
    payments = Payment.objects.filter(connection_id=connection_id, order__isnull=False)
    known = payments.filter(provider_id__in={fact.payment_id for fact in facts}).values_list("order_id", flat=True)
    keys = {str(fact.values["order_key"]) for fact in facts if fact.values.get("order_key")}
    named = [find_order(order_key=key) for key in sorted(keys)]
    return {pk for pk in known if pk is not None} | {order.pk for order in named if order is not None}


def _take(connection_id: int, facts: Sequence[Fact], answers: PaymentCall | None, *, order_ids: set[int]) -> None:
    """Lock and write.

    Raises: _OtherOrder.
    """
    # 1. The orders: whoever moves or refunds one locks it before its payments, and two in the order of their ids.
    list(Order.objects.select_for_update().filter(pk__in=order_ids).order_by("pk"))
    # 2. The names of orders: one that is new meanwhile looks for its payments only when these are written.
    _lock_keys(str(fact.values.get("order_key") or "") for fact in facts)
    # 3. The payments.
    payment_ids = sorted({fact.payment_id for fact in facts})
    for payment_id in payment_ids:
        lock_payment(connection_id=connection_id, provider_id=payment_id)
    # 4. The rows.
    for payment_id in payment_ids:
        _keep(connection_id, [fact for fact in facts if fact.payment_id == payment_id])
        _rebuild(connection_id, payment_id, answers, order_ids=order_ids)


def lock_payment(*, connection_id: int, provider_id: str) -> None:
    """Wait until nobody else writes about this payment; held until the transaction ends. Its order is locked before."""
    lock_name(f"payment:{connection_id}:{provider_id}")


def _lock_keys(keys: Iterable[str]) -> None:
    """Wait until nobody else looks for an order, or for one's payments, by these keys; payments are locked after."""
    for key in sorted(set(keys) - {""}):
        lock_name(f"order_key:{tenancy.current_tenant_id()}:{key}")


def _keep(connection_id: int, facts: Iterable[Fact]) -> None:
    rows = [
        PaymentEvent(
            connection_id=connection_id,
            event_id=fact.event_id,
            payment_provider_id=fact.payment_id,
            kind=fact.kind,
            subject_id=fact.subject_id,
            topic=fact.topic,
            happened_at=fact.happened_at,
            values=fact.values,
        )
        for fact in facts
    ]
    PaymentEvent.objects.bulk_create(rows, ignore_conflicts=True)


def _facts_of(connection_id: int, provider_id: str) -> list[Fact]:
    rows = PaymentEvent.objects.filter(connection_id=connection_id, payment_provider_id=provider_id)
    return [
        Fact(row.event_id, row.kind, row.topic, row.subject_id, provider_id, row.happened_at, row.values)
        for row in rows.order_by("pk")
    ]


def _rebuild(connection_id: int, provider_id: str, answers: PaymentCall | None, *, order_ids: set[int]) -> None:
    state = fold(_facts_of(connection_id, provider_id))
    payment = _write_payment(connection_id, provider_id, state)
    refunds = [changed for refund in state.refunds if (changed := _write_refund(payment, refund))]
    disputes = [moved for dispute in state.disputes if (moved := _write_dispute(payment, dispute))]
    if payment.order is not None:
        if payment.order.pk not in order_ids:
            raise _OtherOrder(payment.order.pk)
        apply_payment_state(order=payment.order)  # before alerts: an order's row is locked first
        if needs_no_more(payment.order):
            cancel_authorisation(payment=payment, actor="system")
    _settle_ends(payment, but=answers)
    _settle_refunds(payment, refunds, but=answers)
    for row, was in disputes:
        _tell_of_dispute(row, was)
    if answers is None and (state.is_contradicted or state.is_incomplete):
        wait = timedelta() if state.is_contradicted else ASK_ABOUT_GAPS_AFTER
        ask_gateway(payment=payment, wait=wait)


def ask_gateway(*, payment: Payment, wait: timedelta = timedelta()) -> None:
    """Queue the question how this payment stands, unless it is queued already."""
    row = PaymentCall(
        kind=PaymentCall.Kind.ASK, payment=payment, lane=f"payment:{payment.pk}", due_at=timezone.now() + wait
    )
    work.add([row], ignore_conflicts=True)


def needs_no_more(order: Order) -> bool:
    """Is this an order of ours that takes no more money, being cancelled, or paid in full already?"""
    return order.source == Order.Source.API and (order.is_cancelled or order.is_paid)


def cancel_authorisation(*, payment: Payment, actor: str) -> None:
    """Queue that an authorisation be given up, once; the payment is locked."""
    if payment.status != Payment.Status.AUTHORIZED:
        return
    if PaymentCall.objects.filter(payment=payment, kind=PaymentCall.Kind.CANCEL).exists():
        return
    lane, key = f"payment:{payment.pk}", str(uuid.uuid4())
    work.add([PaymentCall(kind=PaymentCall.Kind.CANCEL, payment=payment, lane=lane, key=key, actor=actor)])
    record(name="payment.cancel_requested", subject=f"payment:{payment.pk}", actor=actor)


def _write_payment(connection_id: int, provider_id: str, state: PaymentState) -> Payment:
    payment = Payment.objects.filter(connection_id=connection_id, provider_id=provider_id).first()
    is_new = payment is None
    payment = payment or Payment(connection_id=connection_id, provider_id=provider_id)
    was = payment.status
    values: dict[str, Any] = {
        name: value
        for name, value in asdict(state).items()
        if name not in {"refunds", "disputes", "is_incomplete", "order_key"}
    }
    values["order_key"] = state.order_key
    if payment.order_id is None and state.order_key:
        values["order"] = find_order(order_key=state.order_key)
    if is_new or any(getattr(payment, name) != value for name, value in values.items()):
        for name, value in values.items():
            setattr(payment, name, value)
        payment.updated_at = timezone.now()
        payment.save()
    if is_new or was != state.status:
        data: dict[str, Value] = {"status": state.status, "was": was, "order": payment.order_id}
        name = "payment.created" if is_new else "payment.updated"
        record(name=name, subject=f"payment:{payment.pk}", actor=payment.gateway, data=data)
    return payment


def find_order(*, order_key: str) -> Order | None:
    """Find the order that a payment names; a name that is not one order's finds none."""
    kind, _, value = order_key.partition(":")
    column = {"id": "pk", "shopify": "shopify_id", "name": "name"}[kind]
    found = list(Order.objects.filter((column, value)).order_by("pk")[:2])
    return found[0] if len(found) == 1 else None


def _write_refund(payment: Payment, state: RefundState) -> tuple[GatewayRefund, str] | None:
    """Bring a refund's row in line; return it with the status that it had, or None where nothing changed. One that we
    asked for is known by its key, whatever became of our call."""
    refunds = GatewayRefund.objects.filter(payment=payment)
    row = refunds.filter(provider_id=state.provider_id).first()
    if row is None and state.key:
        row = next((one for one in refunds.filter(is_ours=True, provider_id="") if str(one.key) == state.key), None)
    row = row or GatewayRefund(payment=payment, connection_id=payment.connection_id)
    was = row.status
    values: dict[str, Any] = {"provider_id": state.provider_id, "amount": state.amount, "currency": state.currency}
    values |= {"status": state.status, "failure_reason": state.failure_reason}
    if not row.is_ours:
        values["reason"] = state.reason
    if row.pk is not None and all(getattr(row, name) == value for name, value in values.items()):
        return None
    for name, value in values.items():
        setattr(row, name, value)
    row.updated_at = timezone.now()
    row.save()
    return row, was


def _settle_ends(payment: Payment, *, but: PaymentCall | None) -> None:
    """End the captures of what is captured, the cancellations of what is given up, and the alerts about them."""
    kinds = [PaymentCall.Kind.CAPTURE] if payment.amount_captured else []
    if payment.status in {Payment.Status.CANCELED, Payment.Status.EXPIRED}:
        kinds.append(PaymentCall.Kind.CANCEL)
    for kind in kinds:
        _settle_calls(PaymentCall.objects.filter(payment=payment, kind=kind), but=but)
    if payment.amount_captured:
        close_alert(kind=CAPTURE_REFUSED, subject=f"payment:{payment.pk}")
    if payment.status != Payment.Status.AUTHORIZED:
        close_alert(kind=CANCEL_REFUSED, subject=f"payment:{payment.pk}")


def _settle_refunds(payment: Payment, changed: Sequence[tuple[GatewayRefund, str]], *, but: PaymentCall | None) -> None:
    """Tell of the refunds that changed, each with the status that it had, and end the calls that asked for them."""
    for refund, was in changed:
        if was != refund.status:
            _tell_of_refund(refund, was)
    if changed:
        close_made_good(payment)
        told = PaymentCall.objects.filter(payment=payment, refund__isnull=False).exclude(refund__provider_id="")
        _settle_calls(told, but=but)


def close_made_good(payment: Payment) -> None:
    """Close the alerts about refunds that failed, once all of the payment is given back, or as much was by refunds that
    came since, each counted once."""
    refunds = list(GatewayRefund.objects.filter(payment=payment))
    is_all_back = 0 < payment.amount_captured <= payment.amount_refunded
    made = [refund for refund in refunds if refund.status == GatewayRefund.Status.SUCCEEDED]
    failed = [refund for refund in refunds if refund.status == GatewayRefund.Status.FAILED]
    used = Decimal()
    for refund in sorted(failed, key=lambda one: (one.updated_at, one.pk), reverse=True):
        since = sum((one.amount for one in made if one.created_at >= refund.updated_at), Decimal())
        if is_all_back or refund.amount <= since - used:
            used += refund.amount
            close_alert(kind=REFUND_FAILED, subject=f"gateway_refund:{refund.pk}")


def _settle_calls(calls: QuerySet[PaymentCall], *, but: PaymentCall | None) -> None:
    """End those of these calls that wait, however far we were: the gateway told of what they ask, which is proof."""
    waiting = calls.filter(status__in=(Status.READY, Status.LEASED, Status.UNKNOWN, Status.BURIED))
    others = waiting if but is None else waiting.exclude(pk=but.pk)
    others.update(
        status=Status.DONE,
        outcome="the gateway told of it",
        finished_at=timezone.now(),
        lease_until=None,
        blocker="",
        last_error="",
    )


def _tell_of_refund(refund: GatewayRefund, was: str) -> None:
    name = {"succeeded": "refund.succeeded", "failed": "refund.failed", "canceled": "refund.canceled"}
    data: dict[str, Value] = {"payment": refund.payment_id, "status": refund.status, "was": was}
    data |= {"amount": str(refund.amount.normalize()), "currency": refund.currency}
    event = name.get(refund.status, "refund.updated")
    record(name=event, subject=f"gateway_refund:{refund.pk}", actor=refund.payment.gateway, data=data)
    if refund.status == GatewayRefund.Status.FAILED:
        why = refund.failure_reason or "the gateway gives no reason"
        amount = f"{format_amount(refund.amount, refund.currency)} {refund.currency}"
        raise_alert(
            kind=REFUND_FAILED,
            subject=f"gateway_refund:{refund.pk}",
            message=f"A refund of {amount} did not reach the buyer: {why}",
            severity="critical",
        )


def _write_dispute(payment: Payment, state: DisputeState) -> tuple[Dispute, str] | None:
    """Bring a dispute's row in line; return it with the status that it had, or None where that is the same."""
    row = Dispute.objects.filter(connection_id=payment.connection_id, provider_id=state.provider_id).first()
    was = row.status if row else ""
    row = row or Dispute(payment=payment, connection_id=payment.connection_id, provider_id=state.provider_id)
    values = asdict(state)
    if row.pk is not None and all(getattr(row, name) == value for name, value in values.items()):
        return None
    for name, value in values.items():
        setattr(row, name, value)
    row.updated_at = timezone.now()
    row.save()
    return None if was == row.status else (row, was)


def _tell_of_dispute(row: Dispute, was: str) -> None:
    data: dict[str, Value] = {"payment": row.payment_id, "status": row.status, "was": was}
    record(name="dispute.updated", subject=f"dispute:{row.pk}", actor=row.payment.gateway, data=data)
    if row.status in _ALARMING:
        amount = f"{format_amount(row.amount, row.currency)} {row.currency}"
        message = f"The buyer disputes {amount} ({row.reason or 'no reason given'}): {row.status}"
        raise_alert(kind="payment.disputed", subject=f"dispute:{row.pk}", message=message, severity="critical")
    else:
        close_alert(kind="payment.disputed", subject=f"dispute:{row.pk}")


def adopt_payments(*, event: Event) -> None:
    """Give a new order the payments that came before it (hears order.created)."""
    _adopt(int(event.subject.partition(":")[2]))


def adopt_lost_payments() -> None:
    """Give the payments of the tenant in scope that name an order and have none theirs, each order's on its own."""
    lost = Payment.objects.filter(order__isnull=True).exclude(order_key="")
    named = [find_order(order_key=key) for key in sorted(set(lost.values_list("order_key", flat=True)))]
    for order_id in sorted({order.pk for order in named if order is not None}):
        _adopt(order_id)


@retrying_atomic
def _adopt(order_id: int) -> None:
    order = Order.objects.select_for_update().filter(pk=order_id).first()
    if order is None:
        return
    keys = [f"id:{order.pk}", f"shopify:{order.shopify_id}", f"name:{order.name}"]
    _lock_keys(keys)  # whoever looked for this order before it was there has written its payment by now
    waiting = Payment.objects.filter(order__isnull=True, order_key__in=keys).order_by("connection_id", "provider_id")
    for payment in list(waiting):
        lock_payment(connection_id=payment.connection_id, provider_id=payment.provider_id)
        if find_order(order_key=payment.order_key) == order:
            Payment.objects.filter(pk=payment.pk, order__isnull=True).update(order=order, updated_at=timezone.now())
            record(name="payment.adopted", subject=f"payment:{payment.pk}", actor="system", data={"order": order.pk})
    apply_payment_state(order=order)
