"""What a lost dispute took is not kept: the comparison comes to an end, and so do the alerts."""

from __future__ import annotations

import pytest
from django.utils import timezone

from config.infra import tenancy
from orders.actions import moves
from orders.models import Dispute
from tests.factories import drain_all
from tests.payments.conftest import T0, dispute, event
from tests.payments.test_own_orders import alerts, captured, differ, place, stands
from tests.payments.test_refunds import give_back, lose

pytestmark = pytest.mark.django_db(transaction=True)


def cancel(shop, order):
    with tenancy.tenant_scope(shop.tenant.pk):
        moves.cancel_order(order_id=order.pk, reason="fraud", restock=True, actor="test", now=timezone.now())
    drain_all()


def disputed(status, *, at, **fields):
    topic = "created" if status == "needs_response" else "closed"
    return event(f"charge.dispute.{topic}", dispute(status, **fields), at=at)


@pytest.mark.parametrize("currency", ["eur", "usd"])
def test_an_order_that_is_cancelled_after_a_lost_dispute_agrees(shop, currency):
    order = place(shop)
    shop.take(captured(order, 5000), disputed("needs_response", at=T0 + 5), disputed("lost", at=T0 + 50))
    assert (stands(shop, order)[0], differ(shop)) == ("paid", [])
    with tenancy.tenant_scope(shop.tenant.pk):
        Dispute.objects.update(currency=currency.upper())
    cancel(shop, order)
    assert differ(shop) == []


def test_the_alert_of_money_after_a_cancellation_closes_once_a_dispute_took_it(shop):
    order = place(shop)
    cancel(shop, order)
    shop.take(captured(order, 5000), disputed("needs_response", at=T0 + 5))
    assert differ(shop) == ["amount_differs"]
    assert "order.paid_after_cancelled" in alerts(shop, closed_at=None)
    shop.take(disputed("lost", at=T0 + 50))
    assert "order.paid_after_cancelled" not in alerts(shop, closed_at=None)
    assert differ(shop) == []


def test_what_a_partly_lost_dispute_left_is_what_a_cancelled_order_still_keeps(shop):
    order = place(shop)
    provider_id = shop.pay(5000, **{"metadata[order_id]": str(order.pk)})
    lose(shop, provider_id, 2000)
    cancel(shop, order)
    assert differ(shop) == ["amount_differs"]
    give_back(shop, order, 30)
    shop.run_calls()
    shop.take_outbox()
    assert differ(shop) == []


def test_a_dispute_that_is_won_leaves_all_of_it_kept(shop):
    order = place(shop)
    shop.take(captured(order, 5000), disputed("needs_response", at=T0 + 5), disputed("won", at=T0 + 50))
    cancel(shop, order)
    assert differ(shop) == ["amount_differs"]


@pytest.mark.parametrize(("ends", "left"), [("won", []), ("warning_closed", []), ("lost", ["payment.disputed"])])
def test_the_alert_of_a_dispute_closes_once_nothing_can_be_lost(shop, ends, left):
    order = place(shop)
    shop.take(captured(order, 5000), disputed("needs_response", at=T0 + 5))
    assert alerts(shop, closed_at=None) == ["payment.disputed"]
    shop.take(disputed(ends, at=T0 + 50))
    assert alerts(shop, closed_at=None) == left
