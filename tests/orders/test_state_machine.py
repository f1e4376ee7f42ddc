"""A model of stock and orders beside the database: whatever is done in whatever order, both say the same.

The model counts units by variant; the database also by level, and its ledger is compared after every step.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection, transaction
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from audit.actions import Event
from audit.models import AuditEvent
from config.infra import tenancy
from inventory.actions import stock
from inventory.actions.levels import sync_level
from inventory.actions.reservations import (
    AlreadyExtended,
    InsufficientStock,
    Request,
    ReservationEnded,
    Wanted,
    commit,
    extend,
    release,
    reserve,
)
from inventory.actions.stock import ShopifyCounts, Spot, TooFew
from inventory.actions.upkeep import expire_reservations
from inventory.models import Reservation, StockLevel
from inventory.queries import find_drift
from orders.actions import moves
from orders.actions.handover import adopt_orders, hand_over
from orders.actions.moves import TooMany
from orders.actions.own_stock import follow_lines
from orders.actions.placing import NewLine, NewOrder, place_order
from orders.actions.refunds import Back, RefundTooLarge, refund_order
from orders.models import Allocation, Commitment, Order, OrderLine
from orders.queries import find_misallocation
from orders.rules import IllegalMove
from shopsync.shopify import Delivery
from tests.factories import make_tenant, stock_variant

pytestmark = pytest.mark.django_db
START = datetime(2026, 11, 2, tzinfo=UTC)
units = st.integers(1, 6)
which = st.integers(0, 1)
chosen = st.integers(0, 10**6)


@dataclass
class Model:
    """Units by variant: available, held, committed and on hand; null on hand and committed where Shopify counts."""

    available: Counter = field(default_factory=Counter)
    held: Counter = field(default_factory=Counter)
    committed: Counter = field(default_factory=Counter)
    on_hand: Counter = field(default_factory=Counter)
    waiting: dict[int, tuple[int, Counter]] = field(default_factory=dict)  # sales that the next snapshots settle


class StockMachine(RuleBasedStateMachine):
    """Stock received, adjusted, moved, promised, sold; orders placed, paid, sent, cancelled, refunded; snapshots."""

    authority = "shopsync"

    def __init__(self) -> None:
        super().__init__()
        self.tenant = make_tenant(stock_authority=self.authority)
        self.scope = tenancy.tenant_scope(self.tenant.pk)
        self.scope.__enter__()
        self.now = START
        self.keys = 0
        self.variants, self.levels = [], []
        self.model = Model()
        for _ in range(2):
            variant, levels = stock_variant(5, locations=2)
            self.variants.append(variant)
            self.levels.append(levels)
            self.model.available[variant.pk] = self.model.on_hand[variant.pk] = 10
        self.reservations: list[int] = []
        self.gone: dict[int, int] = {}  # units by line that had left when Shopify's count began
        self.orders: list[int] = []

    def teardown(self) -> None:
        self.scope.__exit__(None, None, None)

    # Helpers

    @property
    def is_ours(self) -> bool:
        return self.authority == "shopsync"

    def do(self, action: Any, **options: Any) -> Any:
        """Run an action in a savepoint, and end it as a transaction of its own would end."""
        self.now += timedelta(seconds=1)
        with transaction.atomic():
            done = action(**options)
            connection.check_constraints()
        return done

    def act(self, action: Any, **options: Any) -> Any:
        return self.do(action, actor="test", now=self.now + timedelta(seconds=1), **options)

    def free(self, variant: Any) -> int:
        rows = StockLevel.objects.filter(item_id=variant.item_id)
        return sum(max(level.sellable or 0, 0) for level in rows)

    def spot(self, v: int, place: int) -> Spot:
        return Spot(self.variants[v].pk, self.levels[v][place].location_id)

    def pick(self, rows: list[int], number: int) -> int:
        return rows[number % len(rows)]

    # Stock

    @rule(v=which, place=which, quantity=units)
    def receive(self, v, place, quantity):
        options = {"spot": self.spot(v, place), "quantity": quantity, "reference": "", "actor": "test"}
        if not self.is_ours:
            with pytest.raises(ShopifyCounts):
                self.do(stock.receive_stock, **options)
            return
        self.do(stock.receive_stock, **options)
        self.move(v, available=quantity, on_hand=quantity)

    @precondition(lambda self: self.is_ours)
    @rule(v=which, place=which, delta=st.integers(-4, 4).filter(bool))
    def adjust(self, v, place, delta):
        spot = self.spot(v, place)
        self.do(stock.adjust_stock, spot=spot, delta=delta, reason="cycle_count", reference="", actor="test")
        self.move(v, available=delta, on_hand=delta)

    @precondition(lambda self: self.is_ours)
    @rule(v=which, place=which, quantity=units)
    def transfer(self, v, place, quantity):
        source = StockLevel.objects.get(pk=self.levels[v][place].pk)
        options = {"source": self.spot(v, place), "target": self.spot(v, 1 - place), "quantity": quantity}
        if source.sellable < quantity:
            with pytest.raises(TooFew):
                self.do(stock.transfer_stock, **options, reference="", actor="test")
        else:
            self.do(stock.transfer_stock, **options, reference="", actor="test")

    @rule(v=which, place=which, count=st.integers(-3, 12))
    def snapshot(self, v, place, count):
        level = StockLevel.objects.select_related("item", "location").get(pk=self.levels[v][place].pk)
        self.now += timedelta(seconds=1)
        body = {"inventory_item_id": level.item.shopify_id, "location_id": level.location.shopify_id}
        body |= {"available": count, "updated_at": self.now.isoformat()}
        delivery = Delivery(
            id=1,
            tenant_id=self.tenant.pk,
            source="shopify",
            topic="inventory_levels/update",
            body=json.dumps(body).encode(),
            digest=f"{self.now.timestamp():064}",
            triggered_at=None,
            received_at=self.now,
            connection_id=None,
        )
        self.do(sync_level, delivery=delivery)
        if not self.is_ours:
            self.move(v, available=count - level.available)
            for line_id, (variant_id, levels) in list(self.model.waiting.items()):
                settled = levels.pop(level.pk, 0)
                self.model.held[variant_id] -= settled
                if not levels:
                    del self.model.waiting[line_id]

    # Who counts

    @rule()
    def hand_over(self):
        to = "shopify" if self.is_ours else "shopsync"
        levels = list(StockLevel.objects.select_related("item").order_by("pk"))
        waiting = self.waiting_units()
        self.do(hand_over, to=to, actor="test", now=self.now)
        self.authority = to
        variant_of = {variant.item_id: variant.pk for variant in self.variants}
        if to == "shopify":
            self.model.available.clear()
            for level in levels:
                ours = level.available + level.committed  # what is held from now on is no longer off it
                shown = ours if level.mirrored_at is None else level.mirrored_available
                self.model.available[variant_of[level.item_id]] += shown
            self.model.held.update(waiting)
            self.gone = {line.pk: gone_of(line) for line in OrderLine.objects.all()}
            return
        for variant in self.variants:
            beside = [
                line.unsent_quantity + gone_of(line) - self.gone.get(line.pk, 0)
                for line in OrderLine.objects.filter(variant=variant, order__stock_state="committed")
            ]
            self.model.held[variant.pk] -= sum(max(0, units) for units in beside)
            self.model.available[variant.pk] -= sum(beside)
            self.model.committed[variant.pk] = waiting[variant.pk]
            self.model.on_hand[variant.pk] = self.model.available[variant.pk] + waiting[variant.pk]
        (event,) = AuditEvent.objects.filter(name="stock.adoption_asked").order_by("-pk")[:1]
        told = Event(event.pk, self.tenant.pk, event.name, event.subject, event.data, event.created_at)
        self.do(adopt_orders, event=told)

    def waiting_units(self) -> Counter:
        """Count the units, by variant, that sold orders have set aside."""
        found: Counter = Counter()
        for line in OrderLine.objects.filter(order__stock_state="committed").select_related("commitment"):
            found[line.variant_id] += line.unsent_quantity - line.commitment.backordered
        return found

    # Reservations

    @rule(v=which, other=which, first=units, second=units)
    def promise(self, v, other, first, second):
        wanted = Counter({self.variants[v].pk: first})
        wanted[self.variants[other].pk] += second
        lines = (Wanted(self.variants[v].pk, first), Wanted(self.variants[other].pk, second))
        self.keys += 1
        options = {"request": Request(lines=lines), "idempotency_key": f"key-{self.keys}"}
        if any(wanted[variant.pk] > self.free(variant) for variant in self.variants if variant.pk in wanted):
            with pytest.raises(InsufficientStock):
                self.act(reserve, **options)
            return
        reservation, _ = self.act(reserve, **options)
        self.reservations.append(reservation.pk)
        self.model.held.update(wanted)

    @precondition(lambda self: self.reservations)
    @rule(number=chosen)
    def prolong(self, number):
        reservation = Reservation.objects.get(pk=self.pick(self.reservations, number))
        options = {"reservation_id": reservation.pk}
        if reservation.status != "active":
            with pytest.raises(ReservationEnded):
                self.act(extend, **options)
        elif reservation.extended_at is not None:
            with pytest.raises(AlreadyExtended):
                self.act(extend, **options)
        else:
            self.act(extend, **options)

    @precondition(lambda self: self.reservations)
    @rule(number=chosen)
    def give_up(self, number):
        reservation = Reservation.objects.get(pk=self.pick(self.reservations, number))
        if reservation.status == "committed":
            with pytest.raises(ReservationEnded):
                self.act(release, reservation_id=reservation.pk)
            return
        if reservation.status == "active":
            self.model.held.subtract(self.units_of(reservation))
        self.act(release, reservation_id=reservation.pk)

    @precondition(lambda self: self.reservations)
    @rule(number=chosen)
    def sell(self, number):
        reservation = Reservation.objects.get(pk=self.pick(self.reservations, number))
        if reservation.status != "active":
            with pytest.raises(ReservationEnded):
                self.act(commit, reservation_id=reservation.pk)
            return
        sold = self.units_of(reservation)
        lines = list(reservation.lines.values_list("pk", "variant_id", "level_id", "quantity"))
        self.act(commit, reservation_id=reservation.pk)
        if self.is_ours:
            self.model.held.subtract(sold)
            self.model.available.subtract(sold)
            self.model.on_hand.subtract(sold)
        else:
            for line_id, variant_id, level_id, quantity in lines:
                self.model.waiting[line_id] = (variant_id, Counter({level_id: quantity}))

    @rule(minutes=st.integers(1, 20))
    def time_passes(self, minutes):
        self.now += timedelta(minutes=minutes)
        overdue = Reservation.objects.filter(status="active", expires_at__lte=self.now)
        for reservation in overdue:
            self.model.held.subtract(self.units_of(reservation))
        count = overdue.count()
        assert expire_reservations(now=self.now) == count

    def units_of(self, reservation: Reservation) -> Counter:
        held: Counter = Counter()
        for variant_id, quantity in reservation.lines.values_list("variant_id", "held"):
            held[variant_id] += quantity
        return held

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
        free = self.free(line.variant)
        self.act(moves.mark_paid, order_id=order.pk)
        order.refresh_from_db()
        if not line.unsent_quantity:
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
        if order.stock_state != "committed" or not 0 < quantity <= line.unsent_quantity:
            return
        OrderLine.objects.filter(pk=line.pk).update(sent_quantity=line.sent_quantity + quantity)
        follow_lines(order, actor="test", now=self.now)
        Order.objects.filter(pk=order.pk).update(fulfillment_status=moves.name_fulfillment(order))
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

    def move(self, v: int, **deltas: int) -> None:
        self.move_id(self.variants[v].pk, **deltas)

    def move_id(self, variant_id: int, **deltas: int) -> None:
        for state, delta in deltas.items():
            getattr(self.model, state)[variant_id] += delta

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


def gone_of(line: OrderLine) -> int:
    """Count the units of a line that have left for good."""
    return line.sent_quantity - line.returned_quantity + line.lost_quantity


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
