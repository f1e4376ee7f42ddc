"""The sandbox twin's mind: what it was told to do, what it accepted, and where its reports go."""

from __future__ import annotations

import re
import secrets
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime
from typing import Any, ClassVar, Literal

REPORT_ORDERS = ("after", "before", "twice", "out_of_order", "none")
_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_E164 = re.compile(r"\+[1-9][0-9]{6,14}")
_RANKS = {"Pending": 0, "Sent": 1, "Delivered": 2, "Failure": 2}


class BadRequestError(ValueError):
    """A body that is answered with 400; the message says why."""


HookKind = Literal["report", "reply"]
Counted = Literal["cut_before_acceptance", "cut_after_acceptance", "throttle", "error", "refuse_calls"]


@dataclass(frozen=True)
class Behaviour:
    """How the sandbox behaves; what is not told is as here. The counts are for the next so many sending calls."""

    delay_seconds: float = 0.0  # before anything is accepted
    accept_delay_seconds: float = 0.0  # after it is accepted, before the answer
    report_delay_seconds: float = 0.02  # before "Sent", and again before "Delivered"
    retry_after_seconds: float = 1.0  # what a 429 says
    refuse_destinations: tuple[str, ...] = ()  # answered with errors[] in their place; classic: with 8 for the call
    fail_destinations: tuple[str, ...] = ()  # accepted, then reported as "Failure"
    cut_before_acceptance: int = 0
    cut_after_acceptance: int = 0
    throttle: int = 0
    error: int = 0
    refuse_calls: int = 0  # answered 400 as a whole, nothing of it accepted
    echo_references: int = 1  # 0: reports do not say what reference the message came with
    report_batch: int = 1  # messages of one call whose reports share one post (an array when more than one); classic: 1
    reports: str = "after"

    def statuses_of(self, destination: str) -> list[str]:
        """Return the statuses of a message in the order in which they are reported."""
        last = "Failure" if destination in self.fail_destinations else "Delivered"
        statuses = [last, "Sent"] if self.reports == "out_of_order" else ["Sent", last]
        return [status for status in statuses for _ in range(2)] if self.reports == "twice" else statuses

    @classmethod
    def read(cls, document: Any) -> Behaviour:
        """Read a behaviour from JSON.

        Raises:
            BadRequestError: a name or a value that is not one; the sentence says which.
        """
        if not isinstance(document, dict):
            raise BadRequestError("a behaviour is a JSON object")
        known = {item.name: item.default for item in fields(cls)}
        values = {}
        for name, value in document.items():
            if name not in known:
                raise BadRequestError(f"no behaviour is called {name!r}; known: {', '.join(known)}")
            values[name] = _read_value(name, value, known[name])
        return cls(**values)


def _read_value(name: str, value: Any, default: Any) -> Any:
    if isinstance(default, tuple) and isinstance(value, list | tuple) and all(isinstance(item, str) for item in value):
        return tuple(value)
    if name == "reports" and value in REPORT_ORDERS:
        return value
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1_000_000
    if is_number and isinstance(default, float):
        return float(value)
    if is_number and isinstance(default, int) and isinstance(value, int):
        return value
    raise BadRequestError(f"{name} cannot be {value!r}")


@dataclass
class AcceptedMessage:
    """One message that the sandbox took."""

    report_method: ClassVar[str] = "POST"

    message_id: str
    account: str
    destination: str
    text: str
    sender: str
    reference: str | None
    accepted_at: float
    updated_at: float
    status: str = "Pending"

    def as_log_line(self) -> dict[str, Any]:
        """Return what GET /sandbox/log shows of the message."""
        return {
            "reference": self.reference,
            "destination": self.destination,
            "text": self.text,
            "sender": self.sender,
            "account": self.account,
            "messageId": self.message_id,
            "time": timestamp(self.accepted_at),
            "accepted_at": self.accepted_at,
            "deliveryStatus": self.status,
        }

    def as_report(self, status: str, *, echoes: bool) -> dict[str, Any]:
        """Return the report that says this status; with the reference, if it `echoes`."""
        report = {
            "messageId": self.message_id,
            "deliveryStatus": status,
            "updatedAt": timestamp(self.updated_at),
            "trafficAccountId": self.account,
            "reference": self.reference if echoes else None,
        }
        return report | ({"description": "Absent subscriber"} if status == "Failure" else {})


