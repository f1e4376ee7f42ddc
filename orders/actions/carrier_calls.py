"""The calls to carriers: made once each, and what a lost answer became is asked for by the shipment's reference."""

from __future__ import annotations

import io
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial

from django.core.files.base import File
from django.core.files.storage import default_storage

from audit.actions import record
from config.infra import work
from config.infra.breaker import Breaker, BreakerOpen
from config.infra.work import Answer, Apply, Caller, CallError
from config.infra.work.claims import in_seconds
from orders.actions.shipments import NotNow, ensure_wanted, has_live_call, lock_shipment, queue_call, settle_wanted
from orders.actions.tracking import ACTOR, settle_tracking, settle_void
from orders.carriers.base import (
    LABEL_TYPES,
    Carrier,
    CarrierAccount,
    LabelFile,
    Parcel,
    Rate,
    RemoteShipment,
    get_carrier,
)
from orders.models import Shipment, ShipmentCall

Kind, Status, VoidStatus = ShipmentCall.Kind, Shipment.Status, Shipment.VoidStatus
CHECK_EVERY_SECONDS = 3600.0
WAITS_FOR_REFUND = "the carrier has not decided on the refund"


def _carrier(shipment: Shipment) -> Carrier:
    connection = shipment.connection
    assert connection is not None  # set before the first call is queued
    account = CarrierAccount(
        service=connection.service,
        connection_id=str(connection.pk),
        base_url=connection.base_url,
        api_key=connection.api_key,
    )
    return get_carrier(account)


def _perform(call: ShipmentCall) -> Apply:
    """Make a call, and return what to write.

    Raises: CallError.
    """
    shipment = Shipment.objects.select_related("connection").get(pk=call.shipment_id)
    return _PERFORM[call.kind](call, shipment, _carrier(shipment))


def _rate(call: ShipmentCall, shipment: Shipment, carrier: Carrier) -> Apply:
    """Ask by our reference first: an answer may have been lost, and a second shipment under it would be ambiguous."""
    if shipment.remote_id:
        return partial(_store_rates, call, shipment.remote_id, carrier.requote(shipment.remote_id))
    found = carrier.find(str(shipment.reference)) or carrier.quote(_parcel(shipment))
    return partial(_store_rates, call, found.remote_id, found.rates)


def _parcel(shipment: Shipment) -> Parcel:
    return Parcel(
        reference=str(shipment.reference),
        from_address=shipment.from_address,
        to_address=shipment.to_address,
        **shipment.parcel,
    )


def _store_rates(call: ShipmentCall, remote_id: str, rates: tuple[Rate, ...]) -> None:
    shipment = lock_shipment(call.shipment_id)
    shipment.remote_id = remote_id
    shipment.rates = [
        {
            "id": rate.id,
            "company": rate.company,
            "service": rate.service,
            "amount": str(rate.amount),
            "currency": rate.currency,
            "delivery_days": rate.delivery_days,
        }
        for rate in rates
    ]
    shipment.save(update_fields=["remote_id", "rates"])
    _end(call, shipment, f"{len(rates)} rates" if rates else "the carrier offers no rate for this parcel")


def _buy(call: ShipmentCall, shipment: Shipment, carrier: Carrier) -> Apply:
    """Buy what the carrier says is not bought yet.

    1. Ask: this row may have been replayed by hand, and another attempt's purchase may be there. 2. Look whether the
    order is still to send it. 3. Buy. 4. A refusal is not believed before the carrier says again that there is no
    label: it refuses a second one.
    """
    before = _find(shipment, carrier)
    if before is not None and before.label is not None:
        return partial(_store_label, call, before)
    try:
        ensure_wanted(shipment)
    except NotNow as error:
        raise CallError(str(error), permanent=True) from error
    try:
        bought = carrier.buy(shipment.remote_id, call.rate_id)
    except CallError as error:
        if not error.permanent:
            raise
        found = _ask_again(shipment, carrier)
        if found is None or found.label is None:
            raise
        bought = found
    return partial(_store_label, call, bought)


def _ask_again(shipment: Shipment, carrier: Carrier) -> RemoteShipment | None:
    try:
        return _find(shipment, carrier)
    except CallError as error:
        raise CallError(f"refused, and then not told whether it was done: {error}", unknown=True) from error


