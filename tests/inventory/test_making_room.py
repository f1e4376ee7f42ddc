"""A buyer is never refused because of promises whose time is up, however many there are and wherever they lie."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest
from django.db import transaction
from django.utils import timezone

from config.infra import tenancy
from inventory.actions.reservations import ROOM_BATCH, InsufficientStock, Request, Wanted, reserve
from inventory.models import Reservation, StockLevel
from tests.factories import make_tenant, stock_variant

pytestmark = pytest.mark.django_db(transaction=True)

NOW = timezone.now()
CARTS = ROOM_BATCH + 5


@pytest.fixture
def shop():
    tenant = make_tenant()
    with tenancy.tenant_scope(tenant.pk):
        yield tenant


def promise(*variants, key, ago=timedelta()):
    request = Request(lines=tuple(Wanted(variant.pk, 1) for variant in variants), ttl=timedelta(minutes=1))
    return reserve(request=request, idempotency_key=key, actor="test", now=NOW - ago)[0]


def status_of(reservation):
    return Reservation.objects.get(pk=reservation.pk).status


def test_carts_that_lie_elsewhere_too_make_room(shop):
    wanted, (level,) = stock_variant(2)
    other, (its_level,) = stock_variant(9)
    carts = [promise(wanted, other, key=f"cart-{hours}", ago=timedelta(hours=hours)) for hours in (2, 1)]
    promise(wanted, key="buyer")
    assert [status_of(cart) for cart in carts] == ["expired"] * 2
    levels = StockLevel.objects.filter(pk__in=[level.pk, its_level.pk]).order_by("pk")
    assert list(levels.values_list("held", "promised")) == [(1, 1), (0, 0)]


def test_a_cart_behind_many_that_somebody_is_at_makes_room(shop):
    wanted, _ = stock_variant(CARTS + 1)
    other, (busy,) = stock_variant(CARTS)
    elsewhere = [promise(wanted, other, key=f"both-{at}", ago=timedelta(hours=2)) for at in range(CARTS)]
    alone = promise(wanted, key="alone", ago=timedelta(hours=1))
    is_locked, may_end = threading.Event(), threading.Event()

    def work_there():
        with tenancy.tenant_scope(shop.pk), transaction.atomic():
            StockLevel.objects.select_for_update().get(pk=busy.pk)
            is_locked.set()
            may_end.wait(30)

    worker = threading.Thread(target=work_there)
    worker.start()
    try:
        assert is_locked.wait(10)
        promise(wanted, key="first buyer")
        assert status_of(alone) == "expired"
        with pytest.raises(InsufficientStock):  # the others are somebody's just now, and nobody waits for them
            promise(wanted, key="second buyer")
    finally:
        may_end.set()
        worker.join()
    promise(wanted, key="third buyer")
    assert {status_of(cart) for cart in elsewhere[:ROOM_BATCH]} == {"expired"}


def test_what_is_overdue_longest_goes_first(shop):
    wanted, _ = stock_variant(ROOM_BATCH + 10)
    made = [promise(wanted, key=f"cart-{at}", ago=timedelta(hours=1 + at % 7, minutes=at)) for at in range(60)]
    promise(wanted, key="buyer")
    oldest = sorted(made, key=lambda cart: (cart.expires_at, cart.pk))
    assert [status_of(cart) for cart in oldest] == ["expired"] * ROOM_BATCH + ["active"] * 10
