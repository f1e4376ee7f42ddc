"""An order's webhooks and its levels' snapshots, in every order of arrival: the same end, for both authorities."""

from __future__ import annotations

import copy
from datetime import UTC, datetime
from typing import Any

import pytest

from audit.actions import Event
from config.infra import tenancy
from inventory.models import StockLevel, StockMovement
from orders.actions.backorders import fill
from orders.models import Allocation, Commitment, Order, OrderLine, Refund, RefundLine
from tests.factories import make_tenant
from tests.orders.arrivals import Walk, give

pytestmark = [pytest.mark.slow, pytest.mark.django_db]
RESTOCK_TYPES = ["no_restock", "cancel", "return", "legacy_restock"]
# Each walk covers every order of arrival; make test walks for two kinds of refund, make test-slow for all of them.
KINDS = [
    pytest.param(authority, restock, id=f"{authority}-{restock}", marks=[] if is_quick else [pytest.mark.slow])
    for authority in ("shopify", "shopsync")
    for restock in RESTOCK_TYPES
    for is_quick in [(authority, restock) in {("shopify", "return"), ("shopsync", "cancel")}]
]
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
    body |= {"created_at": "2026-11-02T10:10:00Z", "updated_at": f"2026-11-02T10:{minute:02}:00Z"}
    return topic, body | fields


def changed(lines: list[dict[str, Any]], line_id: int, **fields: Any) -> list[dict[str, Any]]:
    return [{**line, **fields} if line["id"] == line_id else copy.deepcopy(line) for line in lines]


def life(restock_type: str, *, is_cancelled: bool) -> dict[str, tuple[str, dict[str, Any]]]:
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
    parcel = {"id": 61, "order_id": 31, "status": "success", "line_items": [{"id": 21, "quantity": 1}]}
    parcel |= {"created_at": "2026-11-02T10:30:00Z", "updated_at": "2026-11-02T10:30:00Z"}
    was_sent = restock_type in {"return", "legacy_restock"}
    after = changed(sent, 21, current_quantity=2, fulfillable_quantity=2 if was_sent else 1)
    last = order("orders/updated", 45, after, refunds=[refund], fulfillments=[parcel], current_total_price="25.00")
    if is_cancelled:
        gone = [{**line, "fulfillable_quantity": 0} for line in after]
        fields = {"cancelled_at": "2026-11-02T10:50:00Z", "cancel_reason": "customer"}
        last = order("orders/cancelled", 50, gone, refunds=[refund], fulfillments=[parcel], **fields)
    return {
        "create": order("orders/create", 10, LINES),
        "edit": order("orders/updated", 20, edited),
        "parcel": ("fulfillments/create", parcel),
        "refund": ("refunds/create", refund),
        "last": last,
    }


def level(item: int, minute: str, available: int) -> tuple[str, dict[str, Any]]:
    body = {"inventory_item_id": item, "location_id": 5, "available": available}
    return "inventory_levels/update", body | {"updated_at": f"2026-11-02T{minute}:00Z"}


def end_of() -> dict[str, Any]:
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
    }


def walk(tenant, deliveries: dict[str, tuple[str, dict[str, Any]]]) -> dict[str, Any]:
    """Take the deliveries in every order, see that all end alike, and return that end."""
    steps = {
        name: lambda number=number, topic=topic, body=body: give(tenant, number, topic, body)
        for number, (name, (topic, body)) in enumerate(deliveries.items(), start=1)
    }
    found = Walk(tenant, steps, end_of).run()
    print(found)
    assert len(found.ends) == 1, [path for _, path in found.ends.values()]
    ((end, _),) = found.ends.values()
    return end


@pytest.fixture
def shop(request, db):
    tenant = make_tenant(stock_authority=getattr(request, "param", "shopsync"))
    with tenancy.tenant_scope(tenant.pk):
        give(tenant, 999, "products/create", PRODUCT)
        give(tenant, 998, *level(102, "09:00", 4))
        yield tenant


# What is out of `available` in the end, of the first item's ten and the second's four.
OUT = {"no_restock": (3, 1), "cancel": (2, 1), "return": (2, 1), "legacy_restock": (2, 1)}


@pytest.mark.parametrize(("shop", "restock_type"), KINDS, indirect=["shop"])
def test_all_deliveries_of_an_order_and_its_levels_end_alike_in_every_order(shop, restock_type):
    # Shopify counts 7 when three of the ten are sold; which of its counts we hear of first makes no difference.
    counts = {"first": level(101, "09:00", 10), "then": level(101, "10:35", 7)}
    end = walk(shop, {**life(restock_type, is_cancelled=False), **counts})
    available = [row[1] for row in end["levels"]]
    if shop.stock_authority == "shopsync":
        assert available == [10 - OUT[restock_type][0], 4 - OUT[restock_type][1]]
    else:
        assert available == [7, 4]  # its newest count, whatever orders say
    assert end["ledger"] == sum(available)
    assert end["refund lines"] == [(21, 1, restock_type)]


@pytest.mark.parametrize(("shop", "restock_type"), KINDS, indirect=["shop"])
def test_a_cancelled_order_ends_with_what_was_sent_gone_and_the_rest_back(shop, restock_type):
    counts = {"first": level(101, "09:00", 10), "then": level(101, "10:35", 7)}
    end = walk(shop, {**life(restock_type, is_cancelled=True), **counts})
    assert [asked for asked, _ in end["asked"]] == [0, 0]
    if shop.stock_authority == "shopsync":
        back = {"no_restock": 8, "cancel": 9, "return": 10, "legacy_restock": 9}[restock_type]
        assert [row[1] for row in end["levels"]] == [back, 4]


def test_an_order_takes_what_exists_the_rest_waits_and_the_oldest_is_filled_first(shop):
    give(shop, 1, *level(101, "09:00", 2))
    give(shop, 2, *order("orders/create", 10, LINES[:1]))
    give(shop, 3, *order("orders/create", 11, [{**LINES[0], "id": 23}], id=32))
    waiting = Commitment.objects.order_by("since", "pk").values_list("quantity", "backordered")
    assert list(waiting.all()) == [(3, 1), (3, 3)]
    rows = StockLevel.objects.filter(item__shopify_id=101)
    rows.update(available=2, on_hand=4)
    fill(event=Event(1, shop.pk, "stock.increased", f"level:{rows.get().pk}", {}, datetime.now(UTC)))
    assert list(waiting.all()) == [(3, 0), (3, 2)]
