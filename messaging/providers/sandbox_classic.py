"""Mitto's classic API as the sandbox twin speaks it: what a call says, what is wrong with it, what is answered and
reported. The server is sandbox.py.

The account is the API key: hooks are registered for it. A call is taken as a whole or not at all. Reports go by GET,
each in a request of its own; their names are those of an invented sample, since Mitto's are not known, and `to` is
added to them (docs/protocols.md).
Source: https://docs.mitto.ch/sms-bulk-sms-api-reference
"""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from messaging.encoding import split_sms
from messaging.providers.sandbox_state import AcceptedMessage, BadRequestError, Sandbox, timestamp

RECEIVERS_LIMIT = 5000
TYPES = ("GSM", "Unicode", "Binary", "auto")
WORDS = (
    *("SMS sent", "Internal error", "Invalid type", "Empty message", "Message text invalid"),
    *("Empty sender", "Invalid sender", "Empty receiver", "Invalid receiver"),
)
_SENDER = re.compile(r"[0-9]{3,14}|[A-Za-z0-9 .&_-]{3,11}")
_RECEIVER = re.compile(r"[1-9][0-9]{6,14}")


@dataclass
class ClassicMessage(AcceptedMessage):
    """One message that was taken by the classic API."""

    report_method: ClassVar[str] = "GET"

    def as_report(self, status: str, *, echoes: bool) -> dict[str, Any]:
        """Return the report that says this status."""
        named = {"reference": self.reference} if echoes and self.reference is not None else {}
        code = {"errorCode": "1" if status == "Failure" else "0"}
        moment = {"timestamp": timestamp(self.updated_at)}
        return {"id": self.message_id, "to": self.destination[1:], "status": status, **named, **code, **moment}


@dataclass(frozen=True)
class ClassicCall:
    """A call of /sms or /smsbulk, as it was sent."""

    account: str
    sender: str
    text: str
    type: str
    reference: str | None
    receivers: tuple[str, ...]
    is_bulk: bool

    @classmethod
    def read(cls, document: Any, *, account: str, is_bulk: bool) -> ClassicCall:
        """Read a body.

        Raises: BadRequestError for a `to` of the wrong shape, or too many of them.
        """
        document = document if isinstance(document, dict) else {}
        to = document.get("to", [] if is_bulk else "")
        if not isinstance(to, list if is_bulk else str) or len(to) > RECEIVERS_LIMIT:
            raise BadRequestError(f"to is not {'an array of texts' if is_bulk else 'a text'}, or too long")
        reference = None if document.get("reference") is None else str(document["reference"])
        sender, text, kind = (str(document.get(name) or "") for name in ("from", "text", "type"))
        receivers = [to] if isinstance(to, str) else to
        return cls(account, sender, text, kind or "GSM", reference, tuple(map(str, receivers)), is_bulk)

    def fault(self, refused: Sequence[str]) -> int:
        """Return the response code of what is wrong with it; 0 when nothing is."""
        wrong = {
            2: self.type not in TYPES,
            3: not self.text,
            4: self.type == "GSM" and split_sms(self.text).encoding != "GSM-7",
            5: not self.sender,
            6: not _SENDER.fullmatch(self.sender),
            7: not self.receivers or not all(self.receivers),
            8: not all(_RECEIVER.fullmatch(to) and f"+{to}" not in refused for to in self.receivers),
        }
        return next((code for code, is_wrong in wrong.items() if is_wrong), 0)

    def accept(self, sandbox: Sandbox) -> list[AcceptedMessage | str]:
        """Take all its messages, or none: then the response code stands for each."""
        if code := self.fault(sandbox.behaviour.refuse_destinations):
            return [str(code) for _ in self.receivers] or [str(code)]
        now = time.time()
        messages: list[AcceptedMessage | str] = []
        for to in self.receivers:
            told = (f"+{to}", self.text, self.sender, self.reference)
            message = ClassicMessage(str(uuid.uuid4()), self.account, *told, accepted_at=now, updated_at=now)
            with sandbox.lock:
                sandbox.messages[message.message_id] = message
            messages.append(message)
        return messages

    def describe(self, messages: Sequence[AcceptedMessage | str]) -> dict[str, Any]:
        """Return the answer to the call."""
        taken = [message for message in messages if isinstance(message, AcceptedMessage)]
        code = 0 if taken else int(str(messages[0]))
        said = {"responseCode": code, "responseText": WORDS[code]}
        entries = [{"id": message.message_id, "timestamp": timestamp(message.accepted_at)} for message in taken]
        if self.is_bulk:
            return {**said, "messages": entries}
        return {**(entries[0] if entries else {}), **said, "textLength": len(self.text)}
