"""What a drain task does: silence the bell, then claim and handle until nothing is due or its time is up."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TypeVar

from django.db import connection, transaction

from config.infra import tenancy
from config.infra.failpoints import failpoint
from config.infra.work import bell, claims
from config.infra.work.rows import WorkRow

logger = logging.getLogger(__name__)

R = TypeVar("R", bound=WorkRow)
DRAIN_SECONDS = 20.0


class PermanentFailureError(Exception):
    """A handler's word that repeating can't help; the row is quarantined with this message."""


def drain(model: type[R], handle: Callable[[list[R]], None], *, budget_seconds: float = DRAIN_SECONDS) -> int:
    """Claim and handle batches until nothing is due; after the budget, ring again and make room for others.

    Returns how many rows were claimed.
    """
    bell.silence(model.queue)
    deadline = time.monotonic() + budget_seconds
    claimed = 0
    while rows := claims.claim(model):
        claimed += len(rows)
        handle(rows)
        if time.monotonic() > deadline:
            bell.ring(model.queue, even_if_rung=True)
            break
    return claimed


def run_each(rows: list[R], handler: Callable[[R], None]) -> None:
    """Handle idempotent database work row by row: the effect and the completion are one transaction.

    A failure goes back with back-off, a `PermanentFailureError` to quarantine; a lease lost meanwhile rolls the
    effect back.
    """
    for row in rows:
        if claims.start([row]):
            _run(row, handler)


def _run(row: R, handler: Callable[[R], None]) -> None:
    try:
        with tenancy.tenant_scope(row.tenant_id), transaction.atomic():
            with connection.cursor() as cursor:
                cursor.execute("SET LOCAL lock_timeout = '2s'")
            handler(row)
            failpoint("work.handled")
            claims.complete(row)
    except claims.LeaseLostError:
        logger.warning("%s %s: lease lost, effects rolled back", type(row).__name__, row.pk)
    except PermanentFailureError as refusal:
        message = str(refusal)
        _settle(row, lambda: claims.quarantine(row, error=message))
    except Exception as error:  # the row keeps the error, the log and the tracker hear of it
        logger.exception("%s %s failed on attempt %s", type(row).__name__, row.pk, row.attempts)
        message = f"{type(error).__name__}: {error}"
        _settle(row, lambda: claims.retry(row, error=message))
    failpoint("work.completed")


def _settle(row: R, move: Callable[[], None]) -> None:
    try:
        move()
    except claims.LeaseLostError:
        logger.warning("%s %s: lease lost before its failure was stored", type(row).__name__, row.pk)
