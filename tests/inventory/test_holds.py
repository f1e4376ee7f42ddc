"""Holds in Shopify, against a double of its Admin API over HTTP: compare-and-swap, once per key, undone at the end."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from inventory.actions.reservations import Request as Wish
from inventory.actions.reservations import Wanted, commit, release, reserve
from inventory.models import HoldPush, StockLevel
from inventory.tasks import drain_holds, settle_lost_holds
from shopsync.models import Tenant
from tests.factories import stock_variant
from tests.inventory.shop_double import counts, make_due, pushes, pushing_tenant, shop_at

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def tenant(httpserver, settings):
    with pushing_tenant(httpserver, settings) as tenant:
        yield tenant


@pytest.fixture
def shopify(httpserver):
    return shop_at(httpserver, available=5)


def promise(quantity=2):
    variant, _ = stock_variant(5)
    wish = Wish(lines=(Wanted(variant.pk, quantity),))
    return reserve(request=wish, idempotency_key="k", actor="test", now=timezone.now())[0]


def test_held_units_are_set_aside_in_shopify_and_weigh_once(tenant, shopify):
    reservation = promise()
    assert counts() == (5, 2)
    drain_holds()
    assert (shopify.available, shopify.reserved) == (3, 2)
    assert counts() == (3, 0)  # Shopify's count has them off
    assert list(reservation.lines.values_list("held", "pushed")) == [(0, 2)]
    level = StockLevel.objects.get()  # its other states as Shopify told them, each in the ledger
    assert (level.on_hand, level.incoming, level.reserved) == (9, 4, 2)
    moved = level.movements.filter(reason="snapshot").values_list("state", "after")
    assert {("on_hand", 9), ("incoming", 4), ("reserved", 2)} <= set(moved)


@pytest.mark.parametrize("end", [release, commit])
def test_what_was_set_aside_goes_back_at_the_end(tenant, shopify, end):
    reservation = promise()
    drain_holds()
    end(reservation_id=reservation.pk, actor="test", now=timezone.now())
    drain_holds()
    assert (shopify.available, shopify.reserved) == (5, 0)
    assert counts() == (5, 0)
    assert pushes() == [("hold", "done"), ("give_back", "done")]


def test_a_promise_that_ended_first_is_never_pushed(tenant, shopify):
    reservation = promise()
    release(reservation_id=reservation.pk, actor="test", now=timezone.now())
    drain_holds()
    assert shopify.calls == []
    assert pushes() == [("hold", "done")]


def test_a_swap_that_lost_a_race_reads_again_and_swaps_anew(tenant, shopify):
    shopify.behaviour = ["race"]
    promise()
    drain_holds()
    assert (shopify.available, shopify.reserved, len(shopify.calls)) == (2, 2, 2)
    assert counts() == (2, 0)


def test_a_lost_answer_is_asked_about_under_the_same_key_and_moved_once(tenant, shopify):
    shopify.behaviour = ["cut"]
    promise()
    drain_holds()
    assert pushes() == [("hold", "unknown")]
    assert counts() == (5, 2)
    make_due()
    assert settle_lost_holds() == 1
    assert (shopify.available, shopify.reserved, len(shopify.done)) == (3, 2, 1)
    assert counts() == (3, 0)
    assert pushes() == [("hold", "done")]


def test_a_throttled_call_waits_with_its_blocker_and_is_made_later(tenant, shopify):
    shopify.behaviour = ["throttle"]
    promise()
    drain_holds()
    push = HoldPush.objects.get()
    assert (push.status, push.attempts) == ("ready", 0)
    assert push.blocker
    make_due()
    drain_holds()
    assert counts() == (3, 0)


def test_what_shopify_does_not_have_stays_held_here_and_says_so(tenant, shopify):
    shopify.available = 1
    promise()
    drain_holds()
    assert counts() == (5, 2)
    push = HoldPush.objects.get()
    assert push.status == "done"
    assert "only 1 available" in push.outcome


def test_tenants_that_do_not_push_call_nobody(tenant, shopify):
    Tenant.objects.update(push_holds=False)
    promise()
    drain_holds()
    assert (shopify.calls, HoldPush.objects.count()) == ([], 0)


def test_a_service_that_is_away_leaves_the_promise_standing(tenant, settings):
    settings.SHOPIFY_ADMIN_URL = "http://127.0.0.1:9"  # nobody listens
    promise()
    drain_holds()
    push = HoldPush.objects.get()
    assert (push.status, counts()) == ("ready", (5, 2))
    assert push.due_at > timezone.now() - timedelta(seconds=1)
