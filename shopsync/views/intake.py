"""The inbox's door for Shopify, and the words that every other source's door answers with."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial

from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from django.db import DatabaseError, InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from shopsync.actions.inbox import Incoming, count_refused, store_delivery
from shopsync.models import RefusedDelivery
from shopsync.shopify import MAX_BODY_BYTES, DeliveryHeaders, MissingHeaderError, read_headers
from shopsync.webhooks import body_digest, is_signed_by_shopify

logger = logging.getLogger(__name__)

Reason = RefusedDelivery.Reason
_ANSWERS = {"stored": "stored", "quarantined": "stored, quarantined", "duplicate": "already stored"}


def answer(status: int, sentence: str) -> HttpResponse:
    """Answer a sender in one plain sentence."""
    body = f"{sentence}\n".encode()
    headers = {"Content-Length": str(len(body))}  # without it a keep-alive connection would have to close
    return HttpResponse(body, status=status, content_type="text/plain; charset=utf-8", headers=headers)


def storing(source: str, store: Callable[[], HttpResponse]) -> HttpResponse:
    """Run the storing part of an intake; 503, and nothing else, when PostgreSQL can't store."""
    try:
        return store()
    except (OperationalError, InterfaceError) as error:
        logger.error("%s delivery not stored, the sender is asked to repeat it: %s", source, error)  # noqa: TRY400
        return answer(503, "not stored: the database is away; please send it again")


def read_body(request: HttpRequest) -> bytes | None:
    """Read the raw body; None when it is over 5 MB, or its Content-Length is no number."""
    try:
        if int(request.META.get("CONTENT_LENGTH") or 0) > MAX_BODY_BYTES:
            return None
        body = request.body
    except (RequestDataTooBig, ValueError):
        return None
    return body if len(body) <= MAX_BODY_BYTES else None


def _header(request: HttpRequest, name: str) -> str | None:
    """Read one header; request.headers would first copy them all."""
    return request.META.get(f"HTTP_{name.upper().replace('-', '_')}")


@csrf_exempt
@require_POST
def receive_shopify(request: HttpRequest, topic: str = "") -> HttpResponse:
    """Take a Shopify webhook: verify, store once, ring, answer; nothing else.

    200 stored, quarantined or already known; 400 missing headers; 401 bad signature; 404 unknown shop; 413 over 5
    MB; 503 only when PostgreSQL can't store. Shopify drops subscriptions that fail, so there is no other answer.
    """
    if not request.META.get("CONTENT_LENGTH"):
        return _refuse(request, 400, reason=Reason.MISSING_HEADERS, sentence="the header Content-Length is missing")
    body = read_body(request)
    if body is None:
        return _refuse(request, 413, reason=Reason.TOO_LARGE, sentence="the body is over 5 MB")
    try:
        headers = read_headers(partial(_header, request), path_topic=topic)
    except MissingHeaderError as error:
        return _refuse(request, 400, reason=Reason.MISSING_HEADERS, sentence=str(error))
    secrets = (settings.SHOPIFY_API_SECRET, settings.SHOPIFY_API_SECRET_PREVIOUS)
    if not is_signed_by_shopify(body=body, signature=headers.signature, secrets=secrets):
        return _refuse(request, 401, reason=Reason.BAD_SIGNATURE, sentence="the signature does not fit the body")
    return storing("shopify", lambda: _store(request, headers, body))


def _store(request: HttpRequest, headers: DeliveryHeaders, body: bytes) -> HttpResponse:
    outcome = store_delivery(
        Incoming(
            source="shopify",
            topic=headers.topic,
            webhook_id=headers.webhook_id,
            body=body,
            digest=body_digest(settings.DIGEST_KEY, body),
            shop_domain=headers.shop_domain,
            sub_topic=headers.sub_topic,
            subscription_name=headers.subscription_name,
            event_id=headers.event_id,
            api_version=headers.api_version,
            is_test=headers.is_test,
            triggered_at=headers.triggered_at,
        )
    )
    if outcome == "unknown_tenant":
        return _refuse(request, 404, reason=Reason.UNKNOWN_SHOP, sentence="no shop of this name is installed here")
    return answer(200, _ANSWERS[outcome])


def _refuse(request: HttpRequest, status: int, *, reason: RefusedDelivery.Reason, sentence: str) -> HttpResponse:
    shop_domain = (request.headers.get("X-Shopify-Shop-Domain") or "").strip().lower()
    topic = request.headers.get("X-Shopify-Topic") or ""
    return refuse(status, sentence, source="shopify", reason=reason, shop_domain=shop_domain, topic=topic)


def refuse(
    status: int, sentence: str, *, source: str, reason: RefusedDelivery.Reason, shop_domain: str = "", topic: str = ""
) -> HttpResponse:
    """Turn a delivery away, counted by reason; a counter that can't be written doesn't change the answer."""
    try:
        count_refused(source=source, reason=reason, shop_domain=shop_domain, topic=topic, detail=sentence)
    except DatabaseError as error:
        logger.warning("refused %s delivery (%s) not counted: %s", source, reason, error)
    return answer(status, sentence)
