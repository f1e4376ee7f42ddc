"""Our own parcels: which units go into one, when it has left, and when it is given up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db.models import F, Sum
from django.db.models.functions import Greatest, Least

from audit.actions import Event, record
from config.infra import work
from config.infra.transactions import retrying_atomic
from orders.actions.moves import name_fulfillment
from orders.actions.own_stock import follow_lines, sell_stock
from orders.models import Fulfillment, Order, OrderLine, Shipment, ShipmentCall, ShipmentLine
from shopsync.actions.alerts import close_alert, raise_alert

Status = Shipment.Status
NOT_WANTED = "shipment.of_cancelled_order"  # an alert's kind
_REFUND_ASKED = (Shipment.VoidStatus.REQUESTED, Shipment.VoidStatus.SUBMITTED, Shipment.VoidStatus.REFUNDED)
_NOT_SENT_AFTER_ALL = ("cancelled", "error", "failure")  # Shopify's parcels that came to nothing


@dataclass(frozen=True, slots=True)
class Units:
    """Units of one line."""

    line_id: int
    quantity: int


@dataclass(frozen=True, slots=True)
class Excess:
    """A line of which more is asked than is left to send."""

    line_id: int
    requested: int
    open: int


class UnknownOrder(ValueError):  # noqa: N818  (the API's words)
    """No order of this id is there."""


class UnknownLines(ValueError):  # noqa: N818
    """Lines that are not this order's, or are named twice."""

    def __init__(self, ids: Sequence[int]) -> None:
        self.ids = list(ids)
        super().__init__(f"Not lines of this order, or named twice: {', '.join(map(str, ids))}.")


class TooManyUnits(ValueError):  # noqa: N818
    """More units are asked for than are left to send."""

    def __init__(self, excesses: Sequence[Excess]) -> None:
        self.excesses = list(excesses)
        super().__init__("More units are asked for than are left to send; `lines` names each line and what is left.")


class NotNow(ValueError):  # noqa: N818
    """The parcel, or its order, stands where this can't be done; the sentence says what can."""


@dataclass(frozen=True, slots=True)
class Tracking:
    """Who carries a parcel, and under which number."""

    company: str
    number: str
    url: str = ""


@retrying_atomic
def ship_lines(*, order_id: int, lines: Sequence[Units], actor: str) -> Shipment:
    """Put units of an order into a parcel; no lines: all that is left to send.

    Raises: UnknownOrder, UnknownLines, TooManyUnits, NotNow. A trigger guards the sum.
    """
    order = Order.objects.select_for_update().filter(pk=order_id).first()
    if order is None:
        raise UnknownOrder(f"There is no order {order_id}.")
    _ensure_sendable(order)
    left = open_units(order)
    wanted = list(lines) or [Units(line_id, units) for line_id, units in left.items() if units]
    _ensure_open(wanted, left)
    shipment = Shipment.objects.create(order=order, to_address=order.shipping_address or {})
    ShipmentLine.objects.bulk_create(
        [ShipmentLine(shipment=shipment, line_id=units.line_id, quantity=units.quantity) for units in wanted]
    )
    record(
        name="shipment.created",
        subject=f"shipment:{shipment.pk}",
        actor=actor,
        data={"order": f"order:{order.pk}", "lines": [f"{units.line_id}:{units.quantity}" for units in wanted]},
    )
    return shipment


def _ensure_sendable(order: Order) -> None:
    if order.is_cancelled:
        raise NotNow("The order is cancelled; nothing of it is to be sent.")
    if order.held_at is not None:
        raise NotNow("The order is on hold; release it first.")
    has_nothing = order.stock_state in {Order.StockState.UNALLOCATED, Order.StockState.PAID_UNALLOCATED}
    if has_nothing and OrderLine.objects.filter(order=order, variant__isnull=False).exists():
        raise NotNow("Nothing is held for the order: mark it paid, or allocate it, before it is sent.")


def _ensure_open(wanted: Sequence[Units], left: Mapping[int, int]) -> None:
    ids = [units.line_id for units in wanted]
    if strange := sorted({line_id for line_id in ids if line_id not in left or ids.count(line_id) > 1}):
        raise UnknownLines(strange)
    excesses = [
        Excess(units.line_id, units.quantity, left[units.line_id])
        for units in wanted
        if units.quantity > left[units.line_id]
    ]
    if excesses:
        raise TooManyUnits(excesses)
    if not wanted:
        raise NotNow("Nothing of the order is left to send.")


