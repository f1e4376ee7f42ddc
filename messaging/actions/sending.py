"""Sending: grant, claim and start, call, complete. At most one call per recipient unless the first surely was not sent.

The order of the steps is the safety: consent is asked in the transaction that starts the rows, the provider is
called outside any transaction, and a call that may have been made but has no answer leaves its messages `unknown`,
never queued. Only what surely was not sent goes back to the queue.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from django.db import IntegrityError, transaction
from django.utils import timezone

from config.infra import tenancy, work
from config.infra.failpoints import failpoint
from config.infra.ratelimit import Level, Refusal, clock_ms, grant
from config.infra.transactions import lock_name
from messaging.actions.reports import adopt_reports
from messaging.models import Attempt, Message
from messaging.providers.base import (
    Accepted,
    Outcome,
    OutgoingMessage,
    Provider,
    ProviderAccount,
    ProviderError,
    get_provider,
)
from messaging.queries import consents_of
from messaging.rules import decide_at_call
from shopsync.models import Connection, Tenant

logger = logging.getLogger(__name__)

SERVICES = {"sms": "mitto"}  # which service carries a channel
ACCOUNT_LIMIT, TENANT_LIMIT, GLOBAL_LIMIT = 100, 50, 200  # provider requests per second


@dataclass(frozen=True, slots=True)
class _Route:
    connection: Connection
    provider: Provider


def send_messages(rows: list[Message]) -> None:
    """Send claimed messages: one provider call per tenant, connection and batch, no address twice in a call."""
    groups: dict[tuple[int, str], list[Message]] = defaultdict(list)
    for row in rows:
        groups[row.tenant_id, row.channel].append(row)
    for (tenant_id, channel), group in groups.items():
        with tenancy.tenant_scope(tenant_id):
            _send_group(_skip_unconsented(group), channel)


def _send_group(rows: list[Message], channel: str) -> None:
    tenant = Tenant.objects.get(pk=tenancy.current_tenant_id())
    if tenant.status != Tenant.Status.ACTIVE:
        work.hand_back(rows, blocker=f"tenant_{tenant.status}", wait_seconds=60)
        return
    route = _find_route(channel)
    if route is None:
        work.hand_back(rows, blocker="no_connection", wait_seconds=30)
        return
    for batch in _batches(rows, route.provider.max_batch):
        _send_batch(batch, route)


def _find_route(channel: str) -> _Route | None:
    service = SERVICES.get(channel)
    connection = Connection.objects.filter(service=service, is_active=True).first() if service else None
    if connection is None:
        return None
    account = ProviderAccount(
        service=connection.service,
        connection_id=str(connection.pk),
        base_url=connection.base_url,
        api_key=connection.api_key,
        account_id=connection.account_id,
        sender=connection.sender,
    )
    return _Route(connection, get_provider(account))


def _batches(rows: Sequence[Message], size: int) -> list[list[Message]]:
    """Split into batches of at most `size` in which no address stands twice."""
    batches: list[list[Message]] = []
    addresses: list[set[str]] = []
    for row in rows:
        for batch, taken in zip(batches, addresses, strict=True):
            if row.address not in taken and len(batch) < size:
                batch.append(row)
                taken.add(row.address)
                break
        else:
            batches.append([row])
            addresses.append({row.address})
    return batches


def _send_batch(rows: list[Message], route: _Route, *, refused_before: bool = False) -> None:
    """Make one call for these rows; `refused_before` says that they were in a call that was refused as a whole."""
    # 1. A grant from the limiter, good for a moment; without one the batch waits, and says for what.
    granted = grant(_levels(route.connection))
    if isinstance(granted, Refusal):
        wait = granted.retry_after_seconds
        work.hand_back(rows, blocker=granted.reason, wait_seconds=wait, surely_not_done=refused_before)
        return
    # 2. One transaction: ask for consent once more, note the attempt, start what may be sent.
    attempt, started = _start(rows, route.connection)
    if attempt is None:
        return
    # 3. A lapsed grant would break the limit: hand back, nothing was sent.
    if not granted.is_fresh(clock_ms()):
        _close(attempt, outcome="not_sent", error="the grant lapsed before the call")
        work.hand_back(started, blocker="rate_limit", wait_seconds=0, surely_not_done=True)
        return
    # 4. The call, outside any transaction. 5. Its outcome, in one transaction.
    outgoing = [OutgoingMessage(str(row.reference), row.address, row.text, route.connection.sender) for row in started]
    try:
        outcomes = route.provider.send(outgoing)
    except ProviderError as error:
        _settle_failure(started, attempt, error, route=route)
        return
    failpoint("messages.called")
    _settle(started, attempt, outcomes, route=route)


def _levels(connection: Connection) -> list[Level]:
    return [
        Level(f"account:{connection.service}:{connection.account_id}", ACCOUNT_LIMIT),
        Level(f"tenant:{connection.tenant_id}", TENANT_LIMIT),
        Level("global", GLOBAL_LIMIT),
    ]


@transaction.atomic
def _skip_unconsented(rows: list[Message]) -> list[Message]:
    """Complete as skipped what nobody agreed to; return the rest. Asked before a grant is spent, and again at the
    call."""
    consents = consents_of(rows)
    allowed = []
    for row in rows:
        entry = consents.get((row.contact_id, row.channel))
        covers = entry is not None and entry.address in {"", row.address}
        skip = decide_at_call(consent=entry.state if entry is not None and covers else None)
        if skip is None:
            allowed.append(row)
        else:
            _complete(row, outcome=Message.Outcome.SKIPPED, reason=skip.reason)
    return allowed


@transaction.atomic
def _start(rows: list[Message], connection: Connection) -> tuple[Attempt | None, list[Message]]:
    started = work.start(_skip_unconsented(rows))
    if not started:
        return None, []
    attempt = Attempt(connection=connection, message_count=len(started))
    attempt.save()
    Message.objects.filter(pk__in=[row.pk for row in started]).update(attempt=attempt, connection=connection)
    return attempt, started


@transaction.atomic
def _settle(rows: list[Message], attempt: Attempt, outcomes: list[Outcome], *, route: _Route) -> None:
    lock_reports(route.connection.pk)
    by_reference = {outcome.reference: outcome for outcome in outcomes}
    accepted = []
    for row in rows:
        outcome = by_reference[str(row.reference)]
        if isinstance(outcome, Accepted):
            values = {"provider_id": outcome.provider_id, "sent_at": timezone.now()}
            _complete(row, outcome=Message.Outcome.SENT, **values)
            accepted.append(outcome.provider_id)
        elif outcome.permanent:
            _complete(row, outcome=Message.Outcome.FAILED, reason=outcome.reason[:200])
        else:
            _quietly(work.retry, row, error=outcome.reason)
    adopt_reports(connection_id=route.connection.pk, provider_ids=accepted)
    _close(attempt, outcome="answered")


def lock_reports(connection_id: int) -> None:
    """Keep this connection's reports out while ids are written, so that none looks for its message just too early."""
    lock_name(f"reports:{connection_id}")


