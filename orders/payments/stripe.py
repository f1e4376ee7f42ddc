"""Stripe, through its own package; its requests leave by our one outbound client.

Sources: https://docs.stripe.com/api/refunds/create, https://docs.stripe.com/api/idempotent_requests (keys are kept for
a day at least), https://docs.stripe.com/api/payment_intents/retrieve, and its neighbours capture and cancel. An answer
is of Stripe's second, as its events are: its Date (https://www.rfc-editor.org/rfc/rfc9110#section-6.6.1).
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

import stripe
from stripe import HTTPClient, StripeClient, StripeObject

from config.infra import outbound
from orders.payments.base import CaptureOrder, GatewayAccount, GatewayError, RefundOrder
from orders.webhooks import ASKED, Fact, read_object, to_minor
from shopsync.shopify import UnreadablePayloadError

BASE_URL = "https://api.stripe.com"
METADATA_KEY = "shopsync_refund"
_REASONS = frozenset({"duplicate", "fraudulent", "requested_by_customer"})
# A wrong key says nothing of the call, and a conflict nothing of the first request under the same idempotency key.
_NOT_OF_THE_CALL = frozenset({401, 403})
_STILL_RUNNING = 409

stripe.enable_telemetry = False
logging.getLogger("stripe").setLevel(logging.WARNING)  # it logs URLs

T = TypeVar("T")


class _Outbound(HTTPClient):
    """Stripe's requests under our breaker and time-outs, never inside a transaction, never repeated by the package."""

    name = "outbound"

    def __init__(self, connection_id: str) -> None:
        super().__init__()
        self._connection_id = connection_id

    def request(  # noqa: PLR0917  (the package's signature)
        self,
        method: str,
        url: str,
        headers: Mapping[str, str] | None,
        post_data: Any = None,
        *,
        _usage: list[str] | None = None,
    ) -> tuple[str, int, Mapping[str, str]]:
        """Make one request; what is not an answer below 300 is outbound's error, and passes through the package."""
        answer = outbound.call(
            service="payments",
            connection=self._connection_id,
            method=method,
            url=url,
            form=post_data if method.lower() == "post" else None,
            headers=dict(headers or {}),
            repeatable=method.lower() == "get",
        )
        return answer.body.decode("utf-8", "replace"), answer.status, answer.headers

    def close(self) -> None:
        """Leave the shared client open."""


class StripeGateway:
    """One Stripe account."""

    def __init__(self, account: GatewayAccount) -> None:
        self._client = StripeClient(
            account.api_key or "missing",
            base_addresses={"api": (account.base_url or BASE_URL).rstrip("/")},
            max_network_retries=0,
            http_client=_Outbound(account.connection_id),
        )

    def refund(self, order: RefundOrder) -> list[Fact]:
        """Give money back (see `Gateway.refund`)."""
        params: dict[str, Any] = {
            **_subject(order.payment_id),
            "amount": to_minor(order.amount, order.currency),
            "metadata": {METADATA_KEY: order.key},
        }
        if order.reason in _REASONS:
            params["reason"] = order.reason
        made = _call(lambda: self._client.v1.refunds.create(params, {"idempotency_key": order.key}))  # type: ignore[arg-type]  # its TypedDict, built here
        return _facts([made], topic="refund.answered", of=order.key)

    def find_refund(self, order: RefundOrder) -> list[Fact]:
        """Look for a refund by the key in its metadata (see `Gateway.find_refund`)."""
        found = [one for one in self._refunds(order.payment_id) if _key_of(one) == order.key]
        return _facts(found, topic="refund.found", of=order.key)

    def capture(self, order: CaptureOrder) -> list[Fact]:
        """Take the money of an authorisation (see `Gateway.capture`)."""
        amount, options = to_minor(order.amount, order.currency), {"idempotency_key": order.key}
        api = self._client.v1
        if not order.payment_id.startswith("pi_"):
            thing, asked_at = _timed(lambda: api.charges.capture(order.payment_id, {"amount": amount}, options))  # type: ignore[arg-type]
        else:
            params = {"amount_to_capture": amount, "expand": ["latest_charge"]}
            thing, asked_at = _timed(lambda: api.payment_intents.capture(order.payment_id, params, options))  # type: ignore[arg-type]
        return _facts([thing], topic=ASKED, of=order.payment_id, asked_at=asked_at)

    def cancel(self, payment_id: str, *, key: str) -> list[Fact]:
        """Give up an authorisation (see `Gateway.cancel`)."""
        if not payment_id.startswith("pi_"):
            raise GatewayError("a charge without an intent is given up at Stripe", permanent=True)
        params = {"cancellation_reason": "requested_by_customer", "expand": ["latest_charge"]}
        intents = self._client.v1.payment_intents
        thing, asked_at = _timed(lambda: intents.cancel(payment_id, params, {"idempotency_key": key}))  # type: ignore[arg-type]
        return _facts([thing], topic=ASKED, of=payment_id, asked_at=asked_at)

    def ask(self, payment_id: str) -> list[Fact]:
        """Ask how a payment stands (see `Gateway.ask`)."""
        if payment_id.startswith("pi_"):
            intents = self._client.v1.payment_intents
            thing, asked_at = _timed(lambda: intents.retrieve(payment_id, {"expand": ["latest_charge"]}))
        else:
            thing, asked_at = _timed(lambda: self._client.v1.charges.retrieve(payment_id))
        disputes = _call(lambda: list(self._client.v1.disputes.list(_params(payment_id)).auto_paging_iter()))  # type: ignore[arg-type]
        return _facts([thing, *self._refunds(payment_id), *disputes], topic=ASKED, of=payment_id, asked_at=asked_at)

    def _refunds(self, payment_id: str) -> list[StripeObject]:
        listed = _call(lambda: list(self._client.v1.refunds.list(_params(payment_id)).auto_paging_iter()))  # type: ignore[arg-type]
        return [one for one in listed if one["amount"] != 0]  # of nothing it can't be read, and says nothing


