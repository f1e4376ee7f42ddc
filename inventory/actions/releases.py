"""Ends of promises without a sale: what they held may be promised again, and whoever waits for it hears so."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from django.db import connection

from audit.actions import Happening, record_all
from config.infra import tenancy
from inventory.actions.authority import authority_of
from inventory.actions.holds import give_back
from inventory.actions.levels import explain_movements, note_increases
from inventory.models import Reservation, ReservationLine, StockLevel
from shopsync.models import Tenant

_RELEASE = "SELECT inventory_release_holds(%s, %s::text[], %s::bigint[], %s::bigint[])"


def free_units(
    reservations: Sequence[Reservation],
    levels: Iterable[StockLevel],
    *,
    status: Reservation.Status,
    actor: str,
    now: datetime,
) -> None:
    """End active promises without a sale, however many, in as many statements as for one.

    Their levels are locked, and then they are.
    """
    if not reservations:
        return
    lines = list(ReservationLine.objects.filter(reservation__in=reservations).order_by("reservation_id", "pk"))
    # 1. The levels, of each reservation in turn: the ledger names it. 2. The promises. 3. Who is to hear of it.
    explain_movements(reason=status.value, reference="", actor=actor)
    holding = [line for line in lines if line.held]
    with connection.cursor() as cursor:
        references = [f"reservation:{line.reservation_id}" for line in holding]
        level_ids, units = [line.level_id for line in holding], [line.held for line in holding]
        cursor.execute(_RELEASE, [tenancy.current_tenant_id(), references, level_ids, units])
    ReservationLine.objects.filter(pk__in=[line.pk for line in holding]).update(held=0)
    for reservation in reservations:
        reservation.status, reservation.ended_at = status, now
    Reservation.objects.filter(pk__in=[row.pk for row in reservations]).update(status=status, ended_at=now)
    ended = [Happening(f"reservation:{reservation.pk}") for reservation in reservations]
    record_all(name=f"reservation.{status.value}", actor=actor, happenings=ended)
    freed: dict[int, int] = defaultdict(int)
    for line in holding:
        freed[line.level_id] += line.held
    give_back(lines)
    note_freed(levels, freed)


def note_freed(levels: Iterable[StockLevel], freed: Mapping[int, int]) -> None:
    """Record of levels that hold so many units less now that they can be sold from again."""
    increased: list[tuple[StockLevel, int | None]] = []
    for level in levels:
        was, level.held = level.sellable, level.held - freed.get(level.pk, 0)
        increased.append((level, was))
    counts_here = authority_of(tenancy.current_tenant_id()) == Tenant.StockAuthority.SHOPSYNC
    note_increases(increased, fills_backorders=counts_here)
