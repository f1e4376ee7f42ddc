"""What the API shows, how its lists page and filter, and what each costs."""

from __future__ import annotations

import re

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from config.infra import tenancy
from messaging.models import Contact
from orders.models import Order
from shopsync.models import WebhookEvent
from shopsync.money import format_amount
from shopsync.serializers import readable_payload
from tests.factories import deliver
from tests.world import BIG, SECRET, order_body

LISTS = [
    *("orders", "products", "contacts", "messages", "webhook-events", "audit-events", "alerts"),
    *("contacts/imports", "contacts/forms", "segments", "suppressions"),
]
# One query finds the key; the rest are the rows and their prefetches.
QUERIES = {
    "orders": 2,
    "products": 3,
    "contacts": 4,
    "messages": 2,
    "webhook-events": 2,
    "audit-events": 2,
    "alerts": 2,
    "contacts/imports": 2,
    "contacts/forms": 2,
    "segments": 2,
    "suppressions": 2,
}


@pytest.mark.parametrize("name", LISTS)
def test_each_list_costs_the_same_few_queries_however_long_it_is(owner, world, name):
    with CaptureQueriesContext(
        connection,
    ) as queries:
        answer = owner.get(f"/api/v1/{name}")
    assert answer.status_code == 200
    assert answer.json()["results"]
    assert len(queries) == QUERIES[name], [query["sql"] for query in queries]


@pytest.mark.parametrize("name", LISTS)
def test_pages_follow_each_other_without_a_gap_or_a_repetition(owner, name):
    everything = [row["id"] for row in owner.get(f"/api/v1/{name}?page_size=200").json()["results"]]
    found, url = [], f"/api/v1/{name}?page_size=1"
    while url:
        page = owner.get(url).json()
        found += [row["id"] for row in page["results"]]
        url = page["next"]
    assert found == everything == sorted(everything, reverse=True)


def test_an_order_shows_ids_and_money_as_strings_with_the_currencys_decimals(owner, world):
    detail = owner.get(f"/api/v1/orders/{world.rows[Order].pk}").json()
    assert detail["shopify_id"] == str(BIG + 1)
    assert detail["customer_shopify_id"] == str(BIG + 501)
    assert (detail["total_amount"], detail["currency"]) == ("129.00", "USD")
    assert (detail["presentment_total_amount"], detail["presentment_currency"]) == ("19350", "JPY")
    assert detail["email"] == "buyer1@example.com"
    assert [(line["quantity"], line["price_amount"]) for line in detail["lines"]] == [(2, "60.00"), (2, "60.00")]
    assert detail["refunds"][0]["amount"] == "10.00"
    assert detail["fulfillments"][0]["tracking_number"] == "1Z999"


def test_an_order_of_many_lines_costs_as_many_queries_as_one_of_two(owner, world):
    with CaptureQueriesContext(connection) as queries:
        owner.get(f"/api/v1/orders/{world.rows[Order].pk}")
    # The key, the order, its lines with their commitments, refunds, their lines, parcels of Shopify's and ours, and
    # three for what is odd.
    assert len(queries) == 10


@pytest.mark.parametrize(
    ("amount", "currency", "written"),
    [("129", "USD", "129.00"), ("1500", "JPY", "1500"), ("1.5", "KWD", "1.500"), ("0.0125", "USD", "0.0125"),
     ("-3", "EUR", "-3.00"), ("1.5", "JPY", "1.5"), ("9" * 16, "USD", "9" * 16 + ".00")],
)  # fmt: skip
def test_money_has_its_currencys_decimals_and_loses_none_of_its_own(amount, currency, written):
    from decimal import Decimal

    assert format_amount(Decimal(amount), currency) == written


def test_a_product_shows_its_stock_in_the_detail(owner):
    row = owner.get("/api/v1/products").json()["results"][0]
    assert "levels" not in row["variants"][0]
    detail = owner.get(f"/api/v1/products/{row['id']}").json()
    levels = {variant["sku"]: [level["available"] for level in variant["levels"]] for variant in detail["variants"]}
    assert levels == {"SKU-0": [5], "SKU-1": []}


