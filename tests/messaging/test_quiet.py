"""Quiet hours: local time where the recipient may be, over the clocks' changes and the date line."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from messaging.quiet import DEFAULT, Hours, choose_hours, next_time, zones_of

ZONES = ["America/New_York", "America/St_Johns", "Pacific/Honolulu", "Europe/Athens", "Asia/Kolkata",
         "Australia/Lord_Howe", "Pacific/Kiritimati", "Pacific/Pago_Pago", "America/Asuncion", "UTC"]  # fmt: skip


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("now", "zones", "expected"),
    [
        ("2026-11-02T12:59:59", ["America/New_York"], "2026-11-02T13:00:00"),  # 7:59:59 there
        ("2026-11-02T13:00:00", ["America/New_York"], "2026-11-02T13:00:00"),
        ("2026-11-03T01:59:59", ["America/New_York"], "2026-11-03T01:59:59"),  # 20:59:59
        ("2026-11-03T02:00:00", ["America/New_York"], "2026-11-03T13:00:00"),  # 21:00
        # The clocks: on 8 March 2026 New York leaps from 2 to 3, on 1 November it lives 1 to 2 twice.
        ("2026-03-08T03:00:00", ["America/New_York"], "2026-03-08T12:00:00"),
        ("2026-03-07T03:00:00", ["America/New_York"], "2026-03-07T13:00:00"),
        ("2026-11-01T03:00:00", ["America/New_York"], "2026-11-01T13:00:00"),
        ("2026-10-31T03:00:00", ["America/New_York"], "2026-10-31T12:00:00"),
        # The date line: Kiritimati (+14) and Pago Pago (-11) are a day and an hour apart.
        ("2026-11-02T17:00:00", ["Pacific/Kiritimati"], "2026-11-02T18:00:00"),
        ("2026-11-02T18:00:00", ["Pacific/Pago_Pago"], "2026-11-02T19:00:00"),
        # Whoever may be in several places is written to when all of them may be.
        ("2026-11-02T12:00:00", ["America/St_Johns", "Pacific/Honolulu"], "2026-11-02T18:00:00"),
        ("2026-11-03T00:30:00", ["America/St_Johns", "Pacific/Honolulu"], "2026-11-03T18:00:00"),
    ],
)
def test_the_next_moment_within_the_hours_of_every_zone(now, zones, expected):
    assert next_time(utc(now), zones=zones, hours=DEFAULT) == utc(expected)


def test_zones_too_far_apart_have_no_common_hour():
    assert (
        next_time(utc("2026-11-02T12:00:00"), zones=["Pacific/Auckland", "UTC"], hours=Hours(time(9), time(17))) is None
    )


def test_a_start_that_the_clocks_leap_over_is_just_after_the_leap():
    # Lord Howe leaps half an hour, from 2:00 to 2:30, on 4 October 2026 at 15:30 UTC the day before.
    hours = Hours(time(2, 15), time(5))
    found = next_time(utc("2026-10-03T10:00:00"), zones=["Australia/Lord_Howe"], hours=hours)
    assert found is not None
    assert hours.include(found.astimezone(ZoneInfo("Australia/Lord_Howe")).time())


def test_hours_may_span_midnight_or_the_whole_day():
    night = Hours(time(22), time(2))
    assert [night.include(time(hour)) for hour in (21, 22, 23, 0, 1, 2)] == [False, True, True, True, True, False]
    assert all(Hours(time(0), time(0)).include(time(hour)) for hour in range(24))


def test_the_nearest_rule_counts():
    florida, us, all_over = Hours(time(8), time(20)), Hours(time(9), time(20)), Hours(time(10), time(18))
    rules = {("US", "FL"): florida, ("US", ""): us, ("", ""): all_over}
    assert choose_hours(rules, country="US", region="FL") == florida
    assert choose_hours(rules, country="US", region="NY") == us
    assert choose_hours(rules, country="GR", region="") == all_over
    assert choose_hours({}, country="GR", region="") == DEFAULT


def test_a_recipient_is_where_they_say_else_where_their_number_may_be_else_where_the_sender_is():
    assert zones_of(timezone="Europe/Athens", phone="+12125550123", fallback="UTC") == ("Europe/Athens",)
    assert zones_of(timezone="Nowhere/Land", phone="+12125550123", fallback="UTC") == ("America/New_York",)
    assert len(zones_of(timezone="", phone="+18005550123", fallback="UTC")) > 1  # free of charge, from anywhere
    assert zones_of(timezone="", phone="", fallback="Europe/Athens") == ("Europe/Athens",)


@given(
    moment=st.datetimes(datetime(2026, 1, 1), datetime(2027, 12, 31), timezones=st.just(UTC)),  # noqa: DTZ001
    zones=st.lists(st.sampled_from(ZONES), min_size=1, max_size=3, unique=True),
    start=st.integers(0, 23),
    length=st.integers(1, 23),
)
def test_what_is_found_lies_within_the_hours_everywhere_and_nothing_earlier_does(moment, zones, start, length):
    hours = Hours(time(start), time((start + length) % 24))
    found = next_time(moment, zones=zones, hours=hours)

    def open_at(instant):
        return all(hours.include(instant.astimezone(ZoneInfo(zone)).time()) for zone in zones)

    if found is not None:
        assert found >= moment
        assert open_at(found)
    step = moment
    end = found or moment + timedelta(days=2)
    while step < end:
        assert not open_at(step), step
        step += timedelta(minutes=15)
