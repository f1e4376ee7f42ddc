"""Queues and flows: found or made, given their turn, blocked and let go."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, time
from typing import Any

from django.db import connection, transaction
from django.db.models import Q, QuerySet

from config.infra import tenancy
from config.infra.work.claims import ClockTimestamp, in_seconds
from messaging.models import Campaign, Flow, Message, QuietHours, SendQueue
from messaging.quiet import Hours, choose_hours, next_time, zones_of
from messaging.senders import SERVICES
from shopsync.models import Connection, Tenant

QUANTUM = 500  # recipients that a turn adds
FAILED = "failed: see the log"  # what waits for us: an error of ours, tried again by itself
SMALL_CALL = QUANTUM // 5  # a call costs at least this: requests are what is limited

# Transactional messages go first, then whoever's turn is the lowest. Deficit round robin: a queue at the head of the
# line is given a quantum when what it saved up does not pay for its call; it stays there while it can pay for another,
# and goes to the end when it can't. One that ran empty starts anew (empty_queue).
_TAKE_TURN = """
WITH due AS (
    SELECT q.id, coalesce(p.batch_size, %(quantum)s) AS batch FROM messaging_sendqueue q
    LEFT JOIN messaging_sendingpolicy p ON p.tenant_id = q.tenant_id
    CROSS JOIN LATERAL (
        SELECT f.priority FROM messaging_flow f
        WHERE f.queue_id = q.id AND f.blocker <> 'finished' AND (f.blocker = '' OR f.blocked_until <= clock_timestamp())
          AND EXISTS (SELECT FROM messaging_message m WHERE m.flow_id = f.id AND m.status = 'ready'
                      AND m.due_at <= clock_timestamp())
        ORDER BY f.priority LIMIT 1) first
    WHERE (q.blocker = '' OR q.blocked_until <= clock_timestamp()) AND q.id <> ALL(%(waiting)s)
    ORDER BY first.priority, q.turn, q.id LIMIT 1 FOR UPDATE OF q
), paid AS (
    SELECT q.id, due.batch, greatest(due.batch, %(small)s) AS cost,
           q.deficit + CASE WHEN q.deficit < greatest(due.batch, %(small)s) THEN %(quantum)s ELSE 0 END AS has
    FROM due JOIN messaging_sendqueue q ON q.id = due.id
)
UPDATE messaging_sendqueue q SET blocker = '', blocked_until = NULL,
    served_at = CASE WHEN has >= cost THEN clock_timestamp() ELSE q.served_at END,
    deficit = CASE WHEN has >= cost THEN has - cost ELSE has END,
    turn = CASE WHEN has >= 2 * cost THEN q.turn ELSE nextval('messaging_turn') END
FROM paid WHERE q.id = paid.id RETURNING q.id, q.tenant_id, paid.batch, has >= cost"""


@dataclass(frozen=True, slots=True)
class Turn:
    """Leave of the line to make one call: of this queue, for at most so many recipients."""

    queue_id: int
    tenant_id: int
    batch_size: int


def take_turn(*, waiting: Collection[int]) -> Turn | None:
    """Say whose turn it is among the queues that have something due and are not blocked; None when there is none.

    waiting: ids of queues that were just told to wait, and are passed over.
    """
    parameters: dict[str, Any] = {"waiting": list(waiting), "quantum": QUANTUM, "small": SMALL_CALL}
    while True:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SET LOCAL synchronous_commit = off")  # a turn that is lost is taken again
            cursor.execute(_TAKE_TURN, parameters)
            row = cursor.fetchone()
        if row is None:
            return None
        *turn, is_paid = row
        if is_paid:
            return Turn(*turn)


def queue_for(*, channel: str, connection_id: int | None = None) -> SendQueue:
    """Find or make the tenant's queue of a connection (None: the channel's own)."""
    via: dict[str, Any] = {"channel": channel, "connection_id": connection_id}
    queue, _ = SendQueue.objects.get_or_create(**via)
    return queue


def connection_of(channel: str, own: Connection | None) -> Connection | None:
    """Find the connection of a channel: the one that is given, else the first of its service; None: none is active."""
    service = SERVICES.get(channel)
    if own is None and service:
        return Connection.objects.filter(service=service, is_active=True).first()
    return own if own is not None and own.is_active else None


@dataclass(frozen=True, slots=True)
class Place:
    """Where a recipient is, for the hours of the day: the zones that all must be in their hours; none: at any time."""

    zones: tuple[str, ...] = ()
    hours: Hours | None = None


ANYWHERE = Place()


class Places:
    """Says where recipients are, by the tenant's settings: read once."""

    def __init__(self, *, keeps_quiet_hours: bool) -> None:
        self._keeps_quiet_hours = keeps_quiet_hours
        self._fallback = Tenant.objects.get(pk=tenancy.current_tenant_id()).timezone
        rules = QuietHours.objects.all() if keeps_quiet_hours else ()
        self._hours = {(rule.country, rule.region): Hours(rule.starts_at, rule.ends_at) for rule in rules}

    def of(self, row: Message, country: str) -> Place:
        """Say where the recipient of a message is (with its contact), and which hours hold there."""
        if not self._keeps_quiet_hours:
            return ANYWHERE
        hours = choose_hours(self._hours, country=country, region=row.contact.region)
        return ANYWHERE if hours.start == hours.end else Place(self.zones(row), hours)

    @property
    def need_country(self) -> bool:
        """Does it matter in which country a recipient is?"""
        return any(country for country, _ in self._hours)

    def has_moved(self, row: Message, country: str, *, since: Place) -> bool:
        """Is a recipient no longer where they were when their message was prepared? Who has no zone of their own is
        where their number is."""
        if not self._keeps_quiet_hours:
            return since != ANYWHERE
        hours = choose_hours(self._hours, country=country, region=row.contact.region)
        if hours.start == hours.end:
            return since != ANYWHERE
        return since.hours != hours or (bool(row.contact.timezone) and since.zones != self.zones(row))

    def zones(self, row: Message) -> tuple[str, ...]:
        """List the zones that the recipient may be in."""
        return zones_of(timezone=row.contact.timezone, phone=row.address, fallback=self._fallback)