def test_a_contact_shows_what_it_is_known_by_and_its_current_consent(owner, world):
    detail = owner.get(f"/api/v1/contacts/{world.rows[Contact].pk}").json()
    assert {identity["kind"] for identity in detail["identities"]} == {"shopify_customer", "email", "phone"}
    assert [(consent["channel"], consent["state"]) for consent in detail["consents"]] == [("sms", "subscribed")]
    assert detail["phone"] == "+15145550101"


def test_a_delivery_shows_its_payload_in_the_detail_only(owner, world):
    row = owner.get("/api/v1/webhook-events?topic=products/create").json()["results"][0]
    assert not {"payload", "body"} & set(row)
    assert owner.get(f"/api/v1/webhook-events/{row['id']}").json()["payload"]["id"] == BIG + 10


def test_a_forgotten_payload_is_null(owner, world):
    row = world.rows[WebhookEvent]
    with tenancy.tenant_scope(world.tenant.pk):
        WebhookEvent.objects.filter(pk=row.pk).update(body=None)
    assert owner.get(f"/api/v1/webhook-events/{row.pk}").json()["payload"] is None


@pytest.mark.parametrize(
    "body",
    [b"not json", b'{"a": NaN}', b'{"a": "\\ud800"}', b'{"a": 1e999}', b"[" * 100_000, b"\xff\x00", b"9" * 5000],
)
def test_a_payload_that_json_cannot_carry_is_shown_as_text(owner, world, body):
    assert readable_payload(body) == body.decode("utf-8", "replace")
    row = world.rows[WebhookEvent]
    with tenancy.tenant_scope(world.tenant.pk):
        WebhookEvent.objects.filter(pk=row.pk).update(body=body)
    assert owner.get(f"/api/v1/webhook-events/{row.pk}").status_code == 200


@pytest.mark.parametrize(
    ("query", "count"),
    [("orders?email=BUYER1@example.com", 1), ("orders?financial_status=paid", 3), ("orders?financial_status=void", 0),
     (f"orders?shopify_id={BIG + 2}", 1), ("orders?is_cancelled=false", 3), ("orders?is_cancelled=true", 0),
     ("orders?placed_after=2026-11-01T00:00:00Z", 3), ("orders?name=%231001", 1), ("products?sku=SKU-1", 1),
     (f"contacts?shopify_id={BIG + 501}", 1), ("contacts?email=buyer2@example.com", 1),
     ("contacts?phone=%2B15145550101", 1), ("messages?status=unknown", 1), ("messages?outcome=delivered", 1),
     ("webhook-events?status=quarantined", 1), ("webhook-events?topic=orders/create&status=done", 3),
     ("audit-events?name=order.paid", 3), ("audit-events?actor=nobody", 0),
     ("alerts?kind=stock.low", 1), ("alerts?is_open=true", 1), ("alerts?is_open=false", 1),
     ("alerts?subject=level:12&is_open=true", 0)],
)  # fmt: skip
def test_filters_choose_rows(owner, query, count):
    assert len(owner.get(f"/api/v1/{query}").json()["results"]) == count


def test_the_owner_by_key_and_staff_by_token_see_the_same(owner, staff):
    for name in LISTS:
        assert owner.get(f"/api/v1/{name}").json() == staff.get(f"/api/v1/{name}").json()


def test_a_message_says_where_it_stands(owner, world):
    states = {row["state"] for row in owner.get("/api/v1/messages").json()["results"]}
    assert states == {"delivered", "unknown", "buried"}
    detail = owner.get(f"/api/v1/messages/{_delivered(owner)}").json()
    assert [report["status"] for report in detail["reports"]] == ["delivered"]


def _delivered(client) -> int:
    return client.get("/api/v1/messages?outcome=delivered").json()["results"][0]["id"]


def test_no_secret_is_shown_anywhere(owner):
    for name in LISTS:
        rows = owner.get(f"/api/v1/{name}")
        assert SECRET not in rows.content.decode()
        for row in rows.json()["results"]:
            assert SECRET not in owner.get(f"/api/v1/{name}/{row['id']}").content.decode()


def test_a_new_order_comes_first(owner, world):
    from shopsync.tasks import drain_webhooks

    deliver("orders/create", order_body(9), world.tenant)
    drain_webhooks()
    assert owner.get("/api/v1/orders").json()["results"][0]["name"] == "#1009"


def test_links_stay_on_our_own_host(owner):
    assert re.match(r"http://testserver/api/v1/orders\?cursor=", owner.get("/api/v1/orders?page_size=1").json()["next"])
