"""Orders of our own that are paid in the buyer's currency, in both or in a third one, and their refunds."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from functools import partial

import pytest
from django.utils import timezone
from hypothesis import given, settings
from hypothesis import strategies as st

from config.infra import tenancy
from orders.actions import moves
from orders.actions.authorisations import CaptureRequest, request_capture
from orders.actions.placing import NewLine, NewOrder, place_order
from orders.actions.reconciliation import reconcile_payments
from orders.actions.refunds import AmountTooFine, Back, RefundTooLarge, refund_order
from orders.models import Order, OrderLine, Payment, PaymentMismatch
from orders.payments.sums import Prices, add_up
from orders.rules import IllegalMove
from orders.webhooks import from_minor, to_minor
from shopsync.models import Alert
from shopsync.money import CURRENCIES, round_amount, unit_of
from tests.factories import drain_all, stock_variant
from tests.payments.conftest import T0, event, intent, refund


def place(shop, *, price="50", quantity=1, shown_in="USD", rate="1.1"):
    with tenancy.tenant_scope(shop.tenant.pk):
        variant, _ = stock_variant(9)
        line = NewLine(variant_id=variant.pk, quantity=quantity, price_amount=Decimal(price))
        new = NewOrder(lines=(line,), presentment_currency=shown_in, presentment_rate=Decimal(rate))
        return place_order(new=new, actor="test", now=timezone.now())


def captured(order, minor, currency, *, payment="pi_1", status="succeeded", at=T0):
    names = {"order_id": str(order.pk)}
    sums = {"amount": minor, "amount_received": minor if status == "succeeded" else 0}
    return event(
        "payment_intent.succeeded", intent(status, id=payment, currency=currency, metadata=names, **sums), at=at
    )


def stands(shop, order):
    with tenancy.tenant_scope(shop.tenant.pk):
        return Order.objects.get(pk=order.pk).financial_status


def differ(shop):
    with tenancy.tenant_scope(shop.tenant.pk):
        return [one.kind for one in reconcile_payments(now=timezone.now(), settle=timedelta(), actor="test").findings]


def open_alerts(shop):
    with tenancy.tenant_scope(shop.tenant.pk):
        return sorted(Alert.objects.filter(closed_at=None, kind__startswith="payment.").values_list("kind", flat=True))


@pytest.mark.django_db
def test_an_order_is_paid_in_the_buyers_currency_to_the_last_cent_and_given_back(shop):
    order = place(shop)
    shop.take(captured(order, 5499, "usd"))
    assert (stands(shop, order), differ(shop)) == ("partially_paid", [])
    shop.take(captured(order, 1, "usd", payment="pi_2"))
    assert (stands(shop, order), differ(shop)) == ("paid", [])
    for number, (minor, status) in enumerate(((499, "partially_refunded"), (5000, "partially_refunded"))):
        back = refund(id=f"re_{number}", amount=minor, currency="usd", charge=None)
        shop.take(event("refund.created", back, at=T0 + number))
        assert stands(shop, order) == status
    shop.take(event("refund.created", refund(id="re_9", amount=1, currency="usd", payment_intent="pi_2"), at=T0 + 9))
    assert (stands(shop, order), open_alerts(shop)) == ("refunded", [])


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("terms", "own", "shown", "status"),
    [
        ({}, 2000, 3300, "paid"),
        ({}, 2000, 3299, "partially_paid"),
        ({}, 1999, 3300, "partially_paid"),
        ({"price": "9.99", "shown_in": "JPY", "rate": "150.05"}, 333, 999, "paid"),
        ({"price": "9.99", "shown_in": "JPY", "rate": "150.05"}, 333, 998, "partially_paid"),
    ],
)
def test_an_order_paid_in_both_its_currencies_is_weighed_by_its_own_ratio(shop, terms, own, shown, status):
    order = place(shop, **terms)
    shop.take(captured(order, own, "eur"), captured(order, shown, order.presentment_currency.lower(), payment="pi_2"))
    assert (stands(shop, order), differ(shop), open_alerts(shop)) == (status, [], [])


@pytest.mark.django_db
def test_a_payment_in_a_third_currency_is_told_of_until_it_is_given_back(shop):
    order = place(shop)
    shop.take(captured(order, 5000, "gbp"))
    assert (stands(shop, order), differ(shop)) == ("pending", ["currency_differs"])
    with tenancy.tenant_scope(shop.tenant.pk):
        said = Alert.objects.get(kind="payment.currency_differs").message
        assert PaymentMismatch.objects.get().detail == said
        assert all(currency in said for currency in ("EUR", "USD", "50.00 GBP"))
    shop.take(captured(order, 5500, "usd", payment="pi_2"))
    assert (stands(shop, order), open_alerts(shop)[:1]) == ("paid", ["payment.currency_differs"])
    shop.take(event("refund.created", refund(amount=5000, currency="gbp"), at=T0 + 5))
    assert (stands(shop, order), differ(shop), open_alerts(shop)) == ("paid", [], [])


@pytest.mark.django_db
def test_an_order_that_costs_less_is_paid_by_as_much_less_in_the_buyers_currency(shop):
    order = place(shop, price="3.33", quantity=3)  # 9.99 EUR, 10.99 USD
    with tenancy.tenant_scope(shop.tenant.pk):
        line = OrderLine.objects.get(order=order)
        options = {"restock": True, "actor": "test", "now": timezone.now()}
        moves.cancel_lines(order_id=order.pk, quantities={line.pk: 1}, **options)
    shop.take(captured(order, 732, "usd"))
    assert stands(shop, order) == "partially_paid"
    shop.take(captured(order, 1, "usd", payment="pi_2"))
    assert (stands(shop, order), differ(shop), open_alerts(shop)) == ("paid", [], [])


@pytest.mark.django_db(transaction=True)
def test_refunds_go_out_in_the_currency_that_was_charged_and_add_up_to_it(shop):
    order = place(shop, price="3.33", quantity=3)
    shop.pay(1099, currency="usd", **{"metadata[order_id]": str(order.pk)})
    assert stands(shop, order) == "paid"
    for expected in ("partially_refunded", "partially_refunded", "refunded"):
        with tenancy.tenant_scope(shop.tenant.pk):
            back = Back(OrderLine.objects.get(order=order).pk, 1, "cancel")
            refund_order(order_id=order.pk, backs=[back], amount=None, note="", actor="test", now=timezone.now())
        shop.run_calls()
        shop.take_outbox()
        assert stands(shop, order) == expected
    given = [(f"{row.amount:.2f}", row.currency) for row in shop.refunds()]
    assert given == [("3.66", "USD"), ("3.67", "USD"), ("3.66", "USD")]
    assert (differ(shop), open_alerts(shop)) == ([], [])


@pytest.mark.django_db
@pytest.mark.parametrize("whose", ["payments", "order", "people"])
def test_an_alert_that_an_order_differs_closes_once_it_agrees(shop, whose):
    order, options = place(shop), {"actor": "test", "now": timezone.now()}
    with tenancy.tenant_scope(shop.tenant.pk):
        Order.objects.filter(pk=order.pk).update(financial_status="paid", paid_at=timezone.now())  # nobody says by what
    shop.take(captured(order, 2000, "usd"))
    assert open_alerts(shop) == ["payment.order_differs"]
    if whose == "payments":
        shop.take(captured(order, 3500, "usd", payment="pi_2"))
    with tenancy.tenant_scope(shop.tenant.pk):
        if whose == "order":  # nothing more is due of it
            moves.cancel_order(order_id=order.pk, reason="customer", restock=True, **options)
        if whose == "people":
            Order.objects.filter(pk=order.pk).update(financial_status="partially_paid")
    drain_all()
    if whose == "people":
        differ(shop)
    assert "payment.order_differs" not in open_alerts(shop)


@given(
    total=st.integers(1, 10**7),
    rate=st.decimals("0.001", 1000, places=4),
    part=st.floats(0, 1),
    codes=st.permutations(["EUR", "JPY", "KWD"]),
)
@settings(max_examples=200, deadline=None)
def test_whoever_rounds_the_rest_to_be_paid_pays_the_order(total, rate, part, codes):
    own, shown, _ = codes
    asked = total * unit_of(own)
    prices = Prices(own, asked, shown, round_amount(asked * rate, shown))

    def pay(**sums):
        payments = [Payment(currency=code, amount_captured=amount, amount_refunded=0) for code, amount in sums.items()]
        return add_up(prices, payments).pay(asked)

    assert pay(**{own: asked})
    assert not pay(**{own: asked - unit_of(own)})
    if prices.shown_total:
        assert pay(**{shown: prices.shown_total})
        first = round_amount(asked * Decimal(part), own)
        rest = round_amount((asked - first) * prices.shown_total / asked, shown)
        assert not (first and rest) or pay(**{own: first, shown: rest})
        first = round_amount(prices.shown_total * Decimal(part), shown)
        rest = round_amount(asked - prices.weigh(first), own)
        assert not (first and rest) or pay(**{shown: first, own: rest})


@given(code=st.sampled_from(sorted(CURRENCIES - {"CLF", "IQD", "LYD", "UYW"})), amount=st.decimals(0, 10**6, places=4))
def test_what_is_rounded_can_be_paid(code, amount):
    """The four without: no card pays them, and all of their decimals count."""
    rounded = round_amount(amount, code)
    assert from_minor(to_minor(rounded, code), code) == rounded
    assert abs(rounded - amount) <= unit_of(code) / 2


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("shown_in", "rate", "charged", "given"),
    [("KWD", "0.1", 1010, ["0.34", "0.33", "0.34"]), ("MGA", "5.5", 55, ["18", "19", "18"])],
)
def test_an_order_is_captured_and_refunded_by_the_line_in_steps_that_can_be_paid(shop, shown_in, rate, charged, given):
    order = place(shop, price="3.35", quantity=3, shown_in=shown_in, rate=rate)  # 1.005 KWD, 55.275 MGA
    names = {"metadata[order_id]": str(order.pk), "capture_method": "manual", "currency": shown_in.lower()}
    shop.pay(charged, **names)
    with tenancy.tenant_scope(shop.tenant.pk):
        assert to_minor(Order.objects.get().presentment_total_amount, shown_in) == charged
        request_capture(request=CaptureRequest(order_id=order.pk), idempotency_key="k", actor="test")
    shop.run_calls()
    shop.take_outbox()
    assert stands(shop, order) == "paid"
    for _ in given:
        with tenancy.tenant_scope(shop.tenant.pk):
            back = Back(OrderLine.objects.get(order=order).pk, 1, "cancel")
            refund_order(order_id=order.pk, backs=[back], amount=None, note="", actor="test", now=timezone.now())
        shop.run_calls()
        shop.take_outbox()
    assert [f"{row.amount.normalize():f}" for row in shop.refunds()] == given
    assert (stands(shop, order), differ(shop), open_alerts(shop)) == ("refunded", [], [])


@pytest.mark.django_db(transaction=True)
def test_what_is_nothing_in_the_buyers_currency_goes_back_with_something(shop):
    order = place(shop, price="1.14", rate="0.01")  # EUR; 0.01 USD
    shop.pay(1, currency="usd", **{"metadata[order_id]": str(order.pk)})
    options = {"order_id": order.pk, "backs": [], "note": "", "actor": "test", "now": timezone.now()}
    with tenancy.tenant_scope(shop.tenant.pk):
        with pytest.raises(AmountTooFine, match=r"0\.01 USD; refund more at once"):
            refund_order(amount=Decimal("0.14"), **options)
        refund_order(amount=Decimal("1.10"), **options)
        refund_order(amount=Decimal("0.04"), **options)
    shop.run_calls()
    shop.take_outbox()
    assert [row.amount for row in shop.refunds()] == [Decimal("0.01")]
    assert (stands(shop, order), differ(shop), open_alerts(shop)) == ("refunded", [], [])


@pytest.mark.django_db(transaction=True)
def test_what_was_paid_in_cash_is_given_back_like_that_beside_what_a_gateway_brought(shop):
    order = place(shop)
    shop.pay(2000, **{"metadata[order_id]": str(order.pk)})
    options = {"actor": "test", "now": timezone.now()}
    with tenancy.tenant_scope(shop.tenant.pk):
        moves.mark_paid(order_id=order.pk, **options)
        assert Order.objects.get().paid_by_hand_amount == 30
        refund = partial(refund_order, order_id=order.pk, backs=[], note="", **options)
        with pytest.raises(RefundTooLarge, match="in parts"):
            refund(amount=Decimal(40))
        refund(amount=Decimal(20))
    shop.run_calls()
    shop.take_outbox()
    assert stands(shop, order) == "partially_refunded"
    with tenancy.tenant_scope(shop.tenant.pk):
        refund(amount=Decimal(30))
        with pytest.raises(IllegalMove):
            refund(amount=Decimal("0.01"))
    assert (stands(shop, order), differ(shop)) == ("refunded", [])
    assert [row.amount for row in shop.refunds()] == [20]
