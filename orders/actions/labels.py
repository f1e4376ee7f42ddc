"""What is asked of a carrier for a parcel: rates, a label, its refund. Each is a row before it is a call."""

from __future__ import annotations

from collections.abc import Mapping

from audit.actions import record
from config.infra import work
from config.infra.transactions import retrying_atomic
from orders.actions.shipments import NotNow, ensure_wanted, give_up, has_live_call, lock_shipment, queue_call
from orders.carriers.base import CARRIERS
from orders.models import Shipment, ShipmentCall
from shopsync.models import Connection

Status, Kind, VoidStatus = Shipment.Status, ShipmentCall.Kind, Shipment.VoidStatus


class NoCarrier(ValueError):  # noqa: N818  (the API's words)
    """The tenant has no active connection to a carrier."""


class MissingField(ValueError):  # noqa: N818
    """Something is needed that neither the request nor the order says."""

    def __init__(self, field: str, sentence: str) -> None:
        self.field = field
        super().__init__(sentence)


class UnknownRate(ValueError):  # noqa: N818
    """The rate is none of those that the carrier offered last."""


@retrying_atomic
def request_rates(
    *,
    shipment_id: int,
    from_address: Mapping[str, str],
    to_address: Mapping[str, str],
    parcel: Mapping[str, int],
    actor: str,
) -> Shipment:
    """Queue the question what the parcel would cost; `to_address` empty: the order's. A question under way is joined.

    Once the carrier knows the parcel its addresses and measures are fixed, and the same ones get fresh rates.

    Raises: NoCarrier, MissingField, NotNow.
    """
    shipment = lock_shipment(shipment_id)
    _ensure_unlabelled(shipment)
    asked = (dict(from_address), dict(to_address) or shipment.to_address, dict(parcel))
    if not asked[1].get("address1") or not asked[1].get("country_code"):
        raise MissingField("to_address", "The order has no full address; say where the parcel goes.")
    is_under_way = has_live_call(shipment, Kind.RATE)
    known = (shipment.from_address, shipment.to_address, shipment.parcel)
    if (shipment.remote_id or is_under_way) and asked != known:
        raise NotNow("The carrier knows this parcel with other addresses or measures; give it up and make another.")
    if is_under_way:
        return shipment
    shipment.from_address, shipment.to_address, shipment.parcel = asked
    shipment.connection = shipment.connection or _connection()
    shipment.save(update_fields=["from_address", "to_address", "parcel", "connection"])
    queue_call(shipment, Kind.RATE)
    record(name="shipment.rates_requested", subject=f"shipment:{shipment.pk}", actor=actor)
    return shipment


def _connection() -> Connection:
    found = Connection.objects.filter(service__in=CARRIERS, is_active=True).order_by("pk").first()
    if found is None:
        raise NoCarrier(f"Connect a carrier in the admin first: {', '.join(sorted(CARRIERS))}.")
    return found


@retrying_atomic
def buy_label(*, shipment_id: int, rate_id: str, actor: str) -> Shipment:
    """Queue the purchase of the label, once: asking again for the same one joins the purchase under way.

    Raises: UnknownRate, NotNow for a parcel that has a label, is being bought at another rate, or that its order is not
    to send any more.
    """
    shipment = lock_shipment(shipment_id)
    _ensure_unlabelled(shipment)
    if under_way := shipment.calls.filter(kind=Kind.BUY).exclude(status=work.Status.DONE).first():
        if under_way.rate_id != rate_id:
            raise NotNow("The label is being bought at another rate; wait for the end of that purchase.")
        return shipment
    if rate_id not in {rate["id"] for rate in shipment.rates}:
        raise UnknownRate("This is none of the rates that the carrier offered last; see `rates` of the shipment.")
    ensure_wanted(shipment)
    queue_call(shipment, Kind.BUY, rate_id=rate_id)
    data = {"rate": rate_id}
    record(name="shipment.purchase_requested", subject=f"shipment:{shipment.pk}", actor=actor, data=data)
    return shipment


@retrying_atomic
def void_shipment(*, shipment_id: int, actor: str) -> Shipment:
    """Give the parcel up: at once without a label, else by asking the carrier for its refund.

    The carrier decides later; until then the units stay in this parcel. A refund that was refused may be asked for
    again (https://docs.easypost.com/docs/shipments/shipping-refund).

    Raises: NotNow for a parcel that has left, was voided, or is being bought.
    """
    shipment = lock_shipment(shipment_id)
    if shipment.status == Status.CREATED:
        return give_up(shipment_id=shipment_id, actor=actor)
    if shipment.status != Status.LABELLED:
        raise NotNow(f"The shipment is {shipment.status}; only a label that was not used yet is refunded.")
    if shipment.void_status in {VoidStatus.REQUESTED, VoidStatus.SUBMITTED} or has_live_call(shipment, Kind.VOID):
        return shipment
    shipment.void_status = VoidStatus.REQUESTED
    shipment.save(update_fields=["void_status"])
    queue_call(shipment, Kind.VOID)
    record(name="shipment.void_requested", subject=f"shipment:{shipment.pk}", actor=actor)
    return shipment


def _ensure_unlabelled(shipment: Shipment) -> None:
    if shipment.status != Status.CREATED:
        raise NotNow(f"The shipment is {shipment.status}; a label is bought before that, and only once.")


@retrying_atomic
def fetch_label_again(*, shipment_id: int, actor: str) -> Shipment:
    """Queue the fetching of a label's file once more, for one that could not be fetched or is gone.

    Raises: NotNow for a parcel without a label.
    """
    shipment = lock_shipment(shipment_id)
    if not shipment.label_url:
        raise NotNow("The shipment has no label; buy one first.")
    if not has_live_call(shipment, Kind.LABEL):
        queue_call(shipment, Kind.LABEL)
        record(name="shipment.label_requested", subject=f"shipment:{shipment.pk}", actor=actor)
    return shipment
