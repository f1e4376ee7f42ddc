"""Delivery reports: in any order, twice, before our own commit, for ids nobody knows yet; a message only moves
forward.

A provider posts the reports of an account to one address, and the account may be several tenants': a report is of
whichever message of the account it fits, and is kept and applied in the scope of that message's tenant.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from django.db import connection, transaction
from django.db.models import QuerySet
from django.utils import timezone

from config.infra import tenancy
from config.infra.work import Status
from messaging.actions.charges import charge_house_for, settle_messages
from messaging.actions.routing import account_of, lock_account, may_share
from messaging.models import Attempt, DeliveryReport, Message
from messaging.webhooks import DeliveryReport as ReportSnapshot
from messaging.webhooks import UnreadableReport, parse_classic_reports, parse_mitto_reports
from shopsync.shopify import Delivery, UnreadablePayloadError

NOT_SENT = "not sent, says "  # how the reason begins of what a person decided on
_WHERE = ("pk", "tenant_id", "connection_id", "status")
_RANK = {"sent": 1, "failed": 2, "delivered": 3}  # delivered is proof, and beats failed; the rest moves nothing

# A report moves a message forward, never back; it also settles one whose call is open, or ended without an answer.
_MOVE = """
WITH told AS (
    SELECT DISTINCT ON (id) * FROM unnest(%(ids)s::bigint[], %(statuses)s::text[], %(ranks)s::int[], %(errors)s::text[],
        %(provider_ids)s::text[], %(moments)s::timestamptz[]) AS t(id, status, rank, error, provider_id, moment)
    ORDER BY id, rank DESC),
first_sent AS (
    SELECT id, min(moment) AS moment FROM unnest(%(ids)s::bigint[], %(moments)s::timestamptz[]) AS t(id, moment)
    GROUP BY id),
held AS (
    SELECT m.id, t.rank > CASE WHEN m.outcome IN ('', 'unknown_final', 'skipped') THEN 0 WHEN m.outcome = 'sent' THEN 1
                               WHEN m.outcome = 'failed' AND m.reason LIKE %(decided)s THEN 0  -- a person's word
                               WHEN m.outcome = 'failed' THEN 2 ELSE 3 END AS moves
    FROM messaging_message m JOIN told t USING (id)
    WHERE NOT (m.status = 'ready' AND t.status = 'failed')  -- of a call before: it is being sent again
    ORDER BY m.id FOR UPDATE OF m)
UPDATE messaging_message m SET
    status = CASE WHEN h.moves THEN 'done' ELSE m.status END,
    outcome = CASE WHEN h.moves THEN t.status ELSE m.outcome END,
    reason = CASE WHEN NOT h.moves THEN m.reason WHEN t.status = 'failed' THEN t.error ELSE '' END,
    lease_until = CASE WHEN h.moves THEN NULL ELSE m.lease_until END,
    finished_at = CASE WHEN h.moves THEN clock_timestamp() ELSE m.finished_at END,
    last_error = CASE WHEN h.moves THEN '' ELSE m.last_error END,
    blocker = CASE WHEN h.moves THEN '' ELSE m.blocker END,
    delivered_at = CASE WHEN h.moves AND t.status = 'delivered' THEN t.moment ELSE m.delivered_at END,
    sent_at = coalesce(m.sent_at, first_sent.moment),
    provider_id = CASE WHEN m.provider_id = '' THEN t.provider_id ELSE m.provider_id END
