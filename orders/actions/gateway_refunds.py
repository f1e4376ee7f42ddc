"""Refunds through the gateway that charged: asked for once per key, never more than was captured."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from decimal import Decimal

from audit.actions import Value, record
from config.infra import work
from config.infra.transactions import retrying_atomic
from orders.actions.dues import LOST
from orders.actions.payments import lock_payment
from orders.models import GatewayRefund, Payment, PaymentCall
from orders.webhooks import to_minor
from shopsync.actions.idempotency import lock_key
from shopsync.money import format_amount

_Status = GatewayRefund.Status


class RefundError(Exception):
    """A refund can't be made as asked; `field` names what is wrong and the message says what to do instead."""

    field = ""


class InvalidRefund(RefundError):  # noqa: N818  (the API's word for it)
    """The request makes no sense for this payment."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


class NotRefundable(RefundError):  # noqa: N818
    """More than is left of the payment; `available` is what is."""

    field = "amount"

    def __init__(self, payment: Payment, available: Decimal) -> None:
        left = format_amount(available, payment.currency)
        why = ": its dispute is lost, and the buyer has the rest" if has_lost(payment) else "; ask for no more"
        super().__init__(f"Payment {payment.pk} has {left} {payment.currency} left to give back{why}.")
        self.available = left


class RefundKeyReused(RefundError):  # noqa: N818
    """The idempotency key was used before, for another refund."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RefundRequest:
    """What to give back, of which payment."""

    payment_id: int
    amount: Decimal
    currency: str
    reason: str = ""

    def digest(self) -> str:
        """Name the request, so that one key can't stand for two of them."""
        parts = [self.payment_id, f"{self.amount.normalize():f}", self.currency, self.reason]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


@retrying_atomic
def request_refund(*, request: RefundRequest, idempotency_key: str, actor: str) -> tuple[GatewayRefund, bool]:
    """Queue a refund through the gateway that charged; return it, and whether this call made it.

    The same key with the same request returns what it made before, whatever became of it since.

    Raises: Payment.DoesNotExist, InvalidRefund, NotRefundable, RefundKeyReused.
    """
    lock_key(scope="refund", key=idempotency_key)
    payment = Payment.objects.get(pk=request.payment_id)
    # 1. Whoever comes second waits here, and then sees the first one's row.
    lock_payment(connection_id=payment.connection_id, provider_id=payment.provider_id)
    payment = Payment.objects.select_for_update().get(pk=payment.pk)
    if made := GatewayRefund.objects.filter(idempotency_key=idempotency_key).first():
        if made.request_digest != request.digest():
            raise RefundKeyReused(f"The key {idempotency_key!r} stands for another refund; send a new key.")
        return made, False
    # 2. What is left.
    _check(payment, request)
    # 3. The row, its call and the trail, together.
    refund = GatewayRefund(
        payment=payment,
        connection_id=payment.connection_id,
        is_ours=True,
        idempotency_key=idempotency_key,
        request_digest=request.digest(),
        amount=request.amount,
        currency=request.currency,
        reason=request.reason,
        status=_Status.REQUESTED,
        actor=actor,
    )
    refund.save()
    work.add([PaymentCall(kind=PaymentCall.Kind.REFUND, payment=payment, refund=refund, lane=f"payment:{payment.pk}")])
    data: dict[str, Value] = {"payment": payment.pk, "amount": f"{refund.amount:f}", "currency": refund.currency}
    record(name="refund.requested", subject=f"gateway_refund:{refund.pk}", actor=actor, data=data)
    return refund, True


def _check(payment: Payment, request: RefundRequest) -> None:
    if request.currency != payment.currency:
        raise InvalidRefund("currency", f"The payment is in {payment.currency}; give that currency.")
    if request.amount <= 0:
        raise InvalidRefund("amount", "Give an amount above 0.")
    try:
        to_minor(request.amount, request.currency)
    except ValueError as error:
        raise InvalidRefund("amount", f"{error}; give fewer decimals.") from error
    available = refundable_amount(payment=payment)
    if request.amount > available:
        raise NotRefundable(payment, available)


def refundable_amount(*, payment: Payment) -> Decimal:
    """Say what is left: captured, less what is given back, less what we asked for and was not heard of, less what its
    buyer took by disputes; of one that was lost in another currency nobody can say."""
    lost = payment.disputes.filter(status=LOST)
    if lost.exclude(currency=payment.currency).exists():
        return Decimal()
    asked = payment.refunds.filter(status=_Status.REQUESTED)
    taken = sum((one.amount for rows in (asked, lost) for one in rows), Decimal())
    left: Decimal = payment.amount_captured - payment.amount_refunded - taken
    return max(left, Decimal())


def has_lost(payment: Payment) -> bool:
    """Did the buyer of a payment win a dispute, of all of it or of a part?"""
    return payment.disputes.filter(status=LOST).exists()
