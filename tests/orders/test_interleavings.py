"""An order's webhooks and its levels' snapshots, in every order of arrival: the same end, for both authorities.

Each permutation runs in a savepoint that is rolled back, so that all of them begin with the same rows.
"""

from __future__ import annotations

import copy
import itertools
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from django.db import transaction

from audit.actions import Event
from audit.models import AuditEvent
from config.infra import tenancy
from inventory.actions.levels import sync_level
from inventory.actions.products import sync_product
from inventory.models import StockLevel, StockMovement
from inventory.queries import find_drift
from orders.actions.backorders import fill
from orders.actions.sync import sync_fulfillment, sync_order, sync_refund
from orders.models import Allocation, Commitment, Order, OrderLine, Refund, RefundLine
from orders.queries import find_misallocation
from shopsync.shopify import Delivery
from tests.factories import make_tenant

pytestmark = pytest.mark.django_db
# Every order of arrival is proved by make test-slow; make test tries every seventh of them.
STRIDES = [pytest.param(7, id="some"), pytest.param(1, id="all", marks=pytest.mark.slow)]
RESTOCK_TYPES = ["no_restock", "cancel", "return", "legacy_restock"]
HANDLERS = {
    "products": sync_product,
    "inventory_levels": sync_level,
    "orders": sync_order,
    "refunds": sync_refund,
    "fulfillments": sync_fulfillment,
}
PRODUCT = {
    "id": 1,
    "title": "Shirt",
    "updated_at": "2026-11-01T00:00:00Z",
    "variants": [{"id": 11, "inventory_item_id": 101}, {"id": 12, "inventory_item_id": 102}],
}
LINES = [
    {"id": 21, "variant_id": 11, "quantity": 3, "current_quantity": 3, "fulfillable_quantity": 3, "price": "10.00"},
    {"id": 22, "variant_id": 12, "quantity": 2, "current_quantity": 2, "fulfillable_quantity": 2, "price": "5.00"},
]


def order(topic: str, minute: int, lines: list[dict[str, Any]], **fields: Any) -> tuple[str, dict[str, Any]]:
    body = {"id": 31, "currency": "USD", "total_price": "40.00", "financial_status": "paid", "line_items": lines}
    return topic, {**body, "updated_at": f"2026-11-02T10:{minute:02}:00Z", **fields}


def changed(lines: list[dict[str, Any]], line_id: int, **fields: Any) -> list[dict[str, Any]]:
    return [{**line, **fields} if line["id"] == line_id else copy.deepcopy(line) for line in lines]


def life(restock_type: str, *, is_cancelled: bool) -> list[tuple[str, dict[str, Any]]]:
    """One order: created; one unit of the second line edited away; a unit of the first sent, and a unit refunded."""
    edited = changed(LINES, 22, current_quantity=1, fulfillable_quantity=1)
    sent = changed(edited, 21, fulfillable_quantity=2)
    refund = {
        "id": 41,
        "order_id": 31,
        "processed_at": "2026-11-02T10:40:00Z",
        "transactions": [{"amount": "10.00", "currency": "USD", "kind": "refund", "status": "success"}],
        "refund_line_items": [{"id": 51, "line_item_id": 21, "quantity": 1, "restock_type": restock_type}],
    }
    parcel = {"id": 61, "order_id": 31, "status": "success", "updated_at": "2026-11-02T10:30:00Z"}
    parcel["line_items"] = [{"id": 21, "quantity": 1}]
    was_sent = restock_type in {"return", "legacy_restock"}
    after = changed(sent, 21, current_quantity=2, fulfillable_quantity=2 if was_sent else 1)
    last = order("orders/updated", 45, after, refunds=[refund], fulfillments=[parcel], current_total_price="25.00")
    if is_cancelled:
        gone = [{**line, "fulfillable_quantity": 0} for line in after]
        fields = {"cancelled_at": "2026-11-02T10:50:00Z", "cancel_reason": "customer"}
        last = order("orders/cancelled", 50, gone, refunds=[refund], fulfillments=[parcel], **fields)
    return [
        order("orders/create", 10, LINES),
        order("orders/updated", 20, edited),
        ("fulfillments/create", parcel),
        ("refunds/create", refund),
        last,
    ]


def levels(first: int, then: int) -> list[tuple[str, dict[str, Any]]]:
    place = {"inventory_item_id": 101, "location_id": 5}
    other = {"inventory_item_id": 102, "location_id": 5, "available": 4, "updated_at": "2026-11-02T09:00:00Z"}
    return [
        ("inventory_levels/update", {**place, "available": first, "updated_at": "2026-11-02T09:00:00Z"}),
        ("inventory_levels/update", {**place, "available": then, "updated_at": "2026-11-02T10:35:00Z"}),
        ("inventory_levels/update", other),
    ]


def give(tenant, number: int, topic: str, body: dict[str, Any]) -> None:
    delivery = Delivery(
        id=number,
        tenant_id=tenant.pk,
        source="shopify",
        topic=topic,
        body=json.dumps(body).encode(),
        digest=f"{number:064}",
        triggered_at=None,
        received_at=datetime(2026, 11, 2, 12, tzinfo=UTC),
        connection_id=None,
    )
    HANDLERS[topic.partition("/")[0]](delivery=delivery)


def fill_backorders(done: set[int]) -> None:
    for event in AuditEvent.objects.filter(name="stock.increased").exclude(pk__in=done).order_by("pk"):
        done.add(event.pk)
        fill(event=Event(event.pk, event.tenant_id or 0, event.name, event.subject, event.data, event.created_at))


