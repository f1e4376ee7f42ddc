"""Back in stock, once for each return; and the looks themselves: tenants apart, at once, cheap without news."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from audit.models import AuditEvent
from config.infra import tenancy
from inventory.actions.reservations import release
from inventory.actions.watching import BATCH, watch_stock, watch_stock_everywhere
from inventory.models import Location, StockLevel, StockOut, StockThreshold, Variant
from inventory.tasks import watch_stock as watch_stock_task
from shopsync.models import Alert
from tests.factories import make_tenant, reload, run_together, stock_variant
from tests.inventory.looks import NOON, alerts, count, hold, low_at, returns

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_return_is_one_event_after_it_lasted(ours, clock):
    variant, (level,) = stock_variant(2)
    for available, expected in ((0, 0), (0, 0), (5, 0), (5, 1), (5, 1), (0, 1), (0, 1), (1, 1), (2, 2), (3, 2)):
        count(level, available)
        clock.look()
        assert len(returns()) == expected
    assert set(returns()) == {f"variant:{variant.pk}"}
    event = AuditEvent.objects.filter(name="variant.replenished").latest("id")
    assert event.data == {"variant_id": variant.pk, "item_id": variant.item_id, "sellable": 2}
    assert not StockOut.objects.exists()


def test_a_unit_that_comes_and_goes_is_no_return(ours, clock):
    variant, _ = stock_variant(1)
    for number in range(5):
        made = hold(variant, 1, key=f"cart-{number}")
        clock.look()
        release(reservation_id=made.pk, actor="test", now=timezone.now())
        clock.look()  # seen; and the next cart takes it before a minute has passed
    assert returns() == []
    clock.look()
    assert len(returns()) == 1


def test_two_looks_within_moments_are_one(ours, clock):
    _, (level,) = stock_variant(0)
    clock.look()
    count(level, 1)
    clock.look()
    watch_stock(now=clock.now + timedelta(seconds=1))
    assert returns() == []


def test_units_at_another_location_mean_that_it_never_ran_out(ours, clock):
    variant, (first, second) = stock_variant(1, locations=2)
    for here, there in ((0, 1), (1, 0), (0, 1), (5, 5)):
        count(first, here)
        count(second, there)
        clock.look()
    assert returns() == []
    for available in (0, 2):
        count(first, available)
        count(second, available)
        clock.look()
    clock.look()
    assert returns() == [f"variant:{variant.pk}"]  # one for both levels


@pytest.mark.parametrize("policy", ["deny", "continue"])
def test_what_lies_behind_closed_doors_is_out_until_they_open(ours, clock, policy):
    variant, (level,) = stock_variant(5)
    Variant.objects.update(policy=policy)
    clock.look()
    assert not StockOut.objects.exists()
    Location.objects.filter(pk=level.location_id).update(is_active=False)
    clock.look()
    assert StockOut.objects.get().variant_id == variant.pk
    Location.objects.filter(pk=level.location_id).update(is_active=True)
    clock.look()
    clock.look()
    assert returns() == [f"variant:{variant.pk}"]


def test_a_shortfall_at_one_location_is_made_up_for_before_there_is_a_return(ours, clock):
    _, (first, second) = stock_variant(0, locations=2)
    count(first, -3)
    clock.look()
    count(second, 3)
    for _ in range(3):
        clock.look()
    assert returns() == []


def test_what_has_no_end_is_back_and_what_is_removed_is_forgotten(ours, clock):
    untracked, (level,) = stock_variant(0)
    endless, _ = stock_variant(0)
    gone, _ = stock_variant(0)
    clock.look()
    count(level, None)
    Variant.objects.filter(pk=endless.pk).update(policy="continue")
    Variant.objects.filter(pk=gone.pk).update(removed_at=NOON)
    clock.look()
    clock.look()
    assert returns() == [f"variant:{untracked.pk}", f"variant:{endless.pk}"]
    assert AuditEvent.objects.filter(name="variant.replenished", data__sellable=None).count() == 2
    assert not StockOut.objects.exists()


def test_two_tenants_neither_see_nor_disturb_each_other(ours, clock):
    theirs = make_tenant()
    variant, (level,) = stock_variant(1)
    low_at(variant, 3, 6)
    with tenancy.tenant_scope(theirs.pk):
        their_variant, (their_level,) = stock_variant(0)
        their_threshold = low_at(their_variant, 3, 6)
        count(their_level, -1)
    assert watch_stock(now=NOON) == 1
    with tenancy.tenant_scope(theirs.pk):
        assert not Alert.objects.exists()
        assert not StockOut.objects.exists()
    with tenancy.no_scope():
        assert watch_stock_everywhere(now=NOON) == 3  # theirs: low, short, out
        assert watch_stock_everywhere(now=NOON) == 0
    count(level, 9)
    assert watch_stock(now=NOON) == 1
    assert not any(alert.is_open for alert in Alert.objects.all())
    with tenancy.tenant_scope(theirs.pk):
        assert {alert.kind for alert in Alert.objects.all() if alert.is_open} == {"stock.low", "stock.short"}
        assert reload(their_threshold).is_low


def test_looks_at_once_open_one_alert_and_record_one_return(ours, clock):
    variants = [stock_variant(0) for _ in range(6)]
    for variant, _ in variants:
        low_at(variant, 3, 6)
    short, (short_level,) = stock_variant(2)
    hold(short, 2)
    clock.look()
    for _, (level,) in variants:
        count(level, 7)
    count(short_level, 1)
    clock.look()
    for _, (level,) in variants[:3]:
        count(level, 2)
    moment = clock.now + timedelta(minutes=1)
    told = run_together([lambda: watch_stock_everywhere(now=moment)] * 8, threads=8)
    assert [one for one in told if isinstance(one, Exception)] == []
    assert sum(told) == 3 + 6  # three low again, six back
    assert sorted(returns()) == sorted(f"variant:{variant.pk}" for variant, _ in variants)
    assert len(alerts("stock.low")) == 6 + 3
    assert [alert.count for alert in Alert.objects.all()] == [1] * 10
    assert AuditEvent.objects.filter(name="alert.raised").count() == 10


def test_levels_may_be_locked_by_others_meanwhile(ours, clock):
    variant, (level,) = stock_variant(1)
    low_at(variant, 3, 6)

    def look():
        with tenancy.tenant_scope(ours.pk):
            return watch_stock(now=NOON)

    with transaction.atomic():
        StockLevel.objects.select_for_update().get(pk=level.pk)
        assert run_together([look], threads=1) == [1]


def test_where_nothing_is_new_one_statement_is_all(ours, clock):
    for available in (5, 1):
        variant, _ = stock_variant(available)
        low_at(variant, 3, 6)
    clock.look()
    with tenancy.no_scope(), CaptureQueriesContext(connection) as queries:
        assert watch_stock_everywhere(now=clock.now) == 0
    assert len(queries) == 1


def test_more_news_than_a_batch_is_told_in_one_look(ours, clock):
    levels = [stock_variant(1)[1][0] for _ in range(3)]
    items = [level.item_id for level in levels]
    location = levels[0].location
    many = [
        Variant(tenant=ours, product_id=Variant.objects.first().product_id, item_id=items[0], shopify_id=number)
        for number in range(1, BATCH + 10)
    ]
    made = Variant.objects.bulk_create(many)
    StockThreshold.objects.bulk_create(
        [StockThreshold(tenant=ours, variant=one, location=location, low_at=1, recovered_at=2) for one in made]
    )
    assert watch_stock(now=NOON) == BATCH + 9
    assert len(alerts("stock.low")) == BATCH + 9
    assert watch_stock_task() == 0
