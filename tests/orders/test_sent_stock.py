"""What was sent of our own orders while Shopify counts: held beside its count until it is corrected for it."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest
from django.db import transaction
from django.utils import timezone

from config.infra import tenancy
from inventory.actions.levels import apply_snapshot
from inventory.models import StockLevel
from inventory.queries import find_drift
from inventory.shopify import LevelSnapshot
from orders.actions import moves
from orders.actions.handover import hand_over
from orders.actions.placing import NewLine, NewOrder, place_order
from orders.actions.refunds import Back, refund_order
from orders.actions.sent_stock import NothingHeld, note_counted
from orders.actions.shipments import Tracking, Units, mark_shipped, ship_lines
from orders.models import OrderLine
from orders.queries import find_misallocation
from shopsync.shopify import version
from tests.factories import drain_all, make_tenant, stock_variant

pytestmark = pytest.mark.django_db(transaction=True)
OPTIONS = {"actor": "test"}


@pytest.fixture
def tenant(db):
    made = make_tenant()
    with tenancy.tenant_scope(made.pk):
        yield made


class Shelf:
    """A level of Shopify's, and an order of ours of four of its units."""

    def __init__(self):
        self.variant, (level,) = stock_variant(None)
        self.level = StockLevel.objects.select_related("item", "location").get(pk=level.pk)
        self.at = timezone.now() - timedelta(hours=1)
        self.count(10)
        line = NewLine(variant_id=self.variant.pk, quantity=4, price_amount=Decimal(1))
        self.order = place_order(new=NewOrder(lines=(line,), is_paid=True), now=timezone.now(), **OPTIONS)

    def count(self, available):
        self.at += timedelta(minutes=1)
        told = version(self.at, self.at, rank=1, digest=str(self.at))
        ids = {"item_shopify_id": self.level.item.shopify_id, "location_shopify_id": self.level.location.shopify_id}
        with transaction.atomic():
            apply_snapshot(
                LevelSnapshot(**ids, available=available, states={}, version=told, taken_at=self.at), reference="test"
            )

    def send(self, quantity):
        (line,) = OrderLine.objects.filter(order=self.order)
        parcel = ship_lines(order_id=self.order.pk, lines=[Units(line.pk, quantity)], **OPTIONS)
        mark_shipped(shipment_id=parcel.pk, tracking=Tracking("Bike", "1"), now=timezone.now(), **OPTIONS)

    def counted(self):
        note_counted(order_id=self.order.pk, now=timezone.now(), **OPTIONS)

    def stands(self):
        level = StockLevel.objects.get(pk=self.level.pk)
        return level.available, level.held


def test_what_was_sent_is_held_until_shopifys_count_has_it(tenant):
    shelf = Shelf()
    with pytest.raises(NothingHeld):
        shelf.counted()
    shelf.send(3)
    shelf.count(7)
    assert shelf.stands() == (7, 4)
    shelf.counted()
    assert shelf.stands() == (7, 1)  # one still waits to be sent
    with pytest.raises(NothingHeld):
        shelf.counted()
    shelf.send(1)
    assert shelf.stands() == (7, 1)
    shelf.count(6)
    shelf.counted()
    assert shelf.stands() == (6, 0)
    assert find_drift(tenant_id=tenant.pk) == []


def test_what_comes_back_may_be_sold_before_it_is_counted(tenant):
    shelf = Shelf()
    shelf.send(3)
    shelf.count(7)
    shelf.counted()
    (line,) = OrderLine.objects.filter(order=shelf.order)
    back = Back(line.pk, 2, "return")
    refund_order(order_id=shelf.order.pk, backs=[back], amount=None, note="", now=timezone.now(), **OPTIONS)
    shelf.count(9)  # as the merchant puts them back on the shelf
    shelf.counted()
    assert shelf.stands() == (9, 1)


def test_our_count_begins_without_what_was_counted_out(tenant):
    shelf = Shelf()
    shelf.send(3)
    shelf.count(7)
    shelf.counted()
    with tenancy.no_scope():
        drain_all()
    hand_over(to="shopsync", now=timezone.now(), **OPTIONS)
    with tenancy.no_scope():
        drain_all()
    level = StockLevel.objects.get(pk=shelf.level.pk)
    assert (level.available, level.committed, level.held, level.on_hand) == (6, 1, 0, 7)
    assert find_drift(tenant_id=tenant.pk) == find_misallocation(tenant_id=tenant.pk) == []
    with pytest.raises(NothingHeld, match="We count"):
        shelf.counted()


def test_a_held_order_that_was_cancelled_can_be_let_go(tenant):
    shelf = Shelf()
    moves.hold_order(order_id=shelf.order.pk, reason="why", now=timezone.now(), **OPTIONS)
    moves.cancel_order(order_id=shelf.order.pk, reason="customer", restock=True, now=timezone.now(), **OPTIONS)
    assert moves.unhold_order(order_id=shelf.order.pk, **OPTIONS).held_at is None
