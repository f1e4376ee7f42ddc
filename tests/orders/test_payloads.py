"""Every body in our fixtures, and in ../shared/protocols where present, goes through to its rows without an error."""

from __future__ import annotations

import json
import uuid

import pytest
from django.conf import settings

from config.infra import tenancy
from inventory.models import Product, StockLevel
from messaging.models import ConsentEntry, Contact, ContactIdentity
from orders.models import Fulfillment, Order, Refund
from shopsync.models import WebhookEvent
from tests.factories import deliver, drain_all, make_tenant
from tests.protocols import FIXTURES, PROTOCOLS, needs_protocols, read_protocol, topic_of

pytestmark = pytest.mark.django_db(transaction=True)
LATER = "2099-01-01T00:00:00Z"
TOPICS = set(settings.WEBHOOK_HANDLERS["shopify"])
OWN = sorted(FIXTURES.glob("*.json"))
SHARED = sorted(path for path in PROTOCOLS.glob("payloads/*.json") if topic_of(path) in TOPICS)


def assert_has_rows(topic: str, body: dict, tenant) -> None:
    """Look for the row that a body must have ended in."""
    family = topic.partition("/")[0]
    if family == "orders":
        order = Order.objects.get(shopify_id=body["id"])
        assert order.lines.count() == len({line["id"] for line in body.get("line_items") or []})
    elif family == "products":
        assert Product.objects.get(shopify_id=body["id"]).variants.count() == len(body.get("variants") or [])
    elif family == "inventory_levels":
        level = StockLevel.objects.get(item__shopify_id=body["inventory_item_id"])
        assert (level.available, level.movement_count) == (body["available"], 0 if body["available"] is None else 1)
    elif family in {"refunds", "fulfillments"}:
        model = Refund if family == "refunds" else Fulfillment
        assert model.objects.get(shopify_id=body["id"]).order_shopify_id == body["order_id"]
    elif family == "app":
        tenant.refresh_from_db()
        assert tenant.status == ("uninstalled" if body["myshopify_domain"] else "active")
    else:
        customer = body["customer_id"] if "customer_id" in body else body["id"]
        identity = ContactIdentity.objects.get(kind="shopify_customer", value=str(customer))
        if family != "customers":
            assert ConsentEntry.objects.filter(contact=identity.contact).count() == 1
        assert Contact.objects.count() == 1


def go_through(path) -> None:
    tenant = make_tenant()
    text = path.read_text().replace("SHOP_DOMAIN", tenant.shop_domain)
    topic, body = topic_of(path), json.loads(text)
    assert deliver(topic, text.encode(), tenant, triggered_at=LATER).status_code == 200
    drain_all()
    with tenancy.tenant_scope(tenant.pk):
        event = WebhookEvent.objects.get()
        assert (event.status, event.last_error, event.attempts) == ("done", "", 1)
        assert_has_rows(topic, body, tenant)


def test_there_are_at_least_forty_of_our_own_over_these_topics():
    assert len(OWN) >= 40
    assert {topic_of(path) for path in OWN} >= TOPICS - {"orders/fulfilled", "fulfillments/update"}


@pytest.mark.parametrize("path", OWN, ids=lambda path: path.stem)
def test_our_fixture_ends_in_its_rows(path):
    go_through(path)


@needs_protocols
@pytest.mark.parametrize("path", SHARED, ids=lambda path: path.stem)
def test_a_shared_body_ends_in_its_rows(path):
    go_through(path)


@needs_protocols
@pytest.mark.parametrize("name", ["order_3412_out_of_order", "order_pending_then_cancelled"])
def test_a_sequence_ends_in_its_expected_state(name):
    expected = read_protocol(f"sequences/{name}.expected.json")
    tenant = make_tenant(shop_domain="demo-store.myshopify.com")
    lines = (PROTOCOLS / "sequences" / f"{name}.jsonl").read_text().splitlines()
    steps = [json.loads(line) for line in lines if line.strip()]
    assert len(steps) == expected["deliveries"]
    for step in steps:
        headers = step["headers"]
        response = deliver(
            headers["X-Shopify-Topic"],
            (PROTOCOLS / step["body_file"]).read_bytes(),
            tenant,
            webhook_id=headers["X-Shopify-Webhook-Id"],
            event_id=headers.get("X-Shopify-Event-Id", str(uuid.uuid4())),
            triggered_at=headers["X-Shopify-Triggered-At"],
        )
        assert response.status_code == 200
        drain_all()
    with tenancy.tenant_scope(tenant.pk):
        assert WebhookEvent.objects.count() == expected["distinct_event_ids"]
        assert WebhookEvent.objects.exclude(status="done").count() == 0
        order = Order.objects.get()
        final = expected["final_order"]
        assert (order.shopify_id, order.name) == (final["id"], final["name"])
        assert order.financial_status == final["financial_status"]
        assert order.fulfillment_status == (final["fulfillment_status"] or "")
        assert (order.cancelled_at.isoformat() if order.cancelled_at else None, order.cancel_reason or None) == (
            "2026-11-04T16:00:00+00:00" if final["cancelled_at"] else None,
            final["cancel_reason"],
        )
        assert f"{order.total_amount:.2f}" == final["total_price"]
        assert f"{order.current_total_amount:.2f}" == final["current_total_price"]
        for model, rows in ((Refund, "refunds"), (Fulfillment, "fulfillments")):
            assert rows not in expected or model.objects.count() == expected[rows]
        if "refund_id" in expected:
            assert Refund.objects.get().shopify_id == expected["refund_id"]
            assert Refund.objects.get().order_id == order.pk
