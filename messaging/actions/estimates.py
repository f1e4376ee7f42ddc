"""What a report before the launch adds up, and what it makes of the sums: credits, days, hours, what is in the way."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import datetime, time, timedelta
from decimal import Decimal
from typing import Any, Self

from config.infra import tenancy
from messaging.actions.campaigns import SENDER_INACTIVE
from messaging.actions.composing import Composed
from messaging.actions.credits import left_today, read_balance
from messaging.actions.flows import Place, connection_of
from messaging.actions.limits import batch_size, levels_of, per_second
from messaging.actions.sending import provider_of
from messaging.models import Campaign, CreditPolicy, Sender, SendQueue
from messaging.quiet import Hours, next_time
from shopsync.models import Tenant

Start = tuple[Place, datetime | None]  # where a recipient is, and when their own clocks show the campaign's hour
_OF_THE_ACCOUNT = ("refused_with_", "bad_address", "bad_sender")  # blockers of a queue that no time lifts


@dataclass(slots=True)
class Sums:
    """What is known of a part of the audience; parts add up."""

    contacts: int = 0
    recipients: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    parts: int = 0
    cost: Decimal = Decimal(0)
    by_country: Counter[str] = field(default_factory=Counter)
    starts: Counter[Start] = field(default_factory=Counter)
    calls: int = 0  # where the messages of a call share their text; else what it takes is seen in the end

    def as_json(self) -> dict[str, Any]:
        """Return it as it is kept between two steps."""
        starts = [
            {
                "zones": place.zones,
                "hours": [str(place.hours.start), str(place.hours.end)] if place.hours else None,
                "due_at": due_at.isoformat() if due_at else None,
                "recipients": count,
            }
            for (place, due_at), count in self.starts.items()
        ]
        return {name: getattr(self, name) for name in self.__slots__} | {"cost": str(self.cost), "starts": starts}

    @classmethod
    def of_json(cls, kept: dict[str, Any]) -> Self:
        """Read what was kept.

        Raises: KeyError, TypeError, ValueError for what an earlier version of this kept in another shape.
        """
        starts = Counter[Start]()
        for one in kept["starts"]:
            hours = Hours(*map(time.fromisoformat, one["hours"])) if one["hours"] else None
            due_at = datetime.fromisoformat(one["due_at"]) if one["due_at"] else None
            starts[(Place(tuple(one["zones"]), hours), due_at)] += one["recipients"]
        counters = {name: Counter(kept[name]) for name in ("skipped", "by_country")}
        return cls(**kept | counters | {"cost": Decimal(kept["cost"]), "starts": starts})


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a campaign would do if it were launched for a moment; credits as texts, times in seconds or ISO 8601.

    reckoned_from   the moment: what was asked for, else when it was asked
    left_of_cap     what the day's cap leaves on that day; None: there is no cap
    days_under_cap  on how many days it is sent under the cap; None: never, since the cap is nothing
    would_expire    recipients whose first hour in which may be sent comes after it has expired
    hour_is_over    recipients whose own clocks show a later hour already: they get it at once
    blocker         what would keep all of it from being sent, e.g. no_connection; empty: nothing
    warnings        all of this that needs a person, in sentences
    """

    reckoned_from: str
    contacts: int
    recipients: int
    skipped: dict[str, int]
    parts: int
    cost: str
    by_country: dict[str, int]
    available: str
    is_affordable: bool
    left_of_cap: str | None
    days_under_cap: int | None
    calls: int
    seconds_under_limits: float
    first_may_start_at: str
    last_may_start_at: str
    estimated_end_at: str
    would_expire: int
    hour_is_over: int
    blocker: str
    warnings: list[str]


