"""What orders do with the units that are held for them: keep fewer, or sell them when we begin to count."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from datetime import datetime

from audit.actions import Value, record
from config.infra.transactions import retrying_atomic
from inventory.actions.holds import give_back
from inventory.actions.levels import Move, explain_movements, move_units
from inventory.actions.releases import free_units, note_freed
from inventory.actions.reservations import lock_reservation
from inventory.models import Reservation, ReservationLine
from inventory.rules import Pick

Status = Reservation.Status


@retrying_atomic
def sell_held(*, reservation_id: int, actor: str) -> list[Pick]:
    """Take what a committed reservation still holds for an order off the count, now that we count; return the units.

    Raises: Reservation.DoesNotExist.
    """
    locked = lock_reservation(reservation_id)
    held = [line for line in locked.lines if line.held]
    explain_movements(reason="handed_over", reference=f"reservation:{reservation_id}", actor=actor)
    moves: dict[int, Move] = defaultdict(Move)
    for line in held:
        moves[line.level_id] += Move(held=-line.held, available=-line.held, committed=line.held)
    move_units(moves)
    ReservationLine.objects.filter(reservation_id=reservation_id).update(held=0)
    Reservation.objects.filter(pk=reservation_id).update(settles_by="")
    return [Pick(line.variant_id, line.level_id, line.held) for line in held]


def is_held(*, reservation_id: int) -> bool:
    """Lock a reservation, and say whether it holds its units still.

    With its levels, as everybody does: whoever hears that it holds none may go on to reserve others.
    """
    return lock_reservation(reservation_id).reservation.status == Status.ACTIVE


@retrying_atomic
def hold_until(*, reservation_id: int, until: datetime, actor: str, shorten: bool = False) -> Reservation:
    """Hold an active reservation's units at least until then, however often it was extended; or at most, to shorten.

    One that ended stays as it is. One whose time is up, and that nobody ended yet, has its units still.

    Raises: Reservation.DoesNotExist.
    """
    reservation = Reservation.objects.select_for_update().get(pk=reservation_id)
    expires_at = (min if shorten else max)(reservation.expires_at, until)
    if reservation.status != Status.ACTIVE or expires_at == reservation.expires_at:
        return reservation
    reservation.expires_at = expires_at
    reservation.save(update_fields=["expires_at"])
    data: dict[str, Value] = {"until": expires_at.isoformat()}
    record(name="reservation.extended", subject=f"reservation:{reservation_id}", actor=actor, data=data)
    return reservation


@retrying_atomic
def shrink(*, reservation_id: int, kept: Mapping[int, int], actor: str, now: datetime) -> list[Pick]:
    """Give back what a reservation has of each variant beyond the units kept; one that keeps nothing ends.

    Returns the units that were held here until then, by level.
    """
    locked = lock_reservation(reservation_id)
    if locked.reservation.status == Status.ACTIVE and not any(kept.values()):
        freed = [Pick(line.variant_id, line.level_id, line.held) for line in locked.lines if line.held]
        free_units([locked.reservation], locked.levels.values(), status=Status.RELEASED, actor=actor, now=now)
        return freed
    if locked.reservation.status in {Status.RELEASED, Status.EXPIRED}:
        return []  # nothing is held any more
    # 1. Which units go, those that are set aside here before those that are in Shopify. 2. Off the levels. 3. Back.
    surplus = {variant_id: -quantity for variant_id, quantity in kept.items()}
    for line in locked.lines:
        surplus[line.variant_id] = surplus.get(line.variant_id, 0) + line.held + line.pushed
    moves: dict[int, Move] = defaultdict(Move)
    keeps: dict[int, int] = {}
    freed = []
    for line in reversed(locked.lines):
        given_up = min(line.held + line.pushed, max(0, surplus[line.variant_id]))
        surplus[line.variant_id] -= given_up
        keeps[line.pk] = line.held + line.pushed - given_up
        part = min(line.held, given_up)
        line.held -= part
        moves[line.level_id] += Move(held=-part)
        freed += [Pick(line.variant_id, line.level_id, part)] if part else []
        if locked.reservation.status == Status.ACTIVE:
            line.quantity = keeps[line.pk]
    explain_movements(reason="cancelled", reference=f"reservation:{reservation_id}", actor=actor)
    move_units(moves)
    give_back(locked.lines, kept=keeps)
    ReservationLine.objects.bulk_update(locked.lines, ["held", "quantity"], batch_size=500)
    ReservationLine.objects.filter(reservation_id=reservation_id, quantity=0, pushes__isnull=True).delete()
    note_freed(locked.levels.values(), {level_id: -move.held for level_id, move in moves.items()})
    return freed