def end_of(tenant) -> dict[str, Any]:
    counts = StockLevel.objects.order_by("item__shopify_id")
    lines = OrderLine.objects.order_by("shopify_id")
    return {
        "levels": list(counts.values_list("item__shopify_id", "available", "held", "committed", "on_hand")),
        "order": list(Order.objects.values_list("total_amount", "current_total_amount", "financial_status")),
        "lines": list(lines.values_list("shopify_id", "quantity", "current_quantity")),
        "asked": list(Commitment.objects.order_by("line__shopify_id").values_list("quantity", "backordered")),
        "taken": list(Allocation.objects.order_by("commitment__line__shopify_id").values_list("committed", "gone")),
        "refunds": list(Refund.objects.values_list("amount", "order__shopify_id")),
        "refund lines": list(RefundLine.objects.values_list("line__shopify_id", "quantity", "restock_type")),
        "ledger": sum(StockMovement.objects.filter(state="available").values_list("delta", flat=True)),
        "drift": [*find_drift(tenant_id=tenant.pk), *find_misallocation(tenant_id=tenant.pk)],
    }


def live_through(tenant, deliveries) -> dict[str, Any]:
    point = transaction.savepoint()
    done: set[int] = set()
    for number, (topic, body) in enumerate(deliveries, start=1):
        give(tenant, number, topic, body)
        fill_backorders(done)
    end = end_of(tenant)
    transaction.savepoint_rollback(point)
    return end


def shop(authority: str):
    tenant = make_tenant(stock_authority=authority)
    with tenancy.tenant_scope(tenant.pk):
        give(tenant, 999, "products/create", PRODUCT)
    return tenant


# What is out of `available` in the end, of the first item's first count and the second's four.
OUT = {"no_restock": (3, 1), "cancel": (2, 1), "return": (2, 1), "legacy_restock": (2, 1)}


@pytest.mark.parametrize("stride", STRIDES)
@pytest.mark.parametrize("restock_type", RESTOCK_TYPES)
def test_where_we_count_every_order_of_arrival_ends_with_the_same_units(restock_type, stride):
    tenant = shop("shopsync")
    with tenancy.tenant_scope(tenant.pk):
        create, edit, parcel, refund, last = life(restock_type, is_cancelled=False)
        first, _, other = levels(10, 6)
        expected = live_through(tenant, [first, other, create, edit, parcel, refund, last])
        assert [level[1] for level in expected["levels"]] == [10 - OUT[restock_type][0], 4 - OUT[restock_type][1]]
        assert expected["drift"] == []
        for arrival in itertools.islice(itertools.permutations([first, create, parcel, refund, last]), 0, None, stride):
            assert live_through(tenant, [other, *arrival]) == expected, [topic for topic, _ in arrival]


@pytest.mark.parametrize("stride", STRIDES)
@pytest.mark.parametrize("restock_type", RESTOCK_TYPES)
def test_where_shopify_counts_every_order_of_arrival_ends_with_its_newest_count(restock_type, stride):
    tenant = shop("shopify")
    with tenancy.tenant_scope(tenant.pk):
        create, edit, _, refund, last = life(restock_type, is_cancelled=False)
        first, then, _ = levels(10, 6)
        expected = live_through(tenant, [first, create, edit, then, refund, last])
        assert expected["levels"] == [(101, 6, 0, None, None)]
        assert expected["ledger"] == 6
        for arrival in itertools.islice(itertools.permutations([first, then, create, refund, last]), 0, None, stride):
            assert live_through(tenant, arrival) == expected, [topic for topic, _ in arrival]


@pytest.mark.parametrize("stride", STRIDES)
@pytest.mark.parametrize("authority", ["shopify", "shopsync"])
def test_a_cancelled_order_ends_with_what_was_sent_gone_and_the_rest_back(authority, stride):
    tenant = shop(authority)
    with tenancy.tenant_scope(tenant.pk):
        create, _, parcel, refund, cancel = life("cancel", is_cancelled=True)
        first, _, other = levels(10, 6)
        expected = live_through(tenant, [first, other, create, parcel, refund, cancel])
        assert [level[1] for level in expected["levels"]] == ([9, 4] if authority == "shopsync" else [10, 4])
        assert [asked for asked, _ in expected["asked"]] == [0, 0]
        for arrival in itertools.islice(
            itertools.permutations([first, create, parcel, refund, cancel]), 0, None, stride
        ):
            assert live_through(tenant, [other, *arrival]) == expected, [topic for topic, _ in arrival]


def test_an_order_takes_what_exists_the_rest_waits_and_the_oldest_is_filled_first():
    tenant = shop("shopsync")
    with tenancy.tenant_scope(tenant.pk):
        short = ("inventory_levels/update", {**levels(2, 0)[0][1], "available": 2})
        give(tenant, 1, *short)
        give(tenant, 2, *order("orders/create", 10, LINES[:1]))
        give(tenant, 3, *order("orders/create", 11, [{**LINES[0], "id": 23}], id=32))
        waiting = Commitment.objects.order_by("since", "pk").values_list("quantity", "backordered")
        assert list(waiting.all()) == [(3, 1), (3, 3)]
        StockLevel.objects.filter(item__shopify_id=101).update(available=2, on_hand=4)
        level = StockLevel.objects.get(item__shopify_id=101)
        fill(event=Event(1, tenant.pk, "stock.increased", f"level:{level.pk}", {}, datetime.now(UTC)))
        assert list(waiting.all()) == [(3, 0), (3, 2)]
