"""Reads what Stripe posts to us and answers us (pure): the signature, the envelope, and the facts in an object.

Sources: https://docs.stripe.com/webhooks (signature, retries, no order), https://docs.stripe.com/currencies (minor
units), https://docs.stripe.com/api/payment_intents/object and its neighbours.
"""

from __future__ import annotations

import hmac
import json
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any, TypeVar

import msgspec

from shopsync.shopify import UnreadablePayloadError

TOLERANCE_SECONDS = 300
MAX_ID_LENGTH = 120
ASKED = "asked"  # the topic of what a gateway said when it was asked: the truth of that second

# Whole units, and thousandths of which the last digit is 0; ISK and UGX look like two decimals and have none.
_NO_DECIMALS = "BIF CLP DJF GNF JPY KMF KRW MGA PYG RWF VND VUV XAF XOF XPF"
_THREE_DECIMALS = "BHD JOD KWD OMR TND"
_WHOLE_HUNDREDS = frozenset(("ISK", "UGX"))
# PostgreSQL's text and jsonb take neither NUL nor half of a surrogate pair.
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
_SECONDS = re.compile(r"[0-9]{1,12}")

Id = Annotated[str, msgspec.Meta(pattern=r"^[\x21-\x7e]{1,120}\Z")]
Minor = Annotated[int, msgspec.Meta(ge=0, lt=10**15)]
Positive = Annotated[int, msgspec.Meta(gt=0, lt=10**15)]
Currency = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z]{3}\Z")]  # "$" would let a last line break through
Moment = Annotated[int, msgspec.Meta(ge=0, lt=2**35)]
S = TypeVar("S")


class BadSignature(ValueError):  # noqa: N818  (a thing that came in, not a fault of ours)
    """A Stripe-Signature that does not prove the body; the message says why."""


class UnreadableEvent(ValueError):  # noqa: N818
    """A signed body that is no event; `field` names what is wrong."""

    def __init__(self, name: str, why: str) -> None:
        super().__init__(f"{name}: {why}")
        self.field = name


@dataclass(frozen=True, slots=True)
class Envelope:
    """What an event says of itself."""

    event_id: str
    topic: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Fact:
    """One thing that the gateway said of one object of a payment. Amounts in `values` are in minor units."""

    event_id: str
    kind: str  # intent, charge, refund or dispute
    topic: str
    subject_id: str
    payment_id: str
    happened_at: datetime
    values: dict[str, Any] = field(default_factory=dict)


def verify_signature(*, body: bytes, header: str, secret: str, now: float) -> None:
    """Check a Stripe-Signature: `t=…,v1=…[,v1=…]`, hex HMAC-SHA256 over `t.body`, keyed with the whole secret.

    Every v1 is compared, in constant time; other schemes are not looked at. Both a time that is too long ago and one
    that is as far ahead are refused: a signature made for later would be good for longer than it should.

    Raises: BadSignature.
    """
    pairs = [part.strip().partition("=") for part in header.split(",")]
    times = [value for name, _, value in pairs if name == "t"]
    given = [value for name, _, value in pairs if name == "v1"]
    if len(times) != 1 or not _SECONDS.fullmatch(times[0]):
        raise BadSignature("Stripe-Signature names no time t")
    if not given or not secret:
        raise BadSignature("Stripe-Signature has no v1, or there is no secret to check it with")
    expected = hmac.digest(secret.encode(), times[0].encode() + b"." + body, "sha256").hex().encode()
    matches = [hmac.compare_digest(expected, one.encode("utf-8", "replace")) for one in given]
    if not any(matches):
        raise BadSignature("Stripe-Signature does not fit the body")
    if abs(now - int(times[0])) > TOLERANCE_SECONDS:
        raise BadSignature(f"Stripe-Signature's time is more than {TOLERANCE_SECONDS} s away")


def sign(*, body: bytes, secret: str, at: int) -> str:
    """Write the header as Stripe does."""
    return f"t={at},v1={hmac.digest(secret.encode(), b'%d.' % at + body, 'sha256').hex()}"


