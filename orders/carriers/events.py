"""Reads what EasyPost posts to us (pure): the signature, the envelope, a tracker, a refund.

Sources: https://docs.easypost.com/guides/webhooks-guide (X-Hmac-Signature, retries), .../docs/events (id, description,
result), .../docs/trackers, .../docs/refunds. EasyPost gives no order, and repeats what was not answered with 2xx.
"""

from __future__ import annotations

import hmac
import json
import re
import unicodedata
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from orders.carriers.tracking import Said
from shopsync.shopify import UnreadablePayloadError

HEADER = "X-Hmac-Signature"
_SCHEME = "hmac-sha256-hex="
_MAX_SAYINGS = 200
_WORD = re.compile(r"[\x21-\x7e]{1,80}")
# PostgreSQL's text and jsonb take neither NUL nor half of a surrogate pair.
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


class UnreadableEvent(ValueError):  # noqa: N818  (a thing that came in, not a fault of ours)
    """A signed body that is no event; the sentence begins with the field that is wrong."""


@dataclass(frozen=True, slots=True)
class Envelope:
    """What an event says of itself."""

    event_id: str
    topic: str
    is_test: bool


@dataclass(frozen=True, slots=True)
class Tracker:
    """What a tracker says of a parcel; `remote_id` is empty for one that was not bought through the carrier."""

    remote_id: str
    tracking_number: str
    sayings: tuple[Said, ...]


@dataclass(frozen=True, slots=True)
class RefundNews:
    """What became of a label's refund; `told_at` is when, by the carrier's clock, None where it does not say."""

    remote_id: str
    status: str
    told_at: datetime | None = None


def sign(*, body: bytes, secret: str) -> str:
    """Sign a body as EasyPost does: hex HMAC-SHA256, keyed with the secret in Unicode's form NFKD."""
    key = unicodedata.normalize("NFKD", secret).encode()
    return _SCHEME + hmac.digest(key, body, "sha256").hex()


def is_signed(*, body: bytes, signature: str, secret: str) -> bool:
    """Does the secret give this signature? An empty secret never does; compared in constant time."""
    expected = sign(body=body, secret=secret).encode()
    return bool(secret) and hmac.compare_digest(expected, signature.encode("utf-8", "replace"))


def read_envelope(body: bytes) -> Envelope:
    """Read what an event says of itself.

    Raises: UnreadableEvent naming the field.
    """
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise UnreadableEvent("body: it is not JSON") from error
    if not isinstance(document, dict):
        raise UnreadableEvent("body: it is not a JSON object")
    for name in ("id", "description"):
        if not isinstance(document.get(name), str) or not _WORD.fullmatch(document[name]):
            raise UnreadableEvent(f"{name}: a word of 1 to 80 visible ASCII characters is needed")
    return Envelope(document["id"], document["description"], document.get("mode") == "test")


def read_tracker(body: bytes) -> Tracker:
    """Read the tracker in an event.

    Raises: UnreadablePayloadError naming the field.
    """
    result = _result(body)
    remote_id, number = _text(result.get("shipment_id"), 80), _text(result.get("tracking_code"), 100)
    if not remote_id and not number:
        raise UnreadablePayloadError("result: it names neither shipment_id nor tracking_code")
    listed = result.get("tracking_details")
    entries = listed[-_MAX_SAYINGS:] if isinstance(listed, list) else []
    said = [_said(entry, "datetime", place=f"result.tracking_details[{i}]") for i, entry in enumerate(entries)]
    status = _text(result.get("status"), 30)
    # The tracker's own word is news only where no detail says it: before the first scan.
    if status and status not in {one.status for one in said}:
        said.append(_said(result, "updated_at", place="result"))
    return Tracker(remote_id, number, tuple(said))


def read_refund(body: bytes) -> RefundNews:
    """Read the refund in an event.

    Raises: UnreadablePayloadError naming the field.
    """
    result = _result(body)
    remote_id, status = _text(result.get("shipment_id"), 80), _text(result.get("status"), 30)
    if not remote_id:
        raise UnreadablePayloadError("result.shipment_id: the shipment's id is needed")
    if status not in {"submitted", "refunded", "rejected", "not_applicable"}:
        raise UnreadablePayloadError(f"result.status: {status!r} is none that a refund can have")
    return RefundNews(remote_id, status, _time(result.get("updated_at")))


def _result(body: bytes) -> dict[str, Any]:
    try:
        read_envelope(body)
    except UnreadableEvent as error:
        raise UnreadablePayloadError(str(error)) from error
    result = json.loads(body).get("result")
    if not isinstance(result, dict):
        raise UnreadablePayloadError("result: an object is needed")
    return result


def _said(entry: Any, time_field: str, *, place: str) -> Said:
    entry = entry if isinstance(entry, dict) else {}
    status = _text(entry.get("status"), 30)
    if not status:
        raise UnreadablePayloadError(f"{place}.status: a status is needed")
    happened_at = _time(entry.get(time_field))
    if happened_at is None:
        raise UnreadablePayloadError(f"{place}.{time_field}: a time is needed")
    detail = _text(entry.get("status_detail"), 60)
    return Said(happened_at, status, detail, _text(entry.get("message"), 300))


def _time(value: Any) -> datetime | None:
    """Read a time, in UTC where it names no zone; None for what is none."""
    try:
        read = datetime.fromisoformat(str(value))
        return (read if read.tzinfo else read.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _text(value: Any, longest: int) -> str:
    return _UNSTORABLE.sub("\ufffd", value)[:longest] if isinstance(value, str) else ""
