"""Authorisations at the gateway: taken when asked for, once per key; given up with the order that was cancelled."""

from __future__ import annotations

import hashlib
import json
import uuid
from dataclasses import dataclass
from decimal import Decimal

from audit.actions import Event, Value, record
from config.infra import work
from config.infra.transactions import retrying_atomic
from config.infra.work import Status
from orders.actions.dues import due_amount, prices_of, sums_of
from orders.actions.moves import OrderError, lock_own
from orders.actions.payments import cancel_authorisation, lock_payment
from orders.models import Order, Payment, PaymentCall
from orders.webhooks import to_minor
from shopsync.actions.idempotency import lock_key
from shopsync.money import format_amount

_UNDER_WAY = (Status.READY, Status.LEASED, Status.UNKNOWN)


class InvalidCapture(OrderError):  # noqa: N818  (the API's word for it)
    """The request makes no sense for this order's payments."""


class NotCapturable(OrderError):  # noqa: N818
    """There is nothing to capture as the order and its payments stand."""


class CaptureKeyReused(OrderError):  # noqa: N818
    """The idempotency key was used before, for another capture."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptureRequest:
    """What to capture of an order. None: of its only authorisation, and what is due of the order."""

    order_id: int
    payment_id: int | None = None
    amount: Decimal | None = None

    def digest(self) -> str:
        """Name the request, so that one key can't stand for two of them."""
        amount = None if self.amount is None else f"{self.amount.normalize():f}"
        return hashlib.sha256(json.dumps(["capture", self.order_id, self.payment_id, amount]).encode()).hexdigest()


@retrying_atomic
def request_capture(*, request: CaptureRequest, idempotency_key: str, actor: str) -> tuple[PaymentCall, bool]:
    """Queue the capture of an authorisation; return its call, and whether this call made it.

    The same key with the same request returns what it made before, whatever became of it since.

    Raises: Order.DoesNotExist, ShopifysOrder, InvalidCapture, NotCapturable, CaptureKeyReused.
    """
    # 1. The order, then its payment: whoever comes second waits here, and then sees the first one's row.
    lock_key(scope="capture", key=idempotency_key)
    order = lock_own(request.order_id)
    if made := PaymentCall.objects.filter(idempotency_key=idempotency_key).first():
        if made.request_digest != request.digest():
            raise CaptureKeyReused(f"The key {idempotency_key!r} stands for another capture; send a new key.")
        return made, False
    if order.is_cancelled:
        raise NotCapturable("The order is cancelled: its authorisations are given up.")
    payment = _find(order, request.payment_id)
    lock_payment(connection_id=payment.connection_id, provider_id=payment.provider_id)
    payment = Payment.objects.select_for_update().get(pk=payment.pk)
    # 2. May it be, and how much?
    _ensure_open(payment)
    amount = _amount(order, payment, request.amount)
    # 3. The call and the trail, together.
    call = PaymentCall(
        kind=PaymentCall.Kind.CAPTURE,
        payment=payment,
        lane=f"payment:{payment.pk}",
        key=str(uuid.uuid4()),
        amount=amount,
        idempotency_key=idempotency_key,
        request_digest=request.digest(),
        actor=actor,
    )
    work.add([call])
    data: dict[str, Value] = {"order": order.pk, "amount": f"{amount:f}", "currency": payment.currency}
    record(name="payment.capture_requested", subject=f"payment:{payment.pk}", actor=actor, data=data)
    return PaymentCall.objects.get(key=call.key), True


def _find(order: Order, payment_id: int | None) -> Payment:
    payments = Payment.objects.filter(order=order).order_by("pk")
    if payment_id is not None:
        named = payments.filter(pk=payment_id).first()
        if named is None:
            raise InvalidCapture(f"The order has no payment {payment_id}.", field="payment_id")
        return named
    authorised = list(payments.filter(status=Payment.Status.AUTHORIZED))
    if not authorised:
        raise NotCapturable("No payment of the order is authorised and waits to be captured.")
    if len(authorised) > 1:
        ids = ", ".join(str(payment.pk) for payment in authorised)
        raise InvalidCapture(f"Several payments of the order are authorised: name one of {ids}.", field="payment_id")
    return authorised[0]


def _ensure_open(payment: Payment) -> None:
    if payment.status != Payment.Status.AUTHORIZED:
        raise NotCapturable(f"Payment {payment.pk} is {payment.status}: there is nothing to capture.")
    kinds = (PaymentCall.Kind.CAPTURE, PaymentCall.Kind.CANCEL)
    if PaymentCall.objects.filter(payment=payment, kind__in=kinds, status__in=_UNDER_WAY).exists():
        raise NotCapturable(f"Payment {payment.pk} is being captured, or given up; look at it again in a moment.")


def _amount(order: Order, payment: Payment, given: Decimal | None) -> Decimal:
    """Say how much to capture: as asked for, else what is due of the order, as far as it is authorised."""
    authorised = f"{format_amount(payment.amount, payment.currency)} {payment.currency}"
    due = _due(order, payment)
    if given is None and due <= 0:
        raise NotCapturable("Nothing of the order is due but what is captured, or about to be.")
    amount = min(payment.amount, due) if given is None else given
    if amount <= 0:
        raise InvalidCapture(f"Name an amount above 0, of {authorised} that are authorised.", field="amount")
    if amount > payment.amount:
        raise InvalidCapture(f"No more can be captured than {authorised}.", field="amount")
    try:
        to_minor(amount, payment.currency)
    except ValueError as error:
        raise InvalidCapture(f"{error}; give fewer decimals.", field="amount") from error
    return amount


def _due(order: Order, payment: Payment) -> Decimal:
    """Say what is still due of an order in a payment's currency, less what others brought, or are to bring."""
    due, prices = due_amount(order=order), prices_of(order)
    payments = {row.pk: row for row in Payment.objects.filter(order=order)}
    calls = PaymentCall.objects.filter(payment__in=payments, kind=PaymentCall.Kind.CAPTURE, status__in=_UNDER_WAY)
    for payment_id, amount in calls.values_list("payment_id", "amount"):
        payments[payment_id].amount_captured += amount
    sums = sums_of(order, payments.values())
    if sums.currency == payment.currency:
        return sums.owed(due) - sums.captured
    rest = due - sums.value(sums.captured)
    return rest if payment.currency == order.currency else prices.show(rest)


@retrying_atomic
def cancel_authorisations(*, event: Event) -> None:
    """Give up what is only authorised for an order of ours that was cancelled (hears order.cancelled)."""
    order_id = int(event.subject.partition(":")[2])
    order = Order.objects.select_for_update().filter(pk=order_id, source=Order.Source.API).first()
    if order is None or not order.is_cancelled:
        return
    waiting = Payment.objects.filter(order=order, status=Payment.Status.AUTHORIZED)
    for payment in list(waiting.order_by("connection_id", "provider_id")):
        lock_payment(connection_id=payment.connection_id, provider_id=payment.provider_id)
        cancel_authorisation(payment=Payment.objects.get(pk=payment.pk), actor="system")
