"""The inbox's door for Shopify, the list of stored deliveries, sign-in, and one shape for every refused API request."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from django.db import DatabaseError
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST
from rest_framework.response import Response
from rest_framework.views import exception_handler

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
    except DatabaseError as error:
        logger.error("%s delivery not stored, the sender is asked to repeat it: %s", source, error)  # noqa: TRY400
        return answer(503, "not stored: the database is away; please send it again")


def read_body(request: HttpRequest) -> bytes | None:
    """Read the raw body; None when it is over 5 MB (or ends early)."""
    try:
        if int(request.META.get("CONTENT_LENGTH") or 0) > MAX_BODY_BYTES:
            return None
        body = request.body
    except (RequestDataTooBig, ValueError):
        return None
    return body if len(body) <= MAX_BODY_BYTES else None


@csrf_exempt
@require_POST
def receive_shopify(request: HttpRequest, topic: str = "") -> HttpResponse:
    """Take a Shopify webhook: verify, store once, ring, answer; nothing else.

    200 stored, quarantined or already known; 400 missing headers; 401 bad signature; 404 unknown shop; 413 over 5
    MB; 503 only when PostgreSQL can't store. Shopify drops subscriptions that fail, so there is no other answer.
    """
    body = read_body(request)
    if body is None:
        return _refuse(request, 413, reason=Reason.TOO_LARGE, sentence="the body is over 5 MB")
    try:
        headers = read_headers(request.headers.get, path_topic=topic)
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


def problem(status: int, *, slug: str, title: str, detail: str) -> JsonResponse:
    """Build an RFC 9457 problem document: a type, a sentence, what to do."""
    document = {"type": f"{settings.PUBLIC_URL}/problems/{slug}", "title": title, "status": status, "detail": detail}
    return JsonResponse(document, status=status, content_type="application/problem+json")


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Answer 404: a problem document on the API, a plain sentence elsewhere."""
    if request.path.startswith("/api/"):
        return problem(404, slug="not-found", title="Not found", detail="Nothing is here; the paths are at /api/docs.")
    return answer(404, "nothing is here")


def server_error(request: HttpRequest) -> HttpResponse:
    """Answer 500 without a word about the inside."""
    if request.path.startswith("/api/"):
        detail = "Something failed on our side and was reported; try again, and tell us if it stays."
        return problem(500, slug="server-error", title="Server error", detail=detail)
    return answer(500, "something failed on our side and was reported")


def problem_details(error: Exception, context: dict[str, Any]) -> Response | None:
    """Turn whatever DRF refuses into a problem document; what it doesn't know stays a 500 for the error tracker."""
    response = exception_handler(error, context)
    if response is None:
        return None
    slug, title = _PROBLEMS.get(response.status_code, ("refused", "Refused"))
    data = response.data
    document: dict[str, Any] = {
        "type": f"{settings.PUBLIC_URL}/problems/{slug}",
        "title": title,
        "status": response.status_code,
    }
    if isinstance(data, dict) and set(data) <= {"detail", "code", "messages"}:
        document["detail"] = str(data.get("detail", title))
    else:
        document["detail"] = "Some fields were refused; `errors` names each of them."
        document["errors"] = data
    response.data = document
    response.content_type = "application/problem+json"
    return response


_PROBLEMS = {
    400: ("invalid-request", "Invalid request"),
    401: ("not-authenticated", "Not authenticated"),
    403: ("not-allowed", "Not allowed"),
    404: ("not-found", "Not found"),
    405: ("method-not-allowed", "Method not allowed"),
    406: ("not-acceptable", "Not acceptable"),
    415: ("unsupported-media-type", "Unsupported media type"),
    429: ("too-many-requests", "Too many requests"),
}
