"""Real processes: the worker dies between a refund's call and its row, and the money still goes back once."""

from __future__ import annotations

import json
import urllib.request
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection

from config.infra import tenancy
from orders.actions.gateway_refunds import RefundRequest, request_refund
from orders.models import Payment, PaymentCall
from orders.tasks import settle_lost_payments
from tests.payments.conftest import SECRET, Shop

pytestmark = pytest.mark.django_db(transaction=True)


def control(base_url: str, path: str, document: Any = None, method: str = "POST") -> Any:
    request = urllib.request.Request(base_url + path, json.dumps(document or {}).encode(), method=method)
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.loads(answer.read())


def pay(shop: Shop) -> str:
    head = {"Authorization": "Bearer sk_test"}
    form = b"amount=5000&currency=eur&confirm=true"
    request = urllib.request.Request(f"{shop.sandbox.base_url}/v1/payment_intents", form, head, method="POST")
    with urllib.request.urlopen(request, timeout=10) as answer:
        return str(json.loads(answer.read())["id"])


def rows_of(model: Any, **which: Any) -> list[Any]:
    with tenancy.all_tenants(reason="tests look at every row"):
        return list(model.objects.filter(**which))


@pytest.fixture
def live(stack, shop) -> Shop:
    """A shop whose twin posts its events to the real web process."""
    url = f"{stack.base_url}/webhooks/stripe/{shop.connection.token}"
    control(shop.sandbox.base_url, "/sandbox/hooks", {"url": url, "secret": SECRET})
    return shop


def ask_back(shop: Shop, intent_id: str) -> None:
    with tenancy.tenant_scope(shop.tenant.pk):
        payment = Payment.objects.get(provider_id=intent_id)
        asked = RefundRequest(payment_id=payment.pk, amount=Decimal("20"), currency="EUR")
        request_refund(request=asked, idempotency_key="k-1", actor="test")


def test_a_payment_and_its_refund_through_real_processes(stack, live):
    live.sandbox.behave(events="twice")
    intent_id = pay(live)
    stack.wait_for(lambda: rows_of(Payment, status="paid"), "the payment")
    ask_back(live, intent_id)
    stack.wait_for(lambda: rows_of(Payment, status="partially_refunded", amount_refunded=20), "the refund")
    stack.wait_idle()
    assert [call.status for call in rows_of(PaymentCall, kind="refund")] == ["done"]
    assert len([one for one in live.sandbox.state.objects.values() if one["object"] == "refund"]) == 1


def test_a_worker_that_dies_after_the_call_leaves_a_refund_that_is_found_again(stack, live):
    intent_id = pay(live)
    stack.wait_for(lambda: rows_of(Payment, status="paid"), "the payment")
    live.sandbox.behave(events="none")
    stack.arm("calls.called")
    ask_back(live, intent_id)
    stack.wait_for(lambda: not stack.is_armed("calls.called"), "the worker to die")
    with connection.cursor() as cursor:  # as if the lease had run out
        cursor.execute("UPDATE orders_paymentcall SET lease_until = clock_timestamp() WHERE status = 'leased'")
    stack.wait_for(lambda: rows_of(PaymentCall, status="unknown"), "the call to be parked")
    assert [refund.status for refund in live.refunds()] == ["requested"]
    with connection.cursor() as cursor:  # as if it were time to ask
        cursor.execute("UPDATE orders_paymentcall SET due_at = clock_timestamp() WHERE status = 'unknown'")
    settle_lost_payments()
    stack.wait_for(lambda: rows_of(PaymentCall, status="done", kind="refund"), "the call to be settled")
    assert [(refund.status, refund.amount) for refund in live.refunds()] == [("succeeded", 20)]
    assert [one["amount"] for one in live.sandbox.state.objects.values() if one["object"] == "refund"] == [2000]
    assert len([call for call in live.sandbox.state.calls if call["path"] == "refunds"]) == 1
