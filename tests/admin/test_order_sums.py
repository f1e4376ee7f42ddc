"""What the pages of an order's moves say of its money is what can be moved."""

from __future__ import annotations

import re
from decimal import Decimal

import pytest
from django.test import Client
from django.utils import timezone
from rest_framework.test import APIClient

from config.infra import tenancy
from orders.actions import moves
from orders.actions.gateway_refunds import RefundRequest, request_refund
from orders.actions.refunds import refund_order
from orders.models import OrderLine, Payment, PaymentCall
from shopsync.actions.tenants import create_api_key
from shopsync.models import Membership, User
from tests.payments.conftest import make_shop, sandbox
from tests.payments.test_currencies import place

__all__ = ["sandbox"]
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def shop(transactional_db, sandbox):
    return make_shop(sandbox)


@pytest.fixture
def clerk(shop):
    user = User.objects.create_user("clerk", "clerk@example.com", "pw", is_staff=True)
    Membership.objects.create(user=user, tenant=shop.tenant, role="operator")
    client = Client()
    client.force_login(user)
    return client


def says(client, order, move):
    page = client.get(f"/admin/orders/order/{order.pk}/{move}/")
    assert page.status_code == 200
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page.content.decode()))


def pay(shop, order, **fields):
    return shop.pay(**{"metadata[order_id]": str(order.pk), **fields})


def test_the_refund_page_says_what_can_be_given_back(shop, clerk):
    order, now = place(shop), timezone.now()
    pay(shop, order)
    assert "50.00 EUR of it can be given back" in says(clerk, order, "refund")
    with tenancy.tenant_scope(shop.tenant.pk):
        payment = Payment.objects.get()
        request = RefundRequest(payment_id=payment.pk, amount=Decimal(20), currency="EUR")
        request_refund(request=request, idempotency_key="k", actor="test")
    shop.run_calls()
    shop.take_outbox()
    assert "30.00 EUR of it can be given back" in says(clerk, order, "refund")
    shop.sandbox.behave(fail_refunds_later=1)
    with tenancy.tenant_scope(shop.tenant.pk):
        refund_order(order_id=order.pk, backs=[], amount=Decimal(10), note="", actor="test", now=now)
    assert "20.00 EUR of it can be given back" in says(clerk, order, "refund")
    shop.run_calls()
    shop.take_outbox()
    assert "30.00 EUR of it can be given back" in says(clerk, order, "refund")


def test_what_is_marked_as_paid_is_what_is_due(shop, clerk):
    order = place(shop, price="10", quantity=5)
    with tenancy.tenant_scope(shop.tenant.pk):
        units = {OrderLine.objects.get().pk: 4}
        moves.cancel_lines(order_id=order.pk, quantities=units, restock=True, actor="test", now=timezone.now())
    assert "10.00 EUR, was paid by hand" in says(clerk, order, "mark-paid")


def test_of_several_authorisations_one_is_chosen(shop, clerk):
    order = place(shop)
    pay(shop, order, capture_method="manual")
    pay(shop, order, capture_method="manual")
    with tenancy.tenant_scope(shop.tenant.pk):
        payments = list(Payment.objects.order_by("pk"))
    assert "50.00 EUR" in says(clerk, order, "capture")
    path = f"/admin/orders/order/{order.pk}/capture/"
    assert clerk.post(path, {"key": "admin-1"}).status_code == 200
    assert clerk.post(path, {"key": "admin-1", "payment_id": payments[1].pk}).status_code == 302
    with tenancy.tenant_scope(shop.tenant.pk):
        assert [call.payment_id for call in PaymentCall.objects.filter(kind="capture")] == [payments[1].pk]


def test_the_timeline_tells_of_payments_refunds_and_parcels(shop):
    order = place(shop)
    pay(shop, order)
    with tenancy.tenant_scope(shop.tenant.pk):
        key = create_api_key(name="test", actor="test").secret
    api = APIClient(headers={"Authorization": f"Api-Key {key}", "Idempotency-Key": "k"})
    path = f"/api/v1/orders/{order.pk}"
    held = [api.post(f"{path}/hold", {"reason": "why"}, format="json") for _ in range(2)]
    assert [one.status_code for one in held] == [200, 200]
    assert [api.post(f"{path}/unhold", format="json").status_code for _ in range(2)] == [200, 200]
    assert api.post("/api/v1/shipments", {"order_id": order.pk}, format="json").status_code == 201
    assert api.post(f"{path}/refunds", {"amount": "5.00"}, format="json").status_code == 201
    shop.run_calls()
    shop.take_outbox()
    names = {row["subject"].partition(":")[0] for row in api.get(f"{path}/timeline").json()["results"]}
    assert names == {"order", "reservation", "payment", "gateway_refund", "shipment"}
