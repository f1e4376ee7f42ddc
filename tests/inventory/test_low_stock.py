"""Low stock is told of once, and is over once it has recovered; shortfalls are told of while they last."""

from __future__ import annotations

import random

import pytest
from django.db import IntegrityError, transaction
from django.utils import timezone

from audit.models import AuditEvent
from inventory.actions.reservations import release
from inventory.actions.thresholds import change_threshold, remove_threshold
from inventory.models import Location, StockThreshold, Variant
from shopsync.actions.alerts import close_alerts
from shopsync.models import Alert
from tests.factories import reload, stock_variant
from tests.inventory.looks import NOON, alerts, count, hold, is_open, low_at

pytestmark = pytest.mark.django_db(transaction=True)


def test_it_is_low_once_and_over_only_when_it_has_recovered(ours, clock):
    variant, (level,) = stock_variant(10)
    threshold = low_at(variant, 3, 6)
    seen = []
    for available in (10, 4, 3, 4, 5, 2, 0, 5, 6, 4, 3):
        count(level, available)
        clock.look()
        seen.append((available, len(alerts("stock.low")), reload(threshold).is_low))
    assert seen == [
        (10, 0, False), (4, 0, False), (3, 1, True), (4, 1, True), (5, 1, True), (2, 1, True), (0, 1, True),
        (5, 1, True), (6, 1, False), (4, 1, False), (3, 2, True),
    ]  # fmt: skip
    assert is_open("stock.low") == [False, True]
    assert [alert.count for alert in alerts("stock.low")] == [1, 1]
    (first, _) = alerts("stock.low")
    assert first.subject == f"threshold:{threshold.pk}"
    assert first.message.startswith(f"{variant.sku} is low over all active locations: 3 left to sell (low at 3")


@pytest.mark.parametrize("seed", range(5))
def test_however_the_count_wanders_at_most_one_alert_is_open_and_the_next_comes_after_recovery(ours, clock, seed):
    dice = random.Random(seed)
    variant, (level,) = stock_variant(8)
    low_at(variant, 3, 6)
    available, is_low, opened = 8, False, 0
    for _ in range(60):
        available = max(-2, min(10, available + dice.randint(-3, 3)))
        count(level, available)
        clock.look()
        opened += not is_low and available <= 3
        is_low = available < 6 if is_low else available <= 3
        assert sum(is_open("stock.low")) == int(is_low)
        assert len(alerts("stock.low")) == opened
    assert opened


def test_what_is_held_for_buyers_is_not_there_to_sell(ours, clock):
    variant, _ = stock_variant(5)
    low_at(variant, 2, 4)
    made = hold(variant, 3)
    clock.look()
    assert is_open("stock.low") == [True]
    release(reservation_id=made.pk, actor="test", now=timezone.now())
    clock.look()
    assert is_open("stock.low") == [False]


def test_without_a_location_the_active_ones_are_added_up(ours, clock):
    variant, (first, second) = stock_variant(3, locations=2)
    everywhere, here = low_at(variant, 3, 5), low_at(variant, 3, 5, first.location)
    clock.look()
    assert [reload(one).is_low for one in (everywhere, here)] == [False, True]  # 6 in all, 3 here
    Location.objects.filter(pk=second.location_id).update(is_active=False)
    clock.look()
    assert reload(everywhere).is_low
    Location.objects.filter(pk=second.location_id).update(is_active=True)
    count(second, 1)
    clock.look()
    assert reload(everywhere).is_low  # 4: between the marks
    count(second, 2)
    clock.look()
    assert [reload(one).is_low for one in (everywhere, here)] == [False, True]
    assert "at Place 1" in alerts("stock.low")[0].message


def test_what_is_not_counted_or_not_sold_is_never_low(ours, clock):
    untracked, _ = stock_variant(None)
    half, (counted, endless) = stock_variant(1, locations=2)
    count(endless, None)
    gone, _ = stock_variant(1)
    Variant.objects.filter(pk=gone.pk).update(removed_at=NOON)
    uncounted, _ = stock_variant(1)
    Variant.objects.filter(pk=uncounted.pk).update(item=None)
    for variant in (untracked, half, gone, uncounted):
        low_at(variant, 3, 6)
    here = low_at(half, 3, 6, counted.location)
    clock.look()
    assert [alert.subject for alert in alerts("stock.low")] == [f"threshold:{here.pk}"]
    Location.objects.filter(pk=counted.location_id).update(is_active=False)
    clock.look()
    assert is_open("stock.low") == [False]