def place_of(flow: Flow) -> Place:
    """Return the place that a flow was made for."""
    if not flow.zones or flow.starts_at is None or flow.ends_at is None:
        return ANYWHERE
    return Place(tuple(flow.zones.split(",")), Hours(flow.starts_at, flow.ends_at))


def flows_for(queue: SendQueue, campaign: Campaign | None, places: Iterable[Place]) -> dict[Place, int]:
    """Find or make the flows of a queue for these places; return their ids.

    A new flow of a campaign is blocked by what blocks the campaign: hold the campaign's row meanwhile.
    """
    wanted = {
        place: Flow(
            queue=queue,
            campaign=campaign,
            priority=1 if campaign else 0,
            zones=",".join(place.zones),
            starts_at=place.hours.start if place.hours else None,
            ends_at=place.hours.end if place.hours else None,
        )
        for place in places
    }
    found = _ids(queue, campaign)
    missing = [flow for flow in wanted.values() if _identity(flow) not in found]
    if missing:
        Flow.objects.bulk_create(missing, ignore_conflicts=True)
        found = _ids(queue, campaign)
    return {place: found[_identity(flow)] for place, flow in wanted.items()}


def _ids(queue: SendQueue, campaign: Campaign | None) -> dict[tuple[str, time | None, time | None], int]:
    return {_identity(flow): flow.pk for flow in Flow.objects.filter(queue=queue, campaign=campaign)}


def _identity(flow: Flow) -> tuple[str, time | None, time | None]:
    return flow.zones, flow.starts_at, flow.ends_at


def opens_at(flow: Flow, *, now: datetime) -> datetime | None:
    """Say when a flow's recipients may be written to: `now` when they may at once; None when never."""
    if not flow.zones or flow.starts_at is None or flow.ends_at is None:
        return now
    return next_time(now, zones=flow.zones.split(","), hours=Hours(flow.starts_at, flow.ends_at))


def keep_quiet(queue_id: int, *, now: datetime) -> None:
    """Block the queue's flows whose hours are over until they begin again."""
    is_open = Q(blocker="") | Q(blocked_until__lte=ClockTimestamp())
    for flow in Flow.objects.filter(is_open, queue_id=queue_id).exclude(zones="").exclude(blocker="finished"):
        opening = opens_at(flow, now=now)
        if opening is not None and opening > now:
            same = Flow.objects.filter(is_open, pk=flow.pk)
            same.update(blocker="quiet_hours", blocked_until=opening)


def block_queue(queue_id: int, *, blocker: str, seconds: float) -> None:
    """Let a queue wait, and say for what."""
    SendQueue.objects.filter(pk=queue_id).update(blocker=blocker[:60], blocked_until=in_seconds(seconds))


def empty_queue(queue_id: int) -> None:
    """Note that a queue had less than its turn allowed: what it saved up is gone."""
    SendQueue.objects.filter(pk=queue_id).update(deficit=0)


def stop_flows(campaign: Campaign, *, blocker: str) -> None:
    """Block a campaign's flows until somebody lifts it; waits for transactions that claim from them."""
    _lock_flows(campaign).update(blocker=blocker, blocked_until=None)


def release_flows(campaign: Campaign) -> None:
    """Let a campaign's flows go again; quiet hours are asked at the next turn."""
    _lock_flows(campaign).update(blocker="", blocked_until=None)


def _lock_flows(campaign: Campaign) -> QuerySet[Flow]:
    """Lock a campaign's flows in the order of their ids, as whoever claims from them does."""
    flows = Flow.objects.filter(campaign=campaign)
    list(flows.select_for_update(no_key=True).order_by("pk").values_list("pk", flat=True))
    return flows
