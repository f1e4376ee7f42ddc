"""Claim, start, complete and the other moves: each is one conditional UPDATE whose row count is looked at.

Two rules hold it together. A claim of a queue with lanes is serialised by an advisory lock, taken in its own
statement so that the claiming statement sees a later snapshot: with "earliest row via NOT EXISTS plus SKIP LOCKED"
alone, a late commit gave one lane two holders. And every move of a leased row names its token, so a holder whose
lease was taken away changes nothing: a handler that completes in the transaction of its effects loses both together.
"""

from __future__ import annotations

import uuid
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from django.db import connection, models, transaction
from django.db.models import F, Value
from django.db.models.functions import Now

from config.infra import tenancy
from config.infra.failpoints import failpoint
from config.infra.work import bell
from config.infra.work.rows import Queue, Status, WorkRow

R = TypeVar("R", bound=WorkRow)

_CLAIM_REASON = "claim work of every tenant; each row is handled in its own tenant's scope"


class LeaseLostError(RuntimeError):
    """The row is no longer held by this token: its lease ran out, and somebody else may have it."""


class ClockTimestamp(models.Func):
    """The database's wall clock, which moves inside a transaction (Django's Now() does not)."""

    template = "clock_timestamp()"
    output_field = models.DateTimeField()


def in_seconds(seconds: float | models.Func) -> models.expressions.CombinedExpression:
    """Say when it will be, by the database's clock."""
    given = seconds if isinstance(seconds, models.Func) else Value(seconds)
    interval = models.Func(given, function="make_interval", template="make_interval(secs => %(expressions)s)")
    interval.output_field = models.DurationField()
    return ClockTimestamp() + interval


def add(rows: Sequence[R], *, ignore_conflicts: bool = False) -> None:
    """Insert units of work and ring their bell after the commit, once per queue and transaction."""
    if not rows:
        return
    model = type(rows[0])
    model._default_manager.bulk_create(rows, ignore_conflicts=ignore_conflicts)
    ring_after_commit(model)


def ring_after_commit(model: type[WorkRow]) -> None:
    """Register one ring for this model's queue and transaction (at once in autocommit)."""
    ring_queue_after_commit(model.queue)


def ring_queue_after_commit(queue: Queue) -> None:
    """Register one ring for this queue and transaction (at once in autocommit)."""
    savepoints = set(connection.savepoint_ids)
    registered: list[tuple[set[str], object, bool]] = connection.run_on_commit  # type: ignore[assignment]
    for registered_under, function, _ in registered:
        same_queue = isinstance(function, partial) and function.func is bell.ring and function.args == (queue,)
        if same_queue and set(registered_under) <= savepoints:
            return  # it survives whatever we are nested in
    transaction.on_commit(partial(bell.ring, queue), robust=True)


# The pairs of tenant and priority that have ready rows are found by hopping along the index (a loose index scan), so
# that a million rows of one tenant cost another tenant nothing; each pair then offers its oldest due rows, and the
# offers are taken in rounds: everybody's first, then everybody's second.
_FAIR = """
WITH RECURSIVE pair AS (
    (SELECT tenant_id, priority FROM {table} WHERE status = 'ready' ORDER BY tenant_id, priority LIMIT 1)
    UNION ALL
    SELECT n.tenant_id, n.priority FROM pair p CROSS JOIN LATERAL (
        SELECT tenant_id, priority FROM {table} WHERE status = 'ready'
           AND (tenant_id, priority) > (p.tenant_id, p.priority) ORDER BY tenant_id, priority LIMIT 1) n
), offer AS (
    SELECT o.*, row_number() OVER (PARTITION BY o.tenant_id ORDER BY o.priority, o.due_at, o.id) AS round
    FROM pair p CROSS JOIN LATERAL (
        SELECT w.id, w.tenant_id, w.lane, w.priority, w.due_at FROM {table} w
        WHERE w.status = 'ready' AND w.tenant_id = p.tenant_id AND w.priority = p.priority
          AND w.due_at <= clock_timestamp() AND w.started_at IS NULL {free_lane}
        ORDER BY w.due_at, w.id LIMIT %(limit)s {lock}) o
)"""

_FREE_LANE = """AND NOT EXISTS (SELECT 1 FROM {table} l WHERE l.status = 'leased'
                                 AND l.tenant_id = w.tenant_id AND l.lane = w.lane)"""

_LEASE = """
UPDATE {table} SET status = 'leased', token = %(token)s, blocker = '',
       lease_until = clock_timestamp() + make_interval(secs => %(lease)s)
FROM chosen WHERE {table}.id = chosen.id AND {table}.status = 'ready' RETURNING {table}.id"""

_WITH_LANES = (
    _FAIR
    + """, ranked AS (SELECT tenant_id, lane, row_number() OVER (ORDER BY round, due_at, id) AS rank FROM offer)
, head AS (SELECT tenant_id, lane, min(rank) AS rank FROM ranked GROUP BY tenant_id, lane ORDER BY 3 LIMIT %(lanes)s)
, chosen AS (SELECT w.id FROM head h CROSS JOIN LATERAL (
        SELECT id, row_number() OVER (ORDER BY id) AS place FROM {table} WHERE status = 'ready'
           AND tenant_id = h.tenant_id AND lane = h.lane AND due_at <= clock_timestamp() AND started_at IS NULL
        ORDER BY id LIMIT %(limit)s) w
    ORDER BY w.place, h.rank LIMIT %(limit)s)"""
    + _LEASE
)

