"""The inbox's door: what is stored, what is counted twice, what is quarantined, what is refused."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from django.db import connection
from django.test import Client

from audit.models import AuditEvent, DeadLetter
from config.infra import tenancy
from shopsync.actions.dead_letters import replay_dead_letters
from shopsync.actions.inbox import replay_deliveries
from shopsync.actions.tenants import create_api_key
from shopsync.models import RefusedDelivery, WebhookEvent
from tests.factories import deliver, delivery_headers, drain_all, make_tenant
from tests.protocols import FIXTURES

pytestmark = pytest.mark.django_db(transaction=True)
LATER = "2099-01-01T00:00:00Z"
ORDER = {
    "id": 820982911946154508,
    "financial_status": "pending",
    "updated_at": "2026-11-02T10:00:00Z",
    "currency": "EUR",
}


@pytest.fixture
def tenant():
    return make_tenant()


def events(tenant):
    with tenancy.tenant_scope(tenant.pk):
        return list(WebhookEvent.objects.order_by("pk"))


def test_a_delivery_is_stored_as_it_came(tenant):
    raw = json.dumps(ORDER, indent=3).encode()
    response = deliver("orders/create", raw, tenant, webhook_id="w-1", event_id="e-1")
    assert (response.status_code, response.content) == (200, b"stored\n")
    (event,) = events(tenant)
    assert bytes(event.body) == raw
    assert (event.topic, event.webhook_id, event.event_id, event.lane) == (
        "orders/create",
        "w-1",
        "e-1",
        "order:820982911946154508",
    )
    assert event.triggered_at.isoformat() == "2026-11-02T08:16:02.101071+00:00"


def test_the_topic_may_stand_in_the_path(tenant):
    raw = json.dumps(ORDER).encode()
    headers = delivery_headers("orders/create", raw, tenant.shop_domain)
    del headers["X-Shopify-Topic"]
    for path in ("/webhooks/shopify/orders/create", "/webhooks/shopify/orders/create/"):
        assert Client().post(path, raw, content_type="application/json", headers=headers).status_code == 200
    (event,) = events(tenant)
    assert (event.topic, event.duplicates) == ("orders/create", 1)


def test_a_repeated_webhook_id_is_counted_not_stored(tenant):
    for _ in range(3):
        assert deliver("orders/create", ORDER, tenant, webhook_id="w-1").status_code == 200
    (event,) = events(tenant)
    assert event.duplicates == 2
    assert event.last_duplicate_at is not None


def test_one_event_under_two_webhook_ids_has_one_effect(tenant):
    deliver("orders/create", ORDER, tenant, webhook_id="w-1", event_id="e-1")
    response = deliver("orders/create", ORDER, tenant, webhook_id="w-2", event_id="e-1")
    assert (response.status_code, response.content) == (200, b"already stored\n")
    drain_all()
    (event,) = events(tenant)
    assert (event.status, event.duplicates) == ("done", 1)
    with tenancy.tenant_scope(tenant.pk):
        assert AuditEvent.objects.filter(name="order.created").count() == 1


def test_one_event_on_two_topics_is_two_deliveries(tenant):
    deliver("orders/create", ORDER, tenant, event_id="e-1")
    deliver("orders/updated", ORDER, tenant, event_id="e-1")
    assert len(events(tenant)) == 2


@pytest.mark.parametrize(
    ("topic", "body", "reason"),
    [
        ("orders/create", b"{not json", "no readable JSON object"),
        ("orders/create", b"[1, 2]", "no readable JSON object"),
        ("orders/create", b'{"name": "no id"}', "id is missing"),
        ("orders/create", b"\xff\xfe", "no readable JSON object"),
        ("inventory_levels/update", b'{"inventory_item_id": 1}', "location_id is missing"),
        ("carts/update", b'{"id": "abc"}', "no handler takes the shopify topic carts/update"),
    ],
)
def test_what_can_not_be_worked_on_is_kept_with_its_reason(tenant, topic, body, reason):
    response = deliver(topic, body, tenant)
    assert (response.status_code, response.content) == (200, b"stored, quarantined\n")
    (event,) = events(tenant)
    assert event.status == "quarantined"
    assert reason in event.last_error
    assert bytes(event.body) == body


def test_a_handler_that_can_not_read_the_body_quarantines_it_at_once(tenant):
    deliver("orders/create", {**ORDER, "line_items": "seven"}, tenant)
    drain_all()
    (event,) = events(tenant)
    assert (event.status, event.attempts) == ("quarantined", 1)
    assert "line_items" in event.last_error


@pytest.mark.parametrize("number", [2**63, -(2**63) - 1, 10**30])
def test_an_id_beyond_64_bits_is_quarantined(tenant, number):
    deliver("orders/create", {**ORDER, "id": number}, tenant)
    drain_all()
    assert [event.status for event in events(tenant)] == ["quarantined"]


@pytest.mark.parametrize("text", ["\ud800", "a\x00b", "0001-01-01T00:00:00Z"])
def test_hostile_text_ends_in_rows_or_in_quarantine_never_in_an_error(tenant, text):
    deliver("orders/create", {**ORDER, "note": text, "name": text, "updated_at": text}, tenant)
    drain_all()
    (event,) = events(tenant)
    assert event.status in {"done", "quarantined"}, event.last_error


@pytest.mark.parametrize("moment", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "0000-01-01T00:00:00Z"])
def test_times_at_the_edge_of_the_calendar_end_in_quarantine_not_in_an_error(tenant, moment):
    deliver("orders/create", {**ORDER, "updated_at": moment}, tenant)
    drain_all()
    (event,) = events(tenant)
    assert (event.status, event.attempts <= 1) == ("quarantined", True), event.last_error


def test_the_same_body_under_another_tenants_name_is_quarantined(tenant):
    other = make_tenant()
    deliver("orders/create", ORDER, tenant)
    assert deliver("orders/create", ORDER, other).content == b"stored, quarantined\n"
    (event,) = events(other)
    assert event.last_error == "the same body was already stored for another tenant"
    assert [event.status for event in events(tenant)] == ["ready"]
    with tenancy.tenant_scope(other.pk):
        assert replay_deliveries(rows=WebhookEvent.objects.all(), actor="test").not_replayed == 1
        letters = list(DeadLetter.objects.all())
        assert replay_dead_letters(letters=letters, actor="test", is_confirmed=True).not_replayed == 1
        key = create_api_key(name="k", actor="test").secret
    answer = Client().get(f"/api/v1/webhook-events/{event.pk}", headers={"Authorization": f"Api-Key {key}"})
    assert (answer.status_code, answer.json()["payload"]) == (200, None)


def test_of_two_tenants_one_body_at_the_same_instant_one_is_quarantined(tenant):
    other = make_tenant()
    for number in range(20):
        body = {**ORDER, "id": number + 1}
        barrier = threading.Barrier(2)

        def send(shop, body=body, barrier=barrier):
            try:
                barrier.wait()
                return deliver("orders/create", body, shop).content
            finally:
                connection.close()

        with ThreadPoolExecutor(2) as pool:
            answers = sorted(pool.map(send, (tenant, other)))
        assert answers == [b"stored\n", b"stored, quarantined\n"], number


def test_an_id_with_nul_is_quarantined_not_refused_for_ever(tenant):
    assert deliver("orders/create", b'{"id": "a\\u0000b"}', tenant).status_code == 200
    drain_all()
    assert [event.status for event in events(tenant)] == ["quarantined"]


@pytest.mark.parametrize("amount", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_an_amount_that_is_no_amount_is_quarantined_at_once(tenant, amount):
    deliver("orders/create", {**ORDER, "total_price": amount}, tenant)
    drain_all()
    (event,) = events(tenant)
    assert (event.status, event.attempts) == ("quarantined", 1)


def test_a_body_without_length_is_refused_with_the_headers_name(tenant):
    headers = delivery_headers("orders/create", b"", tenant.shop_domain)
    response = Client().generic("POST", "/webhooks/shopify", b"", headers=headers)
    assert (response.status_code, "Content-Length" in response.content.decode()) == (400, True)


def test_an_uninstallation_that_names_no_shop_proves_nothing(tenant):
    deliver("app/uninstalled", {"id": 1, "myshopify_domain": None}, tenant, triggered_at=LATER)
    drain_all()
    tenant.refresh_from_db()
    assert tenant.status == "active"
    with tenancy.tenant_scope(tenant.pk):
        assert AuditEvent.objects.filter(name="tenant.uninstall_unproved").count() == 1


def test_an_uninstalled_tenant_is_still_known(tenant):
    deliver("app/uninstalled", {"id": 1, "myshopify_domain": tenant.shop_domain}, tenant, triggered_at=LATER)
    drain_all()
    tenant.refresh_from_db()
    assert tenant.status == "uninstalled"
    assert deliver("orders/create", ORDER, tenant).status_code == 200


def test_an_uninstallation_must_name_this_very_shop(tenant):
    deliver("app/uninstalled", {"id": 1, "myshopify_domain": "another.myshopify.com"}, tenant, triggered_at=LATER)
    deliver("app/uninstalled", ORDER, tenant, triggered_at=LATER)
    drain_all()
    tenant.refresh_from_db()
    assert tenant.status == "active"
    assert [event.status for event in events(tenant)] == ["quarantined", "quarantined"]


def refusals():
    return {(row.reason, row.shop_domain): row.count for row in RefusedDelivery.objects.all()}


def test_a_bad_signature_is_refused_counted_and_not_kept(tenant):
    for _ in range(3):
        assert deliver("orders/create", ORDER, tenant, signature="bm8=").status_code == 401
    assert deliver("orders/create", ORDER, "nobody.myshopify.com", signature="bm8=").status_code == 401
    assert refusals() == {("bad_signature", tenant.shop_domain): 3, ("bad_signature", ""): 1}
    assert events(tenant) == []


def test_an_unknown_shop_is_refused_by_name_when_the_signature_is_good():
    assert deliver("orders/create", ORDER, "nobody.myshopify.com").status_code == 404
    assert refusals() == {("unknown_shop", "nobody.myshopify.com"): 1}


@pytest.mark.parametrize(
    "name", ["X-Shopify-Hmac-Sha256", "X-Shopify-Shop-Domain", "X-Shopify-Webhook-Id", "X-Shopify-Topic"]
)
def test_a_missing_header_is_named(tenant, name):
    raw = json.dumps(ORDER).encode()
    headers = delivery_headers("orders/create", raw, tenant.shop_domain)
    del headers[name]
    response = Client().post("/webhooks/shopify", raw, content_type="application/json", headers=headers)
    assert response.status_code == 400
    assert name in response.content.decode()


def test_a_header_that_is_too_long_is_refused(tenant):
    assert deliver("orders/create", ORDER, tenant, webhook_id="w" * 121).status_code == 400


def test_a_body_over_5_mb_is_refused_and_one_just_below_is_stored(tenant):
    room = 5 * 1024 * 1024 - len(b'{"id": 1, "note": ""}')
    fits = b'{"id": 1, "note": "' + b"x" * room + b'"}'
    assert deliver("orders/create", fits, tenant).status_code == 200
    assert deliver("orders/create", fits + b" ", tenant).status_code == 413


def test_the_previous_secret_counts_while_it_is_set(tenant, settings):
    settings.SHOPIFY_API_SECRET_PREVIOUS = "the-old-one"
    assert deliver("orders/create", ORDER, tenant, secret="the-old-one").status_code == 200
    settings.SHOPIFY_API_SECRET_PREVIOUS = ""
    assert deliver("orders/create", ORDER, tenant, secret="the-old-one").status_code == 401


def test_only_post_is_taken():
    assert Client().get("/webhooks/shopify").status_code == 405


def test_storing_costs_one_statement(tenant, monkeypatch):
    statements = []
    execute = psycopg.Cursor.execute  # Django's own counter does not see the inbox's prepared cursor
    monkeypatch.setattr(psycopg.Cursor, "execute", lambda *a, **k: (statements.append(a[1]), execute(*a, **k))[1])
    raw = (FIXTURES / "orders__paid--paid-250-lines.json").read_bytes()
    deliver("orders/paid", raw, tenant)
    assert [statement.split()[0] for statement in statements if statement] == ["INSERT"]