FROM told t JOIN held h USING (id) JOIN first_sent USING (id) WHERE m.id = t.id"""


@transaction.atomic(savepoint=False)
def sync_reports(*, delivery: Delivery) -> None:
    """Take delivery reports of Mitto's Messaging API (one or many in a body): keep each, then move its message forward.

    Raises: UnreadablePayloadError.
    """
    _sync(delivery, parse_mitto_reports)


@transaction.atomic(savepoint=False)
def sync_classic_reports(*, delivery: Delivery) -> None:
    """Take delivery reports of Mitto's classic API, in the same way.

    Raises: UnreadablePayloadError.
    """
    _sync(delivery, parse_classic_reports)


def _sync(delivery: Delivery, parse: Callable[[bytes], Sequence[ReportSnapshot]]) -> None:
    connection_id = delivery.connection_id
    assert connection_id is not None  # the view stores it with the token's connection
    try:
        reports = parse(delivery.body)
    except UnreadableReport as error:
        raise UnreadablePayloadError(str(error)) from error
    keep_reports(reports, connection_id=connection_id, now=timezone.now())


@dataclass(frozen=True, slots=True)
class _Found:
    """The message of a report, of whichever tenant of the account."""

    pk: int
    tenant_id: int
    connection_id: int
    status: str
    by_reference: bool = False

    def is_told_by(self, report: ReportSnapshot) -> bool:
        """Is it surely of the call that is open, if one is? That a call failed may be said of one before, which had the
        same reference: the answer, or the end of its lease, says more. That it arrived is proof of either."""
        return not (self.by_reference and self.status == Status.LEASED and report.status == "failed")


def keep_reports(reports: Sequence[ReportSnapshot], *, connection_id: int, now: datetime) -> set[int]:
    """Keep these reports that came by a connection, and move the messages that are known forward.

    What fits no message of the account is the connection's until one does; what waits for the end of an open call is
    nobody's until then. Returns the tenants whose they are.
    """
    lock_reports(connection_id, shared=True)
    rows: dict[int, list[DeliveryReport]] = {}
    for report, found in zip(reports, _find_messages(reports, connection_id), strict=True):
        row = DeliveryReport(
            tenant_id=found.tenant_id if found else tenancy.current_tenant_id(),
            connection_id=found.connection_id if found else connection_id,
            message_id=found.pk if found and found.is_told_by(report) else None,
            provider_id=report.provider_id,
            reference=report.reference or "",
            status=report.status,
            raw_status=report.raw_status,
            error=report.error or "",
            reported_at=report.updated_at,
        )
        rows.setdefault(row.tenant_id, []).append(row)
    for tenant_id in sorted(rows):  # one lock order for every body
        with tenancy.tenant_scope(tenant_id):
            _keep(rows[tenant_id], now=now)
    return set(rows)


def _keep(rows: list[DeliveryReport], *, now: datetime) -> None:
    rows.sort(key=lambda row: (row.connection_id, row.provider_id, row.raw_status))
    DeliveryReport.objects.bulk_create(rows, ignore_conflicts=True)
    move_forward([row for row in rows if row.message_id is not None], now=now)


def lock_reports(connection_id: int, *, shared: bool = False) -> None:
    """Keep the reports of this connection's account out while ids are written, so that none looks for its message just
    too early."""
    lock_account(connection_id, shared=shared)


def _find_messages(reports: Sequence[ReportSnapshot], connection_id: int) -> list[_Found | None]:
    """Find the message of each report: among the connection's own, else among those of the others of its account."""
    found = _find_among(reports, Message.objects.filter(connection_id=connection_id))
    left = [number for number, message in enumerate(found) if message is None]
    others = account_of(connection_id).connection_ids - {connection_id} if left else frozenset[int]()
    if not others:
        return found
    with tenancy.all_tenants(reason="a report is of whichever tenant of its account has the message"):
        rows = Message.objects.filter(connection_id__in=others)
        for number, message in zip(left, _find_among([reports[number] for number in left], rows), strict=True):
            found[number] = message
    return found


def _find_among(reports: Sequence[ReportSnapshot], rows: QuerySet[Message]) -> list[_Found | None]:
    """Find the message of each report: by the provider's id, else by the reference that we sent along, which is the
    message's or its call's; of a call no address gets two."""
    by_id = rows.filter(provider_id__in=[report.provider_id for report in reports])
    by_reference = rows.filter(reference__in=filter(None, (reference_of(report.reference) for report in reports)))
    found = {key: _Found(*where) for key, *where in by_id.values_list("provider_id", *_WHERE)}
    named = by_reference.values_list("reference", *_WHERE)
    found |= {str(key): replace(_Found(*where), by_reference=True) for key, *where in named}
    attempts = [Attempt.pk_of(report.reference or "") for report in reports]
    called = _called(attempts, [report.destination for report in reports], rows)
    return [
        found.get(report.provider_id) or found.get(report.reference or "") or called.get((attempt, report.destination))
        for report, attempt in zip(reports, attempts, strict=True)
    ]


