"""Sends SMS through Mitto: which of its APIs a connection speaks, and the Messaging API (v1.1)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from messaging.providers.base import (
    Accepted,
    Outcome,
    OutgoingMessage,
    Provider,
    ProviderAccount,
    ProviderError,
    ProviderStatus,
    Refused,
    Unusable,
    call,
    is_id,
    line_of,
)
from messaging.providers.mitto_classic import ClassicMittoProvider
from messaging.webhooks import UnreadableReport, is_classic_mitto, read_mitto_report

BULK_PATH = "/api/v1.1/Messages/sendmessagesbulk"
MESSAGE_PATH = "/api/v1.1/Messages/"

BASE_URL = "https://messaging.mittoapi.com"


def make_provider(account: ProviderAccount) -> Provider:
    """Return the adapter of the API that the account names: `classic` or `classic:NAME`; any other without a colon is
    the id of a traffic account of the Messaging API."""
    if is_classic_mitto(account.account_id):
        return ClassicMittoProvider(account)
    name, colon, _ = account.account_id.partition(":")
    if colon:
        return Unusable(f"no API of Mitto's is called {name!r}; known: classic", blocker="unknown_mitto_api")
    return MittoProvider(account)


class MittoProvider:
    """One traffic account. Mitto documents no idempotency: a send without a readable answer is unknown."""

    # Mitto's own limit is not published, and its notes contradict each other (1,000, 5,000, 1 MB). A tenant's batch
    # size decides (SendingPolicy): a small one leaves less unknown when an answer is lost.
    max_batch = 5_000
    shares_text = False

    def __init__(self, account: ProviderAccount) -> None:
        self._account = account

    def send(self, messages: Sequence[OutgoingMessage]) -> list[Outcome]:
        """Send at most `max_batch` messages in one request (see `Provider.send`)."""
        if len(messages) > self.max_batch:
            raise ValueError(f"{len(messages)} messages in one request; Mitto takes {self.max_batch}")
        if not messages:
            return []
        answer = self._call("POST", BULK_PATH, {"messages": [self._entry(message) for message in messages]})
        entries = answer.get("messages") if isinstance(answer, dict) else None
        # Mitto names no recipient in its answer: position is all that ties an id to a message.
        if not isinstance(entries, list) or len(entries) != len(messages):
            raise ProviderError("Mitto's answer does not match what was sent", unknown=True)
        return [_outcome(message.reference, entry) for message, entry in zip(messages, entries, strict=True)]

    def status(self, provider_id: str) -> ProviderStatus:
        """Ask what has become of one message (see `Provider.status`)."""
        answer = self._call("GET", MESSAGE_PATH + quote(provider_id, safe=""), None)
        try:
            return read_mitto_report(answer, place="Mitto's answer")
        except UnreadableReport as error:
            raise ProviderError(str(error), unknown=True) from error

    def _entry(self, message: OutgoingMessage) -> dict[str, Any]:
        return {
            "trafficAccountId": self._account.account_id,
            "destination": message.to,
            "sms": {"text": message.text, "sender": message.sender or self._account.sender},
            "reference": message.reference,
        }

    def _call(self, method: str, path: str, document: object | None) -> Any:
        url = (self._account.base_url or BASE_URL).rstrip("/") + path
        headers = {"X-Mitto-API-Key": self._account.api_key}
        return call(self._account, "Mitto", method=method, url=url, json=document, headers=headers)


def _outcome(reference: str, entry: Any) -> Outcome:
    """Read one entry of the answer: an id, or the errors for which the message was refused."""
    entry = entry if isinstance(entry, dict) else {}
    provider_id = entry.get("messageId")
    if is_id(provider_id):
        return Accepted(reference, str(provider_id))
    if provider_id is None and entry.get("errors"):
        return Refused(reference, _reason(entry["errors"]), permanent=True)
    raise ProviderError("Mitto's answer names neither an id nor an error for a message", unknown=True)


def _reason(errors: Any) -> str:
    """Return Mitto's own words, in whatever shape they come, as one storable line."""
    parts = []
    for item in errors if isinstance(errors, list) else [errors]:
        words = item.get("message") or item.get("description") or item if isinstance(item, dict) else item
        parts.append(str(words))
    return line_of("; ".join(parts))
