"""Units of an order in parcels: never more than there are, sent when they leave, free when given up."""

from __future__ import annotations

from decimal import Decimal

import pytest
from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from audit.models import AuditEvent
from config.infra import tenancy
from orders.actions.placing import NewLine, NewOrder, place_order
from orders.actions.shipments import (
    NotNow,
    TooManyUnits,
    Tracking,
    Units,
    UnknownLines,
    UnknownOrder,
    give_up,
    leave,
    lock_shipment,
    mark_shipped,
    open_units,
    ship_lines,
)
from orders.models import Fulfillment, Order, OrderLine, Shipment, ShipmentLine
from shopsync.models import Alert
from tests.factories import make_tenant, run_together, stock_variant
from tests.orders.shipping import make_order

pytestmark = pytest.mark.django_db(transaction=True)
BY_HAND = Tracking("UPS", "1Z999")


@pytest.fixture
def order():
    with tenancy.tenant_scope(make_tenant().pk):
        yield make_order()


def ids(order):
    return list(OrderLine.objects.filter(order=order).order_by("position").values_list("pk", flat=True))


def sent(order):
    return list(OrderLine.objects.filter(order=order).order_by("position").values_list("sent_quantity", flat=True))


def pack(order, *units):
    return ship_lines(order_id=order.pk, lines=units, actor="test")


def hand_over(shipment):
    return mark_shipped(shipment_id=shipment.pk, tracking=BY_HAND, actor="test", now=timezone.now())


def test_units_are_packed_handed_over_and_sent(order):
    shirt, hat = ids(order)
    first = pack(order, Units(shirt, 2))
    assert sent(order) == [0, 0]
    hand_over(first)
    assert sent(order) == [2, 0]
    assert open_units(order) == {shirt: 1, hat: 2}
    event = AuditEvent.objects.get(name="shipment.shipped")
    assert (event.subject, event.data["lines"]) == (f"shipment:{first.pk}", [f"{shirt}:2"])
    rest = pack(order)
    assert [(row.line_id, row.quantity) for row in rest.lines.all()] == [(shirt, 1), (hat, 2)]
    with pytest.raises(NotNow, match="left to send"):
        pack(order)


def test_more_than_is_left_is_refused_line_by_line(order):
    shirt, hat = ids(order)
    pack(order, Units(shirt, 2))
    with pytest.raises(TooManyUnits) as refused:
        pack(order, Units(shirt, 2), Units(hat, 1))
    assert [(e.line_id, e.requested, e.open) for e in refused.value.excesses] == [(shirt, 2, 1)]
    assert Shipment.objects.count() == 1


def test_strange_and_doubled_lines_are_refused(order):
    shirt, _ = ids(order)
    foreign = ids(make_order())[0]
    for units in ([Units(foreign, 1)], [Units(shirt, 1), Units(shirt, 1)]):
        with pytest.raises(UnknownLines):
            pack(order, *units)
    with pytest.raises(UnknownOrder):
        ship_lines(order_id=order.pk + 10_000, lines=[], actor="test")


def test_what_shopify_has_sent_is_not_sent_again():
    with tenancy.tenant_scope(make_tenant().pk):
        order = make_order(source="shopify", shopify_id=1, stock_state="")
        for number, line in enumerate(OrderLine.objects.filter(order=order).order_by("pk")):
            OrderLine.objects.filter(pk=line.pk).update(shopify_id=100 + number)
        for number, status in ((1, "success"), (2, "cancelled")):
            Fulfillment.objects.create(
                order=order, order_shopify_id=1, shopify_id=number, status=status, lines={"100": 2}, source_version="1"
            )
        assert list(open_units(order).values()) == [1, 2]


@pytest.mark.parametrize("fields", [{"cancelled_at": timezone.now()}, {"held_at": timezone.now()}])
def test_a_cancelled_or_held_order_is_not_packed_or_handed_over(order, fields):
    packed = pack(order, Units(ids(order)[0], 1))
    Order.objects.filter(pk=order.pk).update(**fields)
    with pytest.raises(NotNow):
        pack(order)
    with pytest.raises(NotNow):
        hand_over(packed)
    assert sent(order) == [0, 0]


def test_what_is_given_up_is_free_again_and_stays_given_up(order):
    packed = pack(order)
    give_up(shipment_id=packed.pk, actor="test")
    assert list(open_units(order).values()) == [3, 2]
    for act in (lambda: give_up(shipment_id=packed.pk, actor="test"), lambda: hand_over(packed)):
        with pytest.raises(NotNow):
            act()
    with pytest.raises(IntegrityError, match="was voided"), transaction.atomic():
        Shipment.objects.filter(pk=packed.pk).update(status="created")


