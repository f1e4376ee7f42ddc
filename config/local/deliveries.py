"""Sends signed deliveries as Shopify does: its headers, its signature over the raw bytes, real HTTP."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from shopsync.webhooks import shopify_signature

API_VERSION = "2026-07"
TIMEOUT_SECONDS = 30.0
_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@dataclass(frozen=True)
class Answer:
    """What the other side answered."""

    status: int
    text: str


def as_bytes(body: Mapping[str, Any] | bytes) -> bytes:
    """Return a body's bytes: those given, or JSON as Shopify writes it."""
    return body if isinstance(body, bytes) else json.dumps(body, ensure_ascii=False).encode()


def request(method: str, url: str, *, raw: bytes | None = None, headers: Mapping[str, str] | None = None) -> Answer:
    """Make one HTTP request and return its answer, whatever its status.

    Raises:
        OSError: no answer came.
    """
    asked = urllib.request.Request(url, data=raw, headers=dict(headers or {}), method=method)  # noqa: S310  our servers
    try:
        with _opener.open(asked, timeout=TIMEOUT_SECONDS) as answer:
            return Answer(answer.status, answer.read().decode("utf-8", "replace").strip())
    except urllib.error.HTTPError as error:
        with error:
            return Answer(error.code, error.read().decode("utf-8", "replace").strip())


@dataclass(frozen=True)
class Shop:
    """A shop as Shopify speaks for it: where its deliveries go, and the secret that signs them."""

    base_url: str
    secret: str = field(repr=False)
    shop_domain: str

    def headers(
        self,
        topic: str,
        raw: bytes,
        *,
        webhook_id: str | None = None,
        event_id: str | None = None,
        triggered_at: str | None = None,
    ) -> dict[str, str]:
        """Build a delivery's headers; ids that are not given are new, the time is now."""
        return {
            "Content-Type": "application/json",
            "X-Shopify-Topic": topic,
            "X-Shopify-Shop-Domain": self.shop_domain,
            "X-Shopify-API-Version": API_VERSION,
            "X-Shopify-Webhook-Id": webhook_id or str(uuid.uuid4()),
            "X-Shopify-Event-Id": event_id or str(uuid.uuid4()),
            "X-Shopify-Triggered-At": triggered_at or datetime.now(UTC).isoformat(),
            "X-Shopify-Hmac-Sha256": shopify_signature(self.secret, raw),
        }

    def post(
        self,
        topic: str,
        body: Mapping[str, Any] | bytes,
        *,
        webhook_id: str | None = None,
        event_id: str | None = None,
        triggered_at: str | None = None,
        without: str = "",
    ) -> Answer:
        """Send one delivery to the inbox; `without` names a header to leave out.

        Raises:
            OSError: no answer came.
        """
        raw = as_bytes(body)
        headers = self.headers(topic, raw, webhook_id=webhook_id, event_id=event_id, triggered_at=triggered_at)
        headers.pop(without, None)
        return request("POST", f"{self.base_url}/webhooks/shopify", raw=raw, headers=headers)


def send_delivery(  # noqa: PLR0917  they are written in the order in which one says them
    base_url: str,
    secret: str,
    shop_domain: str,
    topic: str,
    body: Mapping[str, Any] | bytes,
    *,
    webhook_id: str | None = None,
    event_id: str | None = None,
    triggered_at: str | None = None,
) -> int:
    """Send one delivery to the inbox and return the answer's status.

    Raises:
        OSError: no answer came.
    """
    shop = Shop(base_url, secret, shop_domain)
    return shop.post(topic, body, webhook_id=webhook_id, event_id=event_id, triggered_at=triggered_at).status


def register_reports(sandbox_url: str, *, account_id: str, url: str, trigger: str = "DeliveryReport") -> None:
    """Tell the sandbox provider where the delivery reports of an account go, or the replies (trigger `Inbound`).

    Raises:
        RuntimeError: it refused.
    """
    document = {"url": url, "webhookTriggers": [trigger], "headers": {}, "linkTrafficAccountIds": [account_id]}
    headers = {"Content-Type": "application/json", "X-Mitto-API-Key": "sandbox"}
    answer = request("POST", f"{sandbox_url}/api/v1/Webhooks", raw=as_bytes(document), headers=headers)
    if answer.status != 201:
        raise RuntimeError(f"the sandbox did not take the address of its call-backs: {answer}")


def behave(sandbox_url: str, **behaviour: Any) -> None:
    """Set the sandbox provider's whole behaviour; what is not told is as usual.

    Raises:
        RuntimeError: it refused.
    """
    headers = {"Content-Type": "application/json"}
    answer = request("PUT", f"{sandbox_url}/sandbox/behaviour", raw=as_bytes(behaviour), headers=headers)
    if answer.status != 200:
        raise RuntimeError(f"the sandbox did not take the behaviour: {answer}")


def accepted_messages(sandbox_url: str) -> list[dict[str, Any]]:
    """Return every message the sandbox provider accepted, oldest first."""
    found: list[dict[str, Any]] = json.loads(request("GET", f"{sandbox_url}/sandbox/log").text)["messages"]
    return found
