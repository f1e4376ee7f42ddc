"""The steps that campaigns take by themselves: begun at their time, prepared, closed, folded; one tenant at a time."""

from __future__ import annotations

import logging
import time
from datetime import datetime

from django.db import connection, transaction
from django.db.models import Q
from django.utils import timezone

from audit.actions import record
from config.infra import tenancy, work
from config.infra.turns import Turns
from messaging.actions.campaigns import MOVES, begin_campaign, begins_at, lock_campaign, mind_sender
from messaging.actions.flows import FAILED
from messaging.actions.preparing import prepare_campaign
from messaging.actions.previews import advance_report
from messaging.actions.questions import skip_messages
from messaging.models import Campaign, CampaignTally, Flow, Message
from messaging.queries import Count, tally_of

logger = logging.getLogger(__name__)

Status = Campaign.Status
BUDGET_SECONDS = 20.0
CLOSE_BATCH = 1000
ON_THEIR_WAY = ("waiting", "queued", "calling")
FOLD_ABOVE = 200  # rows of a campaign's tally


def advance_campaigns(*, budget_seconds: float = BUDGET_SECONDS) -> int:
    """Take the next step of every campaign that has one, taking turns, until there is none; return how many steps.

    After the budget what is left waits for the next round. One campaign's failure keeps no other from its step.

    Raises: ExceptionGroup after all had their turn.
    """
    work.silence(MOVES)
    deadline = time.monotonic() + budget_seconds
    steps, turns, failed = 0, Turns("campaigns"), set[int]()
    moved = True
    while moved and time.monotonic() < deadline:
        moved = False
        for tenant_id, campaign_id in _open_campaigns():
            if campaign_id in failed or time.monotonic() > deadline:
                continue
            failed.add(campaign_id)
            with turns.turn(campaign_id), tenancy.tenant_scope(tenant_id):
                took = _step_or_say(campaign_id)
                failed.discard(campaign_id)
                steps, moved = steps + took, moved or bool(took)
    turns.end(f"{len(turns.failures)} campaigns could not take their step")
    return steps


def _open_campaigns() -> list[tuple[int, int]]:
    """List the campaigns that may have a step to take: those that are on, and cancelled ones with rows to close."""
    with tenancy.all_tenants(reason="find the campaigns of every tenant that have a step to take"):
        is_on = Q(status__in=(Status.SCHEDULED, Status.SENDING)) | Q(blocker="closing")
        rows = Campaign.objects.filter(is_on | Q(status=Status.DRAFT, preflight__status="asked"))
        return list(rows.order_by("pk").values_list("tenant_id", "pk"))


def _step_or_say(campaign_id: int) -> int:
    """Take one step of a campaign; one that fails says so on its row, until a later one does not."""
    campaigns = Campaign.objects.filter(pk=campaign_id)
    try:
        took = _step(campaign_id, now=timezone.now())
    except Exception:
        campaigns.filter(blocker="").update(blocker=FAILED)
        raise
    campaigns.filter(blocker=FAILED).update(blocker="")
    return took


def _step(campaign_id: int, *, now: datetime) -> int:
    """Take one step of a campaign; return 1 when there may be another at once, else 0."""
    campaign = Campaign.objects.select_related("sender").filter(pk=campaign_id).first()
    if campaign is None:  # a draft that was deleted since it was listed
        return 0
    if campaign.status == Status.SCHEDULED:
        return int(begins_at(campaign) <= now and begin_campaign(campaign_id=campaign_id, now=now) is not None)
    if campaign.status == Status.DRAFT:
        return advance_report(campaign_id, now=now)
    if campaign.blocker == "closing":
        return close_rows(campaign_id, reason="cancelled")
    if campaign.expires_at is not None and campaign.expires_at <= now and close_rows(campaign_id, reason="expired"):
        return 1
    if not mind_sender(campaign):
        return 0
    if prepare_campaign(campaign_id, now=now):
        return 1
    _fold(campaign_id)
    finish_campaign(campaign_id)
    return 0


@transaction.atomic(savepoint=False)
def close_rows(campaign_id: int, *, reason: str, limit: int = CLOSE_BATCH) -> int:
    """Complete some of the campaign's rows that were never called as skipped; return how many.

    Of a cancelled campaign with none left, says so on its row.
    """
    flows = list(Flow.objects.filter(campaign_id=campaign_id).values_list("pk", flat=True))
    ready = Message.objects.filter(status=work.Status.READY)
    unprepared, queued = ready.filter(campaign_id=campaign_id, flow__isnull=True), ready.filter(flow_id__in=flows)
    ids: list[int] = []
    for rows in (unprepared, queued):
        in_order = rows.select_for_update(skip_locked=True, of=("self",)).order_by("pk")
        ids += in_order.values_list("pk", flat=True)[: limit - len(ids)]
    skip_messages(dict.fromkeys(ids, reason))
    if not ids and not unprepared.exists() and not queued.exists():
        Campaign.objects.filter(pk=campaign_id, blocker="closing").update(blocker="")
        Flow.objects.filter(campaign_id=campaign_id).update(blocker="finished", blocked_until=None)
    return len(ids)


@transaction.atomic(savepoint=False)
def finish_campaign(campaign_id: int) -> bool:
    """Say that a campaign is done once each of its messages has its end, or is unknown; say whether it is."""
    campaign = lock_campaign(campaign_id)
    if campaign.status != Status.SENDING:
        return False
    states = tally_of(campaign_id).states
    if any(states.get(state, Count()).messages for state in ON_THEIR_WAY):
        return False
    campaign.status, campaign.blocker, campaign.finished_at = Status.DONE, "", timezone.now()
    campaign.save(update_fields=["status", "blocker", "finished_at"])
    Flow.objects.filter(campaign_id=campaign_id).update(blocker="finished", blocked_until=None)
    counts = {state: count.messages for state, count in states.items()}
    record(name="campaign.done", subject=f"campaign:{campaign.pk}", actor="sending", data={**counts})
    return True


_FOLD = """
WITH gone AS (DELETE FROM messaging_campaigntally WHERE campaign_id = %s RETURNING *)
INSERT INTO messaging_campaigntally (tenant_id, campaign_id, state, reason, messages, parts, cost)
SELECT tenant_id, campaign_id, state, reason, sum(messages), sum(parts), sum(cost) FROM gone GROUP BY 1, 2, 3, 4
HAVING sum(messages) <> 0 OR sum(parts) <> 0 OR sum(cost) <> 0"""


def _fold(campaign_id: int) -> None:
    """Make few rows of a campaign's many tallies; their sums stay, in every snapshot."""
    if CampaignTally.objects.filter(campaign_id=campaign_id).count() > FOLD_ABOVE:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(_FOLD, [campaign_id])
