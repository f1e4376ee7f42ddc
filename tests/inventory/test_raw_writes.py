"""The database refuses what the code forgot: no raw write oversells, whatever it says, and in whatever order."""

from __future__ import annotations

import threading
from contextlib import contextmanager

import pytest
from django.db import DatabaseError, IntegrityError, connection, transaction
from django.db.models import F
from django.utils import timezone

from config.infra import tenancy
from inventory.actions.levels import explain_movements
from inventory.actions.reservations import InsufficientStock, Request, Wanted, release, reserve
from inventory.models import Reservation, ReservationLine, StockLevel, StockMovement, Variant
from tests.factories import make_tenant, run_together, stock_variant

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(params=["shopify", "shopsync"])
def shop(request):
    tenant = make_tenant(stock_authority=request.param)
    with tenancy.tenant_scope(tenant.pk):
        yield tenant


def promise(variant, quantity):
    key = f"key-{Reservation.objects.count()}"
    request = Request(lines=(Wanted(variant.pk, quantity),))
    return reserve(request=request, idempotency_key=key, actor="test", now=timezone.now())[0]


def numbers(level):
    return StockLevel.objects.values_list("available", "held", "promised").get(pk=level.pk)


@contextmanager
def refused(match):
    with pytest.raises(IntegrityError, match=match), transaction.atomic():
        yield


HELD = "and the lines of its reservations"


def test_a_level_and_its_lines_hold_the_same_or_nothing_is_written(shop):
    variant, (level,) = stock_variant(5)
    reservation, rows = promise(variant, 4), StockLevel.objects.filter(pk=level.pk)
    lines = ReservationLine.objects.filter(reservation=reservation)
    with pytest.raises(IntegrityError, match=HELD):
        rows.update(held=0)
    with refused("its lines hold other units"):
        lines.update(held=0)
    with refused(HELD):
        lines.update(held=0, quantity=0)
    with refused(HELD):
        lines.delete()
    with refused(HELD):  # four of five are held: this would promise two more without holding them
        other = Reservation.objects.create(idempotency_key="raw", expires_at=timezone.now())
        ReservationLine.objects.create(reservation=other, variant=variant, level=level, quantity=2, held=2)
    with refused("is the sum of its lines"):
        rows.update(promised=0, held=0)
    with refused("is the sum of its lines"):
        StockLevel(item=level.item, location=level.location, available=9, promised=1).save()
    with pytest.raises(InsufficientStock):
        promise(variant, 2)
    assert numbers(level) == (5, 4, 4)
    with transaction.atomic():  # both together, in whichever order
        lines.update(held=1, quantity=1)
        rows.update(held=1)
    release(reservation_id=reservation.pk, actor="test", now=timezone.now())
    assert numbers(level) == (5, 0, 0)


def test_lines_that_move_end_and_begin_in_bulk_add_up_by_level(shop):
    variant, levels = stock_variant(50, locations=2)
    made = [promise(variant, units) for units in (3, 4, 5)]
    lines = ReservationLine.objects.filter(reservation__in=made)
    with transaction.atomic():
        lines.filter(quantity__gt=3).update(level=levels[1])
        StockLevel.objects.filter(pk=levels[0].pk).update(held=3)
        StockLevel.objects.filter(pk=levels[1].pk).update(held=9)
    assert [numbers(level) for level in levels] == [(50, 3, 3), (50, 9, 9)]
    with transaction.atomic():
        lines.delete()
        StockLevel.objects.update(held=0)
    assert [numbers(level) for level in levels] == [(50, 0, 0)] * 2


def test_who_forgot_the_lines_frees_nothing_for_who_waits_behind_it(shop):
    variant, (level,) = stock_variant(5)
    promise(variant, 4)
    is_written, may_end = threading.Event(), threading.Event()

    def forget():
        with tenancy.tenant_scope(shop.pk), transaction.atomic():
            StockLevel.objects.filter(pk=level.pk).update(held=0)
            is_written.set()
            may_end.wait(10)

    def buy():
        with tenancy.tenant_scope(shop.pk):
            is_written.wait(10)
            threading.Timer(0.3, may_end.set).start()
            return promise(variant, 2)

    forgot, bought = run_together([forget, buy], threads=2)
    assert isinstance(forgot, IntegrityError), forgot
    assert isinstance(bought, InsufficientStock), bought
    assert numbers(level) == (5, 4, 4)


def test_after_a_time_of_overselling_nothing_new_is_promised(shop):
    variant, (level,) = stock_variant(5)
    policy = Variant.objects.filter(pk=variant.pk)
    policy.update(policy="continue")
    first, _ = promise(variant, 5), promise(variant, 2)
    policy.update(policy="deny")
    rows, line = StockLevel.objects.filter(pk=level.pk), ReservationLine.objects.filter(reservation=first)
    for change in ({"held": F("held") + 1}, {"held": F("held") + 1, "available": F("available") + 1}):
        with refused("oversell"):
            rows.update(**change)
            line.update(held=F("held") + 1, quantity=F("quantity") + 1)
    with pytest.raises(InsufficientStock):
        promise(variant, 1)
    rows.update(available=6)  # fewer are short: that is fine
    assert numbers(level) == (6, 7, 7)


