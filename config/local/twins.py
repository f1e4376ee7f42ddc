"""What is done at the twins of Stripe and EasyPost: a buyer pays, a parcel travels, events are led to a tenant.

How a twin misbehaves is `deliveries.behave`, as for Mitto's.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode

from config.local.deliveries import as_bytes, request
from orders.webhooks import to_minor

_FORM = {"Content-Type": "application/x-www-form-urlencoded"}
_JSON = {"Content-Type": "application/json"}


@dataclass(frozen=True)
class StripeTwin:
    """One account at Stripe's twin; its key names it."""

    url: str
    key: str

    def lead_events(self, *, url: str, secret: str) -> None:
        """Let this account's events go to an address, signed."""
        _ask(
            "POST",
            f"{self.url}/sandbox/hooks",
            as_bytes({"url": url, "secret": secret, "key": self.key}),
            headers=_JSON,
        )

    def pay(self, *, order_id: int, amount: str, currency: str) -> str:
        """Pay for an order of ours as its buyer's card does, and return the payment's id there."""
        wanted = {
            "amount": str(to_minor(Decimal(amount), currency)),
            "currency": currency.lower(),
            "confirm": "true",
            "metadata[order_id]": str(order_id),
        }
        headers = {**_FORM, "Authorization": f"Bearer {self.key}"}
        made = _ask("POST", f"{self.url}/v1/payment_intents", urlencode(wanted).encode(), headers=headers)
        return str(made["id"])

    def refunds(self, payment_id: str) -> list[dict[str, Any]]:
        """Return what was given back of a payment."""
        headers = {"Authorization": f"Bearer {self.key}"}
        listed = _ask("GET", f"{self.url}/v1/refunds?payment_intent={payment_id}", headers=headers)
        found: list[dict[str, Any]] = listed["data"]
        return found


@dataclass(frozen=True)
class EasyPostTwin:
    """One account at EasyPost's twin; its key names it."""

    url: str
    key: str

    def lead_events(self, *, url: str, secret: str) -> None:
        """Let this account's events go to an address, signed."""
        pair = base64.b64encode(f"{self.key}:".encode()).decode()
        hook = {"webhook": {"url": url, "webhook_secret": secret}}
        _ask("POST", f"{self.url}/v2/webhooks", as_bytes(hook), headers={**_JSON, "Authorization": f"Basic {pair}"})

    def travel(self, reference: str) -> int:
        """Let a parcel be carried to its door, and return how many of its events were taken."""
        return int(_ask("POST", f"{self.url}/sandbox/travel/{reference}", b"", headers={})["posted"])

    def purchases(self, reference: str) -> int:
        """Count how often money was taken for a parcel."""
        shipments = _ask("GET", f"{self.url}/sandbox/log", headers={})["shipments"]
        return sum(one["purchases"] for one in shipments if one["reference"] == reference)


def _ask(method: str, url: str, raw: bytes | None = None, *, headers: Mapping[str, str]) -> Any:
    """Ask a twin.

    Raises:
        RuntimeError: it refused.
    """
    answer = request(method, url, raw=raw, headers=headers)
    if not 200 <= answer.status < 300:
        raise RuntimeError(f"the twin refused {method} {url}: {answer.status} {answer.text[:300]}")
    return json.loads(answer.text)
