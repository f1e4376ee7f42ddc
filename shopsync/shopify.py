"""What Shopify's deliveries have in common (pure): headers, lanes, versions, and a strict reading of their JSON.

Facts: docs/protocols.md. Ids pass 2^53, money is a string, most fields may be null, and signatures cover the body only.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, TypeVar

import msgspec

T = TypeVar("T")

MAX_BODY_BYTES = 5 * 1024 * 1024
_HEADER_LIMITS = {"topic": 100, "shop_domain": 255, "webhook_id": 120, "event_id": 120}
_SHOP_DOMAIN = re.compile(r"[a-z0-9][a-z0-9-]*\.myshopify\.com")


class UnreadablePayloadError(ValueError):
    """A body that can't be understood; the message says what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """One stored delivery, as a handler gets it. `body` is the sender's own bytes."""

    id: int
    tenant_id: int
    source: str
    topic: str
    body: bytes
    digest: str
    triggered_at: datetime | None
    received_at: datetime
    connection_id: int | None


@dataclass(frozen=True, slots=True)
class DeliveryHeaders:
    """Shopify's headers, read and bounded; all of them are unsigned claims."""

    topic: str
    shop_domain: str
    webhook_id: str
    signature: str
    event_id: str
    sub_topic: str
    subscription_name: str
    api_version: str
    is_test: bool
    triggered_at: datetime | None


class MissingHeaderError(ValueError):
    """A header without which a delivery can't be placed is absent or unreadable; the message names it."""


def read_headers(get: Callable[[str], str | None], *, path_topic: str = "") -> DeliveryHeaders:
    """Read a delivery's headers; `get` takes a header's name. The topic may also stand in the path.

    Raises: MissingHeaderError.
    """
    headers = DeliveryHeaders(
        topic=get("X-Shopify-Topic") or path_topic,
        shop_domain=(get("X-Shopify-Shop-Domain") or "").strip().lower(),
        webhook_id=get("X-Shopify-Webhook-Id") or "",
        signature=get("X-Shopify-Hmac-Sha256") or "",
        event_id=get("X-Shopify-Event-Id") or "",
        sub_topic=(get("X-Shopify-Sub-Topic") or "")[:100],
        subscription_name=(get("X-Shopify-Name") or "")[:100],
        api_version=(get("X-Shopify-API-Version") or "")[:20],
        is_test=get("X-Shopify-Test") == "true",
        triggered_at=read_time(get("X-Shopify-Triggered-At") or ""),
    )
    for field, name in (
        ("signature", "X-Shopify-Hmac-Sha256"),
        ("topic", "X-Shopify-Topic"),
        ("shop_domain", "X-Shopify-Shop-Domain"),
        ("webhook_id", "X-Shopify-Webhook-Id"),
    ):
        if not getattr(headers, field):
            raise MissingHeaderError(f"the header {name} is missing")
    for field, limit in _HEADER_LIMITS.items():
        if len(getattr(headers, field)) > limit:
            raise MissingHeaderError(f"the header of the {field.replace('_', ' ')} is over {limit} characters")
    return headers


def is_shop_domain(value: str) -> bool:
    """Is this a myshopify.com name?"""
    return bool(_SHOP_DOMAIN.fullmatch(value))


def read_time(value: str) -> datetime | None:
    """Read an ISO 8601 time (nanoseconds are cut to microseconds, a missing zone is UTC); None if it is none."""
    cut = re.sub(r"(\.\d{6})\d+", r"\1", value.strip())
    try:
        return as_utc(datetime.fromisoformat(cut))
    except ValueError:  # not a time, or one outside the calendar
        return None


# --- reading bodies ---------------------------------------------------------------------------------------------


def _without_nul(value: Any) -> Any:
    if isinstance(value, str):
        return value.replace("\x00", "\ufffd")
    if isinstance(value, list):
        return [_without_nul(item) for item in value]
    if isinstance(value, dict):
        return {_without_nul(key): _without_nul(item) for key, item in value.items()}
    return value


def parse(body: bytes, shape: type[T]) -> T:
    """Read a body into a msgspec Struct; NUL characters, which PostgreSQL can't store in text, become U+FFFD.

    A Decimal is an amount (or a share): it is 0 or more and below 10^15. An integer fits 64 bits, a time the calendar.

    Raises: UnreadablePayloadError naming the field and what was expected.
    """
    try:
        if b"\\u0000" in body:
            found = msgspec.convert(_without_nul(msgspec.json.decode(body)), shape, strict=False)
        else:
            found = msgspec.json.decode(body, type=shape, strict=False)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise UnreadablePayloadError(f"the body is not what this topic carries: {error}") from error
    if fault := _find_fault(found):
        raise UnreadablePayloadError(f"${fault}")
    return found


