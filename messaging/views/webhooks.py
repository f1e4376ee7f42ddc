"""The providers' call-backs."""

from __future__ import annotations

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from shopsync.actions.inbox import Incoming, store_delivery
from shopsync.models import Connection, RefusedDelivery
from shopsync.queries import find_connection
from shopsync.views import answer, read_body, refuse, storing
from shopsync.webhooks import body_digest


@csrf_exempt
@require_POST
def receive_mitto_report(request: HttpRequest, token: str) -> HttpResponse:
    """Take Mitto's delivery reports: Mitto does not sign, so the address's token names and proves the connection.

    202 stored or already known; 404 unknown token; 413 over 5 MB; 503 only when PostgreSQL can't store.
    """
    body = read_body(request)
    if body is None:
        return refuse(413, "the body is over 5 MB", source="mitto", reason=RefusedDelivery.Reason.TOO_LARGE)
    return storing("mitto", lambda: _store(token, body))


def _store(token: str, body: bytes) -> HttpResponse:
    connection: Connection | None = find_connection(service="mitto", token=token)
    if connection is None:
        sentence = "this address belongs to no connection"
        return refuse(404, sentence, source="mitto", reason=RefusedDelivery.Reason.UNKNOWN_TOKEN)
    digest = body_digest(settings.DIGEST_KEY, body)
    store_delivery(
        Incoming(
            source="mitto",
            topic="dlr",
            webhook_id=digest,  # Mitto gives no id: the same bytes are the same report
            body=body,
            digest=digest,
            tenant_id=connection.tenant_id,
            connection_id=connection.pk,
        )
    )
    return answer(202, "stored")