def _find(shipment: Shipment, carrier: Carrier) -> RemoteShipment | None:
    """Ask for the reference; should it name another of the carrier's shipments, ask for the one that we bought of."""
    found = carrier.find(str(shipment.reference))
    if shipment.remote_id and (found is None or found.remote_id != shipment.remote_id):
        found = carrier.find(shipment.remote_id)
    return found


def _store_label(call: ShipmentCall, bought: RemoteShipment) -> None:
    shipment = lock_shipment(call.shipment_id)
    label = bought.label
    assert label is not None  # the callers look
    if shipment.labelled_at is not None:
        _end(call, shipment, "the label was there already")
        return
    shipment.status, shipment.labelled_at = Status.LABELLED, datetime.now(UTC)
    shipment.company, shipment.service = label.rate.company, label.rate.service
    shipment.cost_amount, shipment.cost_currency = label.rate.amount, label.rate.currency
    shipment.tracking_number, shipment.tracking_url = label.tracking_number, label.tracking_url
    shipment.label_url = label.url
    shipment.save()
    data = {"rate": label.rate.id, "amount": str(label.rate.amount), "currency": label.rate.currency}
    once = f"shipment.labelled:{shipment.pk}"
    record(name="shipment.labelled", subject=f"shipment:{shipment.pk}", actor=ACTOR, data=data, once_key=once)
    queue_call(shipment, Kind.LABEL)
    settle_tracking(shipment)  # the parcel's first news may have been faster than this answer
    _end(call, shipment, "bought")


def _label(call: ShipmentCall, shipment: Shipment, carrier: Carrier) -> Apply:
    """Fetch the file and save it, both outside of any transaction; a repetition writes the same name again."""
    file = carrier.fetch_label(shipment.label_url)
    name = _save(f"labels/{shipment.tenant_id}/{shipment.reference}.{LABEL_TYPES[file.content_type]}", file)
    return partial(_store_file, call, name, file.content_type)


def _save(name: str, file: LabelFile) -> str:
    breaker = Breaker("storage", "system")
    try:
        breaker.before_call()
    except BreakerOpen as error:
        raise CallError(str(error), retry_after_seconds=error.retry_after_seconds, blocker=error.blocker) from error
    try:
        if default_storage.exists(name):
            default_storage.delete(name)
        saved = default_storage.save(name, File(io.BytesIO(file.body)))
    except Exception as error:  # each storage has errors of its own; saving again does no harm
        breaker.failed()
        raise CallError(f"the label can't be saved: {error}", blocker="the storage of files is unavailable") from error
    breaker.succeeded()
    return saved


def _store_file(call: ShipmentCall, name: str, content_type: str) -> None:
    shipment = lock_shipment(call.shipment_id)
    shipment.label_file, shipment.label_type = name, content_type
    shipment.save(update_fields=["label_file", "label_type"])
    _end(call, shipment, "saved")


def _void(call: ShipmentCall, shipment: Shipment, carrier: Carrier) -> Apply:
    """Ask for the label's refund; a refusal is not believed before the carrier says again that none was asked for."""
    asked_at = _second()
    try:
        void_status = carrier.void(shipment.remote_id).void_status
    except CallError as error:
        if not error.permanent:
            raise
        found = _ask_again(shipment, carrier)
        if found is None or not found.void_status:
            raise
        void_status = found.void_status
    return partial(_store_void, call, void_status, asked_at)


def _check(call: ShipmentCall, shipment: Shipment, carrier: Carrier) -> Apply:
    """Ask what became of a refund; an open one is asked about again, however long the carrier takes (up to a month)."""
    asked_at = _second()
    found = _find(shipment, carrier)
    if found is None or found.void_status in {"", "submitted"}:
        raise CallError(WAITS_FOR_REFUND, retry_after_seconds=CHECK_EVERY_SECONDS, blocker=WAITS_FOR_REFUND)
    return partial(_store_void, call, found.void_status, asked_at)


def _second() -> datetime:
    """Say which second it is: the carrier's own times have no more, and what it says within this one is newer."""
    return datetime.now(UTC).replace(microsecond=0)


