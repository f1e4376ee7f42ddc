"""A worker that is killed between the purchase and its answer's storing: the label is found, not bought again."""

from __future__ import annotations

import pytest

from config.infra import tenancy
from orders.actions.labels import buy_label, request_rates
from orders.models import Shipment, ShipmentCall
from tests.factories import make_tenant
from tests.orders.shipping import HOME, PARCEL, shipping_desk

pytestmark = pytest.mark.django_db(transaction=True)
LONG_AGO = "2000-01-01T00:00:00Z"


def holds(tenant, condition):
    with tenancy.tenant_scope(tenant.pk):
        return condition()


def test_a_worker_killed_after_the_purchase_buys_no_second_label(stack):
    tenant = make_tenant()
    with shipping_desk(tenant) as desk:
        shipment = desk.pack()
        request_rates(shipment_id=shipment.pk, from_address=HOME, to_address={}, parcel=PARCEL, actor="test")
        rated = lambda: bool(Shipment.objects.get().rates)  # noqa: E731
        stack.wait_for(lambda: holds(tenant, rated), "rates")
        stack.arm("calls.called")
        buy_label(shipment_id=shipment.pk, rate_id=Shipment.objects.get().rates[0]["id"], actor="test")
        stack.wait_for(lambda: not stack.is_armed("calls.called"), "the worker to die")
        assert desk.sandbox.purchases() == 1
        stack.restart_worker()
        ShipmentCall.objects.filter(status="leased").update(lease_until=LONG_AGO)
        parked = lambda: ShipmentCall.objects.filter(kind="buy", status="unknown").exists()  # noqa: E731
        stack.wait_for(lambda: holds(tenant, parked), "the sweep to park it")
        assert Shipment.objects.get().status == "created"
        assert desk.settle() == 1
        labelled = lambda: Shipment.objects.get().label_file != ""  # noqa: E731
        stack.wait_for(lambda: holds(tenant, labelled), "the label's file")
        assert desk.sandbox.purchases() == 1
        assert desk.sandbox.state.calls.count("buy") == 1
        assert ShipmentCall.objects.get(kind="buy").status == "done"
