"""The floor of the intake benchmark: a bare WSGI function with the same HMAC, the same INSERT and the same bell."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Any

import django

os.environ["SHOPSYNC_PROCESS"] = "floor"
django.setup()

import psycopg_pool
from django.conf import settings

from config.infra.work import bell
from shopsync.actions.inbox import _STORE_BY_SHOP
from shopsync.models import WebhookEvent
from shopsync.webhooks import body_digest, is_signed_by_shopify

_pool = psycopg_pool.ConnectionPool(
    os.environ["DATABASE_URL"], min_size=1, max_size=8, open=False, kwargs={"autocommit": True}
)
_opened = 0


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Verify, insert, ring, answer."""
    global _opened
    if _opened != os.getpid():
        _pool.open()
        _opened = os.getpid()
    if environ["REQUEST_METHOD"] == "GET":  # the probe that waits for the start
        start_response("200 OK", [("Content-Length", "0")])
        return [b""]
    body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
    secrets = (settings.SHOPIFY_API_SECRET, settings.SHOPIFY_API_SECRET_PREVIOUS)
    if not is_signed_by_shopify(body=body, signature=environ["HTTP_X_SHOPIFY_HMAC_SHA256"], secrets=secrets):
        start_response("401 Unauthorized", [("Content-Length", "0")])
        return [b""]
    parameters = {
        "source": "shopify",
        "connection_id": None,
        "topic": environ["HTTP_X_SHOPIFY_TOPIC"],
        "sub_topic": "",
        "subscription_name": "",
        "webhook_id": environ["HTTP_X_SHOPIFY_WEBHOOK_ID"],
        "event_id": environ["HTTP_X_SHOPIFY_EVENT_ID"],
        "api_version": environ["HTTP_X_SHOPIFY_API_VERSION"],
        "is_test": False,
        "triggered_at": environ["HTTP_X_SHOPIFY_TRIGGERED_AT"],
        "body": body,
        "body_bytes": len(body),
        "digest": body_digest(settings.DIGEST_KEY, body),
        "lane": environ["HTTP_X_SHOPIFY_EVENT_ID"],
        "problem": "",
        "shop_domain": environ["HTTP_X_SHOPIFY_SHOP_DOMAIN"],
    }
    with _pool.connection() as connection:
        connection.execute(_STORE_BY_SHOP, parameters)
    bell.ring(WebhookEvent.queue)
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "7")])
    return [b"stored\n"]
