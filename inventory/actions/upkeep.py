"""What is done for every tenant on a schedule: overdue reservations expire, late sales settle."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import partial

from django.db import DatabaseError

from config.infra import tenancy
from config.infra.transactions import retrying_atomic
from config.infra.turns import Turns
from inventory.actions.holds import give_back
from inventory.actions.levels import Move, explain_movements, lock_levels, move_units
from inventory.actions.releases import free_units, note_freed
from inventory.actions.reservations import lock_reservation
from inventory.models import Reservation, ReservationLine

logger = logging.getLogger(__name__)

Status = Reservation.Status
EXPIRE_BATCH = 200
EXPIRE_AT_MOST = 5000
SETTLE_AFTER = timedelta(hours=1)  # by then Shopify's count has the sale in it, or a reconciliation has


def expire_everywhere(*, now: datetime) -> int:
    """Expire each tenant's overdue reservations, and settle sales that no snapshot settled; return how many expired."""
    with tenancy.all_tenants(reason="find the tenants with overdue reservations"):
        overdue = Reservation.objects.filter(status=Status.ACTIVE, expires_at__lte=now)
        late = Reservation.objects.filter(
            status=Status.COMMITTED, settles_by="snapshot", ended_at__lte=now - SETTLE_AFTER, lines__held__gt=0
        )
        tenants = {*overdue.values_list("tenant_id", flat=True).distinct().order_by("tenant_id")}
        tenants |= {*late.values_list("tenant_id", flat=True).distinct().order_by("tenant_id")}
    return tenancy.for_each(sorted(tenants), partial(_expire_and_settle, now=now))


def _expire_and_settle(*, now: datetime) -> int:
    """Do both, whatever fails of the one.

    Raises: ExceptionGroup of what failed, after the last.
    """
    expired, turns = 0, Turns("step")
    with turns.turn("expire_reservations"):
        expired = expire_reservations(now=now)
    with turns.turn("settle_reservations"):
        settle_reservations(now=now)
    turns.end("not all reservations could expire or settle")
    return expired


def expire_reservations(*, now: datetime) -> int:
    """Expire the reservations in scope whose time is up, a batch to a transaction; return how many.

    A batch that can't be expired is gone through one by one, so that one that is broken keeps no other from it. What is
    beyond `EXPIRE_AT_MOST` waits for the next run: other tenants have their turn meanwhile.

    Raises: ExceptionGroup of what failed, after the last.
    """
    expired, turns = 0, Turns("reservation", catches=DatabaseError)
    while expired < EXPIRE_AT_MOST:
        overdue = Reservation.objects.filter(status=Status.ACTIVE, expires_at__lte=now).exclude(pk__in=turns.failed)
        ids = list(overdue.order_by("expires_at", "pk").values_list("pk", flat=True)[:EXPIRE_BATCH])
        try:
            expired += _expire(ids, now=now)
        except DatabaseError:
            logger.exception("a batch of reservations could not expire together: one by one")
            for reservation_id in ids:
                with turns.turn(reservation_id):
                    expired += _expire([reservation_id], now=now)
        if len(ids) < EXPIRE_BATCH:
            break
    turns.end(f"{len(turns.failures)} reservations could not expire; {expired} others did")
    return expired


@retrying_atomic
def _expire(ids: Sequence[int], *, now: datetime) -> int:
    """Expire those of these that are overdue still: some were extended, sold or released since."""
    lines = ReservationLine.objects.filter(reservation_id__in=ids)
    levels = lock_levels(pk__in=list(lines.values_list("level_id", flat=True).distinct()))
    overdue = Reservation.objects.filter(pk__in=ids, status=Status.ACTIVE, expires_at__lte=now)
    found = list(overdue.select_for_update().order_by("pk"))
    free_units(found, levels, status=Status.EXPIRED, actor="system", now=now)
    return len(found)


def settle_reservations(*, now: datetime) -> int:
    """End the holds of sales that Shopify's count has in it by now, though no snapshot came; return how many.

    One that is broken keeps no other from it.

    Raises: ExceptionGroup of what failed, after the last.
    """
    late = Reservation.objects.filter(
        status=Status.COMMITTED,
        settles_by=Reservation.SettlesBy.SNAPSHOT,
        ended_at__lte=now - SETTLE_AFTER,
        lines__held__gt=0,
    )
    settled, after, turns = 0, 0, Turns("reservation", catches=DatabaseError)
    while settled < EXPIRE_AT_MOST:
        ids = list(late.filter(pk__gt=after).order_by("pk").values_list("pk", flat=True).distinct()[:EXPIRE_BATCH])
        for reservation_id in ids:
            with turns.turn(reservation_id):
                settle(reservation_id=reservation_id, actor="system")
                settled += 1
        if len(ids) < EXPIRE_BATCH:
            break
        after = ids[-1]
    turns.end(f"{len(turns.failures)} reservations could not settle; {settled} others did")
    return settled


@retrying_atomic
def settle(*, reservation_id: int, actor: str) -> None:
    """Take a committed reservation's holds off its levels: the sale is counted elsewhere, or over."""
    locked = lock_reservation(reservation_id)
    explain_movements(reason="settled", reference=f"reservation:{reservation_id}", actor=actor)
    moves: dict[int, Move] = defaultdict(Move)
    for line in locked.lines:
        moves[line.level_id] += Move(held=-line.held)
    move_units(moves)
    ReservationLine.objects.filter(reservation_id=reservation_id).update(held=0)
    give_back(locked.lines)
    note_freed(locked.levels.values(), {level_id: -move.held for level_id, move in moves.items()})