def open_units(order: Order) -> dict[int, int]:
    """Count what of each line is in no parcel yet, neither ours nor Shopify's; what needs no shipping is left out."""
    lines = OrderLine.objects.filter(order=order, requires_shipping=True).order_by("position", "pk")
    ours = ShipmentLine.objects.filter(line__order=order).exclude(shipment__status=Status.VOIDED)
    packed: dict[int | None, int] = dict(ours.order_by().values_list("line_id").annotate(units=Sum("quantity")))
    theirs: dict[str, int] = {}
    for parcel in Fulfillment.objects.filter(order=order).exclude(status__in=_NOT_SENT_AFTER_ALL):
        for shopify_id, units in parcel.lines.items():
            theirs[shopify_id] = theirs.get(shopify_id, 0) + int(units)
    return {
        line.pk: max(
            0,
            line.current_quantity
            + line.refunded_quantity
            - packed.get(line.pk, 0)
            - theirs.get(str(line.shopify_id), 0),
        )
        for line in lines
    }


@retrying_atomic
def mark_shipped(*, shipment_id: int, tracking: Tracking | None, actor: str, now: datetime) -> Shipment:
    """Note that a parcel was handed over: under a number of the caller's own, or with the label that we bought.

    Raises: NotNow for a parcel that is gone or given up, is being bought, or has no number.
    """
    shipment = lock_shipment(shipment_id)
    if shipment.status not in {Status.CREATED, Status.LABELLED}:
        raise NotNow(f"The shipment is {shipment.status}; it can't be handed over again.")
    if shipment.status == Status.CREATED:
        if tracking is None:
            raise NotNow("The shipment has no label; give the tracking number and the company that carries it.")
        _ensure_quiet(shipment)
        shipment.company, shipment.tracking_number, shipment.tracking_url = (
            tracking.company,
            tracking.number,
            tracking.url,
        )
        shipment.save(update_fields=["company", "tracking_number", "tracking_url"])
    elif tracking is not None:
        raise NotNow("The shipment has a label with its own number; hand it over without another one.")
    elif shipment.void_status in _REFUND_ASKED:
        raise NotNow("The label's refund was asked for; wait for the carrier's decision, and use the label no more.")
    ensure_wanted(shipment)
    leave(shipment, at=now, actor=actor)
    return shipment


def ensure_wanted(shipment: Shipment) -> None:
    """Let a parcel pass that its order still is to send: before money is spent on it, and before it is handed over.

    Raises: NotNow.
    """
    _ensure_sendable(shipment.order)
    if _too_many(shipment):
        raise NotNow("The order has fewer of these units by now; give the shipment up and pack another one.")


@retrying_atomic
def give_up(*, shipment_id: int, actor: str) -> Shipment:
    """Give a parcel up whose label was not bought: its units are free again.

    Raises: NotNow when a label is there, or is being bought, or the parcel has left.
    """
    shipment = lock_shipment(shipment_id)
    if shipment.status != Status.CREATED:
        raise NotNow(f"The shipment is {shipment.status}; only one without a label is given up at once.")
    _ensure_quiet(shipment)
    void(shipment, actor=actor)
    return shipment


def _ensure_quiet(shipment: Shipment) -> None:
    if shipment.calls.exclude(status=work.Status.DONE).exists():
        raise NotNow("A call to the carrier is on its way; wait for its end (`calls` of the shipment says how it is).")


def lock_shipment(shipment_id: int) -> Shipment:
    """Lock a parcel's order, then the parcel: the order always comes first.

    Raises: Shipment.DoesNotExist.
    """
    order_id = Shipment.objects.values_list("order_id", flat=True).get(pk=shipment_id)
    Order.objects.select_for_update().get(pk=order_id)
    return Shipment.objects.select_for_update(of=("self",)).get(pk=shipment_id)


def leave(shipment: Shipment, *, at: datetime, actor: str) -> None:
    """Let a locked parcel leave: its units are sent from now on. One that has left already stays as it is.

    A carrier may say that units left which the order has no more: the order's lines then count what they have, and an
    alert says the rest.
    """
    if shipment.has_left:
        return
    shipment.status, shipment.shipped_at = Status.SHIPPED, at
    shipment.save(update_fields=["status", "shipped_at"])
    close_alert(kind=NOT_WANTED, subject=f"shipment:{shipment.pk}")
    _sell(shipment.order_id, actor=actor, now=at)
    exceeds = _too_many(shipment)
    for row in shipment.lines.filter(line__isnull=False).order_by("line_id"):
        most = F("current_quantity") + F("refunded_quantity")
        OrderLine.objects.filter(shipment_lines=row).update(
            sent_quantity=Greatest(F("sent_quantity"), Least(F("sent_quantity") + row.quantity, most))
        )
    on_shipped(shipment, actor=actor)
    _follow(shipment.order_id, actor=actor, now=at)
    if exceeds:
        message = f"Shipment {shipment.pk} left with units that order {shipment.order} has no more."
        raise_alert(kind="shipment.exceeds_order", subject=f"shipment:{shipment.pk}", message=message)