def test_the_database_refuses_more_than_the_line_has_and_lines_of_other_orders(order):
    shirt, _ = ids(order)
    packed, other = pack(order, Units(shirt, 3)), make_order()
    second = Shipment.objects.create(order=order)
    with pytest.raises(IntegrityError) as refused, transaction.atomic():
        ShipmentLine.objects.create(shipment=second, line_id=shirt, quantity=1)
    assert refused.value.__cause__.diag.constraint_name == "shipmentline_sends_no_more_than_the_line_has"
    with pytest.raises(IntegrityError) as refused, transaction.atomic():
        ShipmentLine.objects.create(shipment=Shipment.objects.create(order=other), line_id=shirt, quantity=1)
    assert refused.value.__cause__.diag.constraint_name == "shipmentline_is_of_its_shipments_order"
    with pytest.raises(IntegrityError), transaction.atomic():
        ShipmentLine.objects.filter(shipment=packed).update(quantity=4)


def test_twenty_who_pack_at_once_pack_each_unit_once(order):
    shirt, tenant_id = ids(order)[0], order.tenant_id

    def job():
        with tenancy.tenant_scope(tenant_id):
            return pack(order, Units(shirt, 1))

    results = run_together([job] * 20, threads=10)
    assert sum(isinstance(result, Shipment) for result in results) == 3
    assert all(isinstance(result, Shipment | TooManyUnits) for result in results)


def test_without_the_lock_of_the_order_the_trigger_still_counts(order):
    shirt, tenant_id = ids(order)[0], order.tenant_id
    parcels = [Shipment.objects.create(order=order) for _ in range(8)]

    def job(parcel):
        with tenancy.tenant_scope(tenant_id):
            return ShipmentLine.objects.create(shipment=parcel, line_id=shirt, quantity=1)

    results = run_together([lambda parcel=parcel: job(parcel) for parcel in parcels], threads=8)
    assert sum(isinstance(result, ShipmentLine) for result in results) == 3


def test_units_taken_off_the_order_can_not_be_handed_over(order):
    packed = pack(order)
    OrderLine.objects.filter(order=order, position=0).update(current_quantity=1, cancelled_quantity=2)
    with pytest.raises(NotNow, match="fewer"):
        hand_over(packed)


def test_a_carrier_that_took_more_than_the_order_has_is_believed_and_told_of(order):
    packed = pack(order)
    OrderLine.objects.filter(order=order, position=0).update(current_quantity=1, cancelled_quantity=2)
    with transaction.atomic():
        leave(lock_shipment(packed.pk), at=timezone.now(), actor="carrier")
    assert sent(order) == [1, 2]
    assert Alert.objects.get().kind == "shipment.exceeds_order"


def test_a_parcel_without_a_number_is_not_handed_over(order):
    with pytest.raises(NotNow, match="tracking number"):
        mark_shipped(shipment_id=pack(order).pk, tracking=None, actor="test", now=timezone.now())


def test_the_order_is_locked_before_the_parcel(order):
    packed = pack(order)
    with transaction.atomic(), connection.execute_wrapper(seen := Statements()):
        lock_shipment(packed.pk)
    locks = [sql for sql in seen.statements if "FOR UPDATE" in sql]
    assert ["orders_order" in locks[0], "orders_shipment" in locks[1]] == [True, True]


class Statements:
    """Keeps the statements that pass."""

    def __init__(self):
        self.statements = []

    def __call__(self, execute, sql, params, many, context):
        self.statements.append(sql)
        return execute(sql, params, many, context)


def test_what_is_sent_leaves_the_stock_and_names_the_order():
    tenant = make_tenant(stock_authority="shopsync")
    with tenancy.tenant_scope(tenant.pk):
        variant, (level,) = stock_variant(10)
        bought = (NewLine(variant_id=variant.pk, quantity=3, price_amount=Decimal(1)),)
        order = place_order(new=NewOrder(lines=bought, is_paid=True), actor="test", now=timezone.now())
        part = [Units(line_id=OrderLine.objects.get().pk, quantity=1)]
        for units, word, left in ((part, "partial", (7, 2, 9)), ([], "fulfilled", (7, 0, 7))):
            packed = ship_lines(order_id=order.pk, lines=units, actor="test")
            mark_shipped(shipment_id=packed.pk, tracking=BY_HAND, actor="test", now=timezone.now())
            order.refresh_from_db()
            level.refresh_from_db()
            assert order.fulfillment_status == word
            assert (level.available, level.committed, level.on_hand) == left
