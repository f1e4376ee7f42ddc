"""Before a campaign is paid for: how many get it and who does not, in how many parts, at what cost, in what time.

It asks what freezing asks and composes what preparing composes, for everybody: the cost is exact as long as nothing
changes. Nothing is written but the report.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import datetime, time, timedelta
from decimal import Decimal
from itertools import islice
from typing import Any

from django.db import connection, transaction

from audit.actions import record
from config.infra import work
from messaging.actions.campaigns import AT_ONCE, MOVES, CampaignError, InvalidCampaign
from messaging.actions.composing import Composed, Composer
from messaging.actions.credits import read_balance
from messaging.actions.flows import Place
from messaging.actions.freezing import recipients_of
from messaging.actions.limits import batch_size, per_second
from messaging.actions.segments import compiled, count_contacts
from messaging.actions.sending import provider_of
from messaging.models import Campaign, Contact, Message, MessageBody
from messaging.quiet import Hours, next_time

CHUNK = 1_000
PART = 20_000  # contacts of a step


@dataclass(slots=True)
class Sums:
    """What is known of a part of the audience; parts add up."""

    contacts: int = 0
    recipients: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    parts: int = 0
    cost: Decimal = Decimal(0)
    by_country: Counter[str] = field(default_factory=Counter)
    places: set[Place] = field(default_factory=set)
    calls: int = 0  # where the messages of a call share their text; else what it takes is seen in the end

    def as_json(self) -> dict[str, Any]:
        """Return it as it is kept between two steps."""
        hours = [[str(place.hours.start), str(place.hours.end)] if place.hours else [] for place in self.places]
        places = [[place.zones, *of] for place, of in zip(self.places, hours, strict=True)]
        return {name: getattr(self, name) for name in self.__slots__} | {"cost": str(self.cost), "places": places}

    @classmethod
    def of_json(cls, kept: dict[str, Any]) -> Sums:
        """Read what was kept."""
        places = {
            Place(tuple(zones), Hours(*map(time.fromisoformat, hours)) if hours else None)
            for zones, *hours in kept["places"]
        }
        counters = {name: Counter(kept[name]) for name in ("skipped", "by_country")}
        return cls(**kept | counters | {"cost": Decimal(kept["cost"]), "places": places})


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a campaign would do if it were launched now; credits as texts, times in seconds or ISO 8601."""

    contacts: int
    recipients: int
    skipped: dict[str, int]
    parts: int
    cost: str
    by_country: dict[str, int]
    available: str
    is_affordable: bool
    calls: int
    seconds_under_limits: float
    first_may_start_at: str
    last_may_start_at: str
    estimated_end_at: str


def ask_for_report(*, campaign_id: int, now: datetime) -> Campaign:
    """Report on a draft: at once when its audience is small, else by and by; `preflight` says which, and how far it is.

    Raises: CampaignError, Campaign.DoesNotExist.
    """
    campaign = Campaign.objects.select_related("segment", "template_version__template", "sender").get(pk=campaign_id)
    if campaign.status != Campaign.Status.DRAFT:
        raise CampaignError(f"The campaign is {campaign.status}: a report is made before the launch.")
    contacts = count_contacts(compiled(campaign.segment))
    if contacts <= AT_ONCE:
        campaign.preflight = report_on(campaign, now=now)
    else:
        sums = Sums().as_json()
        campaign.preflight = {"status": "asked", "part": 0, "of": math.ceil(contacts / PART), "so_far": sums}
        work.ring_queue_after_commit(MOVES)
    same = Campaign.objects.filter(pk=campaign.pk, status=Campaign.Status.DRAFT, updated_at=campaign.updated_at)
    if not same.update(preflight=campaign.preflight):
        raise CampaignError("The campaign was changed meanwhile: ask for the report again.")
    return campaign


@transaction.atomic
def advance_report(campaign_id: int, *, now: datetime) -> int:
    """Report on the next part of a draft's audience, after the last one on the whole; return 1, or 0 where another
    process is at it."""
    drafts = Campaign.objects.filter(status=Campaign.Status.DRAFT, preflight__status="asked")
    locked = drafts.select_for_update(of=("self",), no_key=True, skip_locked=True)
    related = locked.select_related("segment", "template_version__template", "sender")
    campaign = related.filter(pk=campaign_id).first()
    if campaign is None:
        return 0
    asked = campaign.preflight or {}
    sums = Sums.of_json(asked["so_far"])
    add_part(sums, campaign, part=asked["part"], of=asked["of"], now=now)
    if asked["part"] + 1 < asked["of"]:
        campaign.preflight = {**asked, "part": asked["part"] + 1, "so_far": sums.as_json()}
    else:
        campaign.preflight = _judged(sums, campaign, now=now)
    campaign.save(update_fields=["preflight"])
    return 1


