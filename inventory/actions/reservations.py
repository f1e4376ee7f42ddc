"""Reservations: units promised to a buyer for a while; all lines or none, never more than there is.

Everybody locks in the same order: levels by primary key, then reservations by primary key. A promise is one
transaction: the reservation, its lines, the levels' holds with their movements, and the audit event.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import msgspec
from django.db import IntegrityError, connection, transaction

from audit.actions import Value, record
from config.infra import tenancy
from config.infra.transactions import retrying_atomic
from inventory.actions.at_once import CREATED, reserve_at_once, would_oversell
from inventory.actions.authority import authority_of
from inventory.actions.holds import give_back, push_holds
from inventory.actions.levels import Move, explain_movements, lock_levels, move_units
from inventory.actions.releases import free_units
from inventory.models import Reservation, ReservationLine, StockLevel, Variant
from inventory.rules import Destination, Offer, Pick, Shortage, allocate
from shopsync.models import Tenant

DEFAULT_TTL = timedelta(minutes=15)
LONGEST_TTL = timedelta(days=1)
MAX_LINES = 500
ROOM_BATCH = 50
Status = Reservation.Status


class ReservationError(Exception):
    """A reservation can't be made or moved as asked; the message says what to do instead."""


class InsufficientStock(ReservationError):  # noqa: N818  (the API's word for it)
    """Some lines can't be promised; nothing was. `shortages` names each of them and how many units are missing."""

    def __init__(self, shortages: Sequence[Shortage]) -> None:
        short = ", ".join(f"{s.short} of variant {s.variant_id}" for s in shortages[:20])
        super().__init__(f"Not enough stock: {short} short. Ask for less, or again later.")
        self.shortages = list(shortages)


class UnknownVariants(ReservationError):  # noqa: N818
    """Variants that this tenant does not have, or that have no stock to count."""

    def __init__(self, ids: Sequence[int]) -> None:
        super().__init__(f"No such variants: {', '.join(map(str, ids[:20]))}. List them at /api/v1/variants.")
        self.ids = list(ids)


class IdempotencyConflict(ReservationError):  # noqa: N818
    """The idempotency key was used before, for something else."""

    def __init__(self, key: str) -> None:
        super().__init__(f"The idempotency key {key!r} was used for another request; send a new key.")


class ReservationEnded(ReservationError):  # noqa: N818
    """The reservation is not active any more, so it can't be moved like this."""

    def __init__(self, reservation: Reservation, wanted: str) -> None:
        super().__init__(f"Reservation {reservation.pk} is {reservation.status}: it can't be {wanted}. Make a new one.")
        self.status = reservation.status


class OrdersReservation(ReservationError):  # noqa: N818
    """The reservation holds the units of an order: what becomes of them is the order's to say."""

    def __init__(self, reservation: Reservation, wanted: str) -> None:
        super().__init__(
            f"Reservation {reservation.pk} holds the units of an order: it can't be {wanted} by itself."
            " Mark the order paid, or cancel it."
        )


class AlreadyExtended(ReservationError):  # noqa: N818
    """A reservation is extended once."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Units of one variant."""

    variant_id: int
    quantity: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What to reserve. Repeated variants are summed; `ttl` is at most a day."""

    lines: tuple[Wanted, ...]
    ttl: timedelta = DEFAULT_TTL
    destination: Destination = field(default_factory=Destination)
    allow_split: bool = True
    reference: str = ""

    def totals(self) -> dict[int, int]:
        """Sum the units by variant, in the order of variant ids.

        Raises: ValueError for no lines, too many of them, or a quantity below one.
        """
        if not 0 < len(self.lines) <= MAX_LINES:
            raise ValueError(f"give 1 to {MAX_LINES} lines")
        totals: dict[int, int] = defaultdict(int)
        for line in sorted(self.lines, key=lambda line: line.variant_id):
            if line.quantity < 1:
                raise ValueError("each quantity is 1 or more")
            totals[line.variant_id] += line.quantity
        return dict(totals)

    def digest(self) -> str:
        """Name the request, so that one key can't stand for two of them."""
        return hashlib.sha256(msgspec.json.encode(self)).hexdigest()


