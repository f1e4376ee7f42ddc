"""Numbers of Shopify's that can't be are quarantined in a sentence that names the field, and write nothing."""

from __future__ import annotations

import json
import uuid

import pytest

from config.infra import tenancy
from inventory.models import Product, StockLevel
from orders.models import Fulfillment, Order, Refund
from shopsync.models import WebhookEvent
from shopsync.shopify import MOST_UNITS
from tests.factories import deliver, drain_all, make_tenant, reload

pytestmark = pytest.mark.django_db(transaction=True)
BIG = 2**63
ORDER, LINE = {"id": 1, "updated_at": "2026-11-02T08:16:00Z"}, {"id": 2, "quantity": 1}
REFUND, PARCEL = {"id": 3, "order_id": 1}, {"id": 4, "order_id": 1}
LEVEL, PRODUCT = {"inventory_item_id": 5, "location_id": 6, "available": 7}, {"id": 8}
PAID_BACK = {"kind": "refund", "status": "success", "amount": "999999999999999"}


def of_line(**fields):
    return ORDER | {"line_items": [LINE, LINE | fields]}


CASES = [
    ("orders/create", ORDER | {"total_price": "-5.00"}, "$.total_price"),
    ("orders/create", ORDER | {"total_price": "NaN"}, "$.total_price"),
    ("orders/create", ORDER | {"total_price": "sNaN"}, "$.total_price"),
    ("orders/create", ORDER | {"subtotal_price": "-Infinity"}, "$.subtotal_price"),
    ("orders/create", ORDER | {"current_total_tax": "1e999999999999"}, "$.current_total_tax"),
    ("orders/create", ORDER | {"total_discounts": "1e-999999"}, "$.total_discounts"),
    ("orders/create", ORDER | {"total_tax": "1000000000000000"}, "$.total_tax"),
    (
        "orders/create",
        ORDER | {"total_price_set": {"presentment_money": {"amount": "Infinity"}}},
        "$.total_price_set.presentment_money.amount",
    ),
    ("orders/create", ORDER | {"shipping_lines": [{"price": "-1"}]}, "$.shipping_lines[0].price"),
    ("orders/create", ORDER | {"id": BIG}, "$.id"),
    ("orders/create", ORDER | {"customer": {"id": 10**30}}, "$.customer.id"),
    ("orders/create", ORDER | {"closed_at": "9999-12-31T23:59:59-23:59"}, "$.closed_at"),
    ("orders/create", of_line(quantity=BIG), "$.line_items[1].quantity"),
    ("orders/create", of_line(quantity=-1), "$.line_items[1].quantity"),
    ("orders/create", of_line(current_quantity=-1), "$.line_items[1].current_quantity"),
    ("orders/create", of_line(fulfillable_quantity=BIG), "$.line_items[1].fulfillable_quantity"),
    ("orders/create", of_line(price="-0.01"), "$.line_items[1].price"),
    ("orders/create", of_line(variant_id=-BIG - 1), "$.line_items[1].variant_id"),
    ("orders/create", of_line(tax_lines=[{"price": "9" * 15}] * 2), "tax_lines of line 2"),
    ("refunds/create", REFUND | {"transactions": [{"amount": "-5.00"}]}, "$.transactions[0].amount"),
    ("refunds/create", REFUND | {"transactions": [PAID_BACK] * 2}, "transactions of refund 3"),
    ("refunds/create", REFUND | {"refund_line_items": [{"quantity": -1}]}, "$.refund_line_items[0].quantity"),
    ("refunds/create", REFUND | {"refund_line_items": [{"location_id": BIG}]}, "$.refund_line_items[0].location_id"),
    ("fulfillments/create", PARCEL | {"line_items": [{"id": 1, "quantity": -2}]}, "$.line_items[0].quantity"),
    ("fulfillments/create", PARCEL | {"order_id": BIG}, "$.order_id"),
    ("inventory_levels/update", LEVEL | {"available": BIG}, "$.available"),
    ("inventory_levels/update", LEVEL | {"available": -BIG}, "$.available"),
    ("inventory_levels/update", LEVEL | {"location_id": BIG}, "$.location_id"),
    ("products/create", PRODUCT | {"variants": [{"id": 1, "price": "NaN"}]}, "$.variants[0].price"),
    ("products/create", PRODUCT | {"variants": [{"id": 1, "price": "-1"}]}, "$.variants[0].price"),
    ("products/create", PRODUCT | {"variants": [{"id": 1, "position": 2**31}]}, "$.variants[0].position"),
    (
        "products/create",
        PRODUCT | {"variants": [{"id": 1, "inventory_item_id": BIG}]},
        "$.variants[0].inventory_item_id",
    ),
]


@pytest.fixture
def shop():
    tenant = make_tenant()
    with tenancy.tenant_scope(tenant.pk):
        yield tenant


def send(tenant, topic, body):
    """Deliver a body, and return the stored delivery."""
    webhook_id = uuid.uuid4().hex
    raw = json.dumps(body).encode()
    assert deliver(topic, raw, tenant, webhook_id=webhook_id).status_code == 200
    return WebhookEvent.objects.get(webhook_id=webhook_id)


def test_a_number_that_can_not_be_is_quarantined_by_the_name_of_its_field(shop):
    sent = [(send(shop, topic, body), field) for topic, body, field in CASES]
    drain_all()
    found = [(reload(event), field) for event, field in sent]
    assert {(event.status, event.attempts) for event, _ in found} == {("quarantined", 1)}
    assert [event.last_error for event, field in found if field not in event.last_error] == []
    words = " ".join(event.last_error for event, _ in found).lower()
    assert not any(word in words for word in ("numeric field", "out of range", "psycopg", "conversionsyntax"))
    assert not any(model.objects.exists() for model in (Order, Refund, Fulfillment, StockLevel, Product))


def test_the_largest_numbers_and_a_level_below_nothing_are_taken(shop):
    most = "999999999999999.9999"
    line = LINE | {"quantity": MOST_UNITS, "price": most}
    send(shop, "orders/create", ORDER | {"total_price": most, "line_items": [line]})
    send(shop, "inventory_levels/update", LEVEL | {"available": -MOST_UNITS})
    drain_all()
    assert f"{Order.objects.get().total_amount}" == most
    assert Order.objects.get().lines.get().quantity == MOST_UNITS
    assert StockLevel.objects.get().available == -MOST_UNITS


def test_a_variant_that_is_named_in_an_unknown_way_is_no_error(shop):
    for tail in ("9" * 5000, "²", "", "12x"):
        gids = [{"admin_graphql_api_id": f"gid://shopify/ProductVariant/{tail}"}]
        event = send(shop, "products/update", PRODUCT | {"variant_gids": gids})
        drain_all()
        assert reload(event).status == "done"
