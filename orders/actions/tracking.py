"""What a carrier says of our parcels: kept as it was said, and decided anew from all of it each time."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from audit.actions import record
from orders.actions.shipments import leave, lock_shipment, void
from orders.carriers.events import RefundNews, Tracker, read_refund, read_tracker
from orders.carriers.tracking import DELIVERED, RETURNED, Said, standing_of
from orders.models import Shipment, TrackingEvent
from shopsync.actions.alerts import raise_alert
from shopsync.shopify import Delivery

Status, VoidStatus = Shipment.Status, Shipment.VoidStatus
ACTOR = "carrier"
_ENDS = {DELIVERED: Status.DELIVERED, RETURNED: Status.RETURNED}
_DECIDED = (VoidStatus.REFUNDED, VoidStatus.REJECTED, VoidStatus.NOT_APPLICABLE)


def sync_tracker(*, delivery: Delivery) -> None:
    """Take a tracker's news; a parcel that is none of ours is left to who sent it.

    Raises: UnreadablePayloadError.
    """
    tracker = read_tracker(delivery.body)
    assert delivery.connection_id is not None  # its door found it
    shipment_id = _find(tracker, delivery.connection_id)
    if shipment_id is None:
        return  # the tenant's account also tracks parcels that were bought elsewhere
    shipment = lock_shipment(shipment_id)
    _keep(shipment, tracker.sayings)
    settle_tracking(shipment)


def sync_refund(*, delivery: Delivery) -> None:
    """Take the carrier's decision on a label's refund.

    Raises: UnreadablePayloadError.
    """
    news = read_refund(delivery.body)
    assert delivery.connection_id is not None  # its door found it
    found = Shipment.objects.filter(connection_id=delivery.connection_id, remote_id=news.remote_id).first()
    if found is not None and not _is_old(shipment := lock_shipment(found.pk), news):
        settle_void(shipment, news.status, told_at=news.told_at or shipment.void_told_at)


def _is_old(shipment: Shipment, news: RefundNews) -> bool:
    """Does the carrier tell of a refund that was asked for before, or what it has decided on since?

    While a new one is not answered, its answer says more than any report; what is refunded is so for good. A decision
    that is passed over because the carrier's clock is behind ours is found by the hourly question.
    """
    if news.status == VoidStatus.REFUNDED:
        return False
    is_before = news.told_at and shipment.void_told_at and news.told_at < shipment.void_told_at
    is_undone = news.status == VoidStatus.SUBMITTED and shipment.void_status in _DECIDED
    return bool(is_before) or is_undone or shipment.void_status == VoidStatus.REQUESTED


def _find(tracker: Tracker, connection_id: int) -> int | None:
    """Find the parcel by the carrier's id; by its number only where there is none, since numbers are used again."""
    ours = Shipment.objects.filter(connection_id=connection_id)
    if tracker.remote_id:
        chosen = ours.filter(remote_id=tracker.remote_id)
    else:
        chosen = ours.filter(tracking_number=tracker.tracking_number)
    return chosen.order_by("-pk").values_list("pk", flat=True).first()


def _keep(shipment: Shipment, sayings: Iterable[Said]) -> None:
    rows = [
        TrackingEvent(
            shipment=shipment,
            happened_at=said.happened_at,
            status=said.status,
            detail=said.detail,
            message=said.message,
        )
        for said in sayings
    ]
    TrackingEvent.objects.bulk_create(rows, ignore_conflicts=True)


def settle_tracking(shipment: Shipment) -> None:
    """Bring a locked parcel to where all that was said puts it, in whatever order it was said."""
    sayings = [
        Said(row.happened_at, row.status, row.detail, row.message)
        for row in TrackingEvent.objects.filter(shipment=shipment)
    ]
    standing = standing_of(sayings)
    if standing is None or shipment.labelled_at is None:
        return  # news that were faster than the purchase's answer wait for it
    newest = standing.newest
    shipment.tracking_status, shipment.tracking_detail = newest.status, newest.detail
    shipment.tracked_at = newest.happened_at
    shipment.save(update_fields=["tracking_status", "tracking_detail", "tracked_at"])
    if standing.left_at is None:
        return
    if shipment.status == Status.VOIDED:
        message = f"Shipment {shipment.pk} was voided, and its carrier says that it is on its way."
        raise_alert(kind="shipment.moves_after_void", subject=f"shipment:{shipment.pk}", message=message)
        return
    leave(shipment, at=standing.left_at, actor=ACTOR)
    _arrive(shipment, _ENDS.get(newest.status, Status.SHIPPED))


def _arrive(shipment: Shipment, status: Shipment.Status) -> None:
    if shipment.status == status:
        return
    shipment.status = status
    shipment.save(update_fields=["status"])
    if status != Status.SHIPPED:
        record(name=f"shipment.{status.value}", subject=f"shipment:{shipment.pk}", actor=ACTOR)


def settle_void(shipment: Shipment, void_status: str, *, told_at: datetime | None) -> None:
    """Write what a locked parcel's refund became by the carrier's newest word, of `told_at`.

    An answer is of the second in which it is asked for, by our clock. What is refunded stays so.
    """
    if shipment.void_status == VoidStatus.REFUNDED:
        return
    is_news, shipment.void_status = void_status != shipment.void_status, void_status
    shipment.void_told_at = told_at
    shipment.save(update_fields=["void_status", "void_told_at"])
    if not is_news:
        return
    if void_status == VoidStatus.REFUNDED and shipment.status == Status.LABELLED:
        void(shipment, actor=ACTOR)
    elif void_status in _DECIDED:
        name = "shipment.refunded" if void_status == VoidStatus.REFUNDED else "shipment.void_refused"
        record(name=name, subject=f"shipment:{shipment.pk}", actor=ACTOR, data={"answer": void_status})
