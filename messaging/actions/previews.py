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
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import islice
from typing import Any

from django.db import connection, transaction

from audit.actions import record
from config.infra import work
from messaging.actions.campaigns import MOVES, CampaignError
from messaging.actions.composing import Composed, Composer
from messaging.actions.credits import read_balance
from messaging.actions.flows import Place
from messaging.actions.freezing import recipients_of
from messaging.actions.limits import batch_size, per_second
from messaging.actions.segments import compiled, count_contacts
from messaging.actions.sending import provider_of
from messaging.models import Campaign, Contact, Message, MessageBody
from messaging.quiet import next_time

CHUNK = 1_000
AT_ONCE = 5_000  # contacts that are reported on while somebody waits; more are left to the next step of campaigns


@dataclass(slots=True)
class Report:
    """What a campaign would do if it were launched now; money in credits, times in seconds."""

    contacts: int = 0
    recipients: int = 0
    skipped: dict[str, int] = field(default_factory=dict)
    parts: int = 0
    cost: Decimal = Decimal(0)
    by_country: dict[str, int] = field(default_factory=dict)
    available: Decimal = Decimal(0)
    is_affordable: bool = False
    calls: int = 0
    seconds_under_limits: float = 0.0
    first_may_start_at: str = ""
    last_may_start_at: str = ""
    estimated_end_at: str = ""

    def as_json(self) -> dict[str, Any]:
        """Return it as it is stored and shown: credits as texts."""
        return asdict(self) | {"cost": str(self.cost), "available": str(self.available)}


def ask_for_report(*, campaign_id: int, now: datetime) -> Campaign:
    """Report on a draft: at once when its audience is small, else by and by; `preflight` says which.

    Raises: CampaignError, Campaign.DoesNotExist.
    """
    campaign = Campaign.objects.select_related("segment", "template_version__template", "sender").get(pk=campaign_id)
    if campaign.status != Campaign.Status.DRAFT:
        raise CampaignError(f"The campaign is {campaign.status}: a report is made before the launch.")
    if count_contacts(compiled(campaign.segment)) <= AT_ONCE:
        return store_report(campaign, now=now)
    campaign.preflight = {"status": "asked"}
    campaign.save(update_fields=["preflight"])
    work.ring_queue_after_commit(MOVES)
    return campaign


def store_report(campaign: Campaign, *, now: datetime) -> Campaign:
    """Report on a campaign and keep the report on it."""
    campaign.preflight = {"status": "ready", "made_at": now.isoformat(), **report_on(campaign, now=now).as_json()}
    campaign.save(update_fields=["preflight"])
    return campaign


@transaction.atomic(savepoint=False)
def send_test(*, campaign: Campaign, contact_id: int, actor: str, now: datetime) -> Message:
    """Send what a contact would get to that contact alone, as a single message that is charged.

    Raises: CampaignError when the contact would get nothing, with the reason; Contact.DoesNotExist.
    """
    contact = Contact.objects.get(pk=contact_id)
    message = Message(contact=contact, channel=campaign.channel, address=contact.address_on(campaign.channel))
    if not message.address:
        raise CampaignError(f"contact_id: the contact can't be reached by {campaign.channel}.")
    message.purpose, message.trigger = Message.Purpose.TRANSACTIONAL, f"test:campaign:{campaign.pk}"
    message.priority = 0
    work.add([message])
    (composed,) = Composer(campaign).compose([message], now=now)
    if composed.reason:
        raise CampaignError(f"contact_id: the contact would get nothing: {composed.reason}.")
    message.text, message.sender = composed.text, composed.sender
    message.save(update_fields=["text", "sender"])
    if composed.html:
        MessageBody.objects.create(message=message, subject=composed.subject, html=composed.html)
    record(name="campaign.tested", subject=f"campaign:{campaign.pk}", actor=actor, data={"contact": contact_id})
    return message


def report_on(campaign: Campaign, *, now: datetime) -> Report:
    """Compose a campaign for everybody in its audience, and add up; memory does not grow with the audience."""
    report, skipped, countries, places = Report(), Counter[str](), Counter[str](), set[Place]()
    calls = _Calls(campaign)
    composer = Composer(campaign, is_preview=True)
    for chunk in _chunks(_recipients(campaign)):
        report.contacts += len(chunk)
        skipped.update(reason for _, _, reason in chunk if reason)
        rows = _messages(campaign, [(contact_id, address) for contact_id, address, reason in chunk if not reason])
        for composed in composer.compose(rows, now=now):
            if composed.reason:
                skipped[composed.reason] += 1
                continue
            report.recipients += 1
            report.parts += composed.parts
            report.cost += composed.cost
            countries[composed.country] += 1
            places.add(composed.place)
            calls.add(composed)
    report.calls = calls.count()
    report.skipped, report.by_country = dict(skipped.most_common()), dict(countries.most_common())
    _judge(report, campaign, places, now=now)
    return report


class _Calls:
    """Counts the calls that carry messages added in the order in which they are sent.

    Where the messages of a call share their text, it is counted as claiming takes them (claiming.py): the first one
    decides, and takes those like it out of as many as a call may have, in its own flow.
    """

    def __init__(self, campaign: Campaign) -> None:
        provider = provider_of(campaign.channel, campaign.sender.connection if campaign.sender else None)
        self._size = min(batch_size(), provider.max_batch) if provider else batch_size()
        self._shares_text = provider is not None and provider.shares_text
        self._messages = self._full = 0
        self._numbers = itertools.count()
        # For each flow what is next, in order: each text with how many have it. A text goes as a whole.
        self._next: dict[tuple[Place, datetime | None], dict[str | int, int]] = {}
        self._waiting = Counter[tuple[Place, datetime | None]]()

    def add(self, composed: Composed) -> None:
        """Count a message in."""
        self._messages += 1
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
        """Return how many calls it takes."""
        if not self._shares_text:
            return math.ceil(self._messages / self._size)
        return self._full + sum(map(len, self._next.values()))


def _judge(report: Report, campaign: Campaign, places: set[Place], *, now: datetime) -> None:
    """Say whether there are credits for it, and when it would be through."""
    report.available = read_balance().available
    report.is_affordable = report.cost <= report.available
    report.seconds_under_limits = round(report.calls / per_second(campaign.tenant_id), 1)
    begins = max(now, campaign.scheduled_at or now)
    starts = [_start(place, begins) for place in places] or [begins]
    report.first_may_start_at, report.last_may_start_at = min(starts).isoformat(), max(starts).isoformat()
    report.estimated_end_at = (max(starts) + timedelta(seconds=report.seconds_under_limits)).isoformat()


def _start(place: Place, begins: datetime) -> datetime:
    if place.hours is None:
        return begins
    return next_time(begins, zones=place.zones, hours=place.hours) or begins


def _recipients(campaign: Campaign) -> Iterator[tuple[int, str, str]]:
    sql, parameters = recipients_of(campaign)
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
