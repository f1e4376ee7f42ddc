"""What was paid twice or too much goes back through its payment, and takes nothing of the order's own refund."""

from __future__ import annotations

from decimal import Decimal

import pytest
from django.utils import timezone

from config.infra import tenancy
from orders.actions import moves
from orders.actions.dues import left_to_refund
from orders.actions.gateway_refunds import RefundRequest, request_refund
from orders.actions.refunds import Back, RefundTooLarge, refund_order
from orders.models import Order, Payment
from tests.payments.test_currencies import place as place_terms
from tests.payments.test_own_orders import alerts, differ, place, stands

pytestmark = pytest.mark.django_db(transaction=True)


def settle(shop):
    shop.run_calls()
    shop.take_outbox()


def give_back(shop, payment_id, amount, currency="EUR"):
    """Give money back beside the order's refunds, through one of its payments."""
    with tenancy.tenant_scope(shop.tenant.pk):
        request = RefundRequest(payment_id=payment_id, amount=Decimal(amount), currency=currency)
        request_refund(request=request, idempotency_key=f"{payment_id}-{amount}", actor="test")
    settle(shop)


def refund(shop, order, amount=None):
    """Refund the order: all of its units, or an amount."""
    with tenancy.tenant_scope(shop.tenant.pk):
        backs = (
            [] if amount else [Back(line.pk, line.current_quantity, "cancel") for line in order.lines.order_by("pk")]
        )
        options = {"amount": amount and Decimal(amount), "note": "", "actor": "test", "now": timezone.now()}
        refund_order(order_id=order.pk, backs=backs, **options)
    settle(shop)


def left(shop, order):
    with tenancy.tenant_scope(shop.tenant.pk):
        return left_to_refund(Order.objects.get(pk=order.pk))


def pay(shop, order, *amounts, **params):
    """Pay at the twin; return the ids of the payments."""
    named = {"metadata[order_id]": str(order.pk), **params}
    return [shop.payment(shop.pay(amount, **named)).pk for amount in amounts]


@pytest.mark.parametrize(("paid", "beside"), [((5000, 5000), "50"), ((8000,), "30"), ((3000, 4000), "20")])
def test_what_was_paid_too_much_goes_back_and_the_order_is_refunded_in_full_later(shop, paid, beside):
    order = place(shop, 20, 30)
    ids = pay(shop, order, *paid)
    give_back(shop, ids[-1], beside)
    assert stands(shop, order) == ("paid", "committed")
    assert (left(shop, order), differ(shop)) == (50, [])
    if paid != (3000, 4000):
        refund(shop, order)
    else:
        for part in ("30", "20"):
            refund(shop, order, part)
    assert (stands(shop, order)[0], left(shop, order)) == ("refunded", 0)
    assert alerts(shop, closed_at=None) == []


def test_the_buyer_gets_both_back_when_the_order_goes_first(shop):
    order = place(shop)
    _, second = pay(shop, order, 5000, 5000)
    refund(shop, order)
    assert (stands(shop, order)[0], left(shop, order)) == ("partially_refunded", 0)
    assert differ(shop) == ["amount_differs"]
    with pytest.raises(RefundTooLarge):
        refund(shop, order, "1")
    give_back(shop, second, "50")
    assert (stands(shop, order)[0], differ(shop)) == ("refunded", [])


def test_what_went_back_beside_and_was_not_too_much_is_no_longer_there(shop):
    order = place(shop)
    (only,) = pay(shop, order, 8000)
    give_back(shop, only, "45")
    assert (stands(shop, order)[0], left(shop, order)) == ("partially_refunded", 35)
    with pytest.raises(RefundTooLarge, match="35"):
        refund(shop, order)
    refund(shop, order, "35")
    assert (stands(shop, order)[0], left(shop, order)) == ("refunded", 0)


def test_an_overpayment_in_the_buyers_currency_leaves_all_of_the_order(shop):
    order = place_terms(shop, shown_in="JPY", rate="163.27")
    shown = int(order.presentment_total_amount)
    (only,) = pay(shop, order, shown + 777, currency="jpy")
    for part in ("333", "444"):
        give_back(shop, only, part, "JPY")
    assert (stands(shop, order)[0], left(shop, order)) == ("paid", order.total_amount)
    refund(shop, order)
    assert (stands(shop, order)[0], differ(shop)) == ("refunded", [])
    with tenancy.tenant_scope(shop.tenant.pk):
        assert Payment.objects.get().amount_refunded == shown + 777


def test_a_refund_of_the_order_that_came_back_leaves_it_paid(shop):
    order = place(shop)
    (only,) = pay(shop, order, 8000)
    give_back(shop, only, "30")
    shop.sandbox.behave(fail_refunds_later=1)
    refund(shop, order, "20")
    assert (stands(shop, order)[0], left(shop, order)) == ("paid", 50)


def test_what_was_paid_by_hand_and_by_card_is_given_back_once_each(shop):
    order = place(shop)
    with tenancy.tenant_scope(shop.tenant.pk):
        moves.mark_paid(order_id=order.pk, actor="test", now=timezone.now())
    (only,) = pay(shop, order, 5000)
    give_back(shop, only, "50")
    assert (stands(shop, order)[0], left(shop, order)) == ("paid", 50)
    refund(shop, order)
    assert (stands(shop, order)[0], left(shop, order)) == ("refunded", 0)
