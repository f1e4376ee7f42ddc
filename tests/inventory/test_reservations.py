"""Promises: all lines or none, never more than there is, once per key, for a while."""

from __future__ import annotations

import random
import threading
from datetime import timedelta
from functools import partial

import pytest
from django.db import DatabaseError, IntegrityError, transaction
from django.db.models import F
from django.utils import timezone

from audit.models import AuditEvent
from config.infra import tenancy
from inventory.actions.reservations import (
    AlreadyExtended,
    IdempotencyConflict,
    InsufficientStock,
    Request,
    ReservationEnded,
    UnknownVariants,
    Wanted,
    commit,
    extend,
    release,
    reserve,
)
from inventory.actions.stock import Spot, expect_stock, receive_stock
from inventory.actions.upkeep import expire_everywhere, expire_reservations
from inventory.models import Location, Reservation, ReservationLine, StockLevel, StockMovement, Variant
from inventory.queries import find_drift
from inventory.rules import Destination
from tests.factories import behind_the_triggers, make_tenant, run_together, stock_variant, wait_for_a_lock
from tests.orders.arrivals import give

pytestmark = pytest.mark.django_db(transaction=True)
AUTHORITIES = ["shopify", "shopsync"]


@pytest.fixture(params=AUTHORITIES)
def shop(request):
    tenant = make_tenant(stock_authority=request.param)
    with tenancy.tenant_scope(tenant.pk):
        yield tenant


def ask(*lines, **options):
    return Request(lines=tuple(Wanted(variant.pk, quantity) for variant, quantity in lines), **options)


def promise(*lines, key=None, now=None, **options):
    key = key or f"key-{random.random()}"
    return reserve(request=ask(*lines, **options), idempotency_key=key, actor="test", now=now or timezone.now())[0]


def in_scope(tenant, job):
    def run():
        with tenancy.tenant_scope(tenant.pk):
            return job()

    return run


def levels():
    return list(StockLevel.objects.order_by("pk").values_list("available", "held"))


def test_all_lines_or_none_and_the_refusal_names_each_line_and_its_shortage(shop):
    plenty, _ = stock_variant(10)
    few, _ = stock_variant(3)
    none, _ = stock_variant(0)
    with pytest.raises(InsufficientStock) as refusal:
        promise((plenty, 2), (few, 5), (none, 1))
    assert [(s.variant_id, s.requested, s.available, s.short) for s in refusal.value.shortages] == [
        (few.pk, 5, 3, 2),
        (none.pk, 1, 0, 1),
    ]
    assert levels() == [(10, 0), (3, 0), (0, 0)]
    assert not Reservation.objects.exists()


def test_repeated_variants_are_summed(shop):
    variant, _ = stock_variant(5)
    with pytest.raises(InsufficientStock):
        promise((variant, 3), (variant, 3))
    reservation = promise((variant, 3), (variant, 2))
    assert list(reservation.lines.values_list("quantity", "held")) == [(5, 5)]
    assert levels() == [(5, 5)]


def test_untracked_and_continue_are_not_limited(shop):
    untracked, _ = stock_variant(None)
    going_on, _ = stock_variant(1, policy="continue")
    promise((untracked, 1000), (going_on, 1000))
    assert levels() == [(None, 1000), (1, 1000)]


def test_one_key_is_one_promise_and_another_request_under_it_is_refused(shop):
    variant, _ = stock_variant(10)
    first = promise((variant, 2), key="cart-1")
    assert promise((variant, 2), key="cart-1").pk == first.pk
    with pytest.raises(IdempotencyConflict):
        promise((variant, 3), key="cart-1")
    assert levels() == [(10, 2)]


def test_twenty_at_once_under_one_key_hold_once(shop):
    variant, _ = stock_variant(10)
    found = run_together([in_scope(shop, partial(promise, (variant, 2), key="one"))] * 20, threads=20)
    assert {reservation.pk for reservation in found} == {Reservation.objects.get().pk}
    assert levels() == [(10, 2)]


def test_the_nearest_location_that_has_all_of_it_serves_the_basket(shop):
    variant, (near, far) = stock_variant(5, locations=2)
    for level, degrees in ((near, 10.0), (far, 50.0)):
        type(level.location).objects.filter(pk=level.location_id).update(latitude=degrees, longitude=0.0)
    promise((variant, 5), destination=Destination(latitude=49.0, longitude=0.0))
    assert levels() == [(5, 0), (5, 5)]
    promise((variant, 4), destination=Destination(latitude=49.0, longitude=0.0))  # the nearest has none left
    assert levels() == [(5, 4), (5, 5)]


