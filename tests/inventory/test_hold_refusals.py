"""Shopify refuses a call about units that are set aside: none stays there for ever, and somebody hears of it."""

from __future__ import annotations

import pytest
from django.utils import timezone

from config.infra.breaker import Breaker
from config.infra.work import claims
from inventory.actions.reservations import Request as Wish
from inventory.actions.reservations import Wanted, release, reserve
from inventory.models import HoldPush
from inventory.tasks import drain_holds, settle_lost_holds
from shopsync.models import Alert
from tests.factories import stock_variant
from tests.inventory.shop_double import counts, make_due, pushes, pushing_tenant, shop_at

pytestmark = pytest.mark.django_db(transaction=True)
REFUSALS = ["unauthorized", "user_error"]


@pytest.fixture
def tenant(httpserver, settings):
    with pushing_tenant(httpserver, settings) as tenant:
        Breaker("shopify", f"tenant:{tenant.pk}").reset()
        yield tenant


@pytest.fixture
def shopify(httpserver):
    return shop_at(httpserver, available=5)


@pytest.fixture
def reservation(tenant, shopify):
    variant, _ = stock_variant(5)
    wish = Wish(lines=(Wanted(variant.pk, 2),))
    return reserve(request=wish, idempotency_key="k", actor="test", now=timezone.now())[0]


def give_up(reservation):
    release(reservation_id=reservation.pk, actor="test", now=timezone.now())


def run_due():
    make_due()
    settle_lost_holds()
    drain_holds()


def alerts():
    return [(alert.subject, alert.closed_at is None) for alert in Alert.objects.filter(kind="hold.not_given_back")]


@pytest.mark.parametrize("refusal", REFUSALS)
@pytest.mark.parametrize("way", ["asked", "replayed"])
def test_a_lost_call_whose_repetition_is_refused_stays_unknown(reservation, shopify, refusal, way):
    shopify.behaviour = ["cut", refusal]
    drain_holds()
    if way == "replayed":
        claims.replay(HoldPush.objects.all())
    run_due()
    assert (pushes(), counts()) == ([("hold", "unknown")], (5, 2))
    run_due()
    assert (pushes(), counts(), shopify.reserved) == ([("hold", "done")], (3, 0), 2)
    give_up(reservation)
    drain_holds()
    assert (shopify.available, shopify.reserved) == (5, 0)


@pytest.mark.parametrize("refusal", REFUSALS)
def test_a_call_that_was_surely_not_made_before_may_be_refused(reservation, shopify, refusal):
    shopify.behaviour = ["throttle", refusal]
    drain_holds()
    run_due()
    assert (pushes(), counts(), shopify.reserved) == ([("hold", "done")], (5, 2), 0)


@pytest.mark.parametrize("refusal", REFUSALS)
def test_units_that_shopify_does_not_give_back_are_asked_for_again_and_an_alert_says_so(reservation, shopify, refusal):
    drain_holds()
    give_up(reservation)
    shopify.behaviour = [refusal]
    drain_holds()
    push = HoldPush.objects.get(direction="give_back")
    assert (push.status, push.blocker, push.attempts) == ("ready", "shopify refuses to take units back", 0)
    assert 3500 < (push.due_at - timezone.now()).total_seconds() <= 3600  # no storm
    (alert,) = Alert.objects.all()
    assert (alert.subject, alert.closed_at) == (f"level:{push.line.level_id}", None)
    assert alert.message.startswith(f"2 units of {push.line.variant} at Place 1 stay set aside in Shopify")
    run_due()
    assert (shopify.available, shopify.reserved, counts()) == (5, 0, (5, 0))
    assert pushes() == [("hold", "done"), ("give_back", "done")]
    assert alerts() == [(f"level:{push.line.level_id}", False)]


def test_units_that_are_not_reserved_any_more_are_not_asked_for_again_and_an_alert_says_so(reservation, shopify):
    drain_holds()
    give_up(reservation)
    shopify.available, shopify.reserved = 4, 1  # moved there by hand
    drain_holds()
    push = HoldPush.objects.get(direction="give_back")
    assert (push.status, push.outcome) == ("done", "Shopify has only 4 available, 1 reserved")
    assert alerts() == [(f"hold_push:{push.pk}", True)]
