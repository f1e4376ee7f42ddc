"""Preparing: a recipient's row gets its text, its price set aside, and its place in a flow; in batches.

What can't be written to completes as skipped, with the reason. When credits run out, what they pay for goes on, and the
rest waits with a named blocker that a top-up lifts.
"""

from __future__ import annotations

import logging
import random
import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.db import connection, transaction
from django.db.models import Q

from config.infra import tenancy, work
from config.infra.work.claims import ClockTimestamp, in_seconds
from messaging.actions.composing import Composed, Composer
from messaging.actions.credits import OutOfCredits, OverDailyCap, left_today, read_balance, reserve_credits
from messaging.actions.flows import Place, connection_of, flows_for, queue_for
from messaging.actions.prices import Tariff, country_of, tariff_of
from messaging.actions.questions import skip_messages
from messaging.encoding import split_sms
from messaging.models import Campaign, Message, MessageBody, SendQueue

logger = logging.getLogger(__name__)

BATCH = 500
SINGLES_WAIT_SECONDS = 10.0
LACKS = NO_CREDITS, DAILY_CAP = "no_credits", "daily_cap"
NO_CONNECTION = "no_connection"

_PLACE = """
UPDATE messaging_message m SET flow_id = t.flow, text = t.text, sender = t.sender, parts = t.parts, price = t.price,
    credit = CASE WHEN t.price > 0 THEN 'held' ELSE '' END, due_at = coalesce(t.due_at, m.due_at), blocker = ''
FROM unnest(%(ids)s::bigint[], %(flows)s::bigint[], %(texts)s::text[], %(senders)s::text[], %(parts)s::int[],
            %(prices)s::numeric[], %(due)s::timestamptz[]) AS t(id, flow, text, sender, parts, price, due_at)
WHERE m.id = t.id"""


def prepare_campaign(campaign_id: int, *, now: datetime, limit: int = BATCH) -> int:
    """Prepare the next recipients of a campaign that is being sent; return how many rows were looked at.

    None are looked at once all are prepared, or while the campaign is paused or waits for credits (see its blocker);
    one that waited for credits tries a single recipient first.
    """
    with transaction.atomic():
        campaign = (
            Campaign.objects.select_for_update(of=("self",), no_key=True)
            .select_related("sender__connection", "template_version")
            .get(pk=campaign_id)
        )
        if campaign.status != Campaign.Status.SENDING or _still_waits(campaign, now=now):
            return 0
        rows = list(
            Message.objects.select_for_update(of=("self",))
            .filter(campaign=campaign, status=work.Status.READY, flow__isnull=True)
            .select_related("contact")
            .order_by("pk")[: 1 if campaign.blocker in LACKS else limit]
        )
        if not rows:
            return 0
        own = campaign.sender.connection if campaign.sender else None
        if connection_of(campaign.channel, own) is None:  # what is in an e-mail's footer is the connection's
            Campaign.objects.filter(pk=campaign.pk).update(blocker=NO_CONNECTION, updated_at=now)
            return 0
        composed = Composer(campaign).compose(rows, now=now)
        queue = queue_for(channel=campaign.channel, connection_id=own.pk if own else None)
        blocker = _set_aside(composed, campaign=campaign, queue=queue, reference=f"campaign:{campaign.pk}", now=now)
        Campaign.objects.filter(pk=campaign.pk).update(blocker=blocker, updated_at=now)
        return 0 if blocker else len(rows)


def _still_waits(campaign: Campaign, *, now: datetime) -> bool:
    """Is there still nothing to pay with?"""
    if campaign.blocker not in LACKS:
        return False
    balance = read_balance()
    left = left_today(balance.held, now=now)
    return balance.available <= 0 or (left is not None and left <= 0)


def prepare_singles(*, now: datetime, limit: int = BATCH) -> int:
    """Prepare the messages that belong to no campaign; their texts are there already. Of every tenant, in any order, as
    many as the limit: what waits of one is in nobody else's way."""
    waiting = Q(status=work.Status.READY, flow__isnull=True, campaign__isnull=True, due_at__lte=ClockTimestamp())
    with tenancy.all_tenants(reason="find the tenants whose single messages wait to be prepared"):
        tenants = list(Message.objects.filter(waiting).order_by().values_list("tenant_id", flat=True).distinct())
    random.shuffle(tenants)
    count = 0
    for tenant_id in tenants:
        with tenancy.tenant_scope(tenant_id):
            try:
                count += _prepare_singles_of_tenant(waiting, now=now, limit=limit)
            except Exception:  # one tenant's is nobody else's; the error tracker and the watchdog tell of it
                logger.exception("the single messages of tenant %s could not be prepared", tenant_id)
    return count


