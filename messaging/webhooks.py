"""Reads what messaging providers post to us; pure: bytes in, dataclasses out."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, NoReturn

ReportStatus = Literal["pending", "sent", "delivered", "failed", "unrecognised"]

MAX_ID_LENGTH = 128
MAX_WORD_LENGTH = 64
MAX_TEXT_LENGTH = 500

_MITTO_STATUSES: dict[str, ReportStatus] = {
    "pending": "pending",
    "sent": "sent",
    "delivered": "delivered",
    "failure": "failed",
}
# PostgreSQL's text and jsonb take neither NUL nor half of a surrogate pair.
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


class UnreadableReport(ValueError):  # noqa: N818  (a thing that came in, not a fault of ours)
    """A delivery report that says nothing we can use; the message says why."""


@dataclass(frozen=True)
class DeliveryReport:
    """What a provider says has become of one message.

    `status` is "unrecognised" for a word that we do not know; `raw_status` keeps the word. `updated_at` is aware UTC,
    or None where the provider gave no date that can be read. The texts hold nothing that PostgreSQL cannot store.
    """

    provider_id: str
    status: ReportStatus
    raw_status: str
    reference: str | None = None
    updated_at: datetime | None = None
    error: str | None = None
    destination: str | None = None  # these three only where the provider was asked
    text: str | None = None
    account_id: str | None = None


def parse_mitto_reports(body: bytes) -> list[DeliveryReport]:
    """Read a delivery report of Mitto's Messaging API: one JSON object, or an array of them.

    All are read or none is. The order is the array's, and says nothing of time: reports come late, twice and in any
    order. An empty array holds no reports.

    Raises:
        UnreadableReport: the body is not JSON, or one of its entries names no message or no status.
    """
    try:
        document = json.loads(body, parse_constant=refuse_constant)
    except (ValueError, RecursionError) as error:
        raise UnreadableReport("the delivery report is not JSON") from error
    entries = document if isinstance(document, list) else [document]
    return [read_mitto_report(entry, place=f"report {n} of {len(entries)}") for n, entry in enumerate(entries, start=1)]


def read_mitto_report(entry: Any, *, place: str = "the report") -> DeliveryReport:
    """Read one entry of a delivery report, or the answer to "get message", which has the same fields.

    Raises:
        UnreadableReport: as above; `place` begins its sentence.
    """
    if not isinstance(entry, dict):
        raise UnreadableReport(f"{place} is not a JSON object")
    raw_status = text_of(entry.get("deliveryStatus"), MAX_WORD_LENGTH)
    if raw_status is None:
        raise UnreadableReport(f"{place} has no deliveryStatus")
    return DeliveryReport(
        provider_id=id_in(entry, "messageId", place=place),
        status=_MITTO_STATUSES.get(raw_status.lower(), "unrecognised"),
        raw_status=raw_status,
        reference=text_of(entry.get("reference"), MAX_ID_LENGTH),
        updated_at=moment_of(entry.get("updatedAt")),
        error=text_of(entry.get("error"), MAX_TEXT_LENGTH) or text_of(entry.get("description"), MAX_TEXT_LENGTH),
        destination=text_of(entry.get("destination"), MAX_ID_LENGTH),
        text=entry["text"] if isinstance(entry.get("text"), str) else None,
        account_id=text_of(entry.get("trafficAccountId"), MAX_ID_LENGTH),
    )


def id_in(entry: dict[str, Any], name: str, *, place: str) -> str:
    """Return the id of this name.

    Raises:
        UnreadableReport: there is none that can be stored; `place` begins its sentence.
    """
    value = entry.get(name)
    if not isinstance(value, str) or not value.strip():
        raise UnreadableReport(f"{place} has no {name}")
    if len(value) > MAX_ID_LENGTH or _UNSTORABLE.search(value):
        raise UnreadableReport(f"{place} has a {name} that is too long or holds characters that no id has")
    return value.strip()


def text_of(value: Any, max_length: int) -> str | None:
    """Return a storable text, or None where there is none."""
    if not isinstance(value, str) or not value.strip():
        return None
    return _UNSTORABLE.sub("\ufffd", value.strip())[:max_length]


def moment_of(value: Any) -> datetime | None:
    """Read an ISO 8601 date (Mitto writes seven fraction digits, and Z); without an offset it is UTC."""
    if not isinstance(value, str):
        return None
    try:
        moment = datetime.fromisoformat(value.strip())
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def refuse_constant(name: str) -> NoReturn:
    """Refuse NaN and infinities, which Python's reader takes."""
    raise ValueError(f"{name} is not JSON")
