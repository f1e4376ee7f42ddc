"""A model of stock beside the database, and the rules of what is done to both: the part that needs no order.

The model counts units by variant; the database also by level.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection, transaction
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

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
from orders.actions.handover import adopt_orders, hand_over
from orders.models import OrderLine
from shopsync.shopify import Delivery
from tests.factories import make_tenant, stock_variant

START = datetime(2026, 11, 2, tzinfo=UTC)
MARGIN = timedelta(minutes=2)  # longer than all steps of a run together
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


def gone_of(line: OrderLine) -> int:
    """Count the units of a line that have left for good."""
    return line.sent_quantity - line.returned_quantity + line.lost_quantity


class StockRules(RuleBasedStateMachine):
    """Stock received, adjusted, moved, counted by Shopify, handed over, promised, and sold without an order."""

    authority = "shopsync"

    def __init__(self) -> None:
        super().__init__()
        self.example = transaction.atomic()
        self.example.__enter__()
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
        """Undo the example: the next one finds small tables, and plans that fit them."""
        self.scope.__exit__(None, None, None)
        transaction.set_rollback(True)
        self.example.__exit__(None, None, None)

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
            unpaid = OrderLine.objects.filter(
                variant=variant, order__stock_state="reserved", order__reservation__status="active"
            )
            beside += [gone_of(line) - self.gone.get(line.pk, 0) for line in unpaid]
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
        while Reservation.objects.filter(status="active", expires_at__range=(self.now, self.now + MARGIN)).exists():
            self.now += MARGIN  # none runs out between two steps: each is expired here
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

    def move(self, v: int, **deltas: int) -> None:
        self.move_id(self.variants[v].pk, **deltas)

    def move_id(self, variant_id: int, **deltas: int) -> None:
        for state, delta in deltas.items():
            getattr(self.model, state)[variant_id] += delta
