"""Sending: a grant, claim and begin, call, outcomes. At most one call per recipient unless one surely was not sent.

The order of the steps is the safety: whatever forbids a message is asked in the transaction that begins its call, the
provider is called outside any transaction, and a call that may have been made but has no answer leaves its messages
`unknown`, never queued. Only what surely was not sent goes back to the queue.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from operator import attrgetter

from django.utils import timezone

from config.infra import tenancy, work
from config.infra.failpoints import failpoint
from config.infra.ratelimit import Grant, Level, Refusal, clock_ms, grant, return_recipients, take_recipients
from messaging.actions import bisecting, outcomes
from messaging.actions.claiming import Call, begin_call, pick_sender
from messaging.actions.flows import FAILED, Turn, block_queue, connection_of, keep_quiet, take_turn
from messaging.actions.limits import levels_of
from messaging.actions.preparing import prepare_singles
from messaging.actions.questions import Claimed
from messaging.actions.unsubscribes import unsubscribe_url
from messaging.models import Message, Sender, SendQueue
from messaging.models.contacts import Channel
from messaging.providers.base import OutgoingMessage, Provider, ProviderAccount, ProviderError, get_provider
from shopsync.models import Connection, Tenant

logger = logging.getLogger(__name__)

DRAIN_SECONDS = 5.0  # shorter than others: every process may be at it, and webhooks wait for one
SHORT_WAIT_SECONDS = 1.5  # what is waited for here; longer waits are a blocker that is shown
NO_ROUTE_WAIT_SECONDS = 30.0
REMEMBER_SECONDS = 1.0
LAPSED = "the grant lapsed before the call"
_PART = Refusal("rate_limit", 0.1)  # there is room for a part of it
PREPARE_EVERY_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Route:
    """Through what a queue sends; `limits` are the senders' own, in recipients a second."""

    connection: Connection
    provider: Provider
    limits: Mapping[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class _Memory:
    """What a process remembers between two calls, for at most REMEMBER_SECONDS: what stands in a tenant's settings."""

    routes: dict[int, tuple[float, Route | str]] = field(default_factory=dict)
    prepared_at: float = float("-inf")

    def route(self, turn: Turn) -> Route | str:
        """Return the route of a queue, or the blocker that stands for one; hours that are over are looked at too."""
        known = self.routes.get(turn.queue_id)
        if known is None or time.monotonic() - known[0] > REMEMBER_SECONDS:
            keep_quiet(turn.queue_id, now=timezone.now())
            known = self.routes[turn.queue_id] = (time.monotonic(), _look_up(turn))
        return known[1]

    def prepare(self) -> None:
        """Prepare single messages, now and then."""
        if time.monotonic() - self.prepared_at > PREPARE_EVERY_SECONDS:
            prepare_singles(now=timezone.now())
            self.prepared_at = time.monotonic()


def send_due(*, budget_seconds: float = DRAIN_SECONDS) -> int:
    """Send what is due, taking turns, until nothing is; return how many messages were called.

    After the budget it rings and makes room for others. Each call that leaves more behind rings too: as many processes
    as there are join in.
    """
    work.silence(Message.queue)
    deadline = time.monotonic() + budget_seconds
    called, waiting, memory = 0, dict[int, float](), _Memory()
    while True:
        if time.monotonic() > deadline:
            work.ring(Message.queue)
            return called
        memory.prepare()
        waiting = {queue_id: until for queue_id, until in waiting.items() if until > time.monotonic()}
        turn = take_turn(waiting=waiting)
        if turn is None and not waiting:
            return called
        if turn is None:
            time.sleep(max(0.0, min(waiting.values()) - time.monotonic()))
            continue
        count, wait_seconds = _take_safely(turn, memory)
        called += count
        if wait_seconds:
            waiting[turn.queue_id] = time.monotonic() + wait_seconds


def _take_safely(turn: Turn, memory: _Memory) -> tuple[int, float]:
    """Make a queue's call; what fails of ours is logged, named on the queue, and ends nobody else's turn.

    A call that had begun stays `calling` until its lease ends: then it is unknown.
    """
    with tenancy.tenant_scope(turn.tenant_id):
        try:
            return _take(turn, memory)
        except Exception:  # the error tracker hears of it
            logger.exception("the turn of queue %s failed", turn.queue_id)
            block_queue(turn.queue_id, blocker=FAILED, seconds=NO_ROUTE_WAIT_SECONDS)
            return 0, 0.0


def _take(turn: Turn, memory: _Memory) -> tuple[int, float]:
    """Make one call in a queue's turn; return how many messages it called, and how long to pass the queue over."""
    route = memory.route(turn)
    if isinstance(route, str):
        block_queue(turn.queue_id, blocker=route, seconds=NO_ROUTE_WAIT_SECONDS)
        return 0, 0.0
    # 1. A grant from the limiter, good for a moment; without one the queue is passed over until there is room.
    room = _find_room(turn, route)
    if room is None:
        return 0, 0.0  # nothing is due any more; what is by now has its own sender, and its limit
    sender, limit = (room.sender, room.recipients) if isinstance(room, _Room) else (None, 0)
    granted = grant(levels_of(route.connection)) if isinstance(room, _Room) else room
    if isinstance(granted, Refusal):
        _give_back(route, sender, limit)
        if granted.retry_after_seconds > SHORT_WAIT_SECONDS or granted.reason == "limiter_unavailable":
            block_queue(turn.queue_id, blocker=granted.reason, seconds=granted.retry_after_seconds)
            return 0, 0.0
        return 0, granted.retry_after_seconds
    # 2. One transaction: claim, ask everything once more, note the attempt, begin.
    granted_at = datetime.fromtimestamp(granted.granted_at_ms / 1000, UTC)
    call = begin_call(
        queue_id=turn.queue_id,
        via=route.connection,
        limit=limit,
        now=timezone.now(),
        granted_at=granted_at,
        sender=sender,
        shares_text=route.provider.shares_text,
    )
    _give_back(route, sender, limit - (len(call.rows) if call else 0))
    if call is None:
        return 0, 0.0
    failpoint("work.started")
    # 3. A lapsed grant would break the limit: hand back, nothing was sent.
    if not granted.is_fresh(clock_ms()):
        outcomes.hand_back(call, blocker="rate_limit", error=LAPSED)
        return 0, 0.0
    work.ring(Message.queue)  # there may be more: whoever is free joins in
    make_call(call, route, queue_id=turn.queue_id)
    return len(call.rows), 0.0


def _look_up(turn: Turn) -> Route | str:
    """Find what carries a queue: its connection, else the first active one of the channel's service; else say why not.

    Raises: Tenant.DoesNotExist.
    """
    tenant = Tenant.objects.get(pk=turn.tenant_id)
    if tenant.status != Tenant.Status.ACTIVE:
        return f"tenant_{tenant.status}"
    queue = SendQueue.objects.select_related("connection").get(pk=turn.queue_id)
    connection = connection_of(queue.channel, queue.connection)
    return "no_connection" if connection is None else route_of(connection)


def provider_of(channel: str, own: Connection | None) -> Provider | None:
    """Return what the tenant's messages on a channel go through; None: there is no active connection."""
    connection = connection_of(channel, own)
    return None if connection is None else route_of(connection).provider


def route_of(connection: Connection) -> Route:
    """Return how a connection is spoken to."""
    account = ProviderAccount(
        service=connection.service,
        connection_id=str(connection.pk),
        base_url=connection.base_url,
        api_key=connection.api_key,
        account_id=connection.account_id,
        sender=connection.sender,
    )
    limited = Sender.objects.filter(is_active=True, recipients_per_second__isnull=False)
    rows = limited.order_by("-recipients_per_second").values_list("value", "recipients_per_second")
    return Route(connection, get_provider(account), {value: limit for value, limit in rows if limit})


@dataclass(frozen=True, slots=True)
class _Room:
    """How many recipients a call may have, and from whom; None: from anybody."""

    sender: str | None
    recipients: int


def _find_room(turn: Turn, route: Route) -> _Room | Refusal | None:
    """Find a sender with something due and room for it: where one has a limit of its own, a call is of one sender, and
    who has no room holds up nobody else. None: nothing is due."""
    batch_size = min(turn.batch_size, route.provider.max_batch)
    if not route.limits:
        return _Room(None, batch_size)
    full: dict[str, Refusal] = {}
    while (sender := pick_sender(turn.queue_id, full=list(full))) is not None:
        taken = _take_recipients(route, sender, batch_size)
        if not isinstance(taken, Refusal):
            return _Room(sender, taken)
        full[sender] = taken
    return min(full.values(), key=attrgetter("retry_after_seconds"), default=None)


def _take_recipients(route: Route, sender: str, wish: int) -> int | Refusal:
    level = _level_of(route, sender)
    return wish if level is None else take_recipients(level, wish)


def _give_back(route: Route, sender: str | None, count: int) -> None:
    """Give back the recipients that a call has no use for: a text of one's own is one of a whole batch."""
    level = _level_of(route, sender)
    if level is not None and count > 0:
        return_recipients(level, count)


def _level_of(route: Route, sender: str | None) -> Level | None:
    """Return a sender's own level, in recipients; None when it has no limit."""
    via, name = route.connection, sender or route.connection.sender
    limit = route.limits.get(name)
    return None if limit is None else Level(f"sender:{via.tenant_id}:{name}", limit)


def make_call(call: Call, route: Route, *, queue_id: int) -> None:
    """4. Call, outside any transaction. 5. Write what came of it, in one transaction. A refusal of the whole is
    bisected: one of its messages is at fault, and nothing was sent."""
    halves = _call(call, route, queue_id=queue_id)
    while halves:
        half, *halves = halves
        sender = half.rows[0].sender if route.limits else None
        granted = _await_grant(route, sender, len(half.rows))
        if isinstance(granted, Refusal):
            for left in (half, *halves):
                bisecting.give_up(left, blocker=granted.reason)
            return
        bisecting.keep(halves)
        granted_at = datetime.fromtimestamp(granted.granted_at_ms / 1000, UTC)
        begun = bisecting.begin_half(half, via=route.connection, now=timezone.now(), granted_at=granted_at)
        _give_back(route, sender, len(half.rows) - (len(begun.rows) if begun else 0))
        if begun is None:
            continue
        if granted.is_fresh(clock_ms()):
            halves = [*_call(begun, route, queue_id=queue_id), *halves]
        else:
            outcomes.hand_back(begun, blocker="rate_limit", error=LAPSED)


def _await_grant(route: Route, sender: str | None, recipients: int) -> Grant | Refusal:
    """Wait a little for a grant, and for the sender's room for all of these recipients."""
    deadline = time.monotonic() + SHORT_WAIT_SECONDS * 2
    while isinstance(granted := _ask_for_all(route, sender, recipients), Refusal):
        if time.monotonic() + granted.retry_after_seconds > deadline:
            return granted
        time.sleep(granted.retry_after_seconds)
    return granted


def _ask_for_all(route: Route, sender: str | None, recipients: int) -> Grant | Refusal:
    taken = recipients if sender is None else _take_recipients(route, sender, recipients)
    if isinstance(taken, Refusal):
        return taken
    granted: Grant | Refusal = grant(levels_of(route.connection)) if taken == recipients else _PART
    if isinstance(granted, Refusal):
        _give_back(route, sender, taken)
    return granted


def _call(call: Call, route: Route, *, queue_id: int) -> list[bisecting.Half]:
    """Make one call and write what came of it; return the halves of one that was refused as a whole."""
    try:
        answers = route.provider.send([_outgoing(row, call, route.connection) for row in call.rows])
    except ProviderError as error:
        logger.warning("provider call of attempt %s: %s", call.attempt.pk, error)
        return _settle_failure(call, error, queue_id=queue_id)
    except Exception as error:  # nobody can say whether the call went out: unknown, with the error
        logger.exception("attempt %s failed around its call", call.attempt.pk)
        outcomes.park(call, error=f"{type(error).__name__}: {error}")
        return []
    failpoint("messages.called")
    outcomes.store(call, answers, now=timezone.now())
    return []


def _outgoing(row: Claimed, call: Call, via: Connection) -> OutgoingMessage:
    sender = row.sender or via.sender
    if row.channel != Channel.EMAIL:
        return OutgoingMessage(str(row.reference), row.address, row.text, sender, call=call.attempt.reference)
    url = unsubscribe_url(reference=row.reference)
    return OutgoingMessage(str(row.reference), row.address, row.text, sender, row.subject, row.html, url)


def _settle_failure(call: Call, error: ProviderError, *, queue_id: int) -> list[bisecting.Half]:
    """Turn a call without a usable answer into state: unknown is parked, surely-not-sent waits; return the halves of
    what was refused for what is in it."""
    if error.unknown:
        outcomes.park(call, error=f"no answer to the call: {error}")
    elif error.blocker or not error.permanent:
        again = NO_ROUTE_WAIT_SECONDS if error.permanent else Message.queue.backoff(1).total_seconds()
        blocker = error.blocker or "provider_unavailable"
        outcomes.hand_back(call, blocker=blocker, error=str(error))
        block_queue(queue_id, blocker=blocker, seconds=error.retry_after_seconds or again)
    elif len(call.rows) == 1 or error.concerns_all:
        outcomes.refuse(call, reason=str(error))
    else:
        outcomes.close(call, outcome="refused", error=str(error))
        return bisecting.halve(call)
    return []
