"""A model of stock and orders beside the database: whatever is done in whatever order, both say the same.

The model counts units by variant; the database also by level, and its ledger is compared after every step.
"""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule, run_state_machine_as_test

from inventory.actions.reservations import (
    InsufficientStock,
)
from inventory.models import StockLevel
from inventory.queries import find_drift
from orders.actions import moves
from orders.actions.moves import TooMany
from orders.actions.placing import NewLine, NewOrder, place_order
from orders.actions.refunds import Back, RefundTooLarge, refund_order
from orders.actions.shipments import NotNow, TooManyUnits, Tracking, Units, mark_shipped, ship_lines
from orders.models import Allocation, Commitment, Order, OrderLine
from orders.queries import find_misallocation
from orders.rules import IllegalMove
from tests.orders.stock_machine import StockRules, chosen, gone_of, units, which

pytestmark = pytest.mark.django_db


class StockMachine(StockRules):
    """The same with orders: placed, paid, sent, cancelled, refunded."""

    # Orders

    @rule(v=which, quantity=units, is_paid=st.booleans())
    def order(self, v, quantity, is_paid):
        variant = self.variants[v]
        line = NewLine(variant_id=variant.pk, quantity=quantity, price_amount=Decimal(1))
        new = NewOrder(lines=(line,), is_paid=is_paid)
        if quantity > self.free(variant):
            with pytest.raises(InsufficientStock):
                self.act(place_order, new=new)
            return
        order = self.act(place_order, new=new)
        self.orders.append(order.pk)
        self.model.held[variant.pk] += quantity
        if is_paid:
            self.commit_units(variant.pk, quantity)

    def commit_units(self, variant_id: int, quantity: int) -> None:
        if self.is_ours:
            self.model.held[variant_id] -= quantity
            self.model.available[variant_id] -= quantity
            self.model.committed[variant_id] += quantity

    @precondition(lambda self: self.orders)
    @rule(number=chosen)
    def pay(self, number):
        order, line = self.one(number)
        if order.financial_status != "pending":
            with pytest.raises(IllegalMove):
                self.act(moves.mark_paid, order_id=order.pk)
            return
        held = sum(order.reservation.lines.values_list("held", flat=True))
        free, was_sold = self.free(line.variant), order.stock_state == "committed"
        self.act(moves.mark_paid, order_id=order.pk)
        order.refresh_from_db()
        if was_sold or not line.unsent_quantity:  # sold when some of it was sent
            return
        if order.stock_state == "paid_unallocated":
            assert not held
            assert free < line.unsent_quantity
            return
        if not held:  # its time was up: the units were reserved anew
            self.model.held[line.variant_id] += line.unsent_quantity
        self.commit_units(line.variant_id, line.unsent_quantity)

    @precondition(lambda self: self.orders)
    @rule(number=chosen, quantity=units)
    def send(self, number, quantity):
        order, line = self.one(number)
        wanted = {"order_id": order.pk, "lines": [Units(line.pk, quantity)], "actor": "test"}
        has_units = order.stock_state in {"reserved", "committed"} and not order.is_cancelled
        if not has_units or quantity > line.unsent_quantity:
            with pytest.raises((NotNow, TooManyUnits)):
                self.do(ship_lines, **wanted)
            return
        has_expired = order.stock_state == "reserved" and order.reservation.status != "active"
        if has_expired and self.free(line.variant) < line.unsent_quantity:
            return  # sent although nothing is there: tests/orders/test_sent_before_paid.py
        if has_expired:
            self.model.held[line.variant_id] += line.unsent_quantity  # the units are reserved anew
        shipment = self.do(ship_lines, **wanted)
        self.act(mark_shipped, shipment_id=shipment.pk, tracking=Tracking("DHL", "1", ""))
        if order.stock_state == "reserved":  # sent before it was paid: sold all the same
            self.commit_units(line.variant_id, line.unsent_quantity)
        if self.is_ours:
            self.move_id(line.variant_id, committed=-quantity, on_hand=-quantity)

    @precondition(lambda self: self.orders)
    @rule(number=chosen, restock=st.booleans())
    def cancel(self, number, restock):
        order, line = self.one(number)
        if order.is_cancelled or order.fulfillment_status != "unfulfilled":
            with pytest.raises(IllegalMove):
                self.act(moves.cancel_order, order_id=order.pk, reason="other", restock=restock)
            return
        self.act(moves.cancel_order, order_id=order.pk, reason="other", restock=restock)
        self.take_off(order, line, line.unsent_quantity, restock=restock)

    @precondition(lambda self: self.orders)
    @rule(number=chosen, quantity=units, restock=st.booleans())
    def cancel_some(self, number, quantity, restock):
        order, line = self.one(number)
        options = {"order_id": order.pk, "quantities": {line.pk: quantity}, "restock": restock}
        if order.is_cancelled or quantity > line.unsent_quantity:
            with pytest.raises((IllegalMove, TooMany)):
                self.act(moves.cancel_lines, **options)
            return
        self.act(moves.cancel_lines, **options)
        self.take_off(order, line, quantity, restock=restock)

    def take_off(self, order: Order, line: OrderLine, quantity: int, *, restock: bool) -> None:
        """Count units that leave an order unsent: `order` and `line` are as they were before."""
        if order.stock_state == "committed" and self.is_ours:
            back = {"available": quantity} if restock else {"on_hand": -quantity}
            self.move_id(line.variant_id, committed=-quantity, **back)
        elif order.stock_state in {"reserved", "committed"} and order.reservation.status != "expired":
            if restock or self.is_ours:
                self.model.held[line.variant_id] -= quantity
            if not restock and self.is_ours:
                self.move_id(line.variant_id, available=-quantity, on_hand=-quantity)

    @precondition(lambda self: self.orders)
    @rule(number=chosen, quantity=units, restock=st.sampled_from(["cancel", "return", "no_restock"]))
    def refund(self, number, quantity, restock):
        order, line = self.one(number)
        kept = line.sent_quantity - line.refunded_quantity
        room = {"cancel": line.unsent_quantity, "return": kept}.get(restock, kept + line.unsent_quantity)
        options = {"order_id": order.pk, "backs": [Back(line.pk, quantity, restock)], "amount": None, "note": ""}
        if order.financial_status not in {"paid", "partially_refunded"} or quantity > room:
            with pytest.raises((IllegalMove, TooMany, RefundTooLarge)):
                self.act(refund_order, **options)
            return
        self.act(refund_order, **options)
        if restock == "cancel":
            self.take_off(order, line, quantity, restock=True)
            return
        sent = min(kept, quantity)
        self.take_off(order, line, quantity - sent, restock=False)
        if restock == "return":
            if self.is_ours and order.stock_state == "committed":
                self.move_id(line.variant_id, available=sent, on_hand=sent)
            elif order.stock_state == "committed":
                beside = line.unsent_quantity + gone_of(line) - self.gone.get(line.pk, 0)
                self.model.held[line.variant_id] -= min(sent, max(0, beside))

    def one(self, number: int) -> tuple[Order, OrderLine]:
        order = Order.objects.select_related("reservation").get(pk=self.pick(self.orders, number))
        return order, OrderLine.objects.select_related("variant").get(order=order)

    # What holds after every step

    @invariant()
    def the_database_says_what_the_model_says(self):
        for variant in self.variants:
            rows = StockLevel.objects.filter(item_id=variant.item_id)
            found = {
                name: sum(count or 0 for count in rows.values_list(name, flat=True))
                for name in ("available", "held", "committed", "on_hand")
            }
            if self.is_ours:  # what an order waits for is not taken yet
                missing = Commitment.objects.filter(line__variant=variant).values_list("backordered", flat=True)
                found["available"] -= sum(missing)
                found["committed"] += sum(missing)
            names = list(found) if self.is_ours else ["available", "held"]
            expected = {name: getattr(self.model, name)[variant.pk] for name in names}
            assert {name: found[name] for name in names} == expected

    @invariant()
    def the_ledger_and_the_orders_agree_with_the_levels(self):
        assert find_drift(tenant_id=self.tenant.pk) == []
        assert find_misallocation(tenant_id=self.tenant.pk) == []
        if self.is_ours:
            for level in StockLevel.objects.all():
                assert level.on_hand == level.available + level.committed
            for line in OrderLine.objects.filter(order__stock_state="committed"):
                rows = Allocation.objects.filter(commitment__line=line)
                taken = sum(rows.values_list("committed", flat=True))
                assert taken + line.commitment.backordered == line.unsent_quantity


class ShopifysMachine(StockMachine):
    """The same where Shopify counts."""

    authority = "shopify"


def run(machine, *, examples: int, steps: int) -> None:
    health = [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large]
    how = settings(
        max_examples=examples, stateful_step_count=steps, deadline=None, suppress_health_check=health, database=None
    )
    run_state_machine_as_test(machine, settings=how)


@pytest.mark.parametrize("machine", [StockMachine, ShopifysMachine], ids=["shopsync", "shopify"])
def test_model_and_database_agree(machine):
    run(machine, examples=6, steps=25)


@pytest.mark.slow
@pytest.mark.parametrize("machine", [StockMachine, ShopifysMachine], ids=["shopsync", "shopify"])
def test_model_and_database_agree_for_long(machine):
    run(machine, examples=25, steps=30)