LARGEST_AMOUNT = Decimal(10**15)
MOST_UNITS = 10**15  # thousands of such still add up within 64 bits
_MOST_DECIMALS = 20


_FREE = (type(None), str, bool)


def _find_fault(value: Any) -> str:
    """Say where in a body there is what no column can hold, and why (`.line_items[1].price: …`); else nothing."""
    if fields := getattr(value, "__struct_fields__", ()):  # isinstance would cost more than all the rest
        for name in fields:
            part = getattr(value, name)
            if type(part) not in _FREE and (fault := _find_fault(part)):
                return f".{name}{fault}"
    elif isinstance(value, list):
        for place, part in enumerate(value):
            if type(part) not in _FREE and (fault := _find_fault(part)):
                return f"[{place}]{fault}"
    elif sentence := _misfit(value):
        return f": {sentence}"
    return ""


def _misfit(value: Any) -> str:
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        return f"{str(value)[:40]} does not fit 64 bits"
    if isinstance(value, Decimal) and not _is_amount(value):
        return f"{str(value)[:40]!r} is no amount: it has to be a number, 0 or more and below 10^15"
    if isinstance(value, datetime):
        try:
            as_utc(value)
        except UnreadablePayloadError as error:
            return str(error)
    return ""


def _is_amount(value: Decimal) -> bool:
    return value.is_finite() and 0 <= value < LARGEST_AMOUNT and value.adjusted() >= -_MOST_DECIMALS


class _Peek(msgspec.Struct):
    id: int | str | None = None
    order_id: int | None = None
    customer_id: int | None = None
    inventory_item_id: int | None = None
    location_id: int | None = None


_LANE_BY_TOPIC: dict[str, tuple[str, str]] = {
    "refunds": ("order", "order_id"),
    "fulfillments": ("order", "order_id"),
    "orders": ("order", "id"),
    "products": ("product", "id"),
    "customers": ("customer", "id"),
    "customers_marketing_consent": ("customer", "id"),
    "customers_email_marketing_consent": ("customer", "customer_id"),
    "customers_whats_app_marketing_consent": ("customer", "customer_id"),
}


def lane_of(topic: str, body: bytes) -> str:
    """Name the resource a delivery is about, e.g. `order:123`: no two deliveries of it are worked on at once.

    Raises: UnreadablePayloadError when the body is no JSON object or lacks the resource's id.
    """
    family = topic.partition("/")[0]
    try:
        peek = msgspec.json.decode(body, type=_Peek)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise UnreadablePayloadError(f"the body is no readable JSON object: {error}") from error
    if family == "app":
        return "tenant"
    if family == "inventory_levels":
        if peek.inventory_item_id is None or peek.location_id is None:
            raise UnreadablePayloadError("inventory_item_id or location_id is missing")
        return f"level:{peek.inventory_item_id}:{peek.location_id}"
    noun, field = _LANE_BY_TOPIC.get(family, (family, "id"))
    resource = getattr(peek, field)
    if resource is None:
        raise UnreadablePayloadError(f"{field} is missing")
    return f"{noun}:{resource}"[:200]


# --- versions ---------------------------------------------------------------------------------------------------

_TOPIC_RANK = {
    "create": 0,
    "updated": 1,
    "update": 1,
    "paid": 2,
    "partially_fulfilled": 2,
    "fulfilled": 3,
    "cancelled": 4,
}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def version_of(delivery: Delivery, updated_at: datetime | None) -> str:
    """Build the version of the resource in a delivery: text that sorts by (updated_at, triggered_at, topic rank,
    digest).

    A body without updated_at (consent, deletes) is placed by the time it was triggered, else received.
    """
    triggered = delivery.triggered_at or (_EPOCH if updated_at else delivery.received_at)
    rank = _TOPIC_RANK.get(delivery.topic.rpartition("/")[2], 1)
    return version(updated_at or triggered, triggered, rank=rank, digest=delivery.digest)


def version(updated_at: datetime, triggered_at: datetime, *, rank: int, digest: str) -> str:
    """Join the parts of a version into text that compares as bytes do."""
    return f"{_sortable(updated_at)}|{_sortable(triggered_at)}|{rank}|{digest[:16]}"


def _sortable(moment: datetime) -> str:
    return as_utc(moment).strftime("%Y-%m-%dT%H:%M:%S.%f").rjust(26, "0")


def as_utc(moment: datetime) -> datetime:
    """Return an aware time in UTC; a time without zone is taken as UTC.

    Raises: UnreadablePayloadError for a time that falls out of the calendar on the way (year 0 or 10000).
    """
    try:
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except OverflowError as error:
        raise UnreadablePayloadError(f"the time {moment.isoformat()} is outside the calendar in UTC") from error