def _called(
    attempts: Sequence[int | None], addresses: Sequence[str | None], rows: QuerySet[Message]
) -> Mapping[tuple[int | None, str | None], _Found]:
    """Find the messages of these calls to these addresses, by both."""
    if not any(attempts):
        return {}
    mine = rows.filter(attempt__in=filter(None, attempts), address__in=filter(None, addresses))
    found = mine.values_list("attempt_id", "address", *_WHERE)
    return {(attempt, address): _Found(*where) for attempt, address, *where in found}


def reference_of(name: str | None) -> uuid.UUID | None:
    """Return the message's reference that a report names; None when it is no message's."""
    try:
        return uuid.UUID(name or "")
    except ValueError:
        return None


def move_forward(rows: Sequence[DeliveryReport], *, now: datetime) -> None:
    """Move messages forward as their reports say, and pay for what was taken: a report proves that it was."""
    telling = [row for row in rows if row.status in _RANK]
    if not telling:
        return
    parameters: dict[str, Any] = {
        "decided": f"{NOT_SENT}%",
        "ids": [row.message_id for row in telling],
        "statuses": [row.status for row in telling],
        "ranks": [_RANK[row.status] for row in telling],
        "errors": [row.error[:200] for row in telling],
        "provider_ids": [row.provider_id for row in telling],
        "moments": [row.reported_at or now for row in telling],
    }
    with connection.cursor() as cursor:
        cursor.execute(_MOVE, parameters)
    ids = sorted({row.message_id for row in telling if row.message_id is not None})
    told = Message.objects.filter(pk__in=ids).exclude(status=Status.READY)  # what is sent again is paid for then
    ids = list(told.values_list("pk", flat=True))
    settle_messages(ids, reference=f"reports:{telling[0].connection_id}", now=now)
    finally_known = Message.objects.filter(pk__in=ids, credit=Message.Credit.RELEASED)
    taken = finally_known.filter(outcome__in=(Message.Outcome.SENT, Message.Outcome.DELIVERED))
    charge_house_for(list(taken.values_list("pk", flat=True)), reference=f"reports:{telling[0].connection_id}")


_ORPHANS = """
SELECT id FROM messaging_deliveryreport
WHERE connection_id = ANY(%s) AND message_id IS NULL AND provider_id = ANY(%s)"""


def adopt_reports(*, connection_id: int, provider_ids: Sequence[str], now: datetime) -> None:
    """Apply the reports that came, by any connection of the account, before their messages' ids were stored. Call
    inside the transaction that stores them."""
    with connection.cursor() as cursor:
        cursor.execute(_ORPHANS, [may_share(connection_id), list(provider_ids)])
        ids = [row[0] for row in cursor.fetchall()]
    if not ids:
        return
    known = Message.objects.filter(connection_id=connection_id, provider_id__in=provider_ids)
    messages = dict(known.values_list("provider_id", "pk"))
    with tenancy.all_tenants(reason="reports of unknown ids are kept where they came in"):
        came = account_of(connection_id).connection_ids
        orphans = list(DeliveryReport.objects.filter(pk__in=ids, connection_id__in=came).order_by("pk"))
    give_reports(
        [row for row in orphans if row.provider_id in messages], messages, connection_id=connection_id, now=now
    )


def give_reports(
    reports: Sequence[DeliveryReport], messages: Mapping[str, int], *, connection_id: int, now: datetime
) -> None:
    """Give reports of ids that were unknown to the messages, of a connection of the tenant in scope, that have them by
    now; what came in at another tenant's of the account moves over."""
    for row in reports:
        row.message_id = messages[row.provider_id]
    own = [row for row in reports if row.connection_id == connection_id]
    DeliveryReport.objects.bulk_update(own, ["message"])
    others = [row.pk for row in reports if row.connection_id != connection_id]
    if others:
        with tenancy.all_tenants(reason="reports of unknown ids are kept where they came in"):
            DeliveryReport.objects.filter(pk__in=others).delete()
        moved = [row for row in reports if row.connection_id != connection_id]
        for row in moved:
            row.pk, row.tenant_id, row.connection_id = None, tenancy.current_tenant_id(), connection_id
        DeliveryReport.objects.bulk_create(moved, ignore_conflicts=True)
    move_forward(reports, now=now)
