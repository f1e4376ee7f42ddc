"""A raw write can't leave a reservation with other units than its status says; what does so all the same is found."""

from __future__ import annotations

from decimal import Decimal

import pytest
from django.db import IntegrityError, transaction
from django.db.models import F
from django.utils import timezone

from config.infra import tenancy
from inventory.actions.reservations import Request, Wanted, release, reserve
from inventory.models import Reservation, ReservationLine, StockLevel
from inventory.queries import find_drift
from orders.actions.placing import NewLine, NewOrder, place_order
from orders.queries import find_misallocation
from tests.factories import behind_the_triggers, make_tenant, stock_variant

pytestmark = pytest.mark.django_db(transaction=True)
refused = pytest.raises(IntegrityError, match="its lines hold other units")


@pytest.fixture(params=["shopify", "shopsync"])
def shop(request):
    tenant = make_tenant(stock_authority=request.param)
    with tenancy.tenant_scope(tenant.pk):
        yield tenant


def promise(variant, quantity=10, key="k"):
    request = Request(lines=(Wanted(variant.pk, quantity),))
    return reserve(request=request, idempotency_key=key, actor="test", now=timezone.now())[0]


def set_status(reservation, status):
    ended_at = None if status == "active" else timezone.now()
    Reservation.objects.filter(pk=reservation.pk).update(status=status, ended_at=ended_at)


def test_an_active_promise_keeps_its_units(shop):
    variant, (level,) = stock_variant(10)
    promise(variant)
    with refused, transaction.atomic():
        ReservationLine.objects.update(held=0)
        StockLevel.objects.filter(pk=level.pk).update(held=0)
    with refused, transaction.atomic():
        ReservationLine.objects.update(held=3)
        StockLevel.objects.filter(pk=level.pk).update(held=3)


def test_no_line_promises_more_than_it_holds(shop):
    variant, (level,) = stock_variant(10)
    empty = Reservation.objects.create(idempotency_key="raw", expires_at=timezone.now())
    with refused:
        ReservationLine.objects.create(reservation=empty, variant=variant, level=level, quantity=50, held=0)
    promise(variant)
    with refused:
        ReservationLine.objects.update(quantity=50)


@pytest.mark.parametrize("status", ["released", "expired"])
def test_a_promise_does_not_end_with_its_units_held(shop, status):
    variant, _ = stock_variant(10)
    made = promise(variant)
    with refused:
        set_status(made, status)


def test_one_that_ended_neither_begins_again_without_its_units_nor_gets_any(shop):
    variant, (level,) = stock_variant(10)
    made = promise(variant)
    release(reservation_id=made.pk, actor="test", now=timezone.now())
    with refused:
        set_status(made, "active")
    with refused, transaction.atomic():
        ReservationLine.objects.update(held=10)
        StockLevel.objects.filter(pk=level.pk).update(held=10)


@pytest.mark.drifts
def test_what_was_written_behind_the_triggers_is_found(shop):
    variant, (level,) = stock_variant(10)
    made, kept = promise(variant, 4), promise(variant, 6, key="kept")
    with behind_the_triggers() as cursor:
        cursor.execute(
            "UPDATE inventory_reservation SET status = 'released', ended_at = now() WHERE id = %s", [made.pk]
        )
        cursor.execute("UPDATE inventory_reservationline SET quantity = 9 WHERE reservation_id = %s", [kept.pk])
    found = [(drift.level_id, drift.level, drift.ledger, drift.problem) for drift in find_drift(tenant_id=shop.pk)]
    says = "and does not hold what that says"
    assert sorted(found, key=lambda row: row[1]) == [
        (level.pk, 4, 0, f"reservation {made.pk} is released, {says}"),
        (level.pk, 6, 9, f"reservation {kept.pk} is active, {says}"),
    ]


@pytest.mark.drifts
def test_units_of_a_sold_order_that_are_counted_as_free_again_are_found():
    tenant = make_tenant(stock_authority="shopsync")
    with tenancy.tenant_scope(tenant.pk):
        variant, (level,) = stock_variant(10)
        line = NewLine(variant_id=variant.pk, quantity=10, price_amount=Decimal(1))
        place_order(new=NewOrder(lines=(line,), is_paid=True), actor="test", now=timezone.now())
        assert find_misallocation(tenant_id=tenant.pk) == []
        StockLevel.objects.filter(pk=level.pk).update(available=F("available") + 10, committed=0)
        assert find_misallocation(tenant_id=tenant.pk) != []
