"""When a recipient may be written to (pure): in the hours of the day of the place where they are.

Where a person's time zone is not known it may be any of their phone number's prefix: then all of these count, which is
the strictest. The default, 8:00 to 21:00, is the recipient's local time in 47 CFR 64.1200(c)(1).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo, available_timezones

import phonenumbers
from phonenumbers.timezone import UNKNOWN_TIMEZONE, time_zones_for_number

LOOK_AHEAD = timedelta(days=3)


@dataclass(frozen=True, slots=True)
class Hours:
    """The hours of a day in which may be sent: from `start`, before `end`; over midnight when `end` is earlier.

    The same start and end: at any time.
    """

    start: time = time(8)
    end: time = time(21)

    def include(self, moment: time) -> bool:
        """Is this a local time at which may be sent?"""
        if self.start == self.end:
            return True
        if self.start < self.end:
            return self.start <= moment < self.end
        return moment >= self.start or moment < self.end


DEFAULT = Hours()


def choose_hours(rules: Mapping[tuple[str, str], Hours], *, country: str, region: str) -> Hours:
    """Choose the hours of a place: of its region (a state), else of its country, else of everywhere, else the default.

    rules: by (country, region), ISO 3166-1 and the part of ISO 3166-2 behind the hyphen; "" stands for all of them.
    """
    for place in ((country, region), (country, ""), ("", "")):
        if place in rules:
            return rules[place]
    return DEFAULT


def zones_of(*, timezone: str, phone: str, fallback: str) -> tuple[str, ...]:
    """List the time zones in which a recipient may be: their own, else their phone prefix's, else the sender's."""
    if timezone in _all_zones():
        return (timezone,)
    return _zones_of_phone(phone) or (fallback,)


@lru_cache(maxsize=1)
def _all_zones() -> frozenset[str]:
    return frozenset(available_timezones())


@lru_cache(maxsize=4096)
def _zones_of_phone(phone: str) -> tuple[str, ...]:
    try:
        zones = time_zones_for_number(phonenumbers.parse(phone))
    except phonenumbers.NumberParseException:
        return ()
    return tuple(zone for zone in zones if zone != UNKNOWN_TIMEZONE and zone in _all_zones())


def next_time(now: datetime, *, zones: Sequence[str], hours: Hours) -> datetime | None:
    """Say when may be sent: now, or at the next moment that lies within the hours in every zone.

    now: aware; the answer is aware UTC. None: the zones lie so far apart that there is no such moment.
    """
    moment = now.astimezone(UTC)
    while moment <= now + LOOK_AHEAD:
        later = max(_opens(moment, ZoneInfo(zone), hours) for zone in zones)
        if later == moment:
            return moment
        moment = later
    return None


def _opens(moment: datetime, zone: ZoneInfo, hours: Hours) -> datetime:
    """Say when the hours begin in a zone: at once when they have. A start that the clocks leap over is just after."""
    local = moment.astimezone(zone)
    if hours.include(local.time()):
        return moment
    for days in (0, 1):
        start = datetime.combine(local.date() + timedelta(days=days), hours.start, tzinfo=zone).astimezone(UTC)
        if start > moment:
            # Where the clocks leap over the start, it is read with the offset before the leap: as soon as they did.
            return start
    raise AssertionError("a day begins within the next two")


def local_moment(wall: datetime, zone: str) -> datetime:
    """Say when the clocks of a zone show a time (naive), in UTC: the first time where they show it twice, and just
    after a leap over it."""
    return wall.replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)