def raise_held(level):
    line = ReservationLine.objects.get(level=level)
    ReservationLine.objects.filter(pk=line.pk).update(held=F("held") + 9, quantity=F("quantity") + 9)
    StockLevel.objects.filter(pk=level.pk).update(held=F("held") + 9)


def test_a_policy_that_changes_to_and_fro_in_one_transaction_opens_nothing(shop):
    variant, (level,) = stock_variant(5)
    promise(variant, 4)
    policy = Variant.objects.filter(pk=variant.pk)
    with refused("would oversell"):
        policy.update(policy="continue")
        raise_held(level)
        policy.update(policy="deny")
    with transaction.atomic():
        policy.update(policy="continue")
        raise_held(level)
    assert numbers(level) == (5, 13, 13)


def test_who_changes_the_policy_waits_for_who_oversells_by_it(shop):
    variant, (level,) = stock_variant(1, policy="continue")
    ended, is_written = [], threading.Event()

    def oversell():
        with tenancy.tenant_scope(shop.pk), transaction.atomic():
            promise(variant, 3)
            is_written.set()
            threading.Event().wait(0.3)
            ended.append("oversold")

    def deny():
        with tenancy.tenant_scope(shop.pk):
            is_written.wait(10)
            Variant.objects.filter(pk=variant.pk).update(policy="deny")
            ended.append("denied")

    assert run_together([oversell, deny], threads=2) == [None, None]
    assert ended == ["oversold", "denied"]
    assert numbers(level) == (1, 3, 3)


def test_a_twin_that_is_no_longer_sold_lets_nobody_oversell(shop):
    variant, (level,) = stock_variant(5)
    promise(variant, 4)
    twin = Variant.objects.create(product=variant.product, item=variant.item, shopify_id=1, policy="continue")
    Variant.objects.filter(pk=twin.pk).update(removed_at=timezone.now())
    with refused("would oversell"):
        raise_held(level)
    Variant.objects.filter(pk=twin.pk).update(removed_at=None)
    with transaction.atomic():
        raise_held(level)  # one that is sold does
    endless, _ = stock_variant(None, policy="continue")
    with refused("is of one item"):
        StockLevel.objects.filter(pk=level.pk).update(item=endless.item)


def test_what_is_counted_does_not_become_endless_and_then_too_little(shop):
    variant, (level,) = stock_variant(5)
    promise(variant, 4)
    rows = StockLevel.objects.filter(pk=level.pk)
    with refused("oversell"):
        rows.update(available=None)
    with refused("oversell"):
        rows.update(available=1)
    untracked, (other,) = stock_variant(None)
    promise(untracked, 4)
    endless = StockLevel.objects.filter(pk=other.pk)
    with refused("oversell"):
        endless.update(available=1)
    # What is true all the same: Shopify says so, or a count of the shelf.
    said = {"mirrored_available": 1, "mirrored_at": timezone.now()} if shop.stock_authority == "shopify" else {}
    for counted in (rows, endless):
        counted.update(available=1, on_hand=1, **said)
    assert numbers(level) == numbers(other) == (1, 4, 4)


@pytest.mark.parametrize(("is_limited", "match"), [(True, "too little is left"), (False, "would oversell")])
def test_the_view_of_promises_is_no_way_around(shop, is_limited, match):
    variant, (level,) = stock_variant(5)
    made = promise(variant, 4)
    twin = Variant.objects.create(product=variant.product, item=variant.item, shopify_id=1)
    insert = "INSERT INTO inventory_promise VALUES (%s, %s, %s, %s, %s, %s)"
    with pytest.raises(DatabaseError, match=match), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(insert, [shop.pk, made.pk, twin.pk, level.pk, 2, is_limited])
    with connection.cursor() as cursor:
        cursor.execute(insert, [shop.pk, made.pk, twin.pk, level.pk, 1, is_limited])
    assert numbers(level) == (5, 5, 5)


REASONS = ["handed_over", "snapshot", "adjusted", "shipped"]


@pytest.mark.parametrize("reason", REASONS)
def test_a_reason_is_told_to_the_ledger_and_opens_nothing(shop, reason):
    variant, (level,) = stock_variant(5)
    promise(variant, 4)
    for change in ({"held": 6}, {"available": 3}, {"available": None}):
        with refused("oversell"):
            explain_movements(reason=reason, reference="", actor="")
            StockLevel.objects.filter(pk=level.pk).update(**change)
    with refused("oversell"):  # nor does it to say, for a moment, that somebody else counts
        explain_movements(reason=reason, reference="", actor="")
        tenant = type(shop).objects.filter(pk=shop.pk)
        tenant.update(stock_authority="shopify")
        StockLevel.objects.filter(pk=level.pk).update(available=3, mirrored_available=3)
        tenant.update(stock_authority="shopsync")
    assert numbers(level) == (5, 4, 4)


def test_the_ledger_takes_no_movement_but_its_levels_own(shop):
    _, (level,) = stock_variant(5)
    fields = {"level": level, "state": "held", "delta": 1, "before": 0, "after": 1, "reason": "raw"}
    for insert in (
        StockMovement.objects.create,
        lambda **row: StockMovement.objects.bulk_create([StockMovement(**row)]),
    ):
        with pytest.raises(DatabaseError, match="written by the change of its level"):
            insert(sequence=4, **fields)
    StockLevel.objects.filter(pk=level.pk).update(available=9)  # nothing stands in its way
    assert StockMovement.objects.latest("sequence").after == 9
