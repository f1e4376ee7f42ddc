"""What was sold and not there is taken as soon as it is there, however many wait and whatever was heard of last."""

from __future__ import annotations

import itertools

import pytest

from config.infra import tenancy
from inventory.actions.locations import change_location
from inventory.actions.stock import Spot, receive_stock
from inventory.models import Location, StockLevel, Variant
from orders.actions import backorders
from orders.models import Commitment
from tests.factories import deliver, drain_all, make_tenant

pytestmark = pytest.mark.django_db(transaction=True)
PRODUCT = {"id": 1, "title": "Mug", "updated_at": "2026-11-03T08:01:00Z"}
PRODUCT |= {"variants": [{"id": 7, "inventory_item_id": 8}]}
LEVEL = {"inventory_item_id": 8, "location_id": 3, "available": 10, "updated_at": "2026-11-03T08:02:00Z"}


def order(number: int, quantity: int) -> dict:
    line = {"id": number * 10, "variant_id": 7, "quantity": quantity, "fulfillable_quantity": quantity}
    line["current_quantity"] = quantity
    placed = "2026-11-03T08:10:00Z"
    return {"id": number, "currency": "USD", "created_at": placed, "updated_at": placed, "line_items": [line]}


@pytest.fixture
def shop():
    return make_tenant(stock_authority="shopsync")


def counts(shop):
    with tenancy.tenant_scope(shop.pk):
        waiting = sum(Commitment.objects.values_list("backordered", flat=True))
        level = StockLevel.objects.get()
        return level.available, level.committed, level.on_hand, waiting


@pytest.mark.parametrize("arrival", list(itertools.permutations(["order", "product", "level"])), ids="-".join)
def test_whichever_of_product_level_and_order_comes_last_the_units_are_taken(shop, arrival):
    bodies = {
        "order": ("orders/create", order(1, 2)),
        "product": ("products/create", PRODUCT),
        "level": ("inventory_levels/update", LEVEL),
    }
    for name in arrival:
        deliver(*bodies[name], shop)
        drain_all()
    assert counts(shop) == (8, 2, 10, 0)


def test_more_than_a_batch_of_waiting_orders_is_filled_by_one_receipt(shop, monkeypatch):
    monkeypatch.setattr(backorders, "BATCH", 10)
    deliver("products/create", PRODUCT, shop)
    deliver("inventory_levels/update", LEVEL | {"available": 0}, shop)
    drain_all()
    for number in range(1, 31):
        deliver("orders/create", order(number, 1), shop)
    drain_all()
    assert counts(shop) == (0, 0, 0, 30)
    with tenancy.tenant_scope(shop.pk):
        spot = Spot(Variant.objects.get().pk, Location.objects.get().pk)
        receive_stock(spot=spot, quantity=30, reference="", actor="test")
    drain_all()
    assert counts(shop) == (0, 30, 30, 0)


def test_units_that_were_sent_from_nowhere_keep_no_order_behind_them_waiting(shop, monkeypatch):
    monkeypatch.setattr(backorders, "BATCH", 2)
    deliver("products/create", PRODUCT, shop)
    for number in (1, 2):
        sent = order(number, 1)
        (line,) = sent["line_items"]
        line |= {"fulfillable_quantity": 0, "fulfillment_status": "fulfilled"}
        parcel = {"id": number, "order_id": number, "status": "success", "line_items": [line]}
        parcel |= {"created_at": sent["created_at"], "updated_at": sent["updated_at"]}
        deliver("orders/create", sent | {"fulfillment_status": "fulfilled", "fulfillments": [parcel]}, shop)
    for number in (3, 4, 5):
        deliver("orders/create", order(number, 1), shop)
    drain_all()
    with tenancy.tenant_scope(shop.pk):
        waits = Commitment.objects.order_by("line__order__shopify_id").values_list("unplaced", "backordered")
        assert list(waits) == [(1, 0)] * 2 + [(0, 1)] * 3
        spot = Spot(Variant.objects.get().pk, Location.objects.create(shopify_id=3, name="A place").pk)
        receive_stock(spot=spot, quantity=20, reference="", actor="test")
    drain_all()
    assert counts(shop) == (15, 3, 18, 0)


def test_a_variant_that_may_be_oversold_from_now_on_waits_no_longer(shop):
    deliver("products/create", PRODUCT, shop)
    deliver("inventory_levels/update", LEVEL | {"available": 0}, shop)
    deliver("orders/create", order(1, 2), shop)
    drain_all()
    assert counts(shop) == (0, 0, 0, 2)
    variant = {"id": 7, "inventory_item_id": 8, "inventory_policy": "continue"}
    deliver("products/update", PRODUCT | {"updated_at": "2026-11-04T08:01:00Z", "variants": [variant]}, shop)
    drain_all()
    assert counts(shop) == (-2, 2, 0, 0)


@pytest.mark.parametrize(("policy", "ends"), [("deny", (8, 2, 10, 0)), ("continue", (-2, 2, 0, 0))])
def test_a_location_that_is_open_again_fills_the_orders_that_wait_for_it(shop, policy, ends):
    variant = {"id": 7, "inventory_item_id": 8, "inventory_policy": policy}
    deliver("products/create", PRODUCT | {"variants": [variant]}, shop)
    deliver("inventory_levels/update", LEVEL | {"available": ends[2]}, shop)
    drain_all()

    def switch(**values):
        with tenancy.tenant_scope(shop.pk):
            change_location(location_id=Location.objects.get().pk, values=values, actor="test")

    switch(is_active=False)
    deliver("orders/create", order(1, 2), shop)
    drain_all()
    assert counts(shop) == (ends[2], 0, ends[2], 2)
    switch(priority=3)
    drain_all()
    assert counts(shop)[3] == 2
    switch(is_active=True)
    drain_all()
    assert counts(shop) == ends
