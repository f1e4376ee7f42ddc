"""Authorisations at the gateway: taken when asked for, once per key, as far as money is due by then; given up once
their order is cancelled, or paid without them."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

from django.db.models import Q, QuerySet

from audit.actions import Event, Value, record
from config.infra import work
from config.infra.transactions import retrying_atomic
from config.infra.work import Status
from orders.actions.dues import due_amount, prices_of, sums_of
from orders.actions.moves import OrderError, lock_order, lock_own
from orders.actions.payments import cancel_authorisation, lock_payment, needs_no_more
from orders.models import Order, Payment, PaymentCall
from orders.webhooks import to_minor
from shopsync.actions.idempotency import lock_key
from shopsync.money import format_amount

_UNDER_WAY = (Status.READY, Status.LEASED, Status.UNKNOWN)


class InvalidCapture(OrderError):  # noqa: N818  (the API's word for it)
    """The request makes no sense for this order's payments."""


class NotCapturable(OrderError):  # noqa: N818
    """There is nothing to capture as the order and its payments stand."""


class NotDue(NotCapturable):
    """The order is cancelled, or costs no more than what was captured, or is about to be."""


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
        raise NotDue("The order is cancelled: its authorisations are given up.")
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
    due = _due(order, payment, _captures_beside(payment))
    amount = min(payment.amount, due) if given is None else given
    if amount <= 0:
        raise InvalidCapture(f"Name an amount above 0, of {authorised} that are authorised.", field="amount")
    if amount > payment.amount:
        raise InvalidCapture(f"No more can be captured than {authorised}.", field="amount")
    if amount > due:
        left = f"{format_amount(due, payment.currency)} {payment.currency}"
        raise InvalidCapture(f"Of the order {left} are due; capture no more.", field="amount")
    _ensure_payable(amount, payment.currency)
    return amount


def _ensure_payable(amount: Decimal, currency: str) -> None:
    try:
        to_minor(amount, currency)
    except ValueError as error:
        raise InvalidCapture(f"{error}; give fewer decimals.", field="amount") from error


def settle_amount(call: PaymentCall) -> None:
    """Bring a capture that is about to be made down to what is due of its order by now, whatever was asked for.

    One that was begun before keeps its amount, to which the gateway has bound its key; the reconciliation then tells
    what is kept beyond the order's costs. One that is brought down gets a new key: it may have been replayed by hand.
    Of an order that was cancelled nothing is taken, however far it was.

    Raises: NotDue, InvalidCapture when what is due can't be paid in the currency.
    """
    if call.payment.order_id is not None:
        call.amount, call.key = _settle(call, order_id=call.payment.order_id)


@retrying_atomic
def _settle(call: PaymentCall, *, order_id: int) -> tuple[Decimal, str]:
    order, payment = lock_order(order_id), call.payment
    if order.is_cancelled:
        raise NotDue("The order is cancelled: its authorisations are given up.")
    if call.attempts > 1:
        return call.amount, call.key
    due = _due(order, payment, _captures_before(call))
    if call.amount <= due:
        return call.amount, call.key
    _ensure_payable(due, payment.currency)
    key = str(uuid.uuid4())
    PaymentCall.objects.filter(pk=call.pk).update(amount=due, key=key)
    was, now = format_amount(call.amount, payment.currency), format_amount(due, payment.currency)
    data: dict[str, Value] = {"order": order.pk, "call": call.pk, "was": was, "amount": now}
    data["currency"] = payment.currency
    record(name="payment.capture_lowered", subject=f"payment:{payment.pk}", actor="system", data=data)
    return due, key


def _captures_beside(payment: Payment) -> QuerySet[PaymentCall]:
    """Find the captures under way of an order's other payments."""
    under_way = PaymentCall.objects.filter(kind=PaymentCall.Kind.CAPTURE, status__in=_UNDER_WAY)
    return under_way.filter(payment__order=payment.order_id).exclude(payment=payment)


def _captures_before(call: PaymentCall) -> QuerySet[PaymentCall]:
    """Find those under way that come before this one: the older ones, and the younger ones that were made before.

    Two that are made at the same moment thus never give way to each other.
    """
    made = Q(status=Status.UNKNOWN) | Q(status=Status.READY, attempts__gt=0) | Q(attempts__gt=1)
    return _captures_beside(call.payment).filter(Q(pk__lt=call.pk) | made)


def _due(order: Order, payment: Payment, captures: QuerySet[PaymentCall]) -> Decimal:
    """Say what is still due of an order in a payment's currency, less what others brought, or are to bring.

    captures: those that are counted before they are made. Raises: NotDue.
    """
    payments = {row.pk: row for row in Payment.objects.filter(order=order)}
    for payment_id, amount in captures.values_list("payment_id", "amount"):
        payments[payment_id].amount_captured += amount
    due = _left(order, payment, payments.values())
    if due <= 0:
        raise NotDue("Nothing of the order is due but what is captured, or about to be.")
    return due


def _left(order: Order, payment: Payment, payments: Iterable[Payment]) -> Decimal:
    """Say what these payments leave of what is due of an order, in the currency of this payment."""
    due, prices = due_amount(order=order), prices_of(order)
    sums = sums_of(order, payments)
    if sums.currency == payment.currency:
        return sums.owed(due) - sums.captured
    rest = due - sums.value(sums.captured)
    return rest if payment.currency == order.currency else prices.show(rest)


@retrying_atomic
def cancel_authorisations(*, event: Event) -> None:
    """Give up what is only authorised for an order of ours that was cancelled, or is paid without it (hears
    order.cancelled and order.paid)."""
    order_id = int(event.subject.partition(":")[2])
    order = Order.objects.select_for_update().filter(pk=order_id, source=Order.Source.API).first()
    if order is None or not needs_no_more(order):
        return
    waiting = Payment.objects.filter(order=order, status=Payment.Status.AUTHORIZED)
    for payment in list(waiting.order_by("connection_id", "provider_id")):
        lock_payment(connection_id=payment.connection_id, provider_id=payment.provider_id)
        cancel_authorisation(payment=Payment.objects.get(pk=payment.pk), actor="system")
