"""What tests of shipping start from: an order of ours, a carrier's twin, and a parcel with rates."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from django.utils import timezone

from config.infra import tenancy
from config.infra.breaker import Breaker
from orders.actions.labels import request_rates
from orders.actions.shipments import Units, ship_lines
from orders.carriers.sandbox import CarrierSandbox
from orders.models import Commitment, Order, OrderLine, Shipment, ShipmentCall
from orders.tasks import drain_shipping, settle_lost_shipping
from shopsync.actions.tenants import connect_service
from shopsync.models import Connection, Tenant

HOME = {"name": "Shop", "address1": "1 Main St", "city": "Austin", "zip": "78701", "country_code": "US"}
THERE = {"name": "Zoë", "address1": "5 Elm St", "city": "Boston", "zip": "02108", "country_code": "US"}
PARCEL = {"weight_grams": 500}
SECRET = "a-secret-of-the-hook-ﬁ"  # NFKD changes it


def make_order(*, quantities: tuple[int, ...] = (3, 2), **fields) -> Order:
    """Create an order of ours with a line per quantity, of the tenant in scope."""
    values = {"source": "api", "stock_state": "unallocated", "currency": "USD", "source_version": "1", "name": "O-1"}
    order = Order.objects.create(**(values | {"shipping_address": THERE, "paid_at": timezone.now()} | fields))
    for position, quantity in enumerate(quantities):
        line = OrderLine.objects.create(
            order=order, position=position, quantity=quantity, current_quantity=quantity, sku=f"S-{position}"
        )
        Commitment.objects.create(line=line, quantity=quantity)
    return order


@dataclass
class Desk:
    """A tenant's shipping desk, with the carrier's twin."""

    tenant: Tenant
    sandbox: CarrierSandbox
    connection: Connection
    order: Order
    made: list[Shipment] = field(default_factory=list)

    def pack(self, *units: Units) -> Shipment:
        """Pack units, or all that is left."""
        return ship_lines(order_id=self.order.pk, lines=units, actor="test")

    def rated(self) -> Shipment:
        """Pack everything, and get rates."""
        shipment = self.pack()
        request_rates(shipment_id=shipment.pk, from_address=HOME, to_address={}, parcel=PARCEL, actor="test")
        self.work()
        shipment.refresh_from_db()
        return shipment

    def work(self) -> None:
        """Make all calls, whenever they are due."""
        for _ in range(4):
            ShipmentCall.objects.filter(status="ready").exclude(kind="check").update(due_at="2000-01-01T00:00:00Z")
            with tenancy.no_scope():
                drain_shipping()

    def settle(self) -> int:
        """Ask about the calls whose end nobody knows, as if half a minute had passed."""
        ShipmentCall.objects.filter(status="unknown").update(due_at="2000-01-01T00:00:00Z")
        with tenancy.no_scope():
            return settle_lost_shipping()

    def call(self, kind: str) -> ShipmentCall:
        """Return the newest call of a kind."""
        return ShipmentCall.objects.filter(kind=kind).order_by("-pk")[0]


@contextmanager
def shipping_desk(tenant: Tenant, base_url: str = "") -> Iterator[Desk]:
    """Open a desk, in the tenant's scope."""
    with CarrierSandbox() as sandbox, tenancy.tenant_scope(tenant.pk):
        connection = connect_service(
            service="easypost", actor="test", base_url=base_url or sandbox.base_url, api_key="EZTK", name="main"
        )
        connection.signing_secret = SECRET
        connection.save()
        for breaker in (Breaker("shipping", str(connection.pk)), Breaker("storage", "system")):
            breaker.reset()
        yield Desk(tenant, sandbox, connection, make_order())