def test_a_line_is_split_over_locations_only_when_that_is_allowed(shop):
    variant, _ = stock_variant(5, locations=2)
    with pytest.raises(InsufficientStock) as refusal:
        promise((variant, 8), allow_split=False)
    assert refusal.value.shortages[0].short == 3
    assert promise((variant, 8)).lines.count() == 2
    assert levels() == [(5, 5), (5, 3)]


def test_two_variants_of_one_item_share_its_units(shop):
    variant, (near, _) = stock_variant(3, locations=2)
    twin = type(variant).objects.create(product=variant.product, item=variant.item, shopify_id=1)
    both = ((variant, 2), (twin, 1))
    reservation = promise(*both, allow_split=False)
    assert set(reservation.lines.values_list("variant_id", "level_id", "held")) == {
        (variant.pk, near.pk, 2),
        (twin.pk, near.pk, 1),
    }
    with pytest.raises(InsufficientStock) as refusal:
        promise((variant, 2), (twin, 4))
    assert [(s.variant_id, s.available, s.short) for s in refusal.value.shortages] == [(twin.pk, 1, 3)]
    with pytest.raises(InsufficientStock) as refusal:
        promise((variant, 4), (twin, 1), allow_split=False)
    assert [(s.variant_id, s.short) for s in refusal.value.shortages] == [(variant.pk, 1), (twin.pk, 1)]
    release(reservation_id=reservation.pk, actor="test", now=timezone.now())
    promise((variant, 2), (twin, 4))  # one and three of them, where each of the two places has three
    assert levels() == [(3, 3), (3, 3)]
    type(variant).objects.filter(pk=twin.pk).update(policy="continue")
    promise((twin, 5))
    assert levels() == [(3, 8), (3, 3)]


def test_a_location_that_is_closed_serves_nobody(shop):
    variant, (level,) = stock_variant(5)
    type(level.location).objects.filter(pk=level.location_id).update(is_active=False)
    with pytest.raises(InsufficientStock):
        promise((variant, 1))


def test_what_is_another_tenants_is_unknown(shop):
    with tenancy.tenant_scope(make_tenant().pk):
        theirs, _ = stock_variant(5)
    with pytest.raises(UnknownVariants):
        promise((theirs, 1))


def test_a_promise_is_extended_once_while_its_time_lasts(shop):
    variant, _ = stock_variant(5)
    now = timezone.now()
    reservation = promise((variant, 1), now=now)
    assert reservation.expires_at == now + timedelta(minutes=15)
    later = now + timedelta(minutes=10)
    assert extend(reservation_id=reservation.pk, actor="test", now=later).expires_at == later + timedelta(minutes=15)
    with pytest.raises(AlreadyExtended):
        extend(reservation_id=reservation.pk, actor="test", now=later)
    other = promise((variant, 1), now=now)
    with pytest.raises(ReservationEnded):
        extend(reservation_id=other.pk, actor="test", now=now + timedelta(minutes=15))


def test_what_is_released_may_be_promised_again_and_releasing_twice_frees_once(shop):
    variant, _ = stock_variant(5)
    reservation = promise((variant, 5))
    jobs = [in_scope(shop, partial(release, reservation_id=reservation.pk, actor="test", now=timezone.now()))] * 20
    assert all(isinstance(result, Reservation) for result in run_together(jobs, threads=20))
    assert levels() == [(5, 0)]
    assert AuditEvent.objects.filter(name="reservation.released").count() == 1
    promise((variant, 5))


def test_a_sale_is_committed_once_and_never_after_its_time(shop):
    variant, _ = stock_variant(5)
    now = timezone.now()
    reservation, late = promise((variant, 2), now=now), promise((variant, 1), now=now)
    jobs = [in_scope(shop, partial(commit, reservation_id=reservation.pk, actor="test", now=now))] * 20
    refused = [result for result in run_together(jobs, threads=20) if isinstance(result, ReservationEnded)]
    assert len(refused) == 19
    with pytest.raises(ReservationEnded):
        commit(reservation_id=late.pk, actor="test", now=now + timedelta(minutes=16))
    with pytest.raises(ReservationEnded):
        release(reservation_id=reservation.pk, actor="test", now=now)
    # Where we count, the units are gone; where Shopify does, they stay held until its count has the sale in it.
    assert levels() == ([(3, 1)] if shop.stock_authority == "shopsync" else [(5, 3)])