def reserve(*, request: Request, idempotency_key: str, actor: str, now: datetime) -> tuple[Reservation, bool]:
    """Promise all lines of the request or none; return the reservation, and whether this call made it.

    The same key with the same request returns what it made before, whatever became of it since.

    Raises: InsufficientStock, UnknownVariants, IdempotencyConflict, ValueError.
    """
    totals, digest = request.totals(), request.digest()
    made = reserve_at_once(
        totals=totals,
        may_split=request.allow_split,
        reference=request.reference,
        idempotency_key=idempotency_key,
        digest=digest,
        actor=actor,
        expires_at=now + min(request.ttl, LONGEST_TTL),
    )
    return (made, True) if made is not None else _reserve(request, key=idempotency_key, actor=actor, now=now)


@retrying_atomic
def _reserve(request: Request, *, key: str, actor: str, now: datetime) -> tuple[Reservation, bool]:
    """Promise in as many steps as it takes: choose among locations, make room, say what is short."""
    totals, digest = request.totals(), request.digest()
    # 1. The key: who comes second waits here for the first, and then finds its row.
    reservation_id = _insert(request, key=key, digest=digest, actor=actor, now=now)
    if reservation_id is None:
        made = Reservation.objects.get(idempotency_key=key)
        if made.request_digest != digest:
            raise IdempotencyConflict(key)
        return made, False
    # 2. The levels, locked by primary key; then which of them, and the hold on each. Whoever changes a policy just then
    # lets it be chosen anew.
    for is_last in (False, False, True):
        picks = _choose(totals, request, now)
        try:
            with transaction.atomic():
                lines = _hold(reservation_id, picks, actor=actor)
            break
        except IntegrityError as error:
            if is_last or not would_oversell(error):
                raise
    data: dict[str, Value] = {"lines": len(picks), "units": sum(pick.quantity for pick in picks)}
    record(name=CREATED, subject=f"reservation:{reservation_id}", actor=actor, data=data)
    push_holds(lines)
    return Reservation.objects.get(pk=reservation_id), True


_INSERT = """
INSERT INTO inventory_reservation (tenant_id, idempotency_key, request_digest, status, reference, actor, settles_by,
    expires_at) VALUES (%s, %s, %s, 'active', %s, %s, '', %s)
ON CONFLICT (tenant_id, idempotency_key) DO NOTHING RETURNING id"""


def _insert(request: Request, *, key: str, digest: str, actor: str, now: datetime) -> int | None:
    expires_at = now + min(request.ttl, LONGEST_TTL)
    with connection.cursor() as cursor:
        tenant_id = tenancy.current_tenant_id()
        cursor.execute(_INSERT, [tenant_id, key, digest, request.reference, actor, expires_at])
        row = cursor.fetchone()
    return None if row is None else int(row[0])


def _choose(totals: Mapping[int, int], request: Request, now: datetime) -> list[Pick]:
    sold = Variant.objects.filter(pk__in=totals, removed_at__isnull=True)
    items = list(sold.filter(item_id__isnull=False).values_list("item_id", flat=True))
    levels = lock_levels(item_id__in=items, location__is_active=True)
    variants = {variant.pk: variant for variant in sold.all()}  # as they are once the levels are ours
    if unknown := [variant_id for variant_id in totals if variant_id not in variants]:
        raise UnknownVariants(unknown)
    looked_at: set[int] = set()
    while True:
        offers = offers_of(levels, variants.values())
        found = allocate(totals, offers, destination=request.destination, allow_split=request.allow_split)
        if all(isinstance(part, Pick) for part in found):
            return [part for part in found if isinstance(part, Pick)]
        if not _make_room(levels, now, looked_at):
            raise InsufficientStock([part for part in found if isinstance(part, Shortage)])
        levels = lock_levels(pk__in=[level.pk for level in levels])