@dataclass(frozen=True)
class Hook:
    """Where the reports of some accounts go, or the replies to them."""

    hook_id: str
    url: str
    headers: Mapping[str, str]
    accounts: frozenset[str]
    kind: HookKind = "report"


@dataclass
class Sandbox:
    """Everything the sandbox remembers; `lock` guards it."""

    lock: threading.RLock = field(default_factory=threading.RLock)
    behaviour: Behaviour = Behaviour()
    messages: dict[str, AcceptedMessage] = field(default_factory=dict)
    calls: list[dict[str, Any]] = field(default_factory=list)
    hooks: dict[str, Hook] = field(default_factory=dict)

    def take(
        self, name: Literal["cut_before_acceptance", "cut_after_acceptance", "throttle", "error", "refuse_calls"]
    ) -> bool:
        """Use up one of a counted behaviour; False when none is left."""
        with self.lock:
            left = getattr(self.behaviour, name)
            if left > 0:
                self.behaviour = replace(self.behaviour, **{name: left - 1})
            return bool(left > 0)

    def accept(self, entry: Any) -> AcceptedMessage | str:
        """Take one entry of a sending call, or return the reason for which it is refused."""
        entry = entry if isinstance(entry, dict) else {}
        sms = entry["sms"] if isinstance(entry.get("sms"), dict) else {}
        account, destination = str(entry.get("trafficAccountId") or ""), str(entry.get("destination") or "")
        text, sender = str(sms.get("text") or ""), str(sms.get("sender") or "")
        if not account:
            return "trafficAccountId is missing"
        if not _E164.fullmatch(destination) or destination in self.behaviour.refuse_destinations:
            return "Invalid destination"
        if not text or not sender:
            return "sms.text and sms.sender are needed"
        now = time.time()
        reference = None if entry.get("reference") is None else str(entry["reference"])
        message = AcceptedMessage(new_id(now), account, destination, text, sender, reference, now, now)
        with self.lock:
            self.messages[message.message_id] = message
        return message

    def note_call(self, outcome: str, messages: int) -> None:
        """Remember that a sending call came, and how it ended."""
        with self.lock:
            self.calls.append({"at": time.time(), "outcome": outcome, "messages": messages})

    def register(self, hook: Hook) -> None:
        """Register a hook; the same URL again replaces the older one."""
        with self.lock:
            self.hooks = {key: old for key, old in self.hooks.items() if old.url != hook.url}
            self.hooks[hook.hook_id] = hook

    def hooks_of(self, account: str, kind: HookKind = "report") -> list[Hook]:
        """Return the hooks to which an account's reports, or the replies to it, go."""
        with self.lock:
            return [hook for hook in self.hooks.values() if account in hook.accounts and hook.kind == kind]

    def clear(self) -> None:
        """Forget the messages and calls; hooks and behaviour stay."""
        with self.lock:
            self.messages.clear()
            self.calls.clear()

    def report(self, message: AcceptedMessage, status: str) -> dict[str, Any]:
        """Move a message to a status (never back) and return the report that says so."""
        with self.lock:
            if _RANKS[status] > _RANKS[message.status]:
                message.status, message.updated_at = status, time.time()
            return message.as_report(status, echoes=bool(self.behaviour.echo_references))


def new_id(now: float) -> str:
    """Return a new id in the shape of a ULID (48 bits of time, 80 of chance)."""
    number = int(now * 1000) << 80 | secrets.randbits(80)
    return "".join(_CROCKFORD[number >> shift & 31] for shift in range(125, -1, -5))


def timestamp(seconds: float) -> str:
    """Write a moment as Mitto does, with seven fraction digits."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f") + "0Z"
