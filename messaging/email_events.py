"""Reads what e-mail services post to us and answer us (pure): delivered, bounced, reported as spam, unsubscribed.

Where the services differ, one is a section below: Postmark, then Mailgun.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from messaging.webhooks import (
    MAX_ID_LENGTH,
    MAX_TEXT_LENGTH,
    MAX_WORD_LENGTH,
    DeliveryReport,
    ReportStatus,
    UnreadableReport,
    id_in,
    moment_of,
    refuse_constant,
    text_of,
)

Harm = Literal["", "bounce", "complaint", "unsubscribed"]

# https://postmarkapp.com/developer/api/bounce-api#bounce-types
_HARD_BOUNCES = frozenset(("HardBounce", "BadEmailAddress", "ManuallyDeactivated"))
_SOFT_BOUNCES = frozenset(
    ("SoftBounce", "Blocked", "DnsError", "SpamNotification", "VirusNotification", "DMARCPolicy", "Undeliverable",
     "TemplateRenderingFailed", "SMTPApiError", "InboundError", "Unknown")
)  # fmt: skip
_SUPPRESSIONS: dict[str, Harm] = {
    "HardBounce": "bounce",
    "SpamComplaint": "complaint",
    "ManualSuppression": "unsubscribed",
}

_MAILGUN: dict[str, tuple[ReportStatus, Harm]] = {
    "accepted": ("pending", ""),
    "delivered": ("delivered", ""),
    "clicked": ("delivered", ""),
    "failed": ("failed", ""),
    "complained": ("failed", "complaint"),
    "unsubscribed": ("delivered", "unsubscribed"),
}
_POSTMARK_WORDS: dict[str, ReportStatus] = {"Delivered": "delivered", "LinkClicked": "delivered", "Bounced": "failed"}
MAX_AGE_SECONDS = 1000


@dataclass(frozen=True)
class EmailEvent:
    """What an e-mail service says of one e-mail.

    report   for the message; None where the event says nothing of its delivery, such as that it was opened
    harm     why its address is written to no more; empty: it may be
    """

    address: str
    report: DeliveryReport | None
    harm: Harm = ""


def has_password(authorization: str, secret: str) -> bool:
    """Does this Authorization header sign in (Basic, RFC 7617) with the secret, `user:password`?"""
    scheme, _, coded = authorization.partition(" ")
    if scheme.lower() != "basic" or not secret:
        return False
    try:
        given = base64.b64decode(coded.strip(), validate=True)
    except (binascii.Error, ValueError):
        return False
    return hmac.compare_digest(given, secret.encode())


def _document(body: bytes) -> dict[str, Any]:
    try:
        document = json.loads(body, parse_constant=refuse_constant)
    except (ValueError, RecursionError) as error:
        raise UnreadableReport("the event is not JSON") from error
    if not isinstance(document, dict):
        raise UnreadableReport("the event is not a JSON object")
    return document


def _reference_in(variables: Any) -> str | None:
    """Return the reference that we sent along with the e-mail, if it is there."""
    return text_of(variables.get("reference"), MAX_ID_LENGTH) if isinstance(variables, dict) else None


# Postmark


def parse_postmark_event(body: bytes) -> EmailEvent | None:
    """Read one of Postmark's events; None for one that is of no use here, such as an opened e-mail.

    A click proves that the e-mail arrived, an opened one does not: mail programs load pictures by themselves.
    Source: https://postmarkapp.com/developer/webhooks/webhooks-overview

    Raises: UnreadableReport.
    """
    entry = _document(body)
    if not isinstance(entry.get("RecordType"), str):
        raise UnreadableReport("the event has no RecordType")
    return read_postmark_event(entry)


def read_postmark_event(entry: dict[str, Any]) -> EmailEvent | None:
    """Read one event as Postmark writes it; None for one that is of no use here.

    Raises: UnreadableReport.
    """
    kind = entry["RecordType"]
    if kind == "Delivery":
        return _postmark(entry, "delivered", kind, at="DeliveredAt")
    if kind == "Click":
        return _postmark(entry, "delivered", kind, at="ReceivedAt")
    if kind == "SpamComplaint":
        return _postmark(entry, "failed", kind, at="BouncedAt", harm="complaint")
    if kind == "SubscriptionChange":
        return _read_suppression(entry)
    if kind != "Bounce":
        return None
    word = text_of(entry.get("Type"), MAX_WORD_LENGTH) or "Unknown"
    if word in _HARD_BOUNCES:
        return _postmark(entry, "failed", word, at="BouncedAt", harm="bounce")
    return _postmark(entry, "failed" if word in _SOFT_BOUNCES else "unrecognised", word, at="BouncedAt")


def _read_suppression(entry: dict[str, Any]) -> EmailEvent | None:
    """Read that Postmark itself sends to an address no more; that it sends again is for us to decide. Its report, where
    an e-mail led to it, says whose that was, and nothing of its delivery.

    Source: https://postmarkapp.com/developer/webhooks/subscription-change-webhook
    """
    harm = _SUPPRESSIONS.get(str(entry.get("SuppressionReason")), "")
    if entry.get("SuppressSending") is not True or not harm:
        return None
    address = text_of(entry.get("Recipient"), 320) or ""
    if not address:
        return None
    if (
        not isinstance(entry.get("MessageID"), str) or not entry["MessageID"].strip()
    ):  # null where a person did it there
        return EmailEvent(address, None, harm)
    return _postmark(entry, "pending", entry["RecordType"], at="ChangedAt", harm=harm)


def _postmark(entry: dict[str, Any], status: ReportStatus, word: str, *, at: str, harm: Harm = "") -> EmailEvent:
    metadata = entry.get("Metadata")
    report = DeliveryReport(
        provider_id=id_in(entry, "MessageID", place="the event"),
        status=status,
        raw_status=word,
        reference=_reference_in(metadata),
        updated_at=moment_of(entry.get(at)),
        error=text_of(entry.get("Description"), MAX_TEXT_LENGTH) if status == "failed" else None,
    )
    return EmailEvent(text_of(entry.get("Email") or entry.get("Recipient"), 320) or "", report, harm)


def read_postmark_message(document: Any) -> DeliveryReport:
    """Read the answer to "message details": what Postmark knows of one e-mail, the best of it.

    Raises: UnreadableReport.
    """
    if not isinstance(document, dict):
        raise UnreadableReport("Postmark's answer is not a JSON object")
    events = [event for event in document.get("MessageEvents") or [] if isinstance(event, dict)]
    by_type = {str(event.get("Type")): event for event in events}
    word = next((word for word in _POSTMARK_WORDS if word in by_type), "")
    if not word:
        word = text_of(document.get("Status"), MAX_WORD_LENGTH) or "no Status"
    status = _POSTMARK_WORDS.get(word) or ("sent" if word in {"Sent", "Processed"} else "pending")
    event = by_type.get(word, {})
    details, metadata = event.get("Details"), document.get("Metadata")
    summary = details.get("Summary") if isinstance(details, dict) else None
    return DeliveryReport(
        provider_id=id_in(document, "MessageID", place="Postmark's answer"),
        status=status,
        raw_status=word,
        reference=_reference_in(metadata),
        updated_at=moment_of(event.get("ReceivedAt")),
        error=text_of(summary, MAX_TEXT_LENGTH) if status == "failed" else None,
    )


# Mailgun


def is_signed_by_mailgun(*, body: bytes, secret: str, now: float) -> bool:
    """Does the signature in the body fit its time and token, and is it of the last quarter of an hour or so?

    Source: https://documentation.mailgun.com/docs/mailgun/user-manual/webhooks/securing-webhooks
    """
    try:
        signature = json.loads(body)["signature"]
        stamp, token, given = (str(signature[name]) for name in ("timestamp", "token", "signature"))
        age = abs(now - float(stamp))
    except (ValueError, RecursionError, KeyError, TypeError):
        return False
    expected = hmac.digest(secret.encode(), f"{stamp}{token}".encode("utf-8", "replace"), "sha256").hex()
    return (
        bool(secret)
        and age < MAX_AGE_SECONDS
        and hmac.compare_digest(expected.encode(), given.encode("utf-8", "replace"))
    )


def parse_mailgun_event(body: bytes) -> EmailEvent | None:
    """Read one of Mailgun's events; None for one that is of no use here, such as an opened e-mail.

    Source: https://documentation.mailgun.com/docs/mailgun/user-manual/events/events

    Raises: UnreadableReport.
    """
    entry = _document(body).get("event-data")
    if not isinstance(entry, dict) or not isinstance(entry.get("event"), str):
        raise UnreadableReport("the event has no event-data.event")
    return _read_mailgun(entry)


def read_mailgun_events(document: Any, *, provider_id: str) -> DeliveryReport:
    """Read the answer to "events of a message", newest first: the best that is known of it.

    Raises: UnreadableReport.
    """
    items = document.get("items") if isinstance(document, dict) else None
    if not isinstance(items, list):
        raise UnreadableReport("Mailgun's answer has no items")
    entries = [item for item in items if isinstance(item, dict) and isinstance(item.get("event"), str)]
    reports = [event.report for event in map(_read_mailgun, entries) if event is not None and event.report is not None]
    ranks = {"delivered": 0, "failed": 1, "sent": 2, "pending": 3, "unrecognised": 4}
    return min(reports, key=lambda report: ranks[report.status], default=DeliveryReport(provider_id, "pending", "none"))


def _read_mailgun(entry: dict[str, Any]) -> EmailEvent | None:
    word = entry["event"][:MAX_WORD_LENGTH]
    is_hard = word == "failed" and entry.get("severity") == "permanent"
    if word == "failed":
        word = f"failed {entry.get('severity') or ''}".strip()[:MAX_WORD_LENGTH]
    known = _MAILGUN.get(entry["event"])
    if known is None:
        return None
    status, harm = known
    message, variables = entry.get("message"), entry.get("user-variables")
    headers = message.get("headers") if isinstance(message, dict) else None
    said = entry.get("delivery-status")
    words = (said.get("description") or said.get("message")) if isinstance(said, dict) else entry.get("reason")
    report = DeliveryReport(
        provider_id=id_in(headers if isinstance(headers, dict) else {}, "message-id", place="the event").strip("<>"),
        status=status,
        raw_status=word,
        reference=_reference_in(variables),
        updated_at=_seconds(entry.get("timestamp")),
        error=text_of(words, MAX_TEXT_LENGTH) if status == "failed" else None,
    )
    return EmailEvent(text_of(entry.get("recipient"), 320) or "", report, "bounce" if is_hard else harm)


def _seconds(value: Any) -> datetime | None:
    try:
        return datetime.fromtimestamp(float(value), UTC)
    except (TypeError, ValueError, OverflowError, OSError):
        return None