def _sell(order_id: int, *, actor: str, now: datetime) -> None:
    """Sell the units of an order of ours that is sent before it is paid: their hold must not run out on the road."""
    order = Order.objects.select_related("reservation").get(pk=order_id)
    if order.source == Order.Source.API and order.stock_state == Order.StockState.RESERVED and not order.is_cancelled:
        sell_stock(order, actor=actor, now=now)


def _follow(order_id: int, *, actor: str, now: datetime) -> None:
    """Let an order of ours, and the stock, follow what was sent."""
    order = Order.objects.get(pk=order_id)
    if order.source == Order.Source.API:
        follow_lines(order, actor=actor, now=now)
        Order.objects.filter(pk=order_id).update(fulfillment_status=name_fulfillment(order), updated_at=now)


def _too_many(shipment: Shipment) -> bool:
    """Has the order fewer units left than the parcel holds, for some line?"""
    left = F("line__current_quantity") + F("line__refunded_quantity") - F("line__sent_quantity")
    return shipment.lines.filter(line__isnull=False).annotate(left=left).filter(quantity__gt=F("left")).exists()


def on_shipped(shipment: Shipment, *, actor: str) -> None:
    """Say that a parcel has left, and what was in it; who counts stock listens."""
    lines = [f"{row.line_id}:{row.quantity}" for row in shipment.lines.order_by("line_id")]
    record(
        name="shipment.shipped",
        subject=f"shipment:{shipment.pk}",
        actor=actor,
        data={"order": f"order:{shipment.order_id}", "lines": lines},
        once_key=f"shipment.shipped:{shipment.pk}",
    )


def void(shipment: Shipment, *, actor: str) -> None:
    """Give a locked parcel up that has not left."""
    shipment.status = Status.VOIDED
    shipment.save(update_fields=["status"])
    close_alert(kind=NOT_WANTED, subject=f"shipment:{shipment.pk}")
    record(name="shipment.voided", subject=f"shipment:{shipment.pk}", actor=actor)


def settle_wanted(shipment: Shipment, *, actor: str, ending: ShipmentCall | None = None) -> None:
    """Give a locked parcel of a cancelled order up; one that has a label is told, for a person to give up.

    Nobody but the merchant knows where a labelled parcel lies: its label's refund is asked for by a person. While a
    call other than the `ending` one is on its way, its end decides.
    """
    if not shipment.order.is_cancelled:
        return
    live = shipment.calls.exclude(status=work.Status.DONE).exclude(pk=ending.pk if ending else 0)
    if shipment.status == Status.CREATED and not live.exists():
        void(shipment, actor=actor)
    elif shipment.status == Status.LABELLED and shipment.void_status not in _REFUND_ASKED:
        what = f"Order {shipment.order} is cancelled, and shipment {shipment.pk} has a label"
        raise_alert(kind=NOT_WANTED, subject=f"shipment:{shipment.pk}", message=f"{what}: give it up, unless it left.")


@retrying_atomic
def settle_parcels(*, event: Event) -> None:
    """Give the parcels of a cancelled order up (hears order.cancelled)."""
    order_id = int(event.subject.partition(":")[2])
    for shipment_id in Shipment.objects.filter(order_id=order_id).order_by("pk").values_list("pk", flat=True):
        settle_wanted(lock_shipment(shipment_id), actor="system")


def queue_call(shipment: Shipment, kind: ShipmentCall.Kind, **fields: object) -> None:
    """Queue a call to the carrier; one of a kind at a time, held by shipmentcall_is_one_at_a_time."""
    work.add([ShipmentCall(shipment=shipment, kind=kind, lane=f"shipment:{shipment.pk}", **fields)])


def has_live_call(shipment: Shipment, kind: ShipmentCall.Kind) -> bool:
    """Is a call of this kind on its way, or waiting for a person?"""
    return shipment.calls.filter(kind=kind).exclude(status=work.Status.DONE).exists()