def _settle_failure(rows: list[Message], attempt: Attempt, error: ProviderError, *, route: _Route) -> None:
    """Turn a call without a usable answer into state: unknown is parked, surely-not-sent waits, a refusal is
    bisected."""
    logger.warning("provider call of attempt %s: %s", attempt.pk, error)
    if error.unknown:
        for row in rows:
            _quietly(work.park, row, error=f"no answer to the call: {error}")
        _close(attempt, outcome="unknown", error=str(error))
    elif not error.permanent:
        _close(attempt, outcome="not_sent", error=str(error))
        wait = error.retry_after_seconds or rows[0].queue.backoff(rows[0].attempts).total_seconds()
        blocker = error.blocker or "provider_unavailable"
        work.hand_back(rows, blocker=blocker, wait_seconds=wait, surely_not_done=True)
    elif len(rows) == 1:
        _close(attempt, outcome="refused", error=str(error))
        _complete(rows[0], outcome=Message.Outcome.FAILED, reason=str(error)[:200])
    else:
        _close(attempt, outcome="refused", error=str(error))
        middle = len(rows) // 2
        _send_batch(rows[:middle], route, refused_before=True)
        _send_batch(rows[middle:], route, refused_before=True)


def _complete(row: Message, *, outcome: Message.Outcome, **values: object) -> None:
    """Complete a message; if a delivery report was faster, keep its outcome and add what it could not know."""
    try:
        with transaction.atomic():
            work.complete(row, outcome=outcome, **values)
    except IntegrityError:  # message_has_its_own_provider_id: one id given twice; it was accepted all the same
        if not values.get("provider_id"):
            raise  # another constraint: nothing that leaving the id out would mend
        logger.warning("message %s was accepted under an id that another one has: %s", row.pk, values["provider_id"])
        _complete(row, outcome=outcome, **{**values, "provider_id": ""})
    except work.LeaseLostError:
        provider_id = values.get("provider_id")
        if provider_id:
            Message.objects.filter(pk=row.pk, provider_id="").update(provider_id=provider_id)
        logger.info("message %s was settled by its report before the answer was stored", row.pk)


def _quietly(move: object, row: Message, *, error: str) -> None:
    try:
        move(row, error=error)  # type: ignore[operator]  # work.park or work.retry
    except work.LeaseLostError:
        logger.info("message %s was settled by its report before the failure was stored", row.pk)


def _close(attempt: Attempt, *, outcome: str, error: str = "") -> None:
    Attempt.objects.filter(pk=attempt.pk).update(closed_at=timezone.now(), outcome=outcome, error=error)
