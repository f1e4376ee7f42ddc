"""What we ask of a gateway: each call is a row, made once, and asked about when nobody knows how it ended."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from django.utils import timezone

from audit.actions import record
from config.infra.work import Answer, Apply, Caller, CallError
from orders.actions.authorisations import NotDue, settle_amount
from orders.actions.moves import OrderError
from orders.actions.payments import REFUND_FAILED, ask_gateway, close_made_good, lock_payment, take_facts
from orders.models import GatewayRefund, Payment, PaymentCall
from orders.payments.base import CaptureOrder, Gateway, GatewayAccount, GatewayError, RefundOrder, get_gateway
from orders.payments.states import fold
from orders.webhooks import Fact
from shopsync.actions.alerts import raise_alert
from shopsync.models import Connection
from shopsync.money import format_amount

_ANSWERED = {
    PaymentCall.Kind.ASK: ("answered", "payment.asked"),
    PaymentCall.Kind.CAPTURE: ("captured", "payment.captured"),
    PaymentCall.Kind.CANCEL: ("canceled", "payment.canceled"),
}
# What each is to do -> the statuses of a payment for which it is done; AUTHORIZED is not done, anything else too late.
_DONE = {
    PaymentCall.Kind.CAPTURE: frozenset(("paid", "partially_refunded", "refunded", "disputed", "charged_back")),
    PaymentCall.Kind.CANCEL: frozenset(("canceled", "expired")),
}


def _gateway(payment: Payment) -> Gateway:
    connection = Connection.objects.get(pk=payment.connection_id)
    if not connection.is_active:
        raise GatewayError("the connection is switched off", retry_after_seconds=300, blocker="the connection is off")
    return get_gateway(
        GatewayAccount(
            gateway=payment.gateway,
            connection_id=str(connection.pk),
            base_url=connection.base_url,
            api_key=connection.api_key,
        )
    )


def _order_of(refund: GatewayRefund) -> RefundOrder:
    return RefundOrder(
        payment_id=refund.payment.provider_id,
        amount=refund.amount,
        currency=refund.currency,
        key=str(refund.key),
        reason=refund.reason,
    )


def _perform(call: PaymentCall) -> Apply:
    """Make the call.

    Raises: CallError.
    """
    gateway, payment = _gateway(call.payment), call.payment
    if call.refund is not None:
        return partial(_take_refund, call, gateway.refund(_order_of(call.refund)))
    if call.kind == PaymentCall.Kind.CAPTURE:
        try:
            settle_amount(call)
        except OrderError as error:
            raise GatewayError(str(error), permanent=True) from error
        asked = CaptureOrder(payment.provider_id, call.amount, payment.currency, call.key)
        return partial(_take_answer, call, gateway.capture(asked))
    if call.kind == PaymentCall.Kind.CANCEL:
        return partial(_take_answer, call, gateway.cancel(payment.provider_id, key=call.key))
    return partial(_take_answer, call, gateway.ask(payment.provider_id))


def _take_answer(call: PaymentCall, facts: Sequence[Fact]) -> None:
    """Take the answer as the truth from now on; by a clock of ours that is late it would be older than what it
    answers."""
    payment = call.payment
    newest = [max(fact.happened_at, payment.last_event_at) for fact in facts]
    answered = [replace(fact, happened_at=at) for fact, at in zip(facts, newest, strict=True)]
    take_facts(connection_id=payment.connection_id, facts=answered, answers=call)
    outcome, name = _ANSWERED[PaymentCall.Kind(call.kind)]
    PaymentCall.objects.filter(pk=call.pk).update(outcome=outcome)
    record(name=name, subject=f"payment:{payment.pk}", actor=payment.gateway, data={"call": call.pk})


def _take_refund(call: PaymentCall, facts: Sequence[Fact]) -> None:
    """Write what the gateway said of the refund. The call itself is completed by whoever holds it."""
    take_facts(connection_id=call.payment.connection_id, facts=facts, answers=call)


def _refuse(call: PaymentCall, error: CallError) -> None:
    """Note that the gateway will not do it; a refund has failed, and somebody must know."""
    reason = str(error)[:300]
    payment = call.payment
    PaymentCall.objects.filter(pk=call.pk).update(outcome=reason)
    if call.kind in _DONE:
        _note_refused(call, reason, is_due=not isinstance(error.__cause__, NotDue))
        return
    if call.refund is None:
        subject, name = f"payment:{payment.pk}", "payment.not_found"
        record(name=name, subject=subject, actor=payment.gateway, data={"reason": reason[:200]})
        return
    lock_payment(connection_id=payment.connection_id, provider_id=payment.provider_id)
    refund, subject = call.refund, f"gateway_refund:{call.refund.pk}"
    changed = GatewayRefund.objects.filter(pk=refund.pk, status=GatewayRefund.Status.REQUESTED).update(
        status=GatewayRefund.Status.FAILED, failure_reason=reason, updated_at=timezone.now()
    )
    if changed:
        record(name="refund.refused", subject=subject, actor=payment.gateway, data={"reason": reason[:200]})
        amount = f"{format_amount(refund.amount, refund.currency)} {refund.currency}"
        message = f"A refund of {amount} was refused: {reason[:200]}"
        raise_alert(kind=REFUND_FAILED, subject=subject, message=message, severity="critical")
        close_made_good(Payment.objects.get(pk=payment.pk))


def _note_refused(call: PaymentCall, reason: str, *, is_due: bool = True) -> None:
    """Say that an authorisation was not taken, or not given up, and ask how the payment stands.

    Nobody needs to act on a capture whose money is not due any more.
    """
    payment = call.payment
    name = f"payment.{call.kind}_refused"
    record(name=name, subject=f"payment:{payment.pk}", actor=payment.gateway, data={"reason": reason[:200]})
    ask_gateway(payment=payment)
    if is_due:
        words = "taken" if call.kind == PaymentCall.Kind.CAPTURE else "given up"
        message = f"The authorisation {payment} could not be {words}: {reason[:200]}"
        raise_alert(kind=name, subject=f"payment:{payment.pk}", message=message, severity="critical")


def _take_miss(call: PaymentCall, facts: Sequence[Fact]) -> None:
    """Take the answer to a question about a call that can't be done any more."""
    _take_answer(call, facts)
    reason = f"the payment is {fold(facts).status}"
    PaymentCall.objects.filter(pk=call.pk).update(outcome=reason)
    _note_refused(call, reason)


def _ask(call: PaymentCall) -> Answer:
    """Ask what became of a call: a refund is looked for by its key, an authorisation by how its payment stands; a
    question is simply asked again."""
    if (done := _DONE.get(PaymentCall.Kind(call.kind))) is not None:
        facts = _gateway(call.payment).ask(call.payment.provider_id)
        status = fold(facts).status
        if status == Payment.Status.AUTHORIZED:
            return "not_done"
        return partial(_take_answer if status in done else _take_miss, call, facts)
    if call.refund is None:
        return "not_done"
    facts = _gateway(call.payment).find_refund(_order_of(call.refund))
    return partial(_take_refund, call, facts) if facts else "not_done"


CALLER: Caller[PaymentCall] = Caller(
    perform=_perform, refuse=_refuse, ask=_ask, blocker=lambda call: "the payment gateway is unavailable"
)
