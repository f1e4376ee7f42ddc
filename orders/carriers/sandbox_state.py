"""The sandbox twin's mind: what it was told to do, the shipments it knows, the money it took, the news it owes."""

from __future__ import annotations

import threading
import uuid
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime, timedelta
from typing import Any

PDF = b"%PDF-1.4\n% a label of the sandbox: it pays for nothing\n%%EOF\n"
PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010806000000"
    "1f15c4890000000d49444154789c6360606060000000050001a5f645400000000049454e44ae426082"
)
FILES = {"pdf": ("application/pdf", PDF), "png": ("image/png", PNG), "html": ("text/html", b"<p>no label</p>")}


class BadRequestError(ValueError):
    """A body that is answered with 422; the message says why."""


@dataclass(frozen=True)
class Behaviour:
    """How the sandbox behaves; what is not told is as here. The counts are for the next so many costly calls."""

    delay_seconds: float = 0.0  # before a call has its effect
    event_delay_seconds: float = 0.0  # before each event is posted
    retry_after_seconds: float = 1.0  # what a 429 says
    cut_before: int = 0  # the line is cut, and nothing was done
    cut_after: int = 0  # the line is cut after it was done
    throttle: int = 0
    error: int = 0  # answered 500, nothing done
    refuse: int = 0  # answered 422, nothing done
    refuse_after: int = 0  # answered 422, and done all the same
    refund: str = "submitted"  # what a refund is answered with: submitted, refunded, rejected, not_applicable
    decision: str = "refunded"  # what a submitted refund becomes, when it is decided
    events: str = "once"  # once, twice, out_of_order, none
    label: str = "pdf"  # pdf, png, html (no label at all), missing

    @classmethod
    def read(cls, document: Any) -> Behaviour:
        """Read a behaviour from JSON.

        Raises: BadRequestError for a name or a value that is none.
        """
        known = {item.name: item.default for item in fields(cls)}
        for name, value in document.items() if isinstance(document, dict) else [("", None)]:
            if name not in known or not isinstance(value, type(known[name])):
                raise BadRequestError(f"{name!r} can't be {value!r}; there are {', '.join(known)}")
        return cls(**document)


@dataclass
class Known:
    """A shipment that the sandbox knows; `purchases` counts how often money was taken for it."""

    remote_id: str
    reference: str
    document: dict[str, Any]
    purchases: int = 0
    key: str = ""  # who made it


@dataclass(frozen=True)
class Hook:
    """Where events are posted, and with what they are signed."""

    url: str
    secret: str
    key: str = ""  # whose: events of what this API key made; empty: all of them


@dataclass
class Sandbox:
    """Everything the sandbox remembers; `lock` guards it."""

    base_url: str = ""
    lock: threading.RLock = field(default_factory=threading.RLock)
    behaviour: Behaviour = Behaviour()
    shipments: dict[str, Known] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    hooks: list[Hook] = field(default_factory=list)

    def take(self, name: str) -> bool:
        """Use up one of a counted behaviour; False when none is left."""
        with self.lock:
            left = int(getattr(self.behaviour, name))
            if left > 0:
                self.behaviour = replace(self.behaviour, **{name: left - 1})  # type: ignore[arg-type]  # by name
            return left > 0

    def find(self, key: str) -> Known | None:
        """Find a shipment by its id or its reference."""
        with self.lock:
            return self.shipments.get(key) or next((s for s in self.shipments.values() if s.reference == key), None)

    def hooks_of(self, known: Known) -> list[Hook]:
        """Return the hooks of the account that a shipment is of."""
        with self.lock:
            return [hook for hook in self.hooks if hook.key in {"", known.key}]

    def create(self, wanted: Any, *, key: str = "") -> Known:
        """Make a shipment known and rate it.

        Raises: BadRequestError naming what is missing.
        """
        wanted = wanted if isinstance(wanted, dict) else {}
        for name in ("to_address", "from_address", "parcel"):
            if not isinstance(wanted.get(name), dict) or not wanted[name]:
                raise BadRequestError(f"{name} is missing")
        remote_id = f"shp_{uuid.uuid4().hex}"
        document: dict[str, Any] = {
            "id": remote_id,
            "object": "Shipment",
            "mode": "test",
            "postage_label": None,
            "tracker": None,
        }
        document |= {"reference": wanted.get("reference"), "rates": make_rates(), "refund_status": None}
        known = Known(remote_id, str(wanted.get("reference") or ""), {**wanted, **document}, key=key)
        with self.lock:
            self.shipments[remote_id] = known
        return known

    def buy(self, known: Known, rate_id: str) -> None:
        """Take money for a label, once.

        Raises: BadRequestError for a rate that is not offered, and for a label that is there.
        """
        with self.lock:
            rate = next((rate for rate in known.document["rates"] if rate["id"] == rate_id), None)
            if rate is None:
                raise BadRequestError("the rate is not one of this shipment's")
            if known.purchases:
                raise BadRequestError("Postage already exists for this shipment.")
            known.purchases += 1
            number = f"EZ{uuid.uuid4().int % 10**10:010}"
            ending = "png" if self.behaviour.label == "png" else self.behaviour.label
            address = f"{self.base_url}/labels/{known.remote_id}.{ending}"
            known.document |= {
                "selected_rate": rate,
                "tracking_code": number,
                "postage_label": {"id": f"pl_{uuid.uuid4().hex}", "label_url": address},
                "tracker": {"id": f"trk_{uuid.uuid4().hex}", "public_url": f"{self.base_url}/track/{number}"},
            }

    def refund(self, known: Known) -> None:
        """Take a refund's request.

        Raises: BadRequestError when nothing was bought.
        """
        with self.lock:
            if not known.purchases:
                raise BadRequestError("there is no label to refund")
            known.document["refund_status"] = self.behaviour.refund

    def tracker(self, known: Known, steps: int) -> dict[str, Any]:
        """Write a tracker after so many of the parcel's steps."""
        start = datetime(2026, 11, 2, 8, 0, tzinfo=UTC)
        words = ("pre_transit", "in_transit", "out_for_delivery", "delivered")[:steps]
        details = [
            {
                "object": "TrackingDetail",
                "status": word,
                "status_detail": "status_update",
                "message": word.replace("_", " "),
                "datetime": (start + timedelta(hours=8 * index)).isoformat().replace("+00:00", "Z"),
            }
            for index, word in enumerate(words)
        ]
        return {
            "id": (known.document.get("tracker") or {}).get("id"),
            "object": "Tracker",
            "shipment_id": known.remote_id,
            "tracking_code": known.document.get("tracking_code"),
            "status": words[-1] if words else "unknown",
            "updated_at": (start + timedelta(hours=8 * steps)).isoformat(),
            "tracking_details": details,
        }


def make_rates() -> list[dict[str, Any]]:
    """Offer two rates, with ids of their own each time."""
    offers = (("USPS", "GroundAdvantage", "7.58", 3), ("UPSDAP", "NextDayAir", "41.20", 1))
    return [
        {"id": f"rate_{uuid.uuid4().hex}", "object": "Rate", "carrier": carrier, "service": service, "rate": amount,
         "currency": "USD", "delivery_days": days}
        for carrier, service, amount, days in offers
    ]  # fmt: skip
