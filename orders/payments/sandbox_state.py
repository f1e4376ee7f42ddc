"""The Stripe twin's mind: its objects, what it was told to do, and the events that follow from what is done."""

from __future__ import annotations

import itertools
import secrets
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

API_VERSION = "2026-10-28.endive"
EVENT_ORDERS = ("after", "before", "twice", "out_of_order", "none")
_AUTHORISED_SECONDS = 7 * 86_400


class RefusedError(Exception):
    """A request that Stripe would refuse; `code` is Stripe's word."""

    def __init__(self, message: str, *, status: int = 400, code: str = "", kind: str = "invalid_request_error") -> None:
        super().__init__(message)
        self.status = status
        self.document = {"error": {"type": kind, "code": code, "message": message}}


@dataclass(frozen=True)
class Behaviour:
    """How the twin behaves; the counts are for the next so many calls that change something."""

    delay_seconds: float = 0.0  # before anything is done
    event_delay_seconds: float = 0.02  # before each event
    retry_after_seconds: float = 1.0  # what a 429 says
    cut_before_effect: int = 0
    cut_after_effect: int = 0
    throttle: int = 0
    error: int = 0  # 500, and nothing done
    decline: int = 0  # confirmations of cards that are declined
    fail_refunds_later: int = 0  # refunds that succeed, and then fail
    clock_behind_seconds: float = 0.0  # how late the twin's clock is, in its objects, events and answers
    events: str = "after"

    @classmethod
    def read(cls, document: Any) -> Behaviour:
        """Read a behaviour from JSON.

        Raises: RefusedError naming what is not one.
        """
        if not isinstance(document, dict):
            raise RefusedError("a behaviour is a JSON object")
        known = {item.name: item.default for item in fields(cls)}
        for name, value in document.items():
            if name not in known:
                raise RefusedError(f"no behaviour is called {name!r}; known: {', '.join(known)}")
            fits = value in EVENT_ORDERS if name == "events" else isinstance(value, int | float) and 0 <= value < 10**6
            if not fits:
                raise RefusedError(f"{name} cannot be {value!r}")
        return cls(**document)


@dataclass(frozen=True)
class Hook:
    """Where events are posted, and with what they are signed."""

    url: str
    secret: str
    key: str = ""  # whose: events of what this API key made; empty: all of them