@transaction.atomic(savepoint=False)
def send_test(*, campaign: Campaign, contact_id: int, actor: str, now: datetime) -> Message:
    """Send what a contact would get to that contact alone, as a single message that is charged.

    Raises: InvalidCampaign when there is no such contact, or it would get nothing, with the reason.
    """
    contact = Contact.objects.filter(pk=contact_id).first()
    if contact is None:
        raise InvalidCampaign("contact_id", f"There is no contact {contact_id}.")
    message = Message(contact=contact, channel=campaign.channel, address=contact.address_on(campaign.channel))
    if not message.address:
        raise InvalidCampaign("contact_id", f"The contact can't be reached by {campaign.channel}.")
    message.purpose, message.trigger = Message.Purpose.TRANSACTIONAL, f"test:campaign:{campaign.pk}"
    message.priority = 0
    work.add([message])
    (composed,) = Composer(campaign).compose([message], now=now)
    if composed.reason:
        raise InvalidCampaign("contact_id", f"The contact would get nothing: {composed.reason}.")
    message.text, message.sender = composed.text, composed.sender
    message.connection_id = campaign.sender.connection_id if campaign.sender else None
    message.save(update_fields=["text", "sender", "connection"])
    if composed.html:
        MessageBody.objects.create(message=message, subject=composed.subject, html=composed.html)
    record(name="campaign.tested", subject=f"campaign:{campaign.pk}", actor=actor, data={"contact": contact_id})
    return message


def report_on(campaign: Campaign, *, now: datetime) -> dict[str, Any]:
    """Report on a campaign's whole audience, in memory that does not grow with it."""
    sums = Sums()
    add_part(sums, campaign, part=0, of=1, now=now)
    return _judged(sums, campaign, now=now)


def add_part(sums: Sums, campaign: Campaign, *, part: int, of: int, now: datetime) -> None:
    """Compose a campaign for everybody in a part of its audience, and add up."""
    composer, calls = Composer(campaign, is_preview=True), _Calls(campaign)
    for chunk in _chunks(_recipients(campaign, part=part, of=of)):
        sums.contacts += len(chunk)
        sums.skipped.update(reason for _, _, reason in chunk if reason)
        rows = _messages(campaign, [(contact_id, address) for contact_id, address, reason in chunk if not reason])
        for composed in composer.compose(rows, now=now):
            if composed.reason:
                sums.skipped[composed.reason] += 1
                continue
            sums.recipients += 1
            sums.parts += composed.parts
            sums.cost += composed.cost
            sums.by_country[composed.country] += 1
            sums.places.add(composed.place)
            calls.add(composed)
    sums.calls += calls.count()


class _Calls:
    """Counts the calls that carry messages added in the order in which they are sent.

    Where the messages of a call share their text, it is counted as claiming takes them (claiming.py): the first one
    decides, and takes those like it out of as many as a call may have, in its own flow.
    """

    def __init__(self, campaign: Campaign) -> None:
        provider = provider_of(campaign.channel, campaign.sender.connection if campaign.sender else None)
        self._size = min(batch_size(), provider.max_batch) if provider else batch_size()
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


def _judged(sums: Sums, campaign: Campaign, *, now: datetime) -> dict[str, Any]:
    """Say whether there are credits for it, and when it would be through; as it is stored and shown."""
    available, calls = read_balance().available, _Calls(campaign).of(sums)
    seconds = round(calls / per_second(campaign.tenant_id), 1)
    begins = max(now, campaign.scheduled_at or now)
    starts = [_start(place, begins) for place in sums.places] or [begins]
    report = Report(
        contacts=sums.contacts,
        recipients=sums.recipients,
        skipped=dict(sums.skipped.most_common()),
        parts=sums.parts,
        cost=str(sums.cost),
        by_country=dict(sums.by_country.most_common()),
        available=str(available),
        is_affordable=sums.cost <= available,
        calls=calls,
        seconds_under_limits=seconds,
        first_may_start_at=min(starts).isoformat(),
        last_may_start_at=max(starts).isoformat(),
        estimated_end_at=(max(starts) + timedelta(seconds=seconds)).isoformat(),
    )
    return {"status": "ready", "made_at": now.isoformat(), **asdict(report)}


def _start(place: Place, begins: datetime) -> datetime:
    if place.hours is None:
        return begins
    return next_time(begins, zones=place.zones, hours=place.hours) or begins


def _recipients(campaign: Campaign, *, part: int, of: int) -> Iterator[tuple[int, str, str]]:
    sql, parameters = recipients_of(campaign, part=part, of=of)
    with connection.chunked_cursor() as cursor:
        cursor.execute(sql, parameters)
        yield from cursor


def _chunks(rows: Iterator[tuple[int, str, str]]) -> Iterator[list[tuple[int, str, str]]]:
    while chunk := list(islice(rows, CHUNK)):
        yield chunk


def _messages(campaign: Campaign, wanted: list[tuple[int, str]]) -> list[Message]:
    """Make the messages that freezing would, in memory alone."""
    contacts = Contact.objects.in_bulk([contact_id for contact_id, _ in wanted])
    return [
        Message(campaign=campaign, contact=contacts[contact_id], address=address, channel=campaign.channel)
        for contact_id, address in wanted
    ]
