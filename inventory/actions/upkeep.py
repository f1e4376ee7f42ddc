"""What is done for every tenant on a schedule: overdue reservations expire, late sales settle."""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime, timedelta
from functools import partial

from django.db import DatabaseError

from config.infra import tenancy
from config.infra.transactions import retrying_atomic
from inventory.actions.holds import give_back
from inventory.actions.levels import Move, explain_movements, move_units
from inventory.actions.reservations import free_units, lock_reservation, note_freed
from inventory.models import Reservation, ReservationLine

Status = Reservation.Status
EXPIRE_BATCH = 100
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
    expired = expire_reservations(now=now)
    settle_reservations(now=now)
    return expired


def expire_reservations(*, now: datetime) -> int:
    """Expire the reservations in scope whose time is up, in batches, each reservation in a transaction of its own.

    Returns how many.
    """
    expired = 0
    failures: list[DatabaseError] = []
    failed: set[int] = set()
    while True:
        overdue = Reservation.objects.filter(status=Status.ACTIVE, expires_at__lte=now).exclude(pk__in=failed)
        ids = list(overdue.order_by("expires_at", "pk").values_list("pk", flat=True)[:EXPIRE_BATCH])
        for reservation_id in ids:
            try:
                expired += _expire(reservation_id=reservation_id, now=now)
            except DatabaseError as failure:  # one that is broken keeps no other from expiring
                failure.add_note(f"of reservation {reservation_id}")
                failures.append(failure)
                failed.add(reservation_id)
        if len(ids) < EXPIRE_BATCH:
            break
    if failures:
        raise ExceptionGroup(f"{len(failures)} reservations could not expire; {expired} others did", failures)
    return expired


@retrying_atomic
def _expire(*, reservation_id: int, now: datetime) -> bool:
    locked = lock_reservation(reservation_id)
    if locked.reservation.status != Status.ACTIVE or not locked.reservation.is_overdue(now):
        return False  # it was extended, sold or released since
    free_units(locked, status=Status.EXPIRED, actor="system", now=now)
    return True


def settle_reservations(*, now: datetime) -> int:
    """End the holds of sales that Shopify's count has in it by now, though no snapshot came; return how many."""
    late = Reservation.objects.filter(
        status=Status.COMMITTED,
        settles_by=Reservation.SettlesBy.SNAPSHOT,
        ended_at__lte=now - SETTLE_AFTER,
        lines__held__gt=0,
    )
    ids = list(late.order_by("pk").values_list("pk", flat=True).distinct()[:EXPIRE_BATCH])
    for reservation_id in ids:
        settle(reservation_id=reservation_id, actor="system")
    return len(ids)


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
    note_freed(locked, moves)