class Calls:
    """Counts the calls that carry messages added in the order in which they are sent.

    Where the messages of a call share their text, it is counted as claiming takes them (claiming.py): the first one
    decides, and takes those like it out of as many as a call may have, in its own flow.
    """

    def __init__(self, campaign: Campaign) -> None:
        provider = provider_of(campaign.channel, campaign.sender.connection if campaign.sender else None)
        self._size = min(batch_size(), provider.max_batch) if provider else batch_size()
        self._size = min(self._size, _recipients_per_second(campaign) or self._size)
        self._shares_text = provider is not None and provider.shares_text
        self._full = 0
        self._numbers = itertools.count()
        # For each flow what is next, in order: each text with how many have it. A text goes as a whole.
        self._next: dict[tuple[Place, datetime | None], dict[str | int, int]] = {}
        self._waiting = Counter[tuple[Place, datetime | None]]()

    def add(self, composed: Composed) -> None:
        """Count a message in."""
        if not self._shares_text:
            return
        flow = (composed.place, composed.due_at)
        texts = self._next.setdefault(flow, {})
        text = next(self._numbers) if composed.has_own_links else composed.text
        texts[text] = texts.get(text, 0) + 1
        self._waiting[flow] += 1
        if self._waiting[flow] == self._size:
            self._waiting[flow] -= texts.pop(next(iter(texts)))
            self._full += 1

    def count(self) -> int:
        """Return how many calls it takes, where a call's messages share their text; else 0: see `of`."""
        return self._full + sum(map(len, self._next.values()))

    def of(self, sums: Sums) -> int:
        """Return how many calls a whole audience takes; each part of it is begun anew where texts are shared."""
        return sums.calls if self._shares_text else math.ceil(sums.recipients / self._size)


def judge(sums: Sums, campaign: Campaign, *, begins: datetime, now: datetime) -> dict[str, Any]:
    """Say whether there is a way and are credits for it, and when it would be through; as it is stored and shown."""
    balance, calls = read_balance(), Calls(campaign).of(sums)
    own_limit = _recipients_per_second(campaign)
    seconds = max(calls / _requests_per_second(campaign), sums.recipients / own_limit if own_limit else 0.0)
    seconds = round(seconds, 1)
    left = left_today(balance.held, now=begins)
    days = _days(sums.cost, left)
    starts = [_first_hour(start, begins, now) for start in sums.starts] or [begins]
    end = max(starts) + timedelta(seconds=seconds, days=(days or 1) - 1)
    report = Report(
        reckoned_from=begins.isoformat(),
        contacts=sums.contacts,
        recipients=sums.recipients,
        skipped=dict(sums.skipped.most_common()),
        parts=sums.parts,
        cost=str(sums.cost),
        by_country=dict(sums.by_country.most_common()),
        available=str(balance.available),
        is_affordable=sums.cost <= balance.available,
        left_of_cap=None if left is None else str(left),
        days_under_cap=days,
        calls=calls,
        seconds_under_limits=seconds,
        first_may_start_at=min(starts).isoformat(),
        last_may_start_at=max(starts).isoformat(),
        estimated_end_at=end.isoformat(),
        would_expire=_expiring(sums, campaign, begins=begins, now=now),
        hour_is_over=sum(count for (_, due_at), count in sums.starts.items() if due_at is not None and due_at < now),
        blocker=_blocker_of(campaign),
        warnings=[],
    )
    told = asdict(report) | {"warnings": _warnings(report, campaign, end=end)}
    return {"status": "ready", "made_at": now.isoformat(), **told}


def _days(cost: Decimal, left: Decimal | None) -> int | None:
    """Say on how many days something is paid for under the day's cap; None: on none."""
    if left is None or cost <= left:
        return 1
    cap = CreditPolicy.objects.values_list("daily_cap", flat=True).first()
    return 1 + math.ceil((cost - left) / cap) if cap else None


def _recipients_per_second(campaign: Campaign) -> int | None:
    """Return the own limit of whoever a campaign is from; None: there is none."""
    own = campaign.sender.connection if campaign.sender else None
    via = connection_of(campaign.channel, own)
    name = campaign.sender.value if campaign.sender else via.sender if via else ""
    limited = Sender.objects.filter(is_active=True, recipients_per_second__isnull=False, value=name)
    return limited.order_by("recipients_per_second").values_list("recipients_per_second", flat=True).first()