_WITHOUT_LANES = _FAIR + ", chosen AS (SELECT id FROM offer ORDER BY round, due_at, id LIMIT %(limit)s)" + _LEASE

# A row that was started and then lost its holder may be what killed it: it is claimed alone.
_SUSPECT = (
    """WITH chosen AS (SELECT w.id FROM {table} w WHERE w.status = 'ready' AND w.started_at IS NOT NULL
    AND w.due_at <= clock_timestamp() {free_lane} ORDER BY w.due_at, w.id LIMIT 1 FOR UPDATE SKIP LOCKED)"""
    + _LEASE
)


def _sql(template: str, *, table: str, has_lanes: bool) -> str:
    free_lane = _FREE_LANE.format(table=table) if has_lanes else ""
    lock = "" if has_lanes else "FOR UPDATE OF w SKIP LOCKED"
    return template.format(table=table, free_lane=free_lane, lock=lock)


def claim(model: type[R], *, limit: int | None = None) -> list[R]:
    """Lease the next due rows, fairly between tenants; with lanes, never two holders of one lane.

    Returns the rows, oldest first, all with one token; empty when nothing is due. A suspect (started before, holder
    lost) comes alone.
    """
    queue = model.queue
    table = connection.ops.quote_name(model._meta.db_table)
    token = uuid.uuid4()
    parameters: dict[str, str | int] = {
        "token": str(token),
        "lease": queue.lease_seconds,
        "limit": limit or queue.batch_size,
        "lanes": queue.lane_limit,
    }
    batch = _WITH_LANES if queue.has_lanes else _WITHOUT_LANES
    with transaction.atomic(durable=True), connection.cursor() as cursor:
        if queue.has_lanes:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [zlib.crc32(f"claim:{queue.name}".encode())])
        for template in (_SUSPECT, batch):
            cursor.execute(_sql(template, table=table, has_lanes=queue.has_lanes), parameters)
            if ids := [row[0] for row in cursor.fetchall()]:
                break
    failpoint("work.claimed")
    if not ids:
        return []
    with tenancy.all_tenants(reason=_CLAIM_REASON):
        return list(model._default_manager.filter(token=token, status=Status.LEASED).order_by("id"))


_START = """
UPDATE {table} SET started_at = clock_timestamp(), attempts = attempts + 1,
       lease_until = clock_timestamp() + make_interval(secs => %s)
WHERE id = ANY(%s) AND token = %s AND status = 'leased' RETURNING id"""


def start(rows: Sequence[R]) -> list[R]:
    """Mark the rows of one call as started, just before the effect, and count the attempt.

    Returns only the rows still held; whatever is missing was taken away and must not be called. Renews the lease.
    """
    if not rows:
        return []
    sql = _START.format(table=connection.ops.quote_name(rows[0]._meta.db_table))
    with connection.cursor() as cursor:
        cursor.execute(sql, [rows[0].queue.lease_seconds, [row.pk for row in rows], str(rows[0].token)])
        ids = {row[0] for row in cursor.fetchall()}
    failpoint("work.started")
    still_held = [row for row in rows if row.pk in ids]
    for row in still_held:
        row.attempts += 1
    return still_held


def complete(row: WorkRow, **values: Any) -> None:
    """Finish a row this token holds; a late answer also completes the `unknown` of the same token.

    Raises: LeaseLostError when the row is somebody else's by now; the caller's transaction must roll back.
    """
    holders = (Status.LEASED, Status.UNKNOWN)
    _move(row, from_statuses=holders, status=Status.DONE, finished_at=ClockTimestamp(), last_error="", **values)


def retry(row: WorkRow, *, error: str) -> None:
    """Put a failed row back with back-off and jitter, or bury it after its last attempt.

    Raises: LeaseLostError.
    """
    if row.attempts >= row.queue.max_attempts:
        bury(row, error=error)
        return
    wait = row.queue.backoff(row.attempts).total_seconds()
    _move(row, status=Status.READY, due_at=in_seconds(wait), started_at=None, token=None, last_error=error)


def disprove(row: WorkRow, *, error: str) -> None:
    """Put a parked row back: the service says that its call was not made. After its last attempt it is buried.

    Raises: LeaseLostError when it was settled meanwhile.
    """
    values: dict[str, Any] = {"status": Status.READY, "due_at": ClockTimestamp(), "started_at": None, "token": None}
    if row.attempts >= row.queue.max_attempts:
        values = {"status": Status.BURIED, "finished_at": ClockTimestamp()}
    _move(row, from_statuses=(Status.UNKNOWN,), last_error=error[:2000], **values)
    ring_after_commit(type(row))


def bury(row: WorkRow, *, error: str) -> None:
    """Give a row up into the dead letters, where an operator can replay it.

    Raises: LeaseLostError.
    """
    _move(row, status=Status.BURIED, finished_at=ClockTimestamp(), last_error=error)