def read_envelope(body: bytes) -> Envelope:
    """Read what an event says of itself.

    Raises: UnreadableEvent naming the field.
    """
    document = _document(body)
    for name in ("id", "type"):
        value = document.get(name)
        if not isinstance(value, str) or not re.fullmatch(r"[\x21-\x7e]{1,100}", value):
            raise UnreadableEvent(name, "a word of 1 to 100 visible ASCII characters is needed")
    created = document.get("created")
    if not isinstance(created, int) or isinstance(created, bool) or not 0 <= created < 2**35:
        raise UnreadableEvent("created", "the seconds since 1970 are needed")
    return Envelope(document["id"], document["type"], datetime.fromtimestamp(created, UTC))


def read_event(body: bytes) -> list[Fact]:
    """Read the facts of an event.

    Raises: UnreadablePayloadError naming the field.
    """
    try:
        envelope, document = read_envelope(body), _document(body)
    except UnreadableEvent as error:
        raise UnreadablePayloadError(str(error)) from error
    data = document.get("data")
    thing = data.get("object") if isinstance(data, dict) else None
    if not isinstance(thing, dict):
        raise UnreadablePayloadError("data.object: an object is needed")
    return read_object(thing, topic=envelope.topic, event_id=envelope.event_id, happened_at=envelope.created_at)


def read_object(thing: dict[str, Any], *, topic: str, event_id: str, happened_at: datetime) -> list[Fact]:
    """Read the facts of one of Stripe's objects; an intent may have its newest charge in it.

    Raises: UnreadablePayloadError naming the field.
    """
    word = thing.get("object")
    if not isinstance(word, str) or word not in _READERS:
        raise UnreadablePayloadError(f"data.object.object: {str(word)[:60]!r} is nothing that a payment is made of")
    kind, reader = _READERS[word]
    subject_id, payment_id, values = reader(thing)
    facts = [Fact(event_id, kind, topic, subject_id, payment_id, happened_at, values)]
    charge = thing.get("latest_charge") if kind == "intent" else None
    if isinstance(charge, dict):
        inner = {"payment_intent": subject_id, **charge}
        facts += read_object(inner, topic=topic, event_id=f"{event_id}/charge", happened_at=happened_at)
    return facts


def from_minor(amount: int, currency: str) -> Decimal:
    """Turn Stripe's integer into major units."""
    return Decimal(amount).scaleb(-_decimals(currency))


def to_minor(amount: Decimal, currency: str) -> int:
    """Turn an amount into Stripe's integer.

    Raises: ValueError for an amount that the currency, or Stripe, can't express.
    """
    minor = amount.scaleb(_decimals(currency))
    step = 100 if currency in _WHOLE_HUNDREDS else 10 if currency in _THREE_DECIMALS else 1
    if minor != minor.to_integral_value() or int(minor) % step:
        raise ValueError(f"{amount:f} is finer than {currency} can be paid in")
    return int(minor)


def _decimals(currency: str) -> int:
    return 0 if currency in _NO_DECIMALS else 3 if currency in _THREE_DECIMALS else 2


def _document(body: bytes) -> dict[str, Any]:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise UnreadableEvent("body", "it is not JSON") from error
    if not isinstance(document, dict):
        raise UnreadableEvent("body", "it is not a JSON object")
    return document


class _Intent(msgspec.Struct):
    id: Id
    amount: Minor
    currency: Currency
    status: str
    amount_received: Minor | None = 0
    metadata: dict[str, Any] | None = None
    last_payment_error: dict[str, Any] | None = None
    cancellation_reason: str | None = None


class _Charge(msgspec.Struct):
    id: Id
    amount: Minor
    currency: Currency
    status: str
    captured: bool = True
    amount_captured: Minor | None = None
    amount_refunded: Minor | None = 0
    payment_intent: Any = None
    metadata: dict[str, Any] | None = None
    failure_message: str | None = None
    payment_method_details: dict[str, Any] | None = None


class _Refund(msgspec.Struct):
    id: Id
    amount: Positive
    currency: Currency
    status: str | None = None
    payment_intent: Any = None
    charge: Any = None
    reason: str | None = None
    failure_reason: str | None = None
    metadata: dict[str, Any] | None = None


class _Evidence(msgspec.Struct):
    due_by: Moment | None = None


class _Dispute(msgspec.Struct):
    id: Id
    amount: Minor
    currency: Currency
    status: str
    payment_intent: Any = None
    charge: Any = None
    reason: str | None = None
    evidence_details: _Evidence | None = None


