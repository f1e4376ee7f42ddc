"""Our own orders: placed with their stock or not at all; paid, cancelled and refunded once, never beyond what is."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from functools import partial

import pytest
from django.db import IntegrityError
from django.utils import timezone

from audit.models import AuditEvent
from config.infra import tenancy
from inventory.actions.reservations import (
    InsufficientStock,
    OrdersReservation,
    Request,
    ReservationEnded,
    Wanted,
    commit,
    release,
    reserve,
)
from inventory.actions.stock import Spot, adjust_stock, receive_stock, transfer_stock
from inventory.actions.upkeep import expire_reservations
from inventory.models import Location, Reservation, StockLevel
from inventory.queries import find_drift
from orders.actions import moves
from orders.actions.moves import OrderError, ShopifysOrder, TooMany
from orders.actions.placing import NewLine, NewOrder, ReservationMismatch, UnknownReservation, place_order
from orders.actions.refunds import AmountTooFine, Back, RefundTooLarge, refund_order
from orders.models import Allocation, Commitment, Order, OrderLine, Refund
from orders.queries import find_misallocation
from orders.rules import IllegalMove
from shopsync.models import Alert, Tenant
from tests.factories import drain_all, make_tenant, run_together, stock_variant
from tests.orders.arrivals import give

pytestmark = pytest.mark.django_db(transaction=True)
NOW = timezone.now


@pytest.fixture(params=["shopify", "shopsync"])
def shop(request):
    tenant = make_tenant(stock_authority=request.param)
    with tenancy.tenant_scope(tenant.pk):
        yield tenant


def place(*lines, now=None, **fields):
    new = NewOrder(
        lines=tuple(NewLine(variant_id=v.pk, quantity=q, price_amount=Decimal(10)) for v, q in lines), **fields
    )
    return place_order(new=new, actor="test", now=now or NOW())


def numbers():
    return list(StockLevel.objects.order_by("pk").values_list("available", "held", "committed", "on_hand"))


def act(action, order, **options):
    return action(order_id=order.pk, actor="test", now=NOW(), **options)


def together(shop, job, count=20):
    def run():
        with tenancy.tenant_scope(shop.pk):
            return job()

    return run_together([run] * count, threads=count)


def test_an_order_is_placed_with_its_stock_or_not_at_all(shop):
    variant, _ = stock_variant(5)
    order = place((variant, 2), (variant, 1))
    assert (order.stock_state, order.financial_status, order.total_amount) == ("reserved", "pending", Decimal(30))
    assert numbers()[0][:2] == (5, 3)
    with pytest.raises(InsufficientStock):
        place((variant, 3))
    assert Order.objects.count() == Reservation.objects.count() == 1
    assert list(AuditEvent.objects.filter(name="order.created").values_list("subject", flat=True)) == [
        f"order:{order.pk}"
    ]


def test_a_paid_order_sells_its_units_once(shop):
    variant, _ = stock_variant(5)
    order = place((variant, 2))
    results = together(shop, partial(act, moves.mark_paid, order))
    assert sum(isinstance(result, Order) for result in results) == 1
    assert sum(isinstance(result, IllegalMove) for result in results) == 19
    order.refresh_from_db()
    assert (order.stock_state, order.financial_status) == ("committed", "paid")
    assert numbers() == ([(3, 0, 2, 5)] if shop.stock_authority == "shopsync" else [(5, 2, 0, 5)])
    assert AuditEvent.objects.filter(name="order.paid").count() == 1


def test_a_reservation_is_taken_over_only_if_it_holds_just_that(shop):
    variant, _ = stock_variant(5)
    request = Request(lines=(Wanted(variant.pk, 2),))
    made, _ = reserve(request=request, idempotency_key="k", actor="test", now=NOW())
    with pytest.raises(ReservationMismatch):
        place((variant, 1), reservation_id=made.pk)
    with pytest.raises(UnknownReservation):
        place((variant, 2), reservation_id=made.pk + 1)
    order = place((variant, 2), reservation_id=made.pk, is_paid=True)
    assert order.reservation_id == made.pk
    with pytest.raises((ReservationMismatch, ReservationEnded)):
        place((variant, 2), reservation_id=made.pk)
    assert Reservation.objects.count() == 1


def test_paid_too_late_it_gets_its_units_anew_or_an_alert_says_so(shop):
    variant, (level,) = stock_variant(5)
    early = NOW() - timedelta(minutes=30)
    lucky, unlucky = place((variant, 2), now=early), place((variant, 3), now=early)
    expire_reservations(now=NOW())
    drain_all()
    assert set(Order.objects.values_list("stock_state", flat=True)) == {"unallocated"}
    act(moves.mark_paid, lucky)
    place((variant, 2), is_paid=True)  # somebody else was faster
    act(moves.mark_paid, unlucky)
    lucky.refresh_from_db()
    unlucky.refresh_from_db()
    assert (lucky.stock_state, unlucky.stock_state) == ("committed", "paid_unallocated")
    alert = Alert.objects.get(kind="order.paid_unallocated")
    assert (alert.subject, alert.severity, alert.closed_at) == (f"order:{unlucky.pk}", "critical", None)
    with pytest.raises(OrderError):
        moves.allocate(order_id=unlucky.pk, actor="test", now=NOW())
    StockLevel.objects.filter(pk=level.pk).update(available=50, on_hand=50)
    assert act(moves.allocate, unlucky).stock_state == "committed"
    assert Alert.objects.get(pk=alert.pk).closed_at is not None


@pytest.mark.parametrize("is_paid", [False, True], ids=["unpaid", "paid"])
def test_twenty_cancellations_at_once_release_once(shop, is_paid):
    variant, _ = stock_variant(5)
    order = place((variant, 3), is_paid=is_paid)
    results = together(shop, partial(act, moves.cancel_order, order, reason="customer", restock=True))
    assert sum(isinstance(result, Order) for result in results) == 1
    assert sum(isinstance(result, IllegalMove) for result in results) == 19
    assert numbers() == [(5, 0, 0, 5)]
    assert AuditEvent.objects.filter(name="order.cancelled").count() == 1
    order.refresh_from_db()
    assert order.financial_status == ("paid" if is_paid else "voided")
    assert (order.total_amount, order.current_total_amount) == (Decimal(30), Decimal(0))


def test_a_part_is_cancelled_and_not_put_back_when_not_asked(shop):
    variant, _ = stock_variant(10)
    order = place((variant, 4), is_paid=True)
    line = OrderLine.objects.get()
    cancel = partial(act, moves.cancel_lines, order)
    cancel(quantities={line.pk: 1}, restock=True)
    cancel(quantities={line.pk: 1}, restock=False)
    with pytest.raises(TooMany):
        cancel(quantities={line.pk: 3}, restock=True)
    line.refresh_from_db()
    assert (line.quantity, line.current_quantity, line.cancelled_quantity, line.lost_quantity) == (4, 2, 1, 1)
    # Where we count, the lost unit is off the shelf; where Shopify does, it stays held, since Shopify knows nothing.
    assert numbers() == ([(7, 0, 2, 9)] if shop.stock_authority == "shopsync" else [(10, 3, 0, 10)])
    order.refresh_from_db()
    assert (order.total_amount, order.current_total_amount) == (Decimal(40), Decimal(20))
    act(moves.cancel_order, order, reason="customer", restock=True)
    assert Commitment.objects.get().quantity == 0
    assert numbers() == ([(9, 0, 0, 9)] if shop.stock_authority == "shopsync" else [(10, 1, 0, 10)])


def test_lost_units_of_an_unpaid_order_are_off_the_level_that_held_them(shop):
    variant, _ = stock_variant(4, locations=2)
    request = Request(lines=(Wanted(variant.pk, 4),))
    reserve(request=request, idempotency_key="k", actor="test", now=NOW())  # all that the nearest has
    order = place((variant, 3))
    cancel = partial(act, moves.cancel_lines, order, restock=False)
    cancel(quantities={order.lines.get().pk: 1})
    is_ours = shop.stock_authority == "shopsync"
    assert numbers() == [(4, 4, 0, 4), (3, 2, 0, 3) if is_ours else (4, 3, 0, 4)]


def test_a_part_of_an_unpaid_order_is_cancelled_and_the_rest_is_sold(shop):
    variant, _ = stock_variant(10)
    order = place((variant, 4))
    moves.cancel_lines(
        order_id=order.pk, quantities={OrderLine.objects.get().pk: 3}, restock=True, actor="test", now=NOW()
    )
    assert numbers()[0][:2] == (10, 1)
    act(moves.mark_paid, order)
    assert numbers() == ([(9, 0, 1, 10)] if shop.stock_authority == "shopsync" else [(10, 1, 0, 10)])


def test_refund_lines_go_where_they_say_once(shop):
    variant, _ = stock_variant(10)
    order = place((variant, 5), is_paid=True)
    line = OrderLine.objects.get()
    OrderLine.objects.filter(pk=line.pk).update(sent_quantity=2)
    refund = partial(act, refund_order, order, amount=None, note="")
    refund(backs=[Back(line.pk, 1, "return")])
    refund(backs=[Back(line.pk, 1, "no_restock")])
    refund(backs=[Back(line.pk, 1, "cancel")])
    line.refresh_from_db()
    assert (line.current_quantity, line.refunded_quantity, line.returned_quantity, line.cancelled_quantity) == (
        2,
        2,
        1,
        1,
    )
    with pytest.raises(TooMany):
        refund(backs=[Back(line.pk, 1, "return")])
    order.refresh_from_db()
    assert (order.financial_status, order.current_total_amount) == ("partially_refunded", Decimal(20))
    with pytest.raises(RefundTooLarge):
        act(refund_order, order, backs=[], amount=Decimal(21), note="")
    act(refund_order, order, backs=[], amount=Decimal(20), note="")
    order.refresh_from_db()
    assert order.financial_status == "refunded"
    with pytest.raises(IllegalMove):
        act(refund_order, order, backs=[], amount=Decimal(0), note="")
    if shop.stock_authority == "shopsync":
        assert numbers() == [(7, 0, 2, 9)]  # 10 - 5 + 1 returned + 1 cancelled; one sent unit stays away
        assert list(Allocation.objects.values_list("committed", "gone")) == [(2, 1)]
    else:
        assert numbers() == [(10, 3, 0, 10)]


def test_no_more_is_given_back_than_was_paid_and_units_come_back_when_the_money_has(shop):
    variant, _ = stock_variant(10)
    order = place((variant, 3))
    line = OrderLine.objects.get(order=order)
    act(moves.cancel_lines, order, quantities={line.pk: 1}, restock=True)
    act(moves.mark_paid, order)
    assert Order.objects.get().paid_by_hand_amount == 20
    with pytest.raises(RefundTooLarge):
        act(refund_order, order, backs=[], amount=Decimal("20.01"), note="")
    OrderLine.objects.filter(pk=line.pk).update(sent_quantity=1)
    act(refund_order, order, backs=[], amount=Decimal(20), note="a courtesy")
    assert Order.objects.get().financial_status == "refunded"
    act(refund_order, order, backs=[Back(line.pk, 1, "return")], amount=Decimal(0), note="")
    line.refresh_from_db()
    assert (Order.objects.get().financial_status, line.returned_quantity) == ("refunded", 1)


def test_twenty_refunds_at_once_give_back_no_more_than_was_paid(shop):
    variant, _ = stock_variant(10)
    order = place((variant, 1), is_paid=True)
    results = together(shop, partial(act, refund_order, order, backs=[], amount=Decimal(4), note=""))
    assert sum(isinstance(result, Refund) for result in results) == 2
    assert sum(Refund.objects.values_list("amount", flat=True)) == Decimal(8)


def test_shopifys_orders_are_changed_in_shopify_and_may_be_held_here(shop):
    order = Order.objects.create(shopify_id=7, currency="USD", source_version="1")
    for action, options in (
        (moves.mark_paid, {}),
        (moves.cancel_order, {"reason": "customer", "restock": True}),
        (refund_order, {"backs": [], "amount": Decimal(1), "note": ""}),
    ):
        with pytest.raises(ShopifysOrder):
            act(action, order, **options)
    assert act(moves.hold_order, order, reason="address?").held_at is not None
    with pytest.raises(IllegalMove):
        act(moves.hold_order, order, reason="again")
    assert moves.unhold_order(order_id=order.pk, actor="test").held_at is None


def test_an_order_without_its_reservation_is_refused_by_the_database(shop):
    variant, _ = stock_variant(5)
    place((variant, 1))
    with pytest.raises(IntegrityError, match="order_holds_stock_through_its_reservation"):
        Order.objects.update(reservation=None)


def test_what_an_order_holds_is_the_orders_to_sell_or_give_back(shop):
    variant, _ = stock_variant(5)
    mine = reserve(request=Request(lines=(Wanted(variant.pk, 1),)), idempotency_key="k", actor="test", now=NOW())[0]
    for order in (place((variant, 2)), place((variant, 1), reservation_id=mine.pk)):
        options = {"reservation_id": order.reservation_id, "actor": "test", "now": NOW()}
        with pytest.raises(OrdersReservation, match="can't be committed by itself"):
            commit(**options)
        with pytest.raises(OrdersReservation, match="Mark the order paid, or cancel it"):
            release(**options)
        act(moves.mark_paid, order)
    assert numbers()[0][:2] == ((2, 0) if shop.stock_authority == "shopsync" else (5, 3))


@pytest.mark.parametrize("is_paid", [False, True])
def test_cancelling_every_unit_by_its_lines_cancels_the_order(shop, is_paid):
    first, _ = stock_variant(5)
    second, _ = stock_variant(5)
    order = place((first, 2), (second, 1), is_paid=is_paid)
    lines = {line.pk: line.quantity for line in order.lines.all()}
    act(moves.cancel_lines, order, quantities=lines, restock=True)
    order.refresh_from_db()
    assert order.is_cancelled
    assert order.financial_status == ("paid" if is_paid else "voided")
    assert [row[:2] for row in numbers()] == [(5, 0), (5, 0)]
    with pytest.raises(IllegalMove):
        act(moves.mark_paid, order)


@pytest.mark.parametrize("amount", ["1.001", "0.0001"])
def test_a_refund_finer_than_its_currency_is_refused(shop, amount):
    variant, _ = stock_variant(5)
    order = place((variant, 1), is_paid=True)
    with pytest.raises(AmountTooFine, match="USD has 2 decimals"):
        act(refund_order, order, backs=[], amount=Decimal(amount), note="")
    assert not Refund.objects.exists()


def test_units_refunded_one_by_one_are_worth_what_the_line_is(shop):
    variant, _ = stock_variant(5)
    line = NewLine(variant_id=variant.pk, quantity=3, price_amount=Decimal("3.35"), discount_amount=Decimal("0.04"))
    order = place_order(new=NewOrder(lines=(line,), is_paid=True), actor="test", now=NOW())
    worths = [
        act(refund_order, order, backs=[Back(order.lines.get().pk, 1, "cancel")], amount=None, note="").amount
        for _ in range(3)
    ]
    assert worths == [Decimal("3.34"), Decimal("3.33"), Decimal("3.34")]
    assert sum(worths) == order.total_amount == Decimal("10.01")


@pytest.fixture
def untracked():
    """Give a variant whose one level is not tracked, where we count, and a paid order of three of it."""
    tenant = make_tenant(stock_authority="shopsync")
    with tenancy.tenant_scope(tenant.pk):
        variant, (level,) = stock_variant(None)
        order = place((variant, 3), is_paid=True)
        assert numbers() == [(None, 0, 3, None)]
        yield variant, level, order
        assert find_misallocation(tenant_id=tenant.pk) == find_drift(tenant_id=tenant.pk) == []


def arrive(how, variant, level):
    spot = Spot(variant.pk, level.location_id)
    if how == "receive":
        receive_stock(spot=spot, quantity=5, reference="", actor="test")
    elif how == "adjust":
        adjust_stock(spot=spot, delta=5, reason="found", reference="", actor="test")
    elif how == "transfer":
        source = Spot(variant.pk, Location.objects.create(shopify_id=99).pk)
        receive_stock(spot=source, quantity=5, reference="", actor="test")
        transfer_stock(source=source, target=spot, quantity=5, reference="", actor="test")
    else:
        body = {"inventory_item_id": level.item.shopify_id, "location_id": level.location.shopify_id, "available": 5}
        give(Tenant.objects.get(), 1, "inventory_levels/update", {**body, "updated_at": "2026-11-02T10:00:00Z"})


@pytest.mark.parametrize("how", ["receive", "adjust", "transfer", "count"])
def test_what_was_sold_while_untracked_is_owed_once_there_is_a_count(untracked, how):
    variant, level, order = untracked
    arrive(how, variant, level)
    assert numbers()[0] == (2, 0, 3, 5)
    with pytest.raises(InsufficientStock):
        place((variant, 3))
    act(moves.cancel_order, order, reason="other", restock=True)
    assert numbers()[0] == (5, 0, 0, 5)


def test_shopifys_orders_of_what_is_untracked_are_off_its_count_when_it_comes():
    tenant = make_tenant(stock_authority="shopsync")
    line = {"id": 21, "variant_id": 11, "quantity": 3, "current_quantity": 3, "fulfillable_quantity": 3, "price": "1"}
    times = {"created_at": "2026-11-02T10:00:00Z", "updated_at": "2026-11-02T10:00:00Z"}
    with tenancy.tenant_scope(tenant.pk):
        variant, (level,) = stock_variant(None)
        line["variant_id"] = variant.shopify_id
        body = {"id": 31, "currency": "USD", "financial_status": "paid", "line_items": [line], **times}
        give(tenant, 2, "orders/create", body)
        arrive("count", variant, level)
        drain_all()
        assert numbers() == [(5, 0, 3, 8)]
        sent = {**line, "fulfillable_quantity": 0, "current_quantity": 0}
        ended = {"cancelled_at": "2026-11-02T11:00:00Z", "updated_at": "2026-11-02T11:00:00Z", "line_items": [sent]}
        give(tenant, 3, "orders/cancelled", {**body, **ended})
        assert numbers() == [(8, 0, 0, 8)]
        assert find_misallocation(tenant_id=tenant.pk) == []
