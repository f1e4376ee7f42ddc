"""Holds in Shopify: units that we promised are set aside there too, so that its own channels can't sell them.

Available becomes reserved by compare-and-swap under an idempotency key. Once Shopify has them set aside, its
`available` has them off, so they no longer weigh on our level: a line's units are `held` here or `pushed` there, never
both. Units that are on their way back are neither: nobody is promised them, and Shopify's count has them off still.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import partial

from django.conf import settings
from django.db.models import QuerySet, Sum

from audit.actions import record
from config.infra import work
from config.infra.work import Apply, Caller, CallError
from inventory.actions.authority import authority_of
from inventory.actions.levels import Move, apply_snapshot, explain_movements, lock_levels, move_units
from inventory.client import HoldMove, NotThere, Place, Quantities, StaleQuantities, move_quantities, read_quantities
from inventory.models import HoldPush, Reservation, ReservationLine
from inventory.shopify import LevelSnapshot
from shopsync.actions.alerts import close_alert, raise_alert
from shopsync.client import ShopifyAccount
from shopsync.models import Tenant
from shopsync.shopify import version

SWAPS = 3
AGAIN_AFTER_SECONDS = 3600.0  # what was refused for good is asked for again no more often
REFUSED = "shopify refuses to take units back"
STUCK = "hold.not_given_back"
Direction = HoldPush.Direction


def push_holds(lines: Sequence[ReservationLine]) -> None:
    """Queue the calls that set these units aside in Shopify, where the tenant wants that."""
    wanted = {"pk": lines[0].tenant_id, "push_holds": True, "stock_authority": Tenant.StockAuthority.SHOPIFY}
    if Tenant.objects.filter(**wanted).exists():
        _queue(lines, Direction.HOLD, [line.held for line in lines])


def give_back(lines: Sequence[ReservationLine], *, kept: Mapping[int, int] | None = None) -> None:
    """Queue the calls that undo what was set aside beyond the units kept of each line (by its id; none by default).

    A call that was not begun yet sets fewer aside, or is not needed any more. One that is on its way, or was begun
    before and is to be made again, can't be changed: what it sets aside too many goes back when it is known to be done.
    The lines' reservation is locked.
    """
    wanted = kept or {}
    is_asked = HoldPush.objects.filter(line__in=lines, direction=Direction.HOLD)
    if not any(line.pushed for line in lines) and not is_asked.exists():
        return
    waiting = HoldPush.objects.filter(
        line__in=lines,
        direction=Direction.HOLD,
        status=work.Status.READY,
        started_at__isnull=True,
        from_available__isnull=True,
    )
    waiting.exclude(line_id__in=[line_id for line_id, units in wanted.items() if units]).update(
        status=work.Status.DONE, outcome="not needed: the units were given up first", finished_at=datetime.now(UTC)
    )
    for line_id, quantity in waiting.filter(line_id__in=wanted).values_list("line_id", "quantity"):
        if 0 < wanted[line_id] < quantity:
            waiting.filter(line_id=line_id).update(quantity=wanted[line_id])
    surplus = [(line, line.pushed - wanted.get(line.pk, 0)) for line in lines if line.pushed > wanted.get(line.pk, 0)]
    for line, units in surplus:
        line.pushed -= units
    ReservationLine.objects.bulk_update([line for line, _ in surplus], ["pushed"], batch_size=500)
    _queue([line for line, _ in surplus], Direction.GIVE_BACK, [units for _, units in surplus])


def _queue(lines: Sequence[ReservationLine], direction: Direction, quantities: Sequence[int]) -> None:
    work.add(
        [
            HoldPush(line=line, direction=direction, quantity=quantity, lane=f"level:{line.level_id}")
            for line, quantity in zip(lines, quantities, strict=True)
            if quantity
        ]
    )


def _account(push: HoldPush) -> ShopifyAccount:
    tenant = Tenant.objects.get(pk=push.tenant_id)
    return ShopifyAccount(
        base_url=settings.SHOPIFY_ADMIN_URL.format(shop_domain=tenant.shop_domain),
        api_version=settings.SHOPIFY_API_VERSION,
        access_token=tenant.access_token,
        connection_id=f"tenant:{tenant.pk}",
    )


def _perform(push: HoldPush) -> Apply:
    """Move the units in Shopify, or say why not.

    What is refused when it is asked for again may have been done the first time: that stays unknown. What does not go
    back is tried again later, or the units would stay set aside there, promised to nobody.

    Raises: CallError, `permanent` only where nothing was moved.
    """
    try:
        return _move(push)
    except CallError as error:
        if not error.permanent:
            raise
        if push.from_available is not None:
            raise CallError(f"made again, and refused: {error}", unknown=True, status=error.status) from error
        if push.direction == Direction.HOLD or isinstance(error, NotThere):
            raise
        _note_stuck(push, str(error))
        raise CallError(str(error), retry_after_seconds=AGAIN_AFTER_SECONDS, blocker=REFUSED) from error


def _move(push: HoldPush) -> Apply:
    """Move the units in Shopify; quantities that changed meanwhile are read again and the swap is tried anew.

    Raises: CallError. Where a call was surely not made, what it was to start from is forgotten.
    """
    account = _account(push)
    level = push.line.level
    place = Place(level.item.shopify_id, level.location.shopify_id)
    for _ in range(SWAPS):
        was_begun = push.from_available is not None
        start = _start_of(push, account, place)
        reference = f"shopsync://reservations/{push.line.reservation_id}"
        to_reserved = push.direction == Direction.HOLD
        try:
            moved_at = move_quantities(account, HoldMove(place, push.quantity, to_reserved, start, push.key, reference))
        except StaleQuantities:
            _forget_start(push)
            continue
        except CallError as error:
            if not was_begun and not error.unknown:
                _forget_start(push)
            raise
        left, seen_at = _after(push, start), moved_at or datetime.now(UTC)
        if was_begun:  # it may have been done long ago: what it started from says nothing of what there is now
            left, seen_at = _read_anew(account, place)
        return partial(_apply, push, left, seen_at)
    raise CallError("Shopify's quantities keep changing under the swap", retry_after_seconds=5)


def _after(push: HoldPush, start: Quantities) -> Quantities:
    """Say what there is after a move from these quantities, which the swap compared with."""
    units = push.quantity if push.direction == Direction.HOLD else -push.quantity
    return Quantities(start.available - units, start.reserved + units, start.others)


def _read_anew(account: ShopifyAccount, place: Place) -> tuple[Quantities, datetime]:
    """Read what there is after a move, and since when that is true.

    Raises: CallError, never for good: the move is made, and weighs on our level until it is known what it left.
    """
    read_at = datetime.now(UTC)
    try:
        return read_quantities(account, place), read_at
    except CallError as error:
        wait = error.retry_after_seconds
        raise CallError(str(error), retry_after_seconds=wait, blocker=error.blocker) from error


def _start_of(push: HoldPush, account: ShopifyAccount, place: Place) -> Quantities:
    """Return the quantities to start from, stored before the call: a repetition under one key must be the same call."""
    if push.from_available is None or push.from_reserved is None:
        start = read_quantities(account, place)
        if (start.available if push.direction == Direction.HOLD else start.reserved) < push.quantity:
            raise NotThere(f"Shopify has only {start.available} available, {start.reserved} reserved", permanent=True)
        push.from_available, push.from_reserved = start.available, start.reserved
        push.save(update_fields=["from_available", "from_reserved"])
        return start
    return Quantities(push.from_available, push.from_reserved)


def _forget_start(push: HoldPush) -> None:
    """Let the next swap be a new one, under another key: the last was surely not made."""
    push.from_available, push.from_reserved, push.key = None, None, uuid.uuid4()
    push.save(update_fields=["from_available", "from_reserved", "key"])


def _apply(push: HoldPush, left: Quantities, seen_at: datetime) -> None:
    """Write what Shopify did: the line's units are set aside there now, as many of them as are still wanted.

    left: what there was in Shopify, when that was seen.
    """
    (level,) = lock_levels(pk=push.line.level_id)
    reservation = Reservation.objects.select_for_update().get(pk=push.line.reservation_id)
    line = ReservationLine.objects.get(pk=push.line_id)
    is_hold = push.direction == Direction.HOLD
    explain_movements(reason="pushed" if is_hold else "given_back", reference=f"hold_push:{push.pk}", actor="shopify")
    if is_hold:
        kept = min(line.held, push.quantity) if _keeps(reservation) else 0
        move_units({level.pk: Move(held=-kept)})
        line.held -= kept
        line.pushed += kept
        line.save(update_fields=["held", "pushed"])
        _queue([line], Direction.GIVE_BACK, [push.quantity - kept])
    snapshot = LevelSnapshot(
        item_shopify_id=level.item.shopify_id,
        location_shopify_id=level.location.shopify_id,
        available=left.available,
        states={**left.others, "reserved": left.reserved},
        version=version(seen_at, seen_at, rank=1, digest=push.key.hex),
        taken_at=seen_at,
    )
    apply_snapshot(snapshot, reference=f"hold_push:{push.pk}")
    subject = f"reservation:{reservation.pk}"
    record(name="hold.pushed" if is_hold else "hold.given_back", subject=subject, actor="shopify")
    if not is_hold:
        _note_given_back(push)


def _keeps(reservation: Reservation) -> bool:
    """Are a reservation's units still to be set aside in Shopify?"""
    if authority_of(reservation.tenant_id) != Tenant.StockAuthority.SHOPIFY:
        return False
    return reservation.status == Reservation.Status.ACTIVE or reservation.settles_by == Reservation.SettlesBy.ORDER


