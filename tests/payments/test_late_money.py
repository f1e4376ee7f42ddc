"""Money that comes for an order that was cancelled: it goes back, and then nothing is open any more."""

from __future__ import annotations

import pytest

from orders.actions.refunds import RefundTooLarge
from tests.payments.conftest import T0, charge, dispute, event
from tests.payments.conftest import refund as back
from tests.payments.test_lost_disputes import cancel
from tests.payments.test_overpaid import differ, give_back, left, pay, refund
from tests.payments.test_own_orders import alerts, captured, place, stands

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def order(shop):
    """An order that was cancelled before a part of its money came."""
    made = place(shop)
    cancel(shop, made)
    return made


@pytest.mark.parametrize("through", ["the order", "the payment"])
@pytest.mark.parametrize("parts", [("30",), ("10", "20")])
def test_what_came_late_is_given_back_and_nothing_stays_open(shop, order, through, parts):
    (only,) = pay(shop, order, 3000)
    assert (stands(shop, order)[0], left(shop, order)) == ("voided", 30)
    assert differ(shop) == ["amount_differs"]
    assert "payment.order_differs" in alerts(shop, closed_at=None)
    for part in parts:
        if through == "the order":
            refund(shop, order, part)
        else:
            give_back(shop, only, part)
    assert (stands(shop, order)[0], left(shop, order)) == ("voided", 0)
    assert (differ(shop), alerts(shop, closed_at=None)) == ([], [])


def test_no_more_goes_back_than_came_and_the_sentence_is_written_as_money_is(shop, order):
    pay(shop, order, 3000)
    with pytest.raises(
        RefundTooLarge, match=r"^30\.01 EUR were asked for, and 30\.00 EUR of the order can be given back"
    ):
        refund(shop, order, "30.01")


def test_one_whose_late_part_was_lost_by_a_dispute_stays_void(shop, order):
    shop.take(captured(order, 3000), event("charge.dispute.created", dispute(amount=3000), at=T0 + 5))
    shop.take(event("charge.dispute.closed", dispute("lost", amount=3000), at=T0 + 9))
    assert stands(shop, order)[0] == "voided"
    assert (alerts(shop, closed_at=None, kind="payment.order_differs"), differ(shop)) == ([], [])


def test_a_refund_that_comes_back_opens_it_again(shop, order):
    shop.take(captured(order, 3000), event("charge.succeeded", charge(amount=3000, amount_captured=3000), at=T0 + 1))
    shop.take(event("refund.created", back(amount=3000), at=T0 + 5))
    assert alerts(shop, closed_at=None) == []
    shop.take(event("refund.failed", back("failed", amount=3000), at=T0 + 9))
    assert "payment.order_differs" in alerts(shop, closed_at=None)
