"""What became of calls without an answer: told by reports, found by asking the provider, given up in the end; and of
halves of refused calls that were never called.

A report that names our reference settles its message when it comes (reports.py). One that names only the provider's id
is asked about: the provider says to whom and what it sent, and the one message that fits is it.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import Exists, F, Max, Min, OuterRef, Q, QuerySet
from django.utils import timezone

from audit.actions import record
from config.infra import tenancy
from config.infra.ratelimit import Refusal, grant
from config.infra.transactions import retrying_atomic
from config.infra.turns import Turns
from config.infra.work import Status
from config.infra.work.claims import ClockTimestamp
from messaging.actions.bisecting import REFUSED
from messaging.actions.charges import release_messages
from messaging.actions.limits import levels_of
from messaging.actions.reports import NOT_SENT, give_reports, lock_reports, reference_of
from messaging.actions.returning import return_rows
from messaging.actions.routing import account_of
from messaging.actions.sending import route_of
from messaging.models import DeliveryReport, Message
from messaging.providers.base import ProviderError, ProviderStatus
from messaging.webhooks import UnreadableReport
from shopsync.models import Connection

logger = logging.getLogger(__name__)

VALIDITY = timedelta(hours=48)  # how long a provider tries to deliver: 2,880 minutes at Mitto
GIVE_UP_AFTER = VALIDITY + timedelta(hours=24)
ASK_AFTER = timedelta(seconds=30)  # an answer that is on its way brings the id itself
ASK_UNTIL = timedelta(hours=24)
ASK_BATCH = 100
CALL_WINDOW = timedelta(minutes=10)  # between our call and the provider's report of it, clocks included
FINISH_BATCH = 1000

# The provider's own word: no report is of it. What a person, or time, ended without knowing may be what it is of.
_REFUSED = Q(outcome=Message.Outcome.FAILED) & ~Q(reason__startswith=NOT_SENT)


def match_orphans() -> int:
    """Give reports of unknown ids to messages that have them by now; ask the providers about the others, and settle the
    unknown messages that they are of.

    Returns how many were settled. A provider that does not answer is asked again in the next round.
    """
    settled, turns, now = 0, Turns("connection"), timezone.now()
    with tenancy.all_tenants(reason="find the connections that have unknown messages and reports of unknown ids"):
        unknown = set(Message.objects.filter(status=Status.UNKNOWN).values_list("connection_id", flat=True).distinct())
        orphans = DeliveryReport.objects.filter(
            connection=OuterRef("pk"), message__isnull=True, created_at__gte=now - ASK_UNTIL
        )
        rows = list(Connection.objects.filter(Exists(orphans)).order_by("pk"))
    for connection in rows:
        with turns.turn(connection.pk), tenancy.tenant_scope(connection.tenant_id):
            shared = account_of(connection.pk).connection_ids
            settled += _give_known(connection, shared, now=now)
            settled += _match(connection, now=now) if unknown & shared else 0
    turns.end(f"{len(turns.failures)} connections could not be asked")
    return settled


@transaction.atomic
def _give_known(connection: Connection, shared: Collection[int], *, now: datetime) -> int:
    """Give reports to messages of the account that have their ids by now (the key of one of its connections was changed
    after another's, and meanwhile they were strangers), or whose call, whose end they waited for, had no answer."""
    orphans = DeliveryReport.objects.filter(
        connection=connection, message__isnull=True, created_at__gte=now - ASK_UNTIL
    ).order_by("pk")
    with tenancy.all_tenants(reason="a report is of whichever tenant of its account has the message"):
        rows = Message.objects.filter(connection_id__in=shared)
        held = rows.filter(provider_id__in=set(orphans.values_list("provider_id", flat=True)))
        known = list(held.values_list("tenant_id", "connection_id", "provider_id", "pk"))
        known += _named(orphans, rows.filter(status__in=(Status.UNKNOWN, Status.DONE), provider_id=""))
    if known:
        lock_reports(connection.pk)
    for tenant_id, connection_id in sorted({(tenant_id, connection_id) for tenant_id, connection_id, *_ in known}):
        messages = {key: pk for *where, key, pk in known if where == [tenant_id, connection_id]}
        reports = list(orphans.filter(provider_id__in=messages))
        with tenancy.tenant_scope(tenant_id):
            give_reports(reports, messages, connection_id=connection_id, now=now)
    return len(known)


def _named(orphans: QuerySet[DeliveryReport], rows: QuerySet[Message]) -> list[tuple[int, int, str, int]]:
    """Find the messages that reports name by our reference: whose, by what connection, the report's id, the message."""
    named = {
        reference_of(name): key for name, key in orphans.exclude(reference="").values_list("reference", "provider_id")
    }
    found = rows.filter(reference__in=[reference for reference in named if reference])
    where = found.values_list("tenant_id", "connection_id", "reference", "pk")
    return [(tenant_id, via, named[reference], pk) for tenant_id, via, reference, pk in where if via is not None]


def _match(connection: Connection, *, now: datetime) -> int:
    """Ask about reports of unknown ids, those first that were not asked about for the longest time; return how many
    messages were settled. Each question is a request like any other, and counts on the same limits."""
    route, settled = route_of(connection), 0
    for provider_id in _next_to_ask(connection, now=now):
        granted = grant(levels_of(connection))
        if isinstance(granted, Refusal):
            logger.info("%s is asked no more in this round: %s", connection, granted.reason)
            break
        try:
            told = route.provider.status(provider_id)
        except ProviderError as error:
            logger.warning("%s was asked about %s, and did not say: %s", connection, provider_id, error)
            if _concerns_all(error):
                break
        else:
            settled += _settle_orphan(connection, provider_id, told)
        finally:
            _note_asked(connection, provider_id)
    return settled


def _next_to_ask(connection: Connection, *, now: datetime) -> list[str]:
    reports = DeliveryReport.objects.filter(
        connection=connection, message__isnull=True, created_at__range=(now - ASK_UNTIL, now - ASK_AFTER)
    )
    ids = reports.order_by().values("provider_id").annotate(asked=Max("asked_at"), came=Min("created_at"))
    turns = ids.order_by(F("asked").asc(nulls_first=True), "came", "provider_id")
    return list(turns.values_list("provider_id", flat=True)[:ASK_BATCH])


def _concerns_all(error: ProviderError) -> bool:
    """Is it said of the provider or the account, and not of the one id that was asked about?"""
    if error.status is None:  # no answer, or one that names nothing to be read
        return not isinstance(error.__cause__, UnreadableReport)
    return error.status in {401, 403, 429} or error.status >= 500


@transaction.atomic
def _note_asked(connection: Connection, provider_id: str) -> None:
    lock_reports(connection.pk, shared=True)  # whoever gives reports to messages has it alone
    DeliveryReport.objects.filter(connection=connection, provider_id=provider_id, message__isnull=True).update(
        asked_at=ClockTimestamp()
    )


@transaction.atomic
def _settle_orphan(connection: Connection, provider_id: str, told: ProviderStatus) -> int:
    """Give the report to the one message of the same account, address and text whose call fits; 0 when none does, or
    more than one, or one that may still be answered."""
    if told.destination is None or told.text is None or told.account_id not in {None, connection.account_id}:
        return 0
    lock_reports(connection.pk)
    shared = account_of(connection.pk).connection_ids
    with tenancy.all_tenants(reason="a report is of whichever tenant of its account has the message"):
        orphans = DeliveryReport.objects.filter(connection_id__in=shared, provider_id=provider_id, message__isnull=True)
        reports = list(orphans.order_by("pk"))
        if not reports:
            return 0
        moment = min(report.reported_at or report.created_at for report in reports)
        fitting = Message.objects.filter(
            ~_REFUSED,
            connection_id__in=shared,
            attempt__isnull=False,
            provider_id="",
            address=told.destination,
            text=told.text,
            started_at__range=(moment - CALL_WINDOW, moment + CALL_WINDOW),
        )
        found = list(fitting.values_list("pk", "tenant_id", "connection_id", "status")[:2])
    if len(found) != 1 or found[0][-1] not in {Status.UNKNOWN, Status.DONE}:
        return 0
    [(message_id, tenant_id, connection_id, _)] = found
    with tenancy.tenant_scope(tenant_id):
        give_reports(reports, {provider_id: message_id}, connection_id=connection_id, now=timezone.now())
    return 1


def return_refused() -> int:
    """Return to the queue what a refused call left when its process ended before a half of it was called: the refusal
    is on record, so that surely nothing was sent. Returns how many messages."""
    with tenancy.all_tenants(reason="find what was left of refused calls, of every tenant"):
        left = Message.objects.filter(status=Status.UNKNOWN, attempt__outcome="refused")
        calls = sorted(set(left.values_list("tenant_id", "attempt_id")))
    returned, turns = 0, Turns("attempt")
    for tenant_id, attempt_id in calls:
        with turns.turn(attempt_id), tenancy.tenant_scope(tenant_id):
            returned += _return(attempt_id)
    turns.end(f"what was left of {len(turns.failures)} refused calls could not be returned")
    return returned


@retrying_atomic
def _return(attempt_id: int) -> int:
    rows = list(Message.objects.filter(attempt_id=attempt_id, status=Status.UNKNOWN).order_by("pk"))
    return_rows(rows, attempt_id=attempt_id, blocker="", error=REFUSED)
    return len(rows)


def give_up_unknowns(*, now: datetime) -> int:
    """End the unknown messages that nobody will hear of any more, and give back what was held; return how many."""
    with tenancy.all_tenants(reason="find the tenants whose unknown messages are too old to be heard of"):
        old = Message.objects.filter(status=Status.UNKNOWN, started_at__lt=now - GIVE_UP_AFTER)
        tenants = sorted(set(old.values_list("tenant_id", flat=True)))
    given_up, turns = 0, Turns("tenant")
    for tenant_id in tenants:
        with turns.turn(tenant_id), tenancy.tenant_scope(tenant_id):
            while ended := _give_up(now):
                given_up += ended
    turns.end(f"{len(turns.failures)} tenants' unknown messages could not be ended")
    return given_up


@transaction.atomic
def _give_up(now: datetime) -> int:
    rows = Message.objects.select_for_update(skip_locked=True, of=("self",)).order_by("pk")
    old = rows.filter(status=Status.UNKNOWN, started_at__lt=now - GIVE_UP_AFTER)
    ids: Sequence[int] = list(old.values_list("pk", flat=True)[:FINISH_BATCH])
    if not ids:
        return 0
    Message.objects.filter(pk__in=ids).update(
        status=Status.DONE, outcome=Message.Outcome.UNKNOWN_FINAL, finished_at=now, lease_until=None
    )
    release_messages(ids, reference=f"message:{ids[0]}")
    subject = f"tenant:{tenancy.current_tenant_id()}"
    record(name="messages.given_up", subject=subject, actor="system", data={"messages": len(ids)})
    return len(ids)