def test_what_is_overdue_is_expired_in_batches_and_stands_in_nobodys_way(shop):
    variant, _ = stock_variant(250)
    now = timezone.now()
    for _ in range(240):
        promise((variant, 1), now=now - timedelta(minutes=20))
    promise((variant, 100), now=now)  # more than is free: the overdue make room at once
    assert levels()[0][0] == 250
    expire_reservations(now=now)
    assert levels() == [(250, 100)]
    assert Reservation.objects.filter(status="expired").count() == 240


def test_raw_writes_cannot_oversell(shop):
    variant, (level,) = stock_variant(5)
    promise((variant, 4))
    rows = StockLevel.objects.filter(pk=level.pk)
    with pytest.raises(IntegrityError, match="oversell"), transaction.atomic():
        rows.update(held=6)
    with pytest.raises(IntegrityError, match="oversell"), transaction.atomic():
        rows.update(held=F("held") + 2)
    with pytest.raises(IntegrityError, match="stocklevel_held_is_not_negative"), transaction.atomic():
        rows.update(held=-1)
    with pytest.raises(IntegrityError, match="oversell"), transaction.atomic():
        StockLevel(item=level.item, location=level.location, available=1, held=2, tenant_id=shop.pk).save()
    if shop.stock_authority == "shopsync":
        with pytest.raises(IntegrityError, match="oversell"), transaction.atomic():
            rows.update(available=3)
    with pytest.raises(DatabaseError), transaction.atomic():
        ReservationLine.objects.update(held=F("quantity") + 1)
    assert levels() == [(5, 4)]


def total_held():
    return sum(ReservationLine.objects.values_list("held", flat=True))


@pytest.mark.parametrize("lines", [1, 2], ids=["one line", "the variant twice"])
def test_two_hundred_buyers_over_32_connections_get_ten_units_exactly(shop, lines):
    variant, _ = stock_variant(10 * lines)
    job = in_scope(shop, lambda: promise(*[(variant, 1)] * lines))
    results = run_together([job] * 200, threads=32)
    assert sum(isinstance(result, Reservation) for result in results) == 10
    refusals = [result for result in results if not isinstance(result, Reservation)]
    assert len(refusals) == 190
    assert all(isinstance(result, InsufficientStock) for result in refusals), refusals[:3]
    assert levels() == [(10 * lines, 10 * lines)]
    assert total_held() == 10 * lines
    held = StockMovement.objects.filter(state="held")
    assert sum(held.values_list("delta", flat=True)) == 10 * lines


def test_baskets_of_three_in_opposite_orders_end_without_a_deadlock(shop):
    variants = [stock_variant(10)[0] for _ in range(3)]
    baskets = [[(variant, 1) for variant in order] for order in (variants, variants[::-1])]
    jobs = [in_scope(shop, partial(promise, *baskets[number % 2])) for number in range(200)]
    results = run_together(jobs, threads=32)
    assert sum(isinstance(result, Reservation) for result in results) == 10
    assert sum(isinstance(result, InsufficientStock) for result in results) == 190
    assert levels() == [(10, 10)] * 3


@pytest.mark.parametrize("locations", [1, 2], ids=["at once", "by the rule"])
def test_both_ways_write_the_same_rows(locations):
    tenant = make_tenant(stock_authority="shopsync")
    with tenancy.tenant_scope(tenant.pk):
        first, levels = stock_variant(5, locations=locations)
        second, more = stock_variant(5, locations=locations)
        lines = (Wanted(second.pk, 1), Wanted(first.pk, 2), Wanted(first.pk, 1))
        asked = {"request": Request(lines=lines, reference="cart"), "idempotency_key": "key", "actor": "buyer"}
        made, is_new = reserve(**asked, now=timezone.now())
        again, is_new_again = reserve(**asked, now=timezone.now())
        assert (is_new, is_new_again, again.pk) == (True, False, made.pk)
        row = Reservation.objects.get()
        assert [getattr(made, field.attname) for field in Reservation._meta.concrete_fields] == [
            getattr(row, field.attname) for field in Reservation._meta.concrete_fields
        ]
        held = {line.variant_id: (line.level_id, line.quantity, line.held) for line in row.lines.all()}
        assert held == {first.pk: (levels[0].pk, 3, 3), second.pk: (more[0].pk, 1, 1)}
        moved = StockMovement.objects.filter(state="held").order_by("level_id")
        told = {(move.delta, move.reason, move.reference, move.actor) for move in moved}
        assert told == {(delta, "reserved", f"reservation:{row.pk}", "buyer") for delta in (1, 3)}
        event = AuditEvent.objects.get(name="reservation.created")
        assert (event.subject, event.actor, event.data) == (f"reservation:{row.pk}", "buyer", {"lines": 2, "units": 4})
        with pytest.raises(IdempotencyConflict):
            reserve(**asked | {"request": Request(lines=lines[:1])}, now=timezone.now())


