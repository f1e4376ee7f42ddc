"""The inbox's door for Stripe: verify, store once, ring, answer."""

from __future__ import annotations

import time

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from orders.webhooks import BadSignature, Envelope, UnreadableEvent, read_envelope, verify_signature
from shopsync.actions.inbox import Incoming, store_delivery
from shopsync.models import Connection, RefusedDelivery
from shopsync.queries import find_connection
from shopsync.views import answer, read_body, refuse, storing
from shopsync.webhooks import body_digest

Reason = RefusedDelivery.Reason


@csrf_exempt
@require_POST
def receive_stripe_event(request: HttpRequest, token: str) -> HttpResponse:
    """Take one of Stripe's events, of the connection that the address's token names.

    200 stored, quarantined or already known; 400 no Stripe-Signature, or a signed body that is no event (the answer
    names the field); 401 bad signature or time; 404 unknown token; 413 over 5 MB; 503 only when PostgreSQL can't store.
    """
    body = read_body(request)
    if body is None:
        return refuse(413, "the body is over 5 MB", source="stripe", reason=Reason.TOO_LARGE)
    header = request.headers.get("Stripe-Signature", "")
    if not header:
        sentence = "the header Stripe-Signature is missing"
        return refuse(400, sentence, source="stripe", reason=Reason.MISSING_HEADERS)
    return storing("stripe", lambda: _take(token, header, body))


def _take(token: str, header: str, body: bytes) -> HttpResponse:
    connection: Connection | None = find_connection(service="stripe", token=token)
    if connection is None:
        sentence = "this address belongs to no connection"
        return refuse(404, sentence, source="stripe", reason=Reason.UNKNOWN_TOKEN)
    try:
        verify_signature(body=body, header=header, secret=connection.signing_secret, now=time.time())
    except BadSignature as error:
        return refuse(401, str(error), source="stripe", reason=Reason.BAD_SIGNATURE)
    try:
        envelope = read_envelope(body)
    except UnreadableEvent as error:
        return answer(400, f"the event can't be read: {error}")
    return _store(connection, envelope, body)


def _store(connection: Connection, envelope: Envelope, body: bytes) -> HttpResponse:
    outcome = store_delivery(
        Incoming(
            source="stripe",
            topic=envelope.topic,
            webhook_id=envelope.event_id,
            body=body,
            digest=body_digest(settings.DIGEST_KEY, body),
            tenant_id=connection.tenant_id,
            connection_id=connection.pk,
            triggered_at=envelope.created_at,
        )
    )
    return answer(200, {"duplicate": "already stored", "quarantined": "stored, quarantined"}.get(outcome, "stored"))
