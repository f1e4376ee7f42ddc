"""Outward calls that cost: one row is one call, made at most once unless the service surely did not hear it.

perform(row)   calls the network outside any transaction and returns what to write: `apply`
apply()        runs in the transaction that completes the row
ask(row)       asks the service what became of a call whose outcome nobody knows; an error, of whatever kind, says
               nothing of the call. That the call itself is refused is an `apply` that writes so

call made, answered     apply and complete, together
surely not done         back to the queue, with the blocker named; the attempt is not counted
refused for good        `refuse(row, error)` and complete, together
nobody knows            parked as `unknown`; `settle_unknown` asks until the service says
answered, not stored    parked with the error (`apply` failed: ours to mend); asked about again as any other
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Generic, Literal, TypeVar

from django.db import models, transaction

from config.infra import tenancy
from config.infra.failpoints import failpoint
from config.infra.turns import Turns
from config.infra.work import claims
from config.infra.work.claims import ClockTimestamp
from config.infra.work.rows import Status, WorkRow

logger = logging.getLogger(__name__)

R = TypeVar("R", bound=WorkRow)
Apply = Callable[[], None]
Answer = Apply | Literal["not_done", "unknown"]

ASK_AFTER_SECONDS = 30.0  # later than any call's own time-out: a call that is still on its way can't be asked about
ASK_AT_MOST_EVERY_SECONDS = 3600.0
ASK_BATCH = 50
_AT_LEAST, _AT_MOST = timedelta(seconds=ASK_AFTER_SECONDS), timedelta(seconds=ASK_AT_MOST_EVERY_SECONDS)


class CallError(Exception):
    """An adapter's word on a call without a good answer; the flags mean what outbound's do.

    permanent  refused: asking again would be refused again
    unknown    it may have been done: never repeated by itself
    neither    surely not done; try again after `retry_after_seconds`, when given
    blocker    what the row waits for, when the error knows better than its caller: an open breaker
    """

    def __init__(
        self,
        message: str,
        *,
        permanent: bool = False,
        unknown: bool = False,
        retry_after_seconds: float | None = None,
        status: int | None = None,
        blocker: str = "",
    ) -> None:
        super().__init__(message)
        self.permanent = permanent
        self.unknown = unknown
        self.retry_after_seconds = retry_after_seconds
        self.status = status
        self.blocker = blocker


@dataclass(frozen=True, slots=True)
class Caller(Generic[R]):
    """How one kind of call is made, refused and asked about; `blocker` names what a row waits for meanwhile."""

    perform: Callable[[R], Apply]
    refuse: Callable[[R, CallError], None]
    ask: Callable[[R], Answer]
    blocker: Callable[[R], str]


def make_calls(rows: list[R], caller: Caller[R]) -> None:
    """Make the call of each claimed row, in its tenant's scope."""
    for row in rows:
        if claims.start([row]):
            with tenancy.tenant_scope(row.tenant_id):
                _make(row, caller)


def _make(row: R, caller: Caller[R]) -> None:
    try:
        apply = caller.perform(row)
    except CallError as error:
        logger.warning("%s %s: %s", type(row).__name__, row.pk, error)
        _settle_failure(row, error, caller)
        return
    except Exception as error:  # nobody can say whether the call went out: parked with the error, never repeated
        logger.exception("%s %s failed around its call", type(row).__name__, row.pk)
        _park(row, f"{type(error).__name__}: {error}")
        return
    failpoint("calls.called")
    _finish(row, apply)


def _finish(row: R, apply: Apply) -> None:
    """Write what became of the call; what can't be written is parked with the reason, and no other row suffers."""
    try:
        _store(row, apply)
    except Exception as error:
        logger.exception("%s %s was answered, and the answer could not be stored", type(row).__name__, row.pk)
        _park(row, f"answered, but not stored: {type(error).__name__}: {error}")


def _store(row: R, apply: Apply) -> None:
    try:
        with transaction.atomic():
            apply()
            claims.complete(row)
    except claims.LeaseLostError:
        logger.warning("%s %s was settled meanwhile; its answer is not stored twice", type(row).__name__, row.pk)


def _settle_failure(row: R, error: CallError, caller: Caller[R]) -> None:
    if error.unknown:
        _park(row, str(error))
    elif error.permanent:
        _finish(row, partial(caller.refuse, row, error))
    else:
        wait = error.retry_after_seconds or row.queue.backoff(row.attempts).total_seconds()
        blocker = error.blocker or caller.blocker(row)
        claims.hand_back([row], blocker=blocker, wait_seconds=wait, surely_not_done=True)


def _park(row: R, error: str) -> None:
    try:
        claims.park(row, error=error, due_at=claims.in_seconds(ASK_AFTER_SECONDS))
    except claims.LeaseLostError:
        logger.warning("%s %s was settled by somebody else before it was parked", type(row).__name__, row.pk)


def settle_unknown(model: type[R], caller: Caller[R]) -> int:
    """Ask the service about every parked call whose time to ask has come; return how many came to an end.

    A call that was surely not done goes back to the queue, or is buried after its last attempt. One that nobody knows
    of yet is asked about again later, at growing intervals, and stays shown among the dead letters meanwhile.

    Raises: ExceptionGroup after all were asked, with what failed of ours around an answer; those are asked again.
    """
    settled, turns = 0, Turns(model.__name__)
    for row in _take_unknown(model):
        with turns.turn(row.pk), tenancy.tenant_scope(row.tenant_id):
            settled += _ask(row, caller)
    turns.end(f"{len(turns.failures)} answers could not be stored; {settled} others were")
    return settled


def _take_unknown(model: type[R]) -> list[R]:
    """Take the parked rows to ask about; moving `due_at` on keeps a second asker away, and spaces the questions."""
    with tenancy.all_tenants(reason="ask about parked calls of every tenant"), transaction.atomic():
        rows: models.QuerySet[R] = model._default_manager.filter(status=Status.UNKNOWN, due_at__lte=ClockTimestamp())
        taken = list(rows.select_for_update(skip_locked=True).order_by("due_at", "pk")[:ASK_BATCH])
        for row in taken:
            age = models.ExpressionWrapper(ClockTimestamp() - models.F("started_at"), models.DurationField())
            wait = models.functions.Least(age, models.Value(_AT_MOST), output_field=models.DurationField())
            spaced = models.functions.Greatest(wait, models.Value(_AT_LEAST), output_field=models.DurationField())
            model._default_manager.filter(pk=row.pk).update(due_at=ClockTimestamp() + spaced)
    return taken


def _ask(row: R, caller: Caller[R]) -> bool:
    try:
        answer = caller.ask(row)
    except CallError as error:
        logger.warning("%s %s: asked, and not told: %s", type(row).__name__, row.pk, error)
        return False  # also where the question is refused for good: that says nothing of the call
    if answer == "unknown":
        return False
    if answer == "not_done":
        claims.disprove(row, error=f"the service does not know of it: {row.last_error}")
        return True
    assert callable(answer)
    _store(row, answer)
    return True
