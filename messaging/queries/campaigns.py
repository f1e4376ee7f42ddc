"""Where campaigns stand, and the proof of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

from django.db import connection, transaction
from django.db.models import Exists, OuterRef, Q, Sum
from django.utils import timezone

from config.infra import tenancy
from config.infra.work import Status
from messaging.models import Campaign, CampaignTally, Flow, Message
from messaging.queries.flows import blocker_of


@dataclass(frozen=True, slots=True)
class Count:
    """Messages in one state, their SMS parts, and what is held or was paid for them in credits."""

    messages: int = 0
    parts: int = 0
    cost: Decimal = Decimal(0)


@dataclass(frozen=True, slots=True)
class Tally:
    """Where a campaign's messages stand: by state, and the skipped ones by reason."""

    states: dict[str, Count]
    skipped: dict[str, int]

    @property
    def total(self) -> int:
        """How many messages there are."""
        return sum(count.messages for count in self.states.values())


def waits_for(campaign: Campaign) -> str:
    """Name what a campaign waits for: its own blocker, its time, or what blocks all that it has to send; or nothing.

    Several reasons are parted by commas: people in different zones have different hours.
    """
    if campaign.blocker or campaign.status not in {Campaign.Status.SCHEDULED, Campaign.Status.SENDING}:
        return campaign.blocker
    if campaign.status == Campaign.Status.SCHEDULED:
        return "its_time"
    ready = Message.objects.filter(flow=OuterRef("pk"), status=Status.READY)
    flows = Flow.objects.filter(Exists(ready), campaign=campaign).select_related("queue")
    named = {
        blocker_of(flow) or blocker_of(flow.queue) or ("" if flow.has_due else "its_time")
        for flow in flows.annotate(has_due=Exists(ready.filter(due_at__lte=timezone.now())))
    }
    return "" if "" in named else ", ".join(sorted(named))


def held_up() -> Q:
    """Find messages that wait for a person or the clock: their flow is blocked for that, or their campaign is.

    Not those of a cancelled campaign: they are closed by and by; nor those whose queue waits, for seconds.
    """
    by_flow = ~Q(flow__blocker__in=("", "cancelled", "finished")) & (
        Q(flow__blocked_until__isnull=True) | Q(flow__blocked_until__gt=timezone.now())
    )
    unprepared = Q(flow__isnull=True, campaign__isnull=False) & ~Q(campaign__blocker__in=("", "closing"))
    return Q(flow__isnull=False) & by_flow | unprepared


def tally_of(campaign_id: int) -> Tally:
    """Add up a campaign's tallies: exactly what its rows say, in the snapshot of one query."""
    rows = CampaignTally.objects.filter(campaign_id=campaign_id).values("state", "reason").order_by("state", "reason")
    sums = rows.annotate(n=Sum("messages"), p=Sum("parts"), c=Sum("cost"))
    return _tally((row["state"], row["reason"], Count(row["n"], row["p"], row["c"])) for row in sums)


def count_rows(campaign_id: int) -> Tally:
    """Count a campaign's rows themselves: what tally_of says, the long way."""
    with connection.cursor() as cursor:
        cursor.execute(_COUNT_ROWS, [campaign_id])
        return _tally((state, reason, Count(*counts)) for state, reason, *counts in cursor.fetchall())


_COUNT_ROWS = """
SELECT messaging_state(status, outcome, flow_id, started_at) AS state,
       CASE WHEN outcome = 'skipped' THEN reason ELSE '' END AS reason, count(*), sum(parts),
       sum(CASE WHEN credit IN ('held', 'settled') THEN price ELSE 0 END)
FROM messaging_message WHERE campaign_id = %s GROUP BY 1, 2 ORDER BY 1, 2"""


def _tally(rows: Iterable[tuple[str, str, Count]]) -> Tally:
    states: dict[str, Count] = {}
    skipped: dict[str, int] = {}
    for state, reason, count in rows:
        if not count.messages and not count.parts and not count.cost:
            continue
        known = states.get(state, Count())
        states[state] = Count(known.messages + count.messages, known.parts + count.parts, known.cost + count.cost)
        if state == Message.Outcome.SKIPPED:
            skipped[reason] = count.messages
    return Tally(states, skipped)


@dataclass(frozen=True, slots=True)
class CampaignDrift:
    """Something of a campaign, or of what its messages hold, that does not add up."""

    subject: str
    found: str
    expected: str


_HELD = """
SELECT coalesce((SELECT balance FROM messaging_creditaccount WHERE tenant_id = %(tenant)s AND kind = 'held'), 0),
       coalesce((SELECT sum(price) FROM messaging_message WHERE tenant_id = %(tenant)s AND credit = 'held'), 0),
       coalesce((SELECT balance FROM messaging_creditaccount WHERE tenant_id = %(tenant)s AND kind = 'spent'), 0),
       coalesce((SELECT sum(price) FROM messaging_message WHERE tenant_id = %(tenant)s
                 AND credit IN ('settled', 'house')), 0)"""


def find_campaign_drift(*, tenant_id: int) -> list[CampaignDrift]:
    """Compare each campaign's counts with its rows, and the credits held and spent with the messages they are for.

    Each comparison is one snapshot, so that it may run while messages are sent. An empty list is the proof.
    """
    drifts = []
    with tenancy.tenant_scope(tenant_id), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        for campaign_id in Campaign.objects.order_by("pk").values_list("pk", flat=True):
            tally, rows = tally_of(campaign_id), count_rows(campaign_id)
            if tally != rows:
                drifts.append(CampaignDrift(f"campaign:{campaign_id}", str(tally), str(rows)))
        cursor.execute(_HELD, {"tenant": tenant_id})
        held, held_for, spent, spent_for = cursor.fetchone()
    pairs = (("held", held, held_for), ("spent", spent, spent_for))
    return drifts + [
        CampaignDrift(f"credits:{word}", str(one), str(other)) for word, one, other in pairs if one != other
    ]