def offers_of(levels: Iterable[StockLevel], variants: Iterable[Variant]) -> list[Offer]:
    """Say what each level can promise of each variant; variants of one item are offered the same units."""
    by_item: dict[int | None, list[Variant]] = defaultdict(list)
    for variant in variants:
        by_item[variant.item_id].append(variant)
    return [
        Offer(
            level_id=level.pk,
            variant_id=variant.pk,
            location_id=level.location_id,
            sellable=None if variant.policy == Variant.Policy.CONTINUE else level.sellable,
            country=level.location.country,
            latitude=level.location.latitude,
            longitude=level.location.longitude,
            priority=level.location.priority,
        )
        for level in levels
        for variant in by_item[level.item_id]
    ]


def _hold(reservation_id: int, picks: Sequence[Pick], *, actor: str) -> list[ReservationLine]:
    explain_movements(reason="reserved", reference=f"reservation:{reservation_id}", actor=actor)
    moves: dict[int, Move] = defaultdict(Move)
    for pick in picks:
        moves[pick.level_id] += Move(held=pick.quantity)
    move_units(moves)
    return ReservationLine.objects.bulk_create(
        [
            ReservationLine(
                reservation_id=reservation_id,
                variant_id=pick.variant_id,
                level_id=pick.level_id,
                quantity=pick.quantity,
                held=pick.quantity,
            )
            for pick in picks
        ]
    )


@dataclass(frozen=True, slots=True)
class Locked:
    """A reservation with its lines and their levels, all locked."""

    reservation: Reservation
    lines: list[ReservationLine]
    levels: dict[int, StockLevel]


def lock_reservation(reservation_id: int) -> Locked:
    """Lock levels first, then the reservation, as everybody does; its lines never change which levels they name.

    Raises: Reservation.DoesNotExist.
    """
    level_ids = ReservationLine.objects.filter(reservation_id=reservation_id).values_list("level_id", flat=True)
    levels = {level.pk: level for level in lock_levels(pk__in=list(level_ids))}
    reservation = Reservation.objects.select_for_update().get(pk=reservation_id)
    lines = list(ReservationLine.objects.filter(reservation=reservation).select_related("variant").order_by("pk"))
    return Locked(reservation, lines, levels)


@retrying_atomic
def extend(*, reservation_id: int, actor: str, now: datetime, ttl: timedelta = DEFAULT_TTL) -> Reservation:
    """Give an active reservation more time, counted from now; once.

    Raises: Reservation.DoesNotExist, ReservationEnded, AlreadyExtended.
    """
    reservation = Reservation.objects.select_for_update().get(pk=reservation_id)
    if reservation.status != Status.ACTIVE or reservation.is_overdue(now):
        raise ReservationEnded(reservation, "extended")
    if reservation.extended_at is not None:
        raise AlreadyExtended(f"Reservation {reservation_id} was extended before; once is all there is.")
    reservation.extended_at = now
    reservation.expires_at = max(reservation.expires_at, now + min(ttl, LONGEST_TTL))
    reservation.save(update_fields=["extended_at", "expires_at"])
    record(name="reservation.extended", subject=f"reservation:{reservation_id}", actor=actor)
    return reservation


@retrying_atomic
def release(*, reservation_id: int, actor: str, now: datetime) -> Reservation:
    """Give the units back before the time is up. One that is released or expired already stays as it is.

    Raises: Reservation.DoesNotExist, ReservationEnded when it was committed, OrdersReservation.
    """
    locked = lock_reservation(reservation_id)
    if locked.reservation.is_of_order:
        raise OrdersReservation(locked.reservation, "released")
    if locked.reservation.status == Status.COMMITTED:
        raise ReservationEnded(locked.reservation, "released")
    if locked.reservation.status == Status.ACTIVE:
        free_units([locked.reservation], locked.levels.values(), status=Status.RELEASED, actor=actor, now=now)
    return locked.reservation


def _end(reservation: Reservation, *, status: Status, actor: str, now: datetime) -> None:
    reservation.status, reservation.ended_at = status, now
    reservation.save(update_fields=["status", "ended_at", "settles_by"])
    record(name=f"reservation.{status.value}", subject=f"reservation:{reservation.pk}", actor=actor)


@dataclass(frozen=True, slots=True)
class Committed:
    """A sold promise: which units came from which level, for whoever keeps the order."""

    reservation: Reservation
    picks: tuple[Pick, ...]


