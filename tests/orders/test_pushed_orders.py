"""Orders whose units are set aside in Shopify: as many as they still ask for, whenever they are cancelled."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest
from django.utils import timezone

from config.infra import work
from config.infra.work import calls, claims
from inventory.actions.holds import CALLER
from inventory.models import HoldPush, Reservation, ReservationLine, StockLevel
from inventory.tasks import drain_holds, settle_lost_holds
from orders.actions import moves
from orders.actions.placing import NewLine, NewOrder, place_order
from tests.factories import stock_variant
from tests.inventory.shop_double import counts, make_due, pushes, pushing_tenant, shop_at
from tests.orders.arrivals import give

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def tenant(httpserver, settings):
    with pushing_tenant(httpserver, settings) as tenant:
        yield tenant


@pytest.fixture
def shopify(httpserver):
    return shop_at(httpserver, available=9)


@pytest.fixture
def order(tenant, shopify):
    variant, _ = stock_variant(9)
    lines = (NewLine(variant_id=variant.pk, quantity=4, price_amount=Decimal(10)),)
    return place_order(new=NewOrder(lines=lines), actor="test", now=timezone.now())


def cancel(order, units):
    line = order.lines.get()
    moves.cancel_lines(order_id=order.pk, quantities={line.pk: units}, restock=True, actor="test", now=timezone.now())


def held():
    return ReservationLine.objects.values_list("quantity", "held", "pushed").get()


def drain_twice():
    for _ in range(2):  # a call that sets aside too many asks for another
        drain_holds()


def test_units_cancelled_before_the_call_are_not_set_aside(order, shopify):
    cancel(order, 3)
    drain_twice()
    assert (shopify.available, shopify.reserved) == (8, 1)
    assert (counts(), held()) == ((8, 0), (1, 0, 1))
    cancel(order, 1)
    drain_twice()
    assert (shopify.available, shopify.reserved, counts()) == (9, 0, (9, 0))


def test_units_cancelled_after_the_call_go_back_as_many_as_they_are(order, shopify):
    drain_twice()
    assert (counts(), held()) == ((5, 0), (4, 0, 4))
    for cancelled, left in ((1, 3), (2, 1)):
        cancel(order, cancelled)
        assert held() == (left, 0, left)  # what is on its way back is promised to nobody, and not sold again yet
        drain_twice()
        assert (shopify.available, shopify.reserved, counts()) == (9 - left, left, (9 - left, 0))


@pytest.mark.parametrize("units", [3, 4])
def test_units_cancelled_while_nobody_knows_of_the_call_go_back_once_it_is_known(order, shopify, units):
    shopify.behaviour = ["cut"]
    drain_holds()
    assert pushes() == [("hold", "unknown")]
    cancel(order, units)
    assert counts() == (9, 4 - units)
    make_due()
    assert settle_lost_holds() == 1
    drain_twice()
    left = 4 - units
    assert (shopify.available, shopify.reserved, counts()) == (9 - left, left, (9 - left, 0))
    assert held()[1:] == (0, left)


@pytest.mark.parametrize("units", [3, 4])
def test_units_cancelled_after_an_unknown_call_was_replayed_go_back_too(order, shopify, units):
    shopify.behaviour = ["cut"]
    drain_holds()
    assert claims.replay(HoldPush.objects.all()) == 1
    cancel(order, units)
    drain_twice()
    left = 4 - units
    assert (shopify.available, shopify.reserved, counts()) == (9 - left, left, (9 - left, 0))
    assert (held()[1:], len(shopify.done)) == ((0, left), 2)


@pytest.mark.parametrize("way", ["asked", "replayed"])
def test_what_shopify_sold_before_a_call_was_known_stays_sold(tenant, order, shopify, way):
    shopify.behaviour = ["cut"]
    drain_holds()
    shopify.available -= 4  # on its own channels
    body = {"inventory_item_id": StockLevel.objects.get().item.shopify_id, "location_id": 1}
    told = {**body, "available": shopify.available, "updated_at": timezone.now().isoformat()}
    give(tenant, 1, "inventory_levels/update", told)
    if way == "asked":
        make_due()
        assert settle_lost_holds() == 1
    else:
        claims.replay(HoldPush.objects.all())
        drain_holds()
    assert (shopify.available, counts(), held()) == (1, (1, 0), (4, 0, 4))


@pytest.mark.parametrize("pushed", [False, True])
def test_a_paid_order_that_is_cancelled_gives_all_of_it_back(order, shopify, pushed):
    if pushed:
        drain_twice()
    moves.mark_paid(order_id=order.pk, actor="test", now=timezone.now())
    moves.cancel_order(order_id=order.pk, reason="customer", restock=True, actor="test", now=timezone.now())
    drain_twice()
    assert (shopify.available, shopify.reserved, counts()) == (9, 0, (9, 0))
    assert held() == (4, 0, 0)


def test_paid_late_it_gets_the_units_that_are_set_aside_for_it(order, shopify):
    shopify.available = 4  # all that there is
    StockLevel.objects.update(available=4)
    drain_twice()
    Reservation.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    moves.mark_paid(order_id=order.pk, actor="test", now=timezone.now())
    drain_twice()
    order.refresh_from_db()
    assert (order.stock_state, held()) == ("committed", (4, 0, 4))
    assert (shopify.available, shopify.reserved, counts()) == (0, 4, (0, 0))


def test_an_answer_that_cannot_be_stored_is_parked_and_stops_no_other(order, shopify, caplog):
    variant, _ = stock_variant(9)
    lines = (NewLine(variant_id=variant.pk, quantity=2, price_amount=Decimal(10)),)
    place_order(new=NewOrder(lines=lines), actor="test", now=timezone.now())
    broken = order.reservation.lines.get().pk

    def break_the_first(answer_of):
        def answer(push):
            return (lambda: 1 / 0) if push.line_id == broken else answer_of(push)

        return answer

    caller = calls.Caller(
        perform=break_the_first(CALLER.perform),
        refuse=CALLER.refuse,
        ask=break_the_first(CALLER.ask),
        blocker=CALLER.blocker,
    )
    shopify.behaviour = ["cut"]
    calls.make_calls(work.claim(HoldPush), caller)
    assert pushes() == [("hold", "unknown"), ("hold", "unknown")]
    assert "answered, but not stored: ZeroDivisionError" in HoldPush.objects.get(line_id=broken).last_error
    make_due()
    with pytest.raises(ExceptionGroup, match="1 answers could not be stored; 1 others were"):
        calls.settle_unknown(HoldPush, caller)
    assert pushes() == [("hold", "unknown"), ("hold", "done")]
    make_due()
    assert settle_lost_holds() == 1