def test_an_untracked_variant_is_no_longer_low(ours, clock):
    variant, (level,) = stock_variant(1)
    low_at(variant, 3, 6)
    clock.look()
    count(level, None)
    clock.look()
    assert is_open("stock.low") == [False]


def test_closed_by_hand_it_stays_closed_until_it_recovered_and_fell_again(ours, clock):
    variant, (level,) = stock_variant(1)
    low_at(variant, 3, 6)
    clock.look()
    close_alerts(rows=Alert.objects.filter(kind="stock.low"), actor="user:1")
    for available in (2, 6, 3):
        count(level, available)
        clock.look()
    assert is_open("stock.low") == [False, True]


def test_new_marks_hold_from_the_next_look_and_a_threshold_taken_away_closes_its_alert(ours, clock):
    variant, _ = stock_variant(5)
    threshold = low_at(variant, 3, 6)
    clock.look()
    change_threshold(threshold_id=threshold.pk, low_at=5, recovered_at=9, actor="test")
    clock.look()
    assert is_open("stock.low") == [True]
    remove_threshold(threshold_id=threshold.pk, actor="test")
    assert is_open("stock.low") == [False]
    names = AuditEvent.objects.filter(subject=f"threshold:{threshold.pk}").order_by("id")
    assert [event.name.rpartition(".")[2] for event in names] == ["created", "updated", "deleted"]


@pytest.mark.parametrize(
    ("values", "constraint"),
    [({"low_at": 5, "recovered_at": 5}, "recovers_above_low"), ({"low_at": -1, "recovered_at": 5}, "low_at"),
     ({"low_at": 1, "recovered_at": 2}, "one_per_variant"),
     ({"low_at": 1, "recovered_at": 2, "is_low": True}, "became_so")],
)  # fmt: skip
def test_the_database_refuses_what_no_threshold_is(ours, values, constraint):
    variant, _ = stock_variant(5)
    low_at(variant, 3, 6)
    with pytest.raises(IntegrityError, match=constraint), transaction.atomic():
        StockThreshold.objects.create(variant=variant, **values)


def test_a_shortfall_is_told_while_it_lasts_with_its_newest_numbers(ours, clock):
    variant, (level,) = stock_variant(3)
    hold(variant, 3)
    clock.look()
    assert alerts("stock.short") == []
    count(level, 1)
    clock.look()
    clock.look()
    (alert,) = alerts("stock.short")
    assert (alert.subject, alert.count) == (f"level:{level.pk}", 1)
    assert alert.message.startswith(f"{variant.sku} at Place 1: 3 promised to buyers, 1 there.")
    count(level, 0)
    clock.look()
    (alert,) = alerts("stock.short")
    assert (alert.count, "3 promised to buyers, 0 there" in alert.message) == (2, True)
    count(level, 3)
    clock.look()
    assert is_open("stock.short") == [False]


def test_oversold_is_short_too_and_what_is_still_wrong_opens_again(ours, clock):
    _, (level,) = stock_variant(-2)
    clock.look()
    close_alerts(rows=Alert.objects.filter(kind="stock.short"), actor="user:1")
    clock.look()
    assert is_open("stock.short") == [False, True]
    count(level, 0)
    clock.look()
    assert is_open("stock.short") == [False, False]


def test_no_shortfall_where_it_may_be_sold_below_zero_or_is_not_counted_or_no_longer_sold(ours, clock):
    stock_variant(-2, policy="continue")
    stock_variant(None)
    gone, _ = stock_variant(-2)
    Variant.objects.filter(pk=gone.pk).update(removed_at=NOON)
    clock.look()
    assert alerts("stock.short") == []
    turned, _ = stock_variant(-2)
    clock.look()
    Variant.objects.filter(pk=turned.pk).update(policy="continue")
    clock.look()
    assert is_open("stock.short") == [False]