@retrying_atomic
def commit(*, reservation_id: int, actor: str, now: datetime, for_order: bool = False) -> Committed:
    """Turn a promise into a sale.

    Where we count, the units leave `available`: with `for_order` they become committed, else they are gone. Where
    Shopify counts, the hold stays on the level until Shopify's own count has the sale in it (or, with `for_order`,
    until the order, which Shopify does not know, ends).

    An order whose time is up sells its units all the same while nobody ended that: they are set aside for it still.

    Raises: Reservation.DoesNotExist, ReservationEnded, also when its time is up, OrdersReservation; not for either of
    the latter two `for_order`.
    """
    locked = lock_reservation(reservation_id)
    reservation = locked.reservation
    if reservation.is_of_order and not for_order:
        raise OrdersReservation(reservation, "committed")
    if reservation.status != Status.ACTIVE or (reservation.is_overdue(now) and not for_order):
        raise ReservationEnded(reservation, "committed")
    if authority_of(reservation.tenant_id) == Tenant.StockAuthority.SHOPSYNC:
        _sell(locked, actor=actor, for_order=for_order)
    else:
        settles_by = Reservation.SettlesBy.ORDER if for_order else Reservation.SettlesBy.SNAPSHOT
        reservation.settles_by = settles_by
    _end(reservation, status=Status.COMMITTED, actor=actor, now=now)
    if not for_order:
        give_back(locked.lines)  # the sale is in Shopify; what was set aside there is set aside twice
    return Committed(reservation, tuple(Pick(line.variant_id, line.level_id, line.quantity) for line in locked.lines))


def _sell(locked: Locked, *, actor: str, for_order: bool) -> None:
    explain_movements(reason="committed", reference=f"reservation:{locked.reservation.pk}", actor=actor)
    moves: dict[int, Move] = defaultdict(Move)
    for line in locked.lines:
        sold = line.quantity
        gone = Move(committed=sold) if for_order else Move(on_hand=-sold)
        moves[line.level_id] += Move(held=-line.held, available=-sold) + gone
    move_units(moves)
    ReservationLine.objects.filter(reservation=locked.reservation).update(held=0)


def _make_room(levels: Sequence[StockLevel], now: datetime, looked_at: set[int]) -> bool:
    """Expire overdue promises on these locked levels, the oldest first; say whether there was any left to expire.

    looked_at: those of earlier calls, by id; the others are added.
    """
    while ids := _overdue_on(levels, now, looked_at):
        looked_at.update(ids)
        if _expire_overdue(ids, levels, now):
            return True
    return False


def _overdue_on(levels: Sequence[StockLevel], now: datetime, looked_at: set[int]) -> list[int]:
    holding = ReservationLine.objects.filter(level_id__in=[level.pk for level in levels], held__gt=0)
    overdue = Reservation.objects.filter(status=Status.ACTIVE, expires_at__lte=now)
    rows = overdue.filter(pk__in=holding.values("reservation_id")).exclude(pk__in=looked_at)
    return list(rows.order_by("expires_at", "pk").values_list("pk", flat=True)[:ROOM_BATCH])


def _expire_overdue(ids: Sequence[int], levels: Sequence[StockLevel], now: datetime) -> bool:
    """Expire these; what lies on further levels too only where nobody else has those: to wait could be a deadlock."""
    known = [level.pk for level in levels]
    elsewhere = ReservationLine.objects.filter(reservation_id__in=ids).exclude(level_id__in=known)
    further = StockLevel.objects.filter(pk__in=elsewhere.values("level_id"))
    ours = list(further.select_for_update(skip_locked=True).order_by("pk"))
    taken = elsewhere.exclude(level_id__in=[level.pk for level in ours]).values_list("reservation_id", flat=True)
    rows = Reservation.objects.filter(pk__in=set(ids) - set(taken), status=Status.ACTIVE, expires_at__lte=now)
    found = list(rows.select_for_update(skip_locked=True).order_by("pk"))
    free_units(found, [*levels, *ours], status=Status.EXPIRED, actor="system", now=now)
    return bool(found)
