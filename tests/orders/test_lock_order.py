"""Who waits for a level has not locked the reservation: levels first, then reservations, or two wait for each other."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from datetime import timedelta
from decimal import Decimal

import pytest
from django.db import connection, transaction
from django.utils import timezone

from config.infra import tenancy
from inventory.actions import order_holds
from inventory.actions.reservations import Request, Wanted, release, reserve
from inventory.models import Reservation, StockLevel
from orders.actions.placing import NewLine, NewOrder, place_order
from orders.models import Order
from tests.factories import make_tenant, stock_variant, wait_for_a_lock

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def shop():
    tenant = make_tenant(stock_authority="shopsync")
    with tenancy.tenant_scope(tenant.pk):
        yield tenant


def promise(variant):
    request = Request(lines=(Wanted(variant.pk, 2),), ttl=timedelta(minutes=15))
    return reserve(request=request, idempotency_key="k", actor="test", now=timezone.now())[0]


@contextmanager
def one_who_waits_for(level, shop, job):
    """Lock a level, let the job wait for it in a thread, and give way at the end."""

    def run():
        with tenancy.tenant_scope(shop.pk):
            job()
        connection.close()

    waiter = threading.Thread(target=run)
    try:
        with transaction.atomic():
            StockLevel.objects.select_for_update().get(pk=level.pk)
            waiter.start()
            wait_for_a_lock()
            yield
    finally:
        waiter.join(30)


def test_an_order_that_takes_a_reservation_over_waits_for_its_levels_first(shop):
    variant, (level,) = stock_variant(5)
    made = promise(variant)
    line = NewLine(variant_id=variant.pk, quantity=2, price_amount=Decimal(10))
    new = NewOrder(lines=(line,), reservation_id=made.pk, is_paid=True)
    with one_who_waits_for(level, shop, lambda: place_order(new=new, actor="test", now=timezone.now())):
        Reservation.objects.select_for_update(nowait=True).get(pk=made.pk)
    assert Order.objects.get().stock_state == "committed"


def test_whoever_asks_what_an_order_still_holds_waits_for_its_levels_first(shop):
    variant, (level,) = stock_variant(5)
    made = promise(variant)
    release(reservation_id=made.pk, actor="test", now=timezone.now())
    answers = []

    def ask():
        with transaction.atomic():
            answers.append(order_holds.is_held(reservation_id=made.pk))

    with one_who_waits_for(level, shop, ask):
        Reservation.objects.select_for_update(nowait=True).get(pk=made.pk)
    assert answers == [False]
