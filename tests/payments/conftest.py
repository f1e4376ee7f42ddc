"""A tenant with a Stripe connection, the twin it is connected to, and events made by hand."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from django.test import Client

from config.infra import tenancy
from config.infra.breaker import Breaker
from orders.models import GatewayRefund, Order, Payment, PaymentCall
from orders.payments.sandbox import SandboxServer
from orders.tasks import drain_payments, settle_lost_payments
from orders.webhooks import sign
from shopsync.actions.tenants import connect_service
from shopsync.models import Connection, Tenant
from tests.factories import drain_all, make_tenant

SECRET = "whsec_of_the_tests"
T0 = 1_795_000_000
_numbers = itertools.count(1)


@dataclass
class Shop:
    """A tenant and its connection to Stripe's twin."""

    tenant: Tenant
    connection: Connection
    sandbox: SandboxServer

    def post(self, event: dict[str, Any] | bytes, **headers: str) -> Any:
        """Send a signed event to the door."""
        body = event if isinstance(event, bytes) else json.dumps(event).encode()
        signed = {"Stripe-Signature": sign(body=body, secret=SECRET, at=int(time.time()))}
        path = f"/webhooks/stripe/{self.connection.token}"
        return Client().post(path, body, content_type="application/json", headers=signed | headers)

    def take(self, *events: dict[str, Any]) -> None:
        """Send events and work on all of them."""
        for event in events:
            assert self.post(event).status_code == 200
        drain_all()

    def pay(self, amount: int = 5000, **params: str) -> str:
        """Pay at the twin, and take the events it has for us."""
        with self.sandbox.state.lock:
            given = {"amount": str(amount), "currency": "eur", "confirm": "true", **params}
            intent = self.sandbox.state.create_intent(given)
        self.take_outbox()
        return str(intent["id"])

    def take_outbox(self) -> None:
        """Take the events that the twin has noted, through the door."""
        with self.sandbox.state.lock:
            events, self.sandbox.state.outbox = self.sandbox.state.outbox, []
        self.take(*events)

    def run_calls(self) -> None:
        """Make the calls that are due, whatever they were to wait for."""
        with tenancy.all_tenants(reason="tests look at every row"):
            PaymentCall.objects.filter(status="ready").update(due_at="2000-01-01T00:00:00Z")
        drain_payments()

    def settle(self) -> int:
        """Ask about the parked calls as if their time to ask had come."""
        with tenancy.all_tenants(reason="tests look at every row"):
            PaymentCall.objects.filter(status="unknown").update(due_at="2000-01-01T00:00:00Z")
        return settle_lost_payments()

    def payment(self, provider_id: str) -> Payment:
        with tenancy.tenant_scope(self.tenant.pk):
            return Payment.objects.get(provider_id=provider_id)

    def refunds(self) -> list[GatewayRefund]:
        with tenancy.tenant_scope(self.tenant.pk):
            return list(GatewayRefund.objects.order_by("pk"))

    def calls(self, kind: str = "refund") -> list[PaymentCall]:
        with tenancy.tenant_scope(self.tenant.pk):
            return list(PaymentCall.objects.filter(kind=kind).order_by("pk"))

    def order(self, **fields: Any) -> Order:
        with tenancy.tenant_scope(self.tenant.pk):
            number = next(_numbers)
            defaults = {"shopify_id": number, "name": f"#{number}", "currency": "EUR", "source_version": "1"}
            return Order.objects.create(**(defaults | {"total_amount": "50.00"} | fields))


def make_shop(sandbox: SandboxServer) -> Shop:
    tenant = make_tenant(currency="EUR")
    with tenancy.tenant_scope(tenant.pk):
        connection = connect_service(
            service="stripe",
            actor="test",
            name="main",
            base_url=sandbox.base_url,
            api_key="sk_test",
            signing_secret=SECRET,
        )
    Breaker("payments", str(connection.pk)).reset()
    return Shop(tenant, connection, sandbox)


@pytest.fixture
def sandbox() -> Iterator[SandboxServer]:
    with SandboxServer() as server:
        yield server


@pytest.fixture
def shop(db: None, sandbox: SandboxServer) -> Shop:
    return make_shop(sandbox)


def event(topic: str, thing: dict[str, Any], *, at: int, event_id: str | None = None) -> dict[str, Any]:
    """Make an event as Stripe writes it."""
    return {
        "id": event_id or f"evt_{next(_numbers)}",
        "object": "event",
        "type": topic,
        "created": at,
        "data": {"object": thing},
    }


def intent(status: str, **fields: Any) -> dict[str, Any]:
    received = 5000 if status == "succeeded" else 0
    given = {"id": "pi_1", "object": "payment_intent", "amount": 5000, "amount_received": received, "currency": "eur"}
    return given | {"status": status, "metadata": {}} | fields


def charge(**fields: Any) -> dict[str, Any]:
    given = {"id": "ch_1", "object": "charge", "amount": 5000, "amount_captured": 5000, "amount_refunded": 0}
    given |= {"captured": True, "currency": "eur", "payment_intent": "pi_1", "status": "succeeded", "metadata": {}}
    return given | fields


def refund(status: str = "succeeded", **fields: Any) -> dict[str, Any]:
    given = {"id": "re_1", "object": "refund", "amount": 1500, "charge": "ch_1", "payment_intent": "pi_1"}
    return given | {"currency": "eur", "status": status, "metadata": {}} | fields


def dispute(status: str = "needs_response", **fields: Any) -> dict[str, Any]:
    given = {"id": "dp_1", "object": "dispute", "amount": 5000, "charge": "ch_1", "payment_intent": "pi_1"}
    return given | {"currency": "eur", "status": status, "reason": "fraudulent"} | fields