def _requests_per_second(campaign: Campaign) -> int:
    """Return the lowest of the limits that a campaign's requests count on."""
    via = connection_of(campaign.channel, campaign.sender.connection if campaign.sender else None)
    return min(level.limit for level in levels_of(via)) if via else per_second(campaign.tenant_id)


def _first_hour(start: Start, begins: datetime, now: datetime) -> datetime:
    """Say when the recipients of one place may be written to first: at the hour of their own clocks, or now."""
    place, due_at = start
    begins = max(due_at, now) if due_at is not None else begins
    if place.hours is None:
        return begins
    return next_time(begins, zones=place.zones, hours=place.hours) or begins


def _expiring(sums: Sums, campaign: Campaign, *, begins: datetime, now: datetime) -> int:
    if campaign.expires_at is None:
        return 0
    hours = ((_first_hour(start, begins, now), count) for start, count in sums.starts.items())
    return sum(count for hour, count in hours if hour >= campaign.expires_at)


def _blocker_of(campaign: Campaign) -> str:
    """Name what would keep the whole of a campaign from being sent, as things stand."""
    tenant = Tenant.objects.get(pk=tenancy.current_tenant_id())
    if tenant.status != Tenant.Status.ACTIVE:
        return f"tenant_{tenant.status}"
    if campaign.sender is not None and not campaign.sender.is_active:
        return SENDER_INACTIVE
    own = campaign.sender.connection if campaign.sender else None
    provider = provider_of(campaign.channel, own)
    if provider is None:
        return "no_connection"
    if unusable := str(getattr(provider, "blocker", "")):  # of an account that nobody can tell how to speak to
        return unusable
    via = connection_of(campaign.channel, own)
    if campaign.sender is None and via is not None and not via.sender:
        return "bad_sender"
    queue = SendQueue.objects.filter(channel=campaign.channel, connection=own).first()
    return queue.blocker if queue is not None and queue.blocker.startswith(_OF_THE_ACCOUNT) else ""


def _sentence_of(blocker: str, campaign: Campaign) -> str:
    """Say what is in the way, and what to do about it."""
    known = {
        "no_connection": f"There is no active connection for {campaign.channel}: add one.",
        SENDER_INACTIVE: "Its sender was put away: use it again, or take another.",
        "bad_sender": "The connection has no usable sender: give it one, or choose one for the campaign.",
    }
    if blocker.startswith("refused_with_"):
        status = blocker.removeprefix("refused_with_")
        return f"The provider refuses what the connection sends ({status}): look at its key and its account."
    return known.get(blocker, f"Nothing can be sent as things stand: {blocker}.")


def _warnings(report: Report, campaign: Campaign, *, end: datetime) -> list[str]:
    """Say in sentences what a person has to do something about."""
    blocked = [_sentence_of(report.blocker, campaign)] if report.blocker else []
    return [*_of_people(report), *blocked, *_of_credits(report), *_of_time(report, campaign, end=end)]


def _of_people(report: Report) -> Iterator[str]:
    if report.contacts == 0:
        yield "There is nobody in the segment."
    elif report.recipients == 0:
        why = ", ".join(f"{count} {reason}" for reason, count in list(report.skipped.items())[:3])
        yield f"Nobody would get it: {why}."


def _of_credits(report: Report) -> Iterator[str]:
    if not report.is_affordable:
        yield f"It costs {report.cost} credits, and {report.available} are available: top up."
    if report.days_under_cap is None:
        yield "The day's cap is 0 credits: nothing is sent until it is raised."
    elif report.days_under_cap > 1:
        yield f"The day's cap leaves {report.left_of_cap} credits: it is sent on {report.days_under_cap} days."


def _of_time(report: Report, campaign: Campaign, *, end: datetime) -> Iterator[str]:
    if report.hour_is_over:
        yield f"For {report.hour_is_over} recipients that hour is over by their clocks: they get it at once."
    if report.would_expire:
        yield f"It expires before {report.would_expire} of {report.recipients} recipients may be written to."
    elif campaign.expires_at is not None and report.recipients and end > campaign.expires_at:
        yield "It expires before the last of it would be sent."
