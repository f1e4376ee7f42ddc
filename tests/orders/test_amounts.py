"""What our own orders cost: rounded once, so that what is left of one costs what it would have cost by itself."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest
from django.utils import timezone
from hypothesis import given, settings
from hypothesis import strategies as st

from config.infra import tenancy
from orders.actions import moves
from orders.actions.placing import NewLine, NewOrder, place_order
from orders.actions.refunds import Back, refund_order
from orders.models import Order, OrderLine
from orders.money import DiscountCode, PricedLine, amounts_of, price_lines
from shopsync.money import unit_of
from tests.factories import make_tenant, stock_variant

ZERO = Decimal(0)


@pytest.fixture
def shop(db):
    tenant = make_tenant()
    with tenancy.tenant_scope(tenant.pk):
        yield tenant


def place(*lines):
    variants = [stock_variant(9)[0] for _ in lines]
    new = tuple(
        NewLine(variant_id=variant.pk, quantity=quantity, price_amount=Decimal(price))
        for variant, (price, quantity) in zip(variants, lines, strict=True)
    )
    return place_order(new=NewOrder(lines=new, is_paid=True), actor="test", now=timezone.now())


def costs(order):
    order = Order.objects.get(pk=order.pk)
    return order.current_subtotal_amount, order.current_total_amount


def test_what_is_left_of_an_order_costs_what_it_would_have_cost_by_itself(shop):
    order = place(("0.005", 3), ("0.005", 1))
    assert order.total_amount == Decimal("0.02")
    first, second = OrderLine.objects.filter(order=order).order_by("pk")
    options = {"order_id": order.pk, "actor": "test", "now": timezone.now()}
    moves.hold_order(reason="?", **options)
    moves.unhold_order(order_id=order.pk, actor="test")
    for line, left in ((first, [("0.005", 2), ("0.005", 1)]), (first, [("0.005", 1)] * 2), (second, [("0.005", 1)])):
        moves.cancel_lines(quantities={line.pk: 1}, restock=True, **options)
        alone = place(*left)
        assert costs(order) == (alone.subtotal_amount, alone.total_amount)
    moves.cancel_order(reason="other", restock=True, **options)
    assert costs(order) == (ZERO, ZERO)


@pytest.mark.parametrize("at_once", [True, False])
def test_all_units_refunded_are_worth_the_order_however_fine_their_prices(shop, at_once):
    order = place(("0.005", 1), ("0.005", 1), ("3.333", 2))
    options = {"order_id": order.pk, "amount": None, "note": "", "actor": "test", "now": timezone.now()}
    backs = [Back(line.pk, line.quantity, "cancel") for line in OrderLine.objects.filter(order=order).order_by("pk")]
    for part in [backs] if at_once else [[back] for back in backs]:
        if order.financial_status != "refunded":
            refund_order(backs=part, **options)
            order.refresh_from_db()
    assert order.financial_status == "refunded"
    assert costs(order) == (ZERO, ZERO)
    assert sum(one.amount for one in order.refunds.all()) == order.total_amount == Decimal("6.68")


lines = st.lists(
    st.builds(
        lambda price, quantity, units, off, tax: PricedLine(
            price=price,
            quantity=quantity,
            units=min(units, quantity),
            discount=(price * quantity * off).quantize(Decimal("0.01"), rounding="ROUND_DOWN"),
            tax=tax,
        ),
        price=st.decimals(0, 100, places=4),
        quantity=st.integers(1, 9),
        units=st.integers(0, 9),
        off=st.sampled_from([ZERO, Decimal("0.3"), Decimal(1)]),
        tax=st.decimals(0, 20, places=2),
    ),
    min_size=1,
    max_size=5,
)


@given(bought=lines)
@settings(max_examples=200, deadline=None)
def test_amounts_are_never_below_nothing_and_nothing_is_left_of_no_units(bought):
    now = amounts_of(bought, shipping=ZERO, currency="USD")
    whole = amounts_of([replace(line, units=line.quantity) for line in bought], shipping=ZERO, currency="USD")
    none = amounts_of([replace(line, units=0) for line in bought], shipping=ZERO, currency="USD")
    assert min(now.subtotal, now.discount, now.tax, whole.subtotal) >= 0
    assert now.total == now.subtotal + now.tax
    assert none.total == none.discount == 0
    assert whole.tax == sum(line.tax for line in bought)


@given(bought=lines, currency=st.sampled_from(["USD", "JPY", "KWD"]))
@settings(deadline=None)
def test_fewer_units_never_cost_more_however_fine_prices_and_discounts_are(bought, currency):
    left = [replace(line, units=line.quantity) for line in bought]
    totals = [amounts_of(left, shipping=ZERO, currency=currency).total]
    for place, line in enumerate(left):
        for units in reversed(range(line.quantity)):
            left[place] = replace(line, units=units)
            totals.append(amounts_of(left, shipping=ZERO, currency=currency).total)
    assert totals == sorted(totals, reverse=True)
    assert totals[-1] == 0


@given(
    prices=st.lists(st.tuples(st.integers(0, 30_000), st.integers(1, 5)), min_size=1, max_size=4),
    percent=st.integers(0, 100),
    currency=st.sampled_from(["EUR", "JPY", "KWD"]),
)
def test_what_a_code_takes_off_is_shared_out_whole_and_no_line_gives_more_than_it_costs(prices, percent, currency):
    known = [(Decimal(price).scaleb(-4), quantity) for price, quantity in prices]
    new = [NewLine(variant_id=1, quantity=quantity, price_amount=price) for price, quantity in known]
    goods = [price * quantity for price, quantity in known]
    off = (sum(goods) * percent / 100).quantize(unit_of(currency), rounding="ROUND_DOWN")
    found = price_lines(new, prices={}, codes=[DiscountCode(code="A", amount=off)], currency=currency)
    assert sum(line.discount for line in found) == off
    assert all(0 <= line.discount <= cost for line, cost in zip(found, goods, strict=True))


def test_what_the_buyer_is_shown_adds_up(shop):
    variant, _ = stock_variant(9)
    line = NewLine(variant_id=variant.pk, quantity=1, price_amount=Decimal("0.05"), tax_amount=Decimal("0.05"))
    new = NewOrder(lines=(line,), shipping_amount=Decimal("0.05"), presentment_currency="CAD")
    order = place_order(new=replace(new, presentment_rate=Decimal("0.5")), actor="test", now=timezone.now())
    parts = order.presentment_subtotal_amount, order.presentment_tax_amount, order.presentment_shipping_amount
    assert sum(parts) == order.presentment_total_amount == Decimal("0.09")
