"""Reads what messaging providers post to us; pure: bytes in, dataclasses out."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, NoReturn
from urllib.parse import parse_qsl

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
    destination: str | None = None  # E.164 with the plus; where it was asked for, and in reports of the classic API
    text: str | None = None  # these two only where the provider was asked
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


# What a classic report calls its parts, whatever their case and punctuation. Mitto's own names were not to be found:
# the first of each is of an invented sample, the others are those of the Messaging API and of other providers.
_CLASSIC_NAMES = {
    "id": ("id", "messageid"),
    "reference": ("reference", "ref"),
    "status": ("status", "deliverystatus"),
    "time": ("timestamp", "updatedat", "time", "date"),
    "code": ("errorcode",),
    "error": ("error", "errortext", "description"),
    "to": ("to", "destination", "recipient", "receiver", "msisdn"),
}
MAX_FIELDS = 100


def is_classic_mitto(account_id: str) -> bool:
    """Does a connection's account id say that it speaks Mitto's classic SMS API: `classic`, or `classic:NAME`?"""
    return account_id.partition(":")[0].strip().lower() == "classic"


def parse_classic_reports(body: bytes) -> list[DeliveryReport]:
    """Read delivery reports of Mitto's classic API: a query or a form, one JSON object, or an array of them.

    The names are a guess (docs/protocols.md). A word for the status that we do not know is kept, and moves nothing.

    Raises:
        UnreadableReport: there is nothing to read, or an entry names no message or no status.
    """
    text = body.decode("utf-8", "replace").strip()
    try:
        if text.startswith(("{", "[")):
            document = json.loads(text, parse_constant=refuse_constant)
        else:
            document = dict(parse_qsl(text, keep_blank_values=True, max_num_fields=MAX_FIELDS))
    except (ValueError, RecursionError) as error:
        raise UnreadableReport("the delivery report is neither a form nor JSON") from error
    entries = document if isinstance(document, list) else [document]
    return [_read_classic(entry, place=f"report {n} of {len(entries)}") for n, entry in enumerate(entries, start=1)]


def _read_classic(entry: Any, *, place: str) -> DeliveryReport:
    if not isinstance(entry, dict):
        raise UnreadableReport(f"{place} is not a JSON object")
    plain = {re.sub("[^a-z]", "", name.lower()): _word(value) for name, value in entry.items()}
    found = {part: next(filter(None, map(plain.get, names)), None) for part, names in _CLASSIC_NAMES.items()}
    raw_status = text_of(found["status"], MAX_WORD_LENGTH)
    if raw_status is None:
        raise UnreadableReport(f"{place} has no status")
    code = text_of(found["code"], MAX_WORD_LENGTH) or "0"
    return DeliveryReport(
        provider_id=id_in(found, "id", place=place),
        status=_MITTO_STATUSES.get(raw_status.lower(), "unrecognised"),
        raw_status=raw_status,
        reference=text_of(found["reference"], MAX_ID_LENGTH),
        updated_at=moment_of(found["time"]),
        error=text_of(found["error"], MAX_TEXT_LENGTH) or (f"error {code}" if code != "0" else None),
        destination=_number(found["to"]),
    )


def _word(value: Any) -> str | None:
    """Return a text, or a whole number as one; None for anything else."""
    return str(value) if isinstance(value, str | int) and not isinstance(value, bool) else None


def _number(value: str | None) -> str | None:
    """Return a phone number as E.164 with the plus, however it was written; None where there is none."""
    digits = re.sub(r"[^0-9]", "", value or "").lstrip("0")
    return f"+{digits}" if 7 <= len(digits) <= 15 else None


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
