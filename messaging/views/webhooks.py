"""The providers' call-backs."""

from __future__ import annotations

import time
import uuid

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods, require_POST

from messaging.email_events import has_password, is_signed_by_mailgun
from messaging.inbound import tells_repetitions
from messaging.webhooks import is_classic_mitto
from shopsync.actions.inbox import Incoming, store_delivery
from shopsync.models import Connection, RefusedDelivery
from shopsync.queries import find_connection
from shopsync.views import answer, read_body, refuse, storing
from shopsync.webhooks import body_digest


@csrf_exempt
@require_http_methods(["GET", "POST"])
def receive_mitto_report(request: HttpRequest, token: str) -> HttpResponse:
    """Take Mitto's delivery reports: Mitto does not sign, so the address's token names and proves the connection.

    The classic API may also report by GET: then the query is the report.
    202 stored or already known; 404 unknown token; 405 a GET to a connection of the Messaging API; 413 over 5 MB; 503
    only when PostgreSQL can't store.
    """
    body = read_body(request)
    if body is None:
        return refuse(413, "the body is over 5 MB", source="mitto", reason=RefusedDelivery.Reason.TOO_LARGE)
    return storing("mitto", lambda: _take_report(request, token, body))


def _take_report(request: HttpRequest, token: str, body: bytes) -> HttpResponse:
    connection = find_connection(service="mitto", token=token)
    if connection is None:
        return _refuse_token()
    if is_classic_mitto(connection.account_id):
        return _store(
            connection, body or request.META.get("QUERY_STRING", "").encode("latin-1", "replace"), topic="classic_dlr"
        )
    if request.method != "POST":
        return HttpResponseNotAllowed(["POST"])
    return _store(connection, body, topic="dlr")


@csrf_exempt
@require_POST
def receive_mitto_reply(request: HttpRequest, token: str) -> HttpResponse:
    """Take people's replies from Mitto; as with reports, the address's token names and proves the connection.

    A body whose replies have neither id nor time is never taken for a repetition: who writes STOP a second time may
    have signed up in between.
    202 stored or already known; 404 unknown token; 413 over 5 MB; 503 only when PostgreSQL can't store.
    """
    body = read_body(request)
    if body is None:
        return refuse(413, "the body is over 5 MB", source="mitto", reason=RefusedDelivery.Reason.TOO_LARGE)
    delivery_id = "" if tells_repetitions(body) else uuid.uuid4().hex
    return storing("mitto", lambda: _take_reply(token, body, delivery_id=delivery_id))


def _take_reply(token: str, body: bytes, *, delivery_id: str) -> HttpResponse:
    connection = find_connection(service="mitto", token=token)
    return _refuse_token() if connection is None else _store(connection, body, topic="inbound", delivery_id=delivery_id)


def _refuse_token() -> HttpResponse:
    sentence = "this address belongs to no connection"
    return refuse(404, sentence, source="mitto", reason=RefusedDelivery.Reason.UNKNOWN_TOKEN)


@csrf_exempt
@require_POST
def receive_email_event(request: HttpRequest, token: str) -> HttpResponse:
    """Take an e-mail service's events; the address's token names the connection.

    Where the connection has a signing secret, it is asked for as well: of Mailgun as the key of the signature in the
    body, of others as `user:password` (Basic).
    200 stored or already known; 401 not signed; 404 unknown token; 413 over 5 MB; 503 only when PostgreSQL can't
    store.
    """
    body = read_body(request)
    if body is None:
        return refuse(413, "the body is over 5 MB", source="email", reason=RefusedDelivery.Reason.TOO_LARGE)
    authorization = request.headers.get("Authorization", "")
    return storing("email", lambda: _take_email(token, authorization, body))


def _take_email(token: str, authorization: str, body: bytes) -> HttpResponse:
    connection: Connection | None = find_connection(service="email", token=token)
    if connection is None:
        sentence = "this address belongs to no connection"
        return refuse(404, sentence, source="email", reason=RefusedDelivery.Reason.UNKNOWN_TOKEN)
    service = connection.account_id.partition(":")[0].strip().lower()
    secret = connection.signing_secret
    if secret and not _is_authentic(service, secret, authorization=authorization, body=body):
        sentence = "neither signature nor password fits the signing secret of the connection"
        return refuse(401, sentence, source="email", reason=RefusedDelivery.Reason.BAD_SIGNATURE)
    _store(connection, body, topic=service)
    return answer(200, "stored")


def _is_authentic(service: str, secret: str, *, authorization: str, body: bytes) -> bool:
    if service == "mailgun":
        return is_signed_by_mailgun(body=body, secret=secret, now=time.time())
    return has_password(authorization, secret)


def _store(connection: Connection, body: bytes, *, topic: str, delivery_id: str = "") -> HttpResponse:
    digest = body_digest(settings.DIGEST_KEY, body)
    store_delivery(
        Incoming(
            source=connection.service,
            topic=topic,
            webhook_id=delivery_id or digest,  # none gives an id: the same bytes are the same report
            body=body,
            digest=digest,
            tenant_id=connection.tenant_id,
            connection_id=connection.pk,
        )
    )
    return answer(202, "stored")