def _convert(thing: dict[str, Any], model: type[S]) -> S:
    try:
        return msgspec.convert(thing, model)
    except msgspec.ValidationError as error:
        raise UnreadablePayloadError(f"data.object: {error}") from error
    except UnicodeEncodeError as error:  # half of a surrogate pair, in a name or a value that msgspec looks into
        raise UnreadablePayloadError("data.object: it has half of a surrogate pair where text is needed") from error


def _payment_of(thing: _Charge | _Refund | _Dispute) -> str:
    """Name the payment: its intent, else its charge; each may stand there in full."""
    for value in (thing.payment_intent, getattr(thing, "charge", None)):
        found = value.get("id") if isinstance(value, dict) else value
        if isinstance(found, str) and 0 < len(found) <= MAX_ID_LENGTH and found.isprintable():
            return found
    if isinstance(thing, _Charge):
        return thing.id
    raise UnreadablePayloadError("data.object.payment_intent: it names no payment")


def _text(value: object, length: int = 300) -> str:
    return _UNSTORABLE.sub("\ufffd", value)[:length] if isinstance(value, str) else ""


def _order_key(metadata: dict[str, Any] | None) -> str:
    """Say how the metadata names the order: by our id, by Shopify's, or by its name."""
    given = {name: _text(str(value).strip(), 120) for name, value in (metadata or {}).items() if value is not None}
    for name, prefix in (("order_id", "id"), ("shopify_order_id", "shopify")):
        if re.fullmatch("[0-9]{1,18}", given.get(name, "")):
            return f"{prefix}:{int(given[name])}"
    reference = given.get("order_reference") or given.get("order_name") or given.get("order_id") or ""
    return f"name:{reference}" if reference else ""


_Read = tuple[str, str, dict[str, Any]]


def _read_intent(thing: dict[str, Any]) -> _Read:
    read = _convert(thing, _Intent)
    values = {
        "amount": read.amount,
        "currency": read.currency.upper(),
        "status": _text(read.status, 40),
        "captured": read.amount_received or 0,
        "error": _text((read.last_payment_error or {}).get("message")),
        "is_expired": read.cancellation_reason == "automatic",
        "order_key": _order_key(read.metadata),
    }
    return read.id, read.id, values


def _read_charge(thing: dict[str, Any]) -> _Read:
    read = _convert(thing, _Charge)
    captured = read.amount if read.amount_captured is None else read.amount_captured
    card = (read.payment_method_details or {}).get("card")
    before = card.get("capture_before") if isinstance(card, dict) else None
    values = {
        "amount": read.amount,
        "currency": read.currency.upper(),
        "status": _text(read.status, 40),
        "captured": captured if read.captured and read.status == "succeeded" else 0,
        "refunded": _refunded(read, captured),
        "error": _text(read.failure_message),
        "capture_before": before if isinstance(before, int) and 0 <= before < 2**35 else None,
        "order_key": _order_key(read.metadata),
    }
    return read.id, _payment_of(read), values


def _refunded(charge: _Charge, captured: int) -> int:
    """Say what was given back of what was captured: Stripe counts as refunded what it let go of an authorisation, too.

    https://docs.stripe.com/api/payment_intents/cancel: "the remaining amount_capturable is automatically refunded"
    """
    taken = captured if charge.captured else 0
    return max(0, (charge.amount_refunded or 0) - max(0, charge.amount - taken))


def _read_refund(thing: dict[str, Any]) -> _Read:
    read = _convert(thing, _Refund)
    values = {
        "amount": read.amount,
        "currency": read.currency.upper(),
        "status": _text(read.status or "succeeded", 40),
        "reason": _text(read.reason, 60),
        "failure_reason": _text(read.failure_reason),
        "key": _text((read.metadata or {}).get("shopsync_refund"), 60),
    }
    return read.id, _payment_of(read), values


def _read_dispute(thing: dict[str, Any]) -> _Read:
    read = _convert(thing, _Dispute)
    values = {
        "amount": read.amount,
        "currency": read.currency.upper(),
        "status": _text(read.status, 40),
        "reason": _text(read.reason, 60),
        "due_by": read.evidence_details.due_by if read.evidence_details else None,
    }
    return read.id, _payment_of(read), values


_READERS = {
    "payment_intent": ("intent", _read_intent),
    "charge": ("charge", _read_charge),
    "refund": ("refund", _read_refund),
    "dispute": ("dispute", _read_dispute),
}
