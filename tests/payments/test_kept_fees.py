"""Refunds for less or more than their units are worth: the fee that is kept is known, and differs from nothing."""

from __future__ import annotations

from decimal import Decimal

import pytest
from django.utils import timezone
from rest_framework.test import APIClient

from config.infra import tenancy
from orders.actions.dues import kept_amount, left_to_refund
from orders.actions.refunds import Back, refund_order
from orders.models import Order, OrderLine, Payment, PaymentMismatch
from shopsync.actions.tenants import create_api_key
from tests.payments.conftest import T0, event, refund
from tests.payments.test_currencies import differ, place, stands

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def order(shop):
    """An order of two units for 25 each, paid."""
    order = place(shop, price="25", quantity=2)
    shop.pay(5000, **{"metadata[order_id]": str(order.pk)})
    return order


def give_back(shop, order, *, units=0, amount=None):
    """Refund units, an amount (a whole number), or both; and let the gateway do it."""
    with tenancy.tenant_scope(shop.tenant.pk):
        line = OrderLine.objects.get(order=order)
        backs = [Back(line.pk, units)] if units else []
        asked = None if amount is None else Decimal(amount)
        refund_order(order_id=order.pk, backs=backs, amount=asked, note="", actor="test", now=timezone.now())
    shop.run_calls()
    shop.take_outbox()


def kept(shop, order):
    with tenancy.tenant_scope(shop.tenant.pk):
        return kept_amount(Order.objects.get(pk=order.pk))


@pytest.mark.parametrize(
    ("refunds", "fee"),
    [
        ([(1, None)], 0),
        ([(1, 20)], 5),
        ([(1, 0)], 25),
        ([(1, 20), (1, 15)], 15),
        ([(2, 45)], 5),
        ([(1, 20), (0, 5)], 0),  # the fee was given back after all
        ([(0, 25), (1, 0)], 0),  # the money came before the units
        ([(1, 0), (0, 25)], 0),  # or after
        ([(1, 30)], 0),  # a courtesy
        ([(0, 10)], 0),
        ([(1, 30), (1, 20)], 0),
    ],
)
def test_what_is_kept_of_a_refund_is_known_and_is_no_difference(shop, order, refunds, fee):
    for units, amount in refunds:
        give_back(shop, order, units=units, amount=amount)
    assert (kept(shop, order), differ(shop)) == (fee, [])


def test_what_is_kept_beyond_the_fee_differs(shop, order):
    give_back(shop, order, units=1, amount=20)
    with tenancy.tenant_scope(shop.tenant.pk):
        Payment.objects.update(amount_refunded=19)
    assert differ(shop) == ["amount_differs"]
    with tenancy.tenant_scope(shop.tenant.pk):
        assert "is of 25.00 EUR (paid), keeps 5.00 EUR of its refunds" in PaymentMismatch.objects.get().detail


def test_a_refund_that_failed_is_no_fee_before_or_after_it_is_made_again(shop, order):
    shop.sandbox.behave(fail_refunds_later=1)
    give_back(shop, order, units=1, amount=20)
    assert (kept(shop, order), differ(shop)) == (5, ["amount_differs"])
    give_back(shop, order, amount=20)
    assert (kept(shop, order), differ(shop)) == (5, [])


def test_a_fee_is_kept_in_the_buyers_currency_too(shop):
    order = place(shop, price="25", quantity=2)
    shop.pay(5500, currency="usd", **{"metadata[order_id]": str(order.pk)})
    give_back(shop, order, units=1, amount=20)
    assert (kept(shop, order), differ(shop)) == (5, [])
    assert [(row.amount, row.currency) for row in shop.refunds()] == [(22, "USD")]


def test_a_fee_can_be_given_back_later_and_is_shown(shop, order):
    with tenancy.tenant_scope(shop.tenant.pk):
        key = create_api_key(name="channel", actor="test").secret
        line = OrderLine.objects.get(order=order)
    client = APIClient(headers={"Authorization": f"Api-Key {key}", "Idempotency-Key": "k"})
    lines = [{"line_id": line.pk, "quantity": 1, "restock_type": "cancel"}]
    body = {"lines": lines, "amount": "20.00"}
    answer = client.post(f"/api/v1/orders/{order.pk}/refunds", body, format="json")
    assert (answer.status_code, answer.json()["kept_amount"]) == (201, "5.00")
    shop.run_calls()
    shop.take_outbox()
    with tenancy.tenant_scope(shop.tenant.pk):
        assert left_to_refund(Order.objects.get(pk=order.pk)) == 30
    give_back(shop, order, units=1)
    give_back(shop, order, amount=5)
    assert client.get(f"/api/v1/orders/{order.pk}").json()["kept_amount"] == "0.00"
    assert (stands(shop, order), differ(shop)) == ("refunded", [])


def test_an_order_of_shopifys_keeps_nothing_that_we_know_of(shop):
    order = shop.order(financial_status="paid", paid_at=timezone.now())
    shop.take(event("refund.created", refund(), at=T0))
    assert kept(shop, order) == 0
