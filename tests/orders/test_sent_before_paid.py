"""Units that were sent before they were paid are gone: nobody buys them again, whatever becomes of the money."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest
from django.utils import timezone

from config.infra import tenancy
from inventory.actions.reservations import InsufficientStock
from inventory.actions.upkeep import expire_reservations
from inventory.models import StockLevel
from inventory.queries import find_drift
from orders.actions import moves
from orders.actions.placing import NewLine, NewOrder, place_order
from orders.actions.shipments import NotNow, Tracking, Units, mark_shipped, ship_lines
from orders.models import Order
from tests.factories import drain_all, make_tenant, stock_variant

pytestmark = pytest.mark.django_db(transaction=True)
NOW = timezone.now


@pytest.fixture(params=["shopify", "shopsync"])
def shop(request):
    tenant = make_tenant(stock_authority=request.param)
    with tenancy.tenant_scope(tenant.pk):
        yield tenant


def place(variant, quantity: int, **fields) -> Order:
    line = NewLine(variant_id=variant.pk, quantity=quantity, price_amount=Decimal(3))
    return place_order(new=NewOrder(lines=(line,), **fields), actor="test", now=NOW())


def send(order: Order, *units: int) -> None:
    lines = [Units(order.lines.get().pk, quantity) for quantity in units]
    parcel = ship_lines(order_id=order.pk, lines=lines, actor="test")
    mark_shipped(shipment_id=parcel.pk, tracking=Tracking("UPS", "1Z"), actor="test", now=NOW())


def sellable() -> int:
    return StockLevel.objects.get().sellable


@pytest.mark.parametrize("pays", [False, True])
def test_sent_units_are_not_sold_again_when_the_hold_would_have_run_out(shop, pays):
    variant, (level,) = stock_variant(3)
    order = place(variant, 3)
    send(order)
    assert sellable() == 0
    if pays:
        moves.mark_paid(order_id=order.pk, actor="test", now=NOW())
    expire_reservations(now=NOW() + timedelta(days=2))
    drain_all()
    assert sellable() == 0
    with pytest.raises(InsufficientStock):
        place(variant, 1)
    level.refresh_from_db()
    if shop.stock_authority == "shopsync":
        assert (level.available, level.held, level.committed, level.on_hand) == (0, 0, 0, 0)
    order.refresh_from_db()
    assert (order.stock_state, order.fulfillment_status) == ("committed", "fulfilled")
    assert find_drift(tenant_id=shop.pk) == []


def test_a_part_sent_before_it_is_paid_keeps_the_rest(shop):
    variant, _ = stock_variant(5)
    order = place(variant, 3)
    send(order, 2)
    assert sellable() == 2
    moves.mark_paid(order_id=order.pk, actor="test", now=NOW())
    assert sellable() == 2
    send(order, 1)
    assert sellable() == 2


@pytest.mark.parametrize("is_paid", [False, True])
def test_what_nothing_is_held_for_is_not_sent(shop, is_paid):
    variant, _ = stock_variant(3)
    order = place(variant, 3)
    expire_reservations(now=NOW() + timedelta(days=2))
    drain_all()
    if is_paid:
        place(variant, 2, is_paid=True)
        moves.mark_paid(order_id=order.pk, actor="test", now=NOW())
    with pytest.raises(NotNow, match="mark it paid, or allocate it, before it is sent"):
        send(order)
