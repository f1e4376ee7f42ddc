"""Sends SMS through Mitto's classic REST API: a request carries one text from one sender, to one or to many.

Sources: https://docs.mitto.ch/sms-bulk-sms-api-reference, and the response codes in docs/protocols.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from messaging.encoding import Encoding, split_sms
from messaging.providers.base import (
    Accepted,
    Outcome,
    OutgoingMessage,
    ProviderAccount,
    ProviderError,
    ProviderStatus,
    call,
    is_id,
)

BASE_URL = "https://rest.mittoapi.net"
VALIDITY_MINUTES = 2_880  # what unknown messages are waited for (actions/unknowns.py)
TYPES: dict[Encoding, str] = {"GSM-7": "GSM", "UCS-2": "Unicode"}
SENT, INTERNAL_ERROR = 0, 1
REFUSALS = {
    2: "invalid type",
    3: "empty message",
    4: "message text invalid",
    5: "empty sender",
    6: "invalid sender",
    7: "empty receiver",
    8: "invalid receiver",
}
OF_ALL = {2, 3, 4, 5, 6}  # what is refused by these is what all messages of a request share


class ClassicMittoProvider:
    """One account of the classic API; its account id is `classic`, or `classic:NAME`.

    Mitto documents no idempotency: a request without a readable answer is unknown.
    """

    max_batch = 5_000  # Mitto publishes no limit; see MittoProvider
    shares_text = True

    def __init__(self, account: ProviderAccount) -> None:
        self._account = account

    def send(self, messages: Sequence[OutgoingMessage]) -> list[Outcome]:
        """Send at most `max_batch` messages of one text and sender in one request (see `Provider.send`).

        Many go by /smsbulk, with the call's name as the reference of all; one goes by /sms, with its own.

        Raises: ProviderError with the blocker `bad_sender`, when neither message nor account has one; ValueError also
        for texts or senders that differ.
        """
        if len(messages) > self.max_batch:
            raise ValueError(f"{len(messages)} messages in one request; Mitto takes {self.max_batch}")
        if not messages:
            return []
        contents = {(message.text, message.sender or self._account.sender) for message in messages}
        if len(contents) > 1:
            raise ValueError("a request of Mitto's classic API carries one text from one sender")
        first, receivers = messages[0], [_digits(message.to) for message in messages]
        if len(messages) == 1:
            answer = self._post("/sms", first, to=receivers[0], reference=first.reference)
            ids = _ids_in(answer, [answer], count=1)
        else:
            answer = self._post("/smsbulk", first, to=receivers, reference=first.call or first.reference)
            ids = _ids_in(answer, answer.get("messages") if isinstance(answer, dict) else None, count=len(messages))
        return [Accepted(message.reference, one) for message, one in zip(messages, ids, strict=True)]

    def status(self, provider_id: str) -> ProviderStatus:
        """Raise: the classic API has no request that asks about a message."""
        raise ProviderError("Mitto's classic API can't be asked what became of a message", permanent=True)

    def _post(self, path: str, message: OutgoingMessage, *, to: str | list[str], reference: str) -> Any:
        sender = message.sender or self._account.sender
        if not sender:
            raise ProviderError("neither the message nor the connection has a sender", blocker="bad_sender")
        document = {
            "from": _digits(sender),
            "to": to,
            "text": message.text,
            "type": TYPES[split_sms(message.text).encoding],
            "reference": reference,
            "validity": VALIDITY_MINUTES,
        }
        url = (self._account.base_url or BASE_URL).rstrip("/") + path
        headers = {"X-Mitto-API-Key": self._account.api_key}
        return call(self._account, "Mitto", method="POST", url=url, json=document, headers=headers)


def _digits(number: str) -> str:
    """Return a number as the classic API takes it, without the plus of E.164; a name stays as it is."""
    return number.removeprefix("+")


def _ids_in(answer: Any, entries: Any, *, count: int) -> list[str]:
    """Return the ids of what was taken, in the order of the request: position is all that ties an id to a message.

    Raises: ProviderError: permanent for a code that refuses the request; unknown for an internal error of Mitto's, and
    for whatever does not fit what was sent, such as a refusal of many with the ids of some.
    """
    given = answer.get("responseCode") if isinstance(answer, dict) else None
    code = given if type(given) is int else None
    listed = entries if isinstance(entries, list) else []
    ids = [entry.get("id") if isinstance(entry, dict) else None for entry in listed]
    if code is not None and code in REFUSALS and (count == 1 or not any(ids)):
        raise ProviderError(f"Mitto: {REFUSALS[code]} ({code})", permanent=True, concerns_all=code in OF_ALL)
    if code == INTERNAL_ERROR:
        raise ProviderError("Mitto: internal error (1): the outcome is unknown", unknown=True)
    if code != SENT or len(ids) != count or not all(map(is_id, ids)):
        raise ProviderError("Mitto's answer does not match what was sent", unknown=True)
    return [str(one) for one in ids]
