"""The inbox's door for EasyPost: verify, store once, ring, answer."""

from __future__ import annotations

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from orders.carriers.events import HEADER, Envelope, UnreadableEvent, is_signed, read_envelope
from shopsync.actions.inbox import Incoming, store_delivery
from shopsync.models import Connection, RefusedDelivery
from shopsync.queries import find_connection
from shopsync.views import answer, read_body, refuse, storing
from shopsync.webhooks import body_digest

Reason = RefusedDelivery.Reason
_ANSWERS = {"stored": "stored", "quarantined": "stored, quarantined", "duplicate": "already stored"}


@csrf_exempt
@require_POST
def receive_easypost_event(request: HttpRequest, token: str) -> HttpResponse:
    """Take one of EasyPost's events, of the connection that the address's token names.

    200 stored, quarantined or already known; 400 no X-Hmac-Signature, or a signed body that is no event (the answer
    names the field); 401 bad signature; 404 unknown token; 413 over 5 MB; 503 only when PostgreSQL can't store.
    """
    body = read_body(request)
    if body is None:
        return refuse(413, "the body is over 5 MB", source="easypost", reason=Reason.TOO_LARGE)
    signature = request.headers.get(HEADER, "")
    if not signature:
        return refuse(400, f"the header {HEADER} is missing", source="easypost", reason=Reason.MISSING_HEADERS)
    return storing("easypost", lambda: _take(token, signature, body))


def _take(token: str, signature: str, body: bytes) -> HttpResponse:
    connection: Connection | None = find_connection(service="easypost", token=token)
    if connection is None:
        sentence = "this address belongs to no connection"
        return refuse(404, sentence, source="easypost", reason=Reason.UNKNOWN_TOKEN)
    if not is_signed(body=body, signature=signature, secret=connection.signing_secret):
        sentence = "the signature does not fit the body"
        return refuse(401, sentence, source="easypost", reason=Reason.BAD_SIGNATURE)
    try:
        envelope = read_envelope(body)
    except UnreadableEvent as error:
        return answer(400, f"the event can't be read: {error}")
    return _store(connection, envelope, body)


def _store(connection: Connection, envelope: Envelope, body: bytes) -> HttpResponse:
    outcome = store_delivery(
        Incoming(
            source="easypost",
            topic=envelope.topic,
            webhook_id=envelope.event_id,
            body=body,
            digest=body_digest(settings.DIGEST_KEY, body),
            tenant_id=connection.tenant_id,
            connection_id=connection.pk,
            is_test=envelope.is_test,
        )
    )
    return answer(200, _ANSWERS.get(outcome, "stored"))
