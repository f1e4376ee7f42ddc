"""Breakers: one is closed by an operator's hand, and what opened is written into the trail."""

from __future__ import annotations

import logging
from contextlib import AbstractContextManager

from django.db import IntegrityError, transaction

from audit.actions import record
from config.infra import tenancy
from config.infra.breaker import Breaker, Opening, forget_opening, read_openings
from shopsync.queries import tenant_of_breaker

logger = logging.getLogger(__name__)


def reset_breaker(*, service: str, connection: str, tenant_id: int | None, actor: str) -> bool:
    """Close a breaker of a tenant (None: of the system); False when Redis is away, and only this process took note.

    The trail comes first: an event whose reset was lost is put right by doing it again, not so a reset that nobody
    knows of.
    """
    breaker = Breaker(service, connection)
    with _scope(tenant_id):
        record(
            name="breaker.reset",
            subject=_subject(service, connection),
            actor=actor,
            data={"service": service, "was": breaker.state()},
        )
    return breaker.reset()


def record_openings() -> int:
    """Write the openings that the breakers noted into the trail; return how many.

    Called by a task instead of by the call that failed, which then waits for nothing and joins nobody's transaction.
    Who dies before an opening is forgotten leaves it to the next run, which the constraint auditevent_happens_once
    keeps from recording it again (the system's own events, which have no tenant, are outside that constraint).
    """
    openings = read_openings()
    for opening in openings:
        _record(opening)
        forget_opening(opening)
    return len(openings)


def _record(opening: Opening) -> None:
    try:
        with _scope(tenant_of_breaker(opening.connection)), transaction.atomic():
            record(
                name="breaker.opened",
                subject=_subject(opening.service, opening.connection),
                actor="system",
                data={"service": opening.service},
                once_key=f"breaker.opened:{opening.key}",
            )
    except IntegrityError:
        logger.info("the opening %s was in the trail already", opening.key)


def _scope(tenant_id: int | None) -> AbstractContextManager[None]:
    return tenancy.no_scope() if tenant_id is None else tenancy.tenant_scope(tenant_id)


def _subject(service: str, connection: str) -> str:
    return f"breaker:{service}:{connection}"