def _note_stuck(push: HoldPush, reason: str) -> None:
    """Say that units which should go back stay set aside in Shopify; it is tried again."""
    HoldPush.objects.filter(pk=push.pk).update(outcome=reason[:200])
    level = push.line.level
    units = _stuck_on(level.pk).aggregate(units=Sum("quantity"))["units"]
    message = (
        f"{units} units of {push.line.variant} at {level.location} stay set aside in Shopify, promised to nobody:"
        f" {reason[:200]}. It is tried again every hour; mend the shop's access, or move them to available there."
    )
    raise_alert(kind=STUCK, subject=f"level:{level.pk}", message=message[:500])


def _note_given_back(push: HoldPush) -> None:
    """Close what said that units stay set aside, once none of the level's does."""
    HoldPush.objects.filter(pk=push.pk).update(outcome="")
    if not _stuck_on(push.line.level_id).exists():
        close_alert(kind=STUCK, subject=f"level:{push.line.level_id}")


def _stuck_on(level_id: int) -> QuerySet[HoldPush]:
    """Find the calls of a level that were to give units back, were refused, and have not ended."""
    refused = HoldPush.objects.filter(line__level_id=level_id, direction=Direction.GIVE_BACK).exclude(outcome="")
    return refused.exclude(status=work.Status.DONE)


def _refuse(push: HoldPush, error: CallError) -> None:
    """Keep the units held here: Shopify would not set them aside, so its own channels may still sell them.

    Units that should go back and are not there were moved in Shopify by somebody else.
    """
    HoldPush.objects.filter(pk=push.pk).update(outcome=str(error)[:200])
    data = {"direction": push.direction, "reason": str(error)[:200]}
    record(name="hold.refused", subject=f"reservation:{push.line.reservation_id}", actor="shopify", data=data)
    if push.direction == Direction.GIVE_BACK:
        place = f"{push.line.variant} at {push.line.level.location}"
        message = f"{push.quantity} of {place} were to go from reserved to available and are not reserved: {error}"
        raise_alert(kind=STUCK, subject=f"hold_push:{push.pk}", message=message[:500])


def _ask(push: HoldPush) -> work.Answer:
    """Make the same call under the same key: Shopify answers what it did, and does it once."""
    try:
        return _perform(push)
    except CallError as error:
        if not error.permanent:
            raise
        return partial(_refuse, push, error)


CALLER: Caller[HoldPush] = Caller(
    perform=_perform, refuse=_refuse, ask=_ask, blocker=lambda push: "shopify is unavailable"
)