def park(row: WorkRow, *, error: str, **values: Any) -> None:
    """Set a row aside whose outcome nobody knows; it keeps its token, so that a late answer still fits.

    Raises: LeaseLostError.
    """
    _move(row, status=Status.UNKNOWN, last_error=error, **values)


def quarantine(row: WorkRow, *, error: str) -> None:
    """Set a row aside that can't be worked on as it is.

    Raises: LeaseLostError.
    """
    _move(row, status=Status.QUARANTINED, finished_at=ClockTimestamp(), last_error=error)


def hand_back(rows: Sequence[WorkRow], *, blocker: str, wait_seconds: float, surely_not_done: bool = False) -> int:
    """Return leased rows to the queue, naming what they wait for.

    Rows that were started go back only with `surely_not_done`, when the effect certainly did not happen; their
    attempt is then not counted. Returns how many went back; the others are no longer ours.
    """
    if not rows:
        return 0
    held = _held(rows).filter(status=Status.LEASED)
    values: dict[str, Any] = {"status": Status.READY, "token": None, "lease_until": None, "blocker": blocker}
    with tenancy.all_tenants(reason=_CLAIM_REASON):
        if surely_not_done:
            return held.filter(started_at__isnull=False).update(
                **values, due_at=in_seconds(wait_seconds), started_at=None, attempts=F("attempts") - 1
            )
        return held.filter(started_at__isnull=True).update(**values, due_at=in_seconds(wait_seconds))


def replay(rows: models.QuerySet[R]) -> int:
    """Make buried, unknown or quarantined rows ready again, with fresh attempts, and ring.

    Done ones too, where repeating is harmless (on_expiry `repeat`).

    The caller chooses the rows, has the right to, and records it. Returns how many.
    """
    model = rows.model
    final = [Status.BURIED, Status.UNKNOWN, Status.QUARANTINED]
    if model.queue.on_expiry == "repeat":
        final.append(Status.DONE)
    count = rows.filter(status__in=final).update(
        status=Status.READY,
        attempts=0,
        due_at=Now(),
        token=None,
        started_at=None,
        finished_at=None,
        blocker="",
        last_error="",
    )
    if count:
        ring_after_commit(model)
    return count


@dataclass(frozen=True, slots=True)
class Swept:
    """What one sweep found: expired leases handed back, repeated, parked, buried; and whether work is due."""

    returned: int
    repeated: int
    parked: int
    buried: int
    rang: bool


def sweep(model: type[WorkRow]) -> Swept:
    """Expire leases by the queue's policy and ring where work is due, whatever the bell says."""
    queue = model.queue
    with tenancy.all_tenants(reason="expire leases of every tenant"):
        rows = model._default_manager
        with transaction.atomic():
            # Rows that somebody works on at this very moment are left to the next sweep: a sweep never waits, so it
            # can't be part of a deadlock.
            expired = rows.filter(status=Status.LEASED, lease_until__lt=ClockTimestamp())
            ids = list(expired.select_for_update(skip_locked=True).order_by("pk").values_list("pk", flat=True))
            outcome = _expire(rows.filter(pk__in=ids), queue)
        is_due = rows.filter(status=Status.READY, due_at__lte=ClockTimestamp()).exists()
    rang = is_due and bell.ring(queue, even_if_rung=True)
    return Swept(**outcome, rang=rang)


def _expire(expired: models.QuerySet[Any], queue: Queue) -> dict[str, int]:
    started = expired.filter(status=Status.LEASED, started_at__isnull=False)
    freed: dict[str, Any] = {"lease_until": None}
    returned = expired.filter(started_at__isnull=True).update(status=Status.READY, token=None, **freed)
    if queue.on_expiry == "park":
        note = "the process that made the call was lost before its answer was stored; perhaps done"
        parked = started.update(status=Status.UNKNOWN, last_error=note, **freed)
        return {"returned": returned, "repeated": 0, "parked": parked, "buried": 0}
    note = "the process that worked on it was lost, or its lease ran out"
    last = started.filter(attempts__gte=queue.max_attempts)
    buried = last.update(status=Status.BURIED, finished_at=Now(), last_error=note, **freed)
    repeated = started.update(status=Status.READY, token=None, last_error=note, **freed)
    return {"returned": returned, "repeated": repeated, "parked": 0, "buried": buried}


def _held(rows: Iterable[WorkRow]) -> models.QuerySet[WorkRow]:
    held = list(rows)
    with tenancy.all_tenants(reason=_CLAIM_REASON):
        found: models.QuerySet[WorkRow] = type(held[0])._default_manager.filter(
            pk__in=[row.pk for row in held], token=held[0].token
        )
    return found


def _move(row: WorkRow, *, from_statuses: Sequence[Status] = (Status.LEASED,), **values: Any) -> None:
    moved = _held([row]).filter(status__in=from_statuses).update(lease_until=None, **values)
    if moved != 1:
        raise LeaseLostError(f"{type(row).__name__} {row.pk} is no longer held by this worker; nothing was changed")
