"""A worker that is killed between Shopify's answer and its row: the units are set aside once, and given back once."""

from __future__ import annotations

from decimal import Decimal

import pytest
from django.utils import timezone

from inventory.models import HoldPush, ReservationLine
from inventory.tasks import settle_lost_holds
from orders.actions import moves
from orders.actions.placing import NewLine, NewOrder, place_order
from shopsync.models import Tenant
from tests.factories import stock_variant
from tests.inventory.shop_double import counts, make_due, pushes, pushing_tenant, shop_at

pytestmark = pytest.mark.django_db(transaction=True)
LONG_AGO = "2000-01-01T00:00:00Z"


def kill_at_the_call(stack, act) -> None:
    """Let the worker die with the answer of the next call in its hand."""
    stack.arm("calls.called")
    act()
    stack.wait_for(lambda: not stack.is_armed("calls.called"), "the worker to die")
    HoldPush.objects.filter(status="leased").update(lease_until=LONG_AGO)
    stack.wait_for(lambda: HoldPush.objects.filter(status="unknown").exists(), "the call to be parked")


def test_a_worker_killed_after_shopify_set_units_aside_does_it_once(stack, httpserver, settings):
    shopify = shop_at(httpserver, available=9)
    with pushing_tenant(httpserver, settings) as tenant:
        Tenant.objects.filter(pk=tenant.pk).update(shop_domain=f"{httpserver.host}:{httpserver.port}")
        variant, _ = stock_variant(9)
        lines = (NewLine(variant_id=variant.pk, quantity=4, price_amount=Decimal(10)),)
        made = []
        place = lambda: made.append(place_order(new=NewOrder(lines=lines), actor="test", now=timezone.now()))  # noqa: E731
        kill_at_the_call(stack, place)
        (order,) = made
        assert (shopify.available, shopify.reserved, counts()) == (5, 4, (9, 4))
        line = order.lines.get()
        options = {"restock": True, "actor": "test", "now": timezone.now()}
        moves.cancel_lines(order_id=order.pk, quantities={line.pk: 1}, **options)

        def settle_hold():
            make_due()
            assert settle_lost_holds() == 1

        kill_at_the_call(stack, settle_hold)  # the one unit too many goes back, by a worker that dies as well
        assert (shopify.available, shopify.reserved, counts()) == (6, 3, (5, 0))
        make_due()
        assert settle_lost_holds() == 1
        stack.wait_idle()
        assert pushes() == [("hold", "done"), ("give_back", "done")]
        assert (shopify.available, shopify.reserved, counts()) == (6, 3, (6, 0))
        assert list(ReservationLine.objects.values_list("quantity", "held", "pushed")) == [(3, 0, 3)]
        assert (len(shopify.done), len(shopify.calls)) == (2, 4)  # two moves, each asked about once under its key
