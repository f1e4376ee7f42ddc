"""Parcels that their order is not to send any more: no label is bought for them, and none waits unseen."""

from __future__ import annotations

import pytest
from django.utils import timezone

from audit.actions import Event
from config.infra import tenancy
from orders.actions import moves
from orders.actions.labels import buy_label, request_rates, void_shipment
from orders.actions.shipments import NOT_WANTED, NotNow, Tracking, mark_shipped, settle_parcels
from orders.models import Order, OrderLine, ShipmentCall
from shopsync.models import Alert
from tests.factories import drain_all
from tests.orders.shipping import HOME, PARCEL

pytestmark = pytest.mark.django_db(transaction=True)
OPTIONS = {"actor": "test"}


@pytest.fixture
def parcel(desk):
    Order.objects.update(financial_status="paid", fulfillment_status="unfulfilled")
    return desk.rated()


def buy(parcel):
    buy_label(shipment_id=parcel.pk, rate_id=parcel.rates[0]["id"], **OPTIONS)


def cancel(desk):
    moves.cancel_order(order_id=desk.order.pk, reason="customer", restock=True, now=timezone.now(), **OPTIONS)
    with tenancy.no_scope():
        drain_all()


def status(parcel):
    parcel.refresh_from_db()
    return parcel.status


def open_alerts():
    return list(Alert.objects.filter(closed_at=None).values_list("kind", flat=True))


def test_no_label_is_bought_for_an_order_on_hold(desk, parcel):
    moves.hold_order(order_id=desk.order.pk, reason="fraud?", now=timezone.now(), **OPTIONS)
    with pytest.raises(NotNow, match="on hold"):
        buy(parcel)
    moves.unhold_order(order_id=desk.order.pk, **OPTIONS)
    buy(parcel)
    moves.hold_order(order_id=desk.order.pk, reason="fraud?", now=timezone.now(), **OPTIONS)
    desk.work()
    assert (desk.sandbox.purchases(), status(parcel), desk.call("buy").status) == (0, "created", "done")
    assert "on hold" in desk.call("buy").outcome


def test_no_label_is_bought_for_units_that_the_order_has_no_more(desk, parcel):
    line = OrderLine.objects.filter(order=desk.order).order_by("pk").first()
    options = {"restock": True, "now": timezone.now(), **OPTIONS}
    moves.cancel_lines(order_id=desk.order.pk, quantities={line.pk: line.quantity}, **options)
    with pytest.raises(NotNow, match="fewer"):
        buy(parcel)


def test_parcels_without_a_label_are_given_up_with_their_order(desk, parcel):
    cancel(desk)
    assert (status(parcel), open_alerts()) == ("voided", [])
    with pytest.raises(NotNow):
        buy(parcel)


def test_a_purchase_that_waits_is_not_made_for_a_cancelled_order(desk, parcel):
    buy(parcel)
    cancel(desk)  # and what waits is worked on
    assert (desk.sandbox.purchases(), status(parcel), open_alerts()) == (0, "voided", [])
    assert "cancelled" in desk.call("buy").outcome


def test_rates_that_come_after_the_cancellation_end_the_parcel(desk):
    Order.objects.update(financial_status="paid", fulfillment_status="unfulfilled")
    parcel = desk.pack()
    request_rates(shipment_id=parcel.pk, from_address=HOME, to_address={}, parcel=PARCEL, actor="test")
    cancel(desk)
    desk.work()
    assert status(parcel) == "voided"


@pytest.mark.parametrize("order", ["bought, then cancelled", "cancelled while the answer was lost"])
def test_a_label_of_a_cancelled_order_is_told_until_it_is_given_up(desk, parcel, order):
    if order != "bought, then cancelled":
        desk.sandbox.behave(cut_after=1)
    buy(parcel)
    desk.work()
    cancel(desk)
    desk.settle()
    assert (desk.sandbox.purchases(), status(parcel), open_alerts()) == (1, "labelled", [NOT_WANTED])
    void_shipment(shipment_id=parcel.pk, **OPTIONS)
    desk.work()
    desk.sandbox.state.find(parcel.remote_id).document["refund_status"] = "refunded"
    ShipmentCall.objects.filter(kind="check").update(due_at="2000-01-01T00:00:00Z")
    desk.work()
    assert (status(parcel), open_alerts()) == ("voided", [])


def test_what_has_left_is_nobodys_to_give_up(desk, parcel):
    number = Tracking("Bike", "N-1")
    mark_shipped(shipment_id=parcel.pk, tracking=number, now=timezone.now(), **OPTIONS)
    Order.objects.filter(pk=desk.order.pk).update(cancelled_at=timezone.now())
    event = Event(0, desk.tenant.pk, "order.cancelled", f"order:{desk.order.pk}", {}, timezone.now())
    settle_parcels(event=event)
    assert (status(parcel), open_alerts()) == ("shipped", [])