def _store_void(call: ShipmentCall, void_status: str, asked_at: datetime) -> None:
    """Write an answer about a refund.

    One to the question what became of an earlier refund, which was refused, says nothing of the new one.
    """
    shipment = lock_shipment(call.shipment_id)
    is_new = call.kind == Kind.VOID or shipment.void_status != VoidStatus.REQUESTED
    if is_new or void_status == VoidStatus.REFUNDED:
        settle_void(shipment, void_status, told_at=asked_at)
    if shipment.void_status == VoidStatus.SUBMITTED and not has_live_call(shipment, Kind.CHECK):
        queue_call(shipment, Kind.CHECK, due_at=in_seconds(CHECK_EVERY_SECONDS))
    _end(call, shipment, shipment.void_status)


def _refuse(call: ShipmentCall, error: CallError) -> None:
    shipment = lock_shipment(call.shipment_id)
    if call.kind == Kind.VOID:
        shipment.void_status = VoidStatus.REJECTED
        shipment.save(update_fields=["void_status"])
    _end(call, shipment, f"refused: {error}")
    data = {"call": call.kind, "status": error.status}  # its words may quote an address: they stay with the call
    record(name="shipment.call_refused", subject=f"shipment:{shipment.pk}", actor=ACTOR, data=data)


def _end(call: ShipmentCall, shipment: Shipment, outcome: str) -> None:
    """Write how a call ended, and what that means for its locked parcel."""
    ShipmentCall.objects.filter(pk=call.pk).update(outcome=outcome[:300], blocker="")
    settle_wanted(shipment, actor=ACTOR, ending=call)


def _ask(call: ShipmentCall) -> Answer:
    """Ask what became of a call whose answer was lost, by the shipment's reference.

    Raises: CallError, never permanent: that the question is refused says nothing of the call.
    """
    shipment = Shipment.objects.select_related("connection").get(pk=call.shipment_id)
    try:
        return _ASK[call.kind](call, shipment, _carrier(shipment))
    except CallError as error:
        raise CallError(str(error), retry_after_seconds=error.retry_after_seconds, status=error.status) from error


def _ask_rate(call: ShipmentCall, shipment: Shipment, carrier: Carrier) -> Answer:
    found = _find(shipment, carrier)
    return "not_done" if found is None else partial(_store_rates, call, found.remote_id, found.rates)


def _ask_buy(call: ShipmentCall, shipment: Shipment, carrier: Carrier) -> Answer:
    found = _find(shipment, carrier)
    if found is None:
        return "unknown"  # the carrier knew the shipment when it was asked for rates: this answer can't be right
    return "not_done" if found.label is None else partial(_store_label, call, found)


def _ask_void(call: ShipmentCall, shipment: Shipment, carrier: Carrier) -> Answer:
    asked_at = _second()
    found = _find(shipment, carrier)
    if found is None:
        return "unknown"
    return partial(_store_void, call, found.void_status, asked_at) if found.void_status else "not_done"


def _not_done(call: ShipmentCall, shipment: Shipment, carrier: Carrier) -> Answer:
    """Say of a question that it may simply be asked again."""
    return "not_done"


_Perform = Callable[[ShipmentCall, Shipment, Carrier], Apply]
_Ask = Callable[[ShipmentCall, Shipment, Carrier], Answer]
_PERFORM: dict[str, _Perform] = {
    Kind.RATE: _rate,
    Kind.BUY: _buy,
    Kind.LABEL: _label,
    Kind.VOID: _void,
    Kind.CHECK: _check,
}
_ASK: dict[str, _Ask] = {
    Kind.RATE: _ask_rate,
    Kind.BUY: _ask_buy,
    Kind.LABEL: _not_done,
    Kind.VOID: _ask_void,
    Kind.CHECK: _not_done,
}
CALLER: Caller[ShipmentCall] = Caller(
    perform=_perform, refuse=_refuse, ask=_ask, blocker=lambda call: "the carrier is unavailable"
)


def make_calls(rows: list[ShipmentCall]) -> None:
    """Make the claimed calls."""
    work.make_calls(rows, CALLER)


def settle_lost_calls() -> int:
    """Ask what became of the calls that nobody knows the end of; return how many came to an end."""
    return work.settle_unknown(ShipmentCall, CALLER)
