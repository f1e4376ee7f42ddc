"""Reads the replies that Mitto posts to us; pure: bytes in, dataclasses out.

Mitto publishes no shape for them. The names of sender and text are known from one earlier reader; the others are those
that providers commonly use, read where they are present (docs/protocols.md).
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import phonenumbers

from messaging.webhooks import MAX_ID_LENGTH, UnreadableReport, moment_of, refuse_constant, text_of
from shopsync.identity import normalise_phone

MAX_TEXT = 5_000  # a long SMS has at most 255 parts; nobody types that
MAX_ADDRESS = 64
MAX_REPLIES = 500  # of one body: each holds a lock while they are worked on
_SENDERS, _TEXTS = ("from", "msisdn", "sender"), ("text", "message")
_RECIPIENTS = ("to", "destination", "recipient")
_IDS, _TIMES = ("id", "messageId", "message_id"), ("time", "timestamp", "receivedAt", "received_at", "date")


@dataclass(frozen=True, slots=True)
class Inbound:
    """A reply as it came: whose, what it says, to which number (empty: not said), and by what the provider knows it.

    The texts hold nothing that PostgreSQL cannot store. `sent_at` is aware UTC, or None.
    """

    sender: str
    text: str
    recipient: str = ""
    provider_id: str = ""
    sent_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Unread:
    """An entry that is no reply, as a body of its own: an array of it alone, which can't be read either."""

    body: bytes


def parse_replies(body: bytes) -> list[Inbound | Unread]:
    """Read a post of replies, one JSON object or an array of them, in its order: one that is none costs no other.

    Raises:
        UnreadableReport: the body is not JSON, holds too many, or none of its entries has both a sender and a text.
    """
    entries = _entries(body)
    if len(entries) > MAX_REPLIES:
        raise UnreadableReport(f"{len(entries)} replies in one body: at most {MAX_REPLIES} are taken")
    found: list[Inbound | Unread] = []
    problems = []
    for number, entry in enumerate(entries, start=1):
        try:
            found.append(_read(entry, place=f"reply {number} of {len(entries)}"))
        except UnreadableReport as problem:
            problems.append(problem)
            found.append(Unread(json.dumps([entry]).encode()))
    if problems and len(problems) == len(entries):
        raise problems[0]
    return found


def tells_repetitions(body: bytes) -> bool:
    """Do all replies of a body have an id or a time? Else the same bytes may be another message: STOP is always STOP.

    A body that can't be read is the same body when it comes again.
    """
    try:
        return all(one.provider_id or one.sent_at for one in parse_replies(body) if isinstance(one, Inbound))
    except UnreadableReport:
        return True


def _entries(body: bytes) -> list[Any]:
    try:
        document = json.loads(body, parse_constant=refuse_constant)
    except (ValueError, RecursionError) as error:
        raise UnreadableReport("the reply is not JSON") from error
    return document if isinstance(document, list) else [document]


def _read(entry: Any, *, place: str) -> Inbound:
    if not isinstance(entry, dict):
        raise UnreadableReport(f"{place} is not a JSON object")
    sender = _first(entry, _SENDERS, MAX_ADDRESS)
    if not sender:
        raise UnreadableReport(f"{place} has no from, msisdn or sender")
    if not any(isinstance(entry.get(name), str) for name in _TEXTS):
        raise UnreadableReport(f"{place} has no text or message")
    moments = (moment_of(entry.get(name)) for name in _TIMES)
    return Inbound(
        sender=sender,
        text=_first(entry, _TEXTS, MAX_TEXT),
        recipient=_first(entry, _RECIPIENTS, MAX_ADDRESS),
        provider_id=_first(entry, _IDS, MAX_ID_LENGTH),
        sent_at=next(filter(None, moments), None),
    )


def _first(entry: dict[str, Any], names: Sequence[str], max_length: int) -> str:
    """Return the first of these that is a text with something in it, or a whole number; else empty."""
    for name in names:
        value = entry.get(name)
        if isinstance(value, int) and not isinstance(value, bool):
            value = str(value)
        if found := text_of(value, max_length):
            return found
    return ""


def phone_of(value: str, *, country: str) -> str:
    """Write a sender's number as E.164; empty when it can't be one.

    Providers write numbers in full, often without the plus: a number that is valid as it is dialled in the shop's own
    country is taken as that, any other as one with its country's prefix.
    """
    digits = re.sub(r"[^0-9+]", "", value)
    if not re.fullmatch(r"\+?[0-9]{5,17}", digits):
        return ""
    if digits.startswith(("+", "00")):
        return normalise_phone("+" + digits.lstrip("+0"), "")
    return _valid_at_home(digits, country) or normalise_phone(f"+{digits}", "")


def _valid_at_home(digits: str, country: str) -> str:
    try:
        number = phonenumbers.parse(digits, country or None)
    except phonenumbers.NumberParseException:
        return ""
    if not phonenumbers.is_valid_number(number):
        return ""
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


def numbers_of(value: str) -> list[str]:
    """List the ways in which the number that a reply went to may stand among senders: with a plus, without, as it is.

    A short code or a name stays as it is. Nothing is listed of nothing.
    """
    digits = value.strip().removeprefix("+")
    found = {value.strip(), digits, f"+{digits}"} if digits.isdecimal() and len(digits) > 6 else {value.strip()}
    return sorted(found - {""})
