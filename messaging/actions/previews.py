"""Before a campaign is paid for: how many get it and who does not, in how many parts, at what cost, in what time.

It asks what freezing asks and composes what preparing composes, for everybody: the cost is exact as long as nothing
changes. Nothing is written but the report.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import datetime
from itertools import islice
from typing import Any

from django.db import connection, transaction

from audit.actions import record
from config.infra import work
from messaging.actions.campaigns import AT_ONCE, MOVES, CampaignError, InvalidCampaign, check_moment
from messaging.actions.composing import Composer
from messaging.actions.estimates import Calls, Sums, judge
from messaging.actions.flows import connection_of
from messaging.actions.freezing import recipients_of
from messaging.actions.segments import compiled, count_contacts
from messaging.models import Campaign, Contact, Message, MessageBody

CHUNK = 1_000
PART = 20_000  # contacts of a step


def ask_for_report(*, campaign_id: int, now: datetime, at: datetime | None = None) -> Campaign:
    """Report on a draft: at once when its audience is small, else by and by; `preflight` says which, and how far it is.

    at: when it is to be launched; None: now.

    Raises: InvalidCampaign for a time that is past; CampaignError, Campaign.DoesNotExist.
    """
    campaign = Campaign.objects.select_related("segment", "template_version__template", "sender").get(pk=campaign_id)
    if campaign.status != Campaign.Status.DRAFT:
        raise CampaignError(f"The campaign is {campaign.status}: a report is made before the launch.")
    check_moment(at, now=now)
    contacts = count_contacts(compiled(campaign.segment))
    if contacts <= AT_ONCE:
        campaign.preflight = report_on(campaign, begins=at or now, now=now)
    else:
        campaign.preflight = _asked(contacts, begins=at or now)
        work.ring_queue_after_commit(MOVES)
    same = Campaign.objects.filter(pk=campaign.pk, status=Campaign.Status.DRAFT, updated_at=campaign.updated_at)
    if not same.update(preflight=campaign.preflight):
        raise CampaignError("The campaign was changed meanwhile: ask for the report again.")
    return campaign


def _asked(contacts: int, *, begins: datetime) -> dict[str, Any]:
    """Build a report of which nothing is known yet."""
    told: dict[str, Any] = {"status": "asked", "part": 0, "of": max(math.ceil(contacts / PART), 1)}
    return told | {"reckoned_from": begins.isoformat(), "so_far": Sums().as_json()}


@transaction.atomic
def advance_report(campaign_id: int, *, now: datetime) -> int:
    """Report on the next part of a draft's audience, after the last one on the whole; return 1, or 0 where another
    process is at it. What an earlier version began in another shape is begun anew."""
    drafts = Campaign.objects.filter(status=Campaign.Status.DRAFT, preflight__status="asked")
    locked = drafts.select_for_update(of=("self",), no_key=True, skip_locked=True)
    related = locked.select_related("segment", "template_version__template", "sender")
    campaign = related.filter(pk=campaign_id).first()
    if campaign is None:
        return 0
    asked = campaign.preflight or {}
    try:
        sums, part, of = Sums.of_json(asked["so_far"]), int(asked["part"]), int(asked["of"])
        begins = datetime.fromisoformat(asked["reckoned_from"])
    except (KeyError, TypeError, ValueError):
        campaign.preflight = _asked(count_contacts(compiled(campaign.segment)), begins=now)
        campaign.save(update_fields=["preflight"])
        return 1
    add_part(sums, campaign, part=part, of=of, begins=begins, now=now)
    if part + 1 < of:
        campaign.preflight = {**asked, "part": part + 1, "so_far": sums.as_json()}
    else:
        campaign.preflight = judge(sums, campaign, begins=begins, now=now)
    campaign.save(update_fields=["preflight"])
    return 1


@transaction.atomic(savepoint=False)
def send_test(*, campaign: Campaign, contact_id: int, actor: str, now: datetime) -> Message:
    """Send what a contact would get to that contact alone, as a single message that is charged.

    Raises: InvalidCampaign when there is no such contact, or it would get nothing, with the reason; CampaignError when
    there is nothing to send it from.
    """
    contact = Contact.objects.filter(pk=contact_id).first()
    if contact is None:
        raise InvalidCampaign("contact_id", f"There is no contact {contact_id}.")
    if campaign.sender is not None and not campaign.sender.is_active:
        raise CampaignError("Its sender was put away: take another, or use it again.")
    if connection_of(campaign.channel, campaign.sender.connection if campaign.sender else None) is None:
        raise CampaignError(f"There is no active connection for {campaign.channel}: nothing can be sent.")
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


def report_on(campaign: Campaign, *, begins: datetime, now: datetime) -> dict[str, Any]:
    """Report on a campaign's whole audience, in memory that does not grow with it."""
    sums = Sums()
    add_part(sums, campaign, part=0, of=1, begins=begins, now=now)
    return judge(sums, campaign, begins=begins, now=now)


def add_part(sums: Sums, campaign: Campaign, *, part: int, of: int, begins: datetime, now: datetime) -> None:
    """Compose a campaign for everybody in a part of its audience, and add up."""
    campaign.scheduled_at = begins  # in memory alone: at each recipient's hour, as if it were launched for then
    composer, calls = Composer(campaign, is_preview=True), Calls(campaign)
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
            sums.starts[(composed.place, composed.due_at)] += 1
            calls.add(composed)
    sums.calls += calls.count()


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