def _subject(payment_id: str) -> dict[str, Any]:
    return {"payment_intent" if payment_id.startswith("pi_") else "charge": payment_id}


def _params(payment_id: str) -> dict[str, Any]:
    return {**_subject(payment_id), "limit": 100}


def _key_of(refund: StripeObject) -> str:
    metadata: Any = refund["metadata"]
    return str(metadata[METADATA_KEY]) if metadata and METADATA_KEY in metadata else ""


def _facts(things: Iterable[StripeObject], *, topic: str, of: str, asked_at: datetime | None = None) -> list[Fact]:
    """Read an answer's objects; one that we did not ask about is as old as it says, so that any report is newer."""
    facts, now = [], datetime.now(UTC)
    for thing in things:
        plain = json.loads(str(thing))
        at = asked_at or datetime.fromtimestamp(plain.get("created") or 0, UTC)
        named = now if asked_at else at  # two answers of one second are two
        event_id = f"{topic}:{of}:{plain.get('id')}:{named:%Y%m%d%H%M%S%f}"[:150]
        try:
            facts += read_object(plain, topic=topic, event_id=event_id, happened_at=at.replace(microsecond=0))
        except UnreadablePayloadError as error:
            raise GatewayError(f"Stripe's answer can't be read: {error}", unknown=True) from error
    return facts


def _timed(ask: Callable[[], StripeObject]) -> tuple[StripeObject, datetime]:
    """Make a call; return its answer, and a moment by Stripe's clock at which that surely was not yet found.

    Were it later, what happened at Stripe just after the question would count as older for good. That it is up to a
    second early costs another question at most. Where the answer has no Date, our own clock has to do.

    Raises: GatewayError.
    """
    began_at, began = datetime.now(UTC), time.monotonic()
    answer = _call(ask)
    took = timedelta(seconds=time.monotonic() - began)
    dated = _date_of(answer)
    return answer, began_at if dated is None else dated - took


def _date_of(answer: StripeObject) -> datetime | None:
    headers: Mapping[str, str] = answer.last_response.headers if answer.last_response else {}
    try:
        dated = parsedate_to_datetime(headers.get("date", ""))
    except ValueError:
        return None
    return dated if dated.tzinfo else None


def _call(ask: Callable[[], T]) -> T:
    """Make a call and translate its error.

    Raises: GatewayError.
    """
    try:
        return ask()
    except outbound.OutboundError as error:
        is_of_the_call = error.status not in _NOT_OF_THE_CALL and error.status != _STILL_RUNNING
        raise GatewayError(
            f"Stripe: {error}{_said(error.body)}",
            permanent=error.permanent and is_of_the_call,
            unknown=error.unknown or error.status == _STILL_RUNNING,
            retry_after_seconds=error.retry_after_seconds,
            status=error.status,
            blocker="stripe refuses the API key" if error.status in _NOT_OF_THE_CALL else error.blocker,
        ) from error
    except stripe.StripeError as error:  # an answer below 300 that the package can't read
        raise GatewayError(f"Stripe's answer can't be read: {type(error).__name__}", unknown=True) from error


def _said(body: bytes) -> str:
    """Return Stripe's own sentence, as one storable line."""
    try:
        sentence = json.loads(body)["error"]["message"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return ""
    line = str(sentence).encode("utf-8", "replace").decode().replace("\x00", "\ufffd")
    return f": {' '.join(line.split())[:200]}"