@pytest.mark.drifts
def test_one_that_is_broken_keeps_no_other_from_expiring(shop):
    (variant, (level,)), (other, _) = stock_variant(5), stock_variant(5)
    broken, fine = promise((variant, 2)), promise((other, 1))
    with behind_the_triggers() as cursor:  # giving back two will go below zero
        cursor.execute("UPDATE inventory_stocklevel SET held = 1 WHERE id = %s", [level.pk])
    later = timezone.now() + timedelta(days=2)
    with pytest.raises(ExceptionGroup, match="1 reservations could not expire; 1 others did") as caught:
        expire_reservations(now=later)
    assert caught.value.exceptions[0].__notes__ == [f"of reservation {broken.pk}"]
    fine.refresh_from_db()
    assert fine.status == "expired"


@pytest.fixture
def ours():
    tenant = make_tenant(stock_authority="shopsync")
    with tenancy.tenant_scope(tenant.pk):
        yield tenant


def test_units_on_their_way_to_a_new_place_are_none_that_can_be_promised(ours):
    variant, (level,) = stock_variant(5)
    place = Location.objects.create(shopify_id=77)
    expect_stock(spot=Spot(variant.pk, place.pk), delta=10, reference="po", actor="test")
    with pytest.raises(InsufficientStock):
        promise((variant, 6))
    receive_stock(spot=Spot(variant.pk, place.pk), quantity=1, reference="po", actor="test", from_incoming=True)
    promise((variant, 6))
    level = StockLevel.objects.get(location=place)
    assert (level.available, level.held, level.on_hand, level.incoming) == (1, 1, 1, 9)
    assert find_drift(tenant_id=ours.pk) == []


@pytest.mark.parametrize("touched", ["held", "expected"])
def test_an_untracked_level_is_counted_from_the_first_count_on_whatever_it_held(ours, touched):
    variant, (level,) = stock_variant(None)
    if touched == "held":
        promise((variant, 1))
    else:
        expect_stock(spot=Spot(variant.pk, level.location_id), delta=3, reference="", actor="test")
    body = {"inventory_item_id": level.item.shopify_id, "location_id": level.location.shopify_id}
    for number, available in enumerate((None, 5, 9), start=1):  # untracked there; counted; a difference, and no more
        told = {**body, "available": available, "updated_at": f"2026-11-02T1{number}:00:00Z"}
        give(ours, number, "inventory_levels/update", told)
    with pytest.raises(InsufficientStock):
        promise((variant, 6))
    assert levels() == [(5, 1 if touched == "held" else 0)]
    assert find_drift(tenant_id=ours.pk) == []


@pytest.mark.parametrize("locations", [1, 2], ids=["at once", "the long way"])
def test_who_waits_while_a_policy_becomes_deny_is_told_what_is_short(ours, locations):
    variant, _ = stock_variant(1, policy="continue", locations=locations)
    is_locked = threading.Event()

    def change_policy():
        with transaction.atomic():
            list(StockLevel.objects.select_for_update().order_by("pk"))
            is_locked.set()
            wait_for_a_lock()
            Variant.objects.update(policy="deny")

    def buy():
        is_locked.wait(10)
        return promise((variant, 5))

    results = run_together([in_scope(ours, change_policy), in_scope(ours, buy)], threads=2)
    assert [type(result) for result in results] == [type(None), InsufficientStock]


@pytest.mark.drifts
@pytest.mark.parametrize("broken", ["settling", "expiry"])
def test_one_that_is_broken_keeps_no_other_from_settling(broken):
    with tenancy.tenant_scope(make_tenant().pk):
        (one, (drifted,)), (two, (level,)) = stock_variant(5), stock_variant(5)
        past = timezone.now() - timedelta(hours=3)
        first, second = promise((one, 2), now=past), promise((two, 2), now=past)
        if broken == "settling":
            commit(reservation_id=first.pk, actor="test", now=past)
        commit(reservation_id=second.pk, actor="test", now=past)
        with behind_the_triggers() as cursor:
            cursor.execute("UPDATE inventory_stocklevel SET held = 1 WHERE id = %s", [drifted.pk])
        with pytest.raises(ExceptionGroup):
            expire_everywhere(now=timezone.now())
        assert StockLevel.objects.get(pk=level.pk).held == 0