@transaction.atomic
def _prepare_singles_of_tenant(waiting: Q, *, now: datetime, limit: int) -> int:
    rows = Message.objects.select_for_update(of=("self",), skip_locked=True).select_related("contact")
    found = list(rows.filter(waiting).order_by("pk")[:limit])
    for channel, via in sorted({(row.channel, row.connection_id or 0) for row in found}):
        tariff, queue = tariff_of(channel), queue_for(channel=channel, connection_id=via or None)
        mine = [row for row in found if (row.channel, row.connection_id or 0) == (channel, via)]
        _set_aside([_price(row, tariff) for row in mine], campaign=None, queue=queue, reference="single", now=now)
    return len(found)


def _price(row: Message, tariff: Tariff) -> Composed:
    parts = len(split_sms(row.text).parts) if row.channel == "sms" else 1
    price = tariff.price(country_of(phone=row.address, known=row.contact.country), parts)
    if isinstance(price, str):
        return Composed(id=row.pk, reason=price)
    return Composed(id=row.pk, text=row.text, sender=row.sender, parts=parts, cost=price)


def _set_aside(
    composed: Sequence[Composed], *, campaign: Campaign | None, queue: SendQueue, reference: str, now: datetime
) -> str:
    """Skip what can't be written, hold what the rest costs, give it its flows; return the blocker of what is left."""
    skip_messages({row.id: row.reason for row in composed if row.reason})
    fine = [row for row in composed if not row.reason]
    affordable, blocker = _hold(fine, reference=reference, now=now)
    if affordable:
        flows = flows_for(queue, campaign, {row.place for row in affordable})
        _write(affordable, flows)
        work.ring_after_commit(Message)
    left = [row.id for row in fine[len(affordable) :]]
    if left and campaign is None:
        Message.objects.filter(pk__in=left).update(blocker=blocker, due_at=in_seconds(SINGLES_WAIT_SECONDS))
    return blocker


def _hold(rows: Sequence[Composed], *, reference: str, now: datetime) -> tuple[Sequence[Composed], str]:
    """Hold the price of as many as there are credits for, in order; return those, and what the others wait for."""
    blocker = ""
    while rows:
        total = sum((row.cost for row in rows), start=Decimal(0))
        if not total:
            return rows, blocker
        key = f"{reference}:held:{uuid.uuid4().hex}"  # the rows themselves say what is held for them
        try:
            with transaction.atomic():
                reserve_credits(amount=total, key=key, reference=reference, actor="sending", now=now)
        except OutOfCredits as error:
            rows, blocker = _afford(rows, error.available), NO_CREDITS
        except OverDailyCap as error:
            rows, blocker = _afford(rows, error.left), DAILY_CAP
        else:
            return rows, blocker
    return rows, blocker


def _afford(rows: Sequence[Composed], available: Decimal) -> Sequence[Composed]:
    count, left = 0, available
    for row in rows:
        if row.cost > left:
            break
        left -= row.cost
        count += 1
    return rows[:count]


def _write(rows: Sequence[Composed], flows: Mapping[Place, int]) -> None:
    parameters: dict[str, Any] = {
        "ids": [row.id for row in rows],
        "flows": [flows[row.place] for row in rows],
        "texts": [row.text for row in rows],
        "senders": [row.sender for row in rows],
        "parts": [row.parts for row in rows],
        "prices": [row.cost for row in rows],
        "due": [row.due_at for row in rows],
    }
    with connection.cursor() as cursor:
        cursor.execute(_PLACE, parameters)
    bodies = [MessageBody(message_id=row.id, subject=row.subject, html=row.html) for row in rows if row.html]
    MessageBody.objects.bulk_create(
        bodies, update_conflicts=True, unique_fields=["message"], update_fields=["subject", "html"]
    )