@dataclass
class Sandbox:
    """Everything the twin remembers; `lock` guards it. Objects are plain, as Stripe writes them."""

    lock: threading.RLock = field(default_factory=threading.RLock)
    behaviour: Behaviour = Behaviour()
    objects: dict[str, dict[str, Any]] = field(default_factory=dict)
    hooks: list[Hook] = field(default_factory=list)
    answered: dict[str, tuple[str, int, dict[str, Any]]] = field(default_factory=dict)
    calls: list[dict[str, Any]] = field(default_factory=list)
    outbox: list[dict[str, Any]] = field(default_factory=list)
    numbers: Any = field(default_factory=lambda: itertools.count(1))
    key: str = ""  # who asks now
    owners: dict[str, str] = field(default_factory=dict)  # object -> the key that made it

    def now(self) -> int:
        """Say the second that it is by the twin's clock."""
        return int(time.time() - self.behaviour.clock_behind_seconds)

    def take(self, name: str) -> bool:
        """Use up one of a counted behaviour; False when none is left."""
        with self.lock:
            left = getattr(self.behaviour, name)
            if left > 0:
                self.behaviour = replace(self.behaviour, **{name: left - 1})
            return bool(left > 0)

    def new_id(self, prefix: str) -> str:
        """Return a new id in Stripe's shape."""
        return f"{prefix}_{next(self.numbers):06d}{secrets.token_hex(8)}"

    def find(self, object_id: str, word: str) -> dict[str, Any]:
        """Return an object.

        Raises: RefusedError (404) when there is none.
        """
        found = self.objects.get(object_id)
        if found is None or found["object"] != word:
            raise RefusedError(f"No such {word}: '{object_id}'", status=404, code="resource_missing")
        return found

    def of_payment(self, word: str, params: Mapping[str, str]) -> list[dict[str, Any]]:
        """List the objects of a kind that belong to one payment, newest first."""
        wanted = [(name, params[name]) for name in ("payment_intent", "charge") if params.get(name)]
        mine = [
            one
            for one in self.objects.values()
            if one["object"] == word and all(one.get(name) == value for name, value in wanted)
        ]
        return mine[::-1]

    def emit(self, topic: str, thing: dict[str, Any], **previous: Any) -> None:
        """Note an event; the poster takes it from here."""
        data = {"object": _copy(thing), **({"previous_attributes": previous} if previous else {})}
        event = {
            "id": self.new_id("evt"),
            "object": "event",
            "api_version": API_VERSION,
            "created": self.now(),
            "data": data,
            "livemode": False,
            "pending_webhooks": 1,
            "request": {"id": self.new_id("req"), "idempotency_key": None},
            "type": topic,
        }
        self.owners.setdefault(thing["id"], self.key)
        self.outbox.append(event)

    def hooks_of(self, event: dict[str, Any]) -> list[Hook]:
        """Return the hooks of the account that an event is about."""
        owner = self.owners.get(event["data"]["object"]["id"], "")
        return [hook for hook in self.hooks if hook.key in {"", owner}]

    # What may be done

    def create_intent(self, params: Mapping[str, str]) -> dict[str, Any]:
        """Make an intent, and confirm it where that is asked for."""
        intent: dict[str, Any] = {
            "id": self.new_id("pi"),
            "object": "payment_intent",
            "amount": _amount(params),
            "amount_capturable": 0,
            "amount_received": 0,
            "cancellation_reason": None,
            "capture_method": params.get("capture_method", "automatic"),
            "created": self.now(),
            "currency": params.get("currency", "usd").lower(),
            "last_payment_error": None,
            "latest_charge": None,
            "livemode": False,
            "metadata": _metadata(params),
            "status": "requires_payment_method",
        }
        self.objects[intent["id"]] = intent
        self.emit("payment_intent.created", intent)
        return self.confirm(intent) if params.get("confirm") == "true" else intent

    def confirm(self, intent: dict[str, Any]) -> dict[str, Any]:
        """Charge or authorise; a declined card sends the intent back."""
        _need(intent, "requires_payment_method", "requires_confirmation")
        if self.take("decline"):
            intent["last_payment_error"] = {"code": "card_declined", "message": "Your card was declined."}
            self.emit("payment_intent.payment_failed", intent)
            raise RefusedError("Your card was declined.", status=402, code="card_declined", kind="card_error")
        manual = intent["capture_method"] == "manual"
        now = self.now()
        charge = {
            "id": self.new_id("ch"),
            "object": "charge",
            "amount": intent["amount"],
            "amount_captured": 0 if manual else intent["amount"],
            "amount_refunded": 0,
            "captured": not manual,
            "created": now,
            "currency": intent["currency"],
            "disputed": False,
            "metadata": dict(intent["metadata"]),
            "payment_intent": intent["id"],
            "payment_method_details": {
                "type": "card",
                "card": {"capture_before": now + _AUTHORISED_SECONDS if manual else None},
            },
            "refunded": False,
            "status": "succeeded",
        }
        self.objects[charge["id"]] = charge
        intent["latest_charge"] = charge["id"]
        intent["status"] = "requires_capture" if manual else "succeeded"
        intent["amount_capturable" if manual else "amount_received"] = intent["amount"]
        self.emit("charge.succeeded", charge)
        self.emit("payment_intent.amount_capturable_updated" if manual else "payment_intent.succeeded", intent)
        return intent

    def capture(self, intent: dict[str, Any], params: Mapping[str, str]) -> dict[str, Any]:
        """Take the money of an authorisation, or a part of it; the rest is let go, and counts as refunded."""
        _need(intent, "requires_capture")
        amount = int(params.get("amount_to_capture") or intent["amount"])
        if not 0 < amount <= intent["amount"]:
            raise RefusedError("Amount to capture is more than was authorised", code="amount_too_large")
        charge = self.objects[intent["latest_charge"]]
        charge.update(captured=True, amount_captured=amount, amount_refunded=charge["amount"] - amount)
        intent.update(status="succeeded", amount_received=amount, amount_capturable=0)
        self.emit("charge.captured", charge)
        self.emit("payment_intent.succeeded", intent)
        return intent

    def cancel(self, intent: dict[str, Any], reason: str = "requested_by_customer") -> dict[str, Any]:
        """Give an intent up; `automatic` when its authorisation expired."""
        _need(intent, "requires_payment_method", "requires_confirmation", "requires_capture")
        if reason == "automatic":
            self.emit("charge.expired", self.objects[intent["latest_charge"]])
        elif intent["status"] == "requires_capture":
            charge = self.objects[intent["latest_charge"]]
            charge.update(refunded=True, amount_refunded=charge["amount"])
            self.emit("charge.refunded", charge, amount_refunded=0)
        intent.update(status="canceled", cancellation_reason=reason, amount_capturable=0)
        self.emit("payment_intent.canceled", intent)
        return intent

    def refund(self, params: Mapping[str, str]) -> dict[str, Any]:
        """Give money back: at most what is left of the charge, and no dispute took."""
        charge_id = params.get("charge") or ""
        if "payment_intent" in params:
            charge_id = self.find(params["payment_intent"], "payment_intent")["latest_charge"] or ""
        charge = self.find(charge_id, "charge")
        lost = sum(one["amount"] for one in self.of_payment("dispute", params) if one["status"] == "lost")
        left = max(0, charge["amount"] - charge["amount_refunded"] - lost) if charge["captured"] else 0
        amount = int(params.get("amount") or left)
        if amount > left or left == 0:
            code = "charge_already_refunded" if left == 0 else "amount_too_large"
            raise RefusedError(f"Refund amount ({amount}) is greater than unrefunded amount ({left})", code=code)
        refund = {
            "id": self.new_id("re"),
            "object": "refund",
            "amount": amount,
            "charge": charge["id"],
            "created": self.now(),
            "currency": charge["currency"],
            "failure_reason": None,
            "metadata": _metadata(params),
            "payment_intent": charge["payment_intent"],
            "reason": params.get("reason"),
            "status": "succeeded",
        }
        self.objects[refund["id"]] = refund
        before = charge["amount_refunded"]
        charge["amount_refunded"] += amount
        charge["refunded"] = charge["amount_refunded"] == charge["amount"]
        self.emit("refund.created", refund)
        self.emit("charge.refunded", charge, amount_refunded=before)
        if self.take("fail_refunds_later"):
            self.fail_refund(refund)
        return refund

    def fail_refund(self, refund: dict[str, Any]) -> dict[str, Any]:
        """Let a refund fail after it had succeeded: the money is back."""
        charge = self.objects[refund["charge"]]
        refund.update(status="failed", failure_reason="lost_or_stolen_card")
        charge["amount_refunded"] -= refund["amount"]
        charge["refunded"] = False
        self.emit("refund.failed", refund)
        return refund

    def dispute(self, charge: dict[str, Any], amount: int | None = None) -> dict[str, Any]:
        """Let the buyer dispute a charge, or an amount of it in minor units."""
        dispute = {
            "id": self.new_id("dp"),
            "object": "dispute",
            "amount": charge["amount_captured"] if amount is None else amount,
            "charge": charge["id"],
            "created": self.now(),
            "currency": charge["currency"],
            "evidence_details": {"due_by": self.now() + 9 * 86_400},
            "payment_intent": charge["payment_intent"],
            "reason": "fraudulent",
            "status": "needs_response",
        }
        self.objects[dispute["id"]] = dispute
        charge["disputed"] = True
        self.emit("charge.dispute.created", dispute)
        return dispute

    def close_dispute(self, dispute: dict[str, Any], status: str) -> dict[str, Any]:
        """End a dispute: won or lost."""
        if status not in {"won", "lost"}:
            raise RefusedError("status is won or lost")
        dispute["status"] = status
        self.emit("charge.dispute.closed", dispute)
        return dispute


def _copy(thing: dict[str, Any]) -> dict[str, Any]:
    return {name: dict(value) if isinstance(value, dict) else value for name, value in thing.items()}


def _need(intent: dict[str, Any], *words: str) -> None:
    if intent["status"] not in words:
        message = f"This PaymentIntent's status is {intent['status']}; it has to be one of {', '.join(words)}."
        raise RefusedError(message, code="payment_intent_unexpected_state")


def _amount(params: Mapping[str, str]) -> int:
    given = params.get("amount", "")
    if not given.isdecimal() or int(given) < 1:
        raise RefusedError("Invalid positive integer", code="parameter_invalid_integer")
    return int(given)


def _metadata(params: Mapping[str, str]) -> dict[str, str]:
    return {
        name.removeprefix("metadata[").removesuffix("]"): value
        for name, value in params.items()
        if name.startswith("metadata[")
    }
