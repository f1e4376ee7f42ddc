"""A payment and the order that it names come in any order, or side by side, and find each other."""

from __future__ import annotations

import threading
from decimal import Decimal

import pytest
from django.db import connection
from django.utils import timezone

from audit.tasks import drain_events
from config.infra import tenancy
from orders.actions import payments
from orders.actions.placing import NewLine, NewOrder, place_order
from orders.models import Payment
from shopsync.tasks import drain_webhooks
from tests.factories import drain_all, stock_variant
from tests.payments.conftest import T0, event, intent
from tests.payments.test_currencies import differ, stands

pytestmark = pytest.mark.django_db(transaction=True)

PAID = event("payment_intent.succeeded", intent("succeeded", metadata={"order_reference": "WEB-1"}), at=T0)


def place(shop):
    with tenancy.tenant_scope(shop.tenant.pk):
        variant, _ = stock_variant(9)
        line = NewLine(variant_id=variant.pk, quantity=1, price_amount=Decimal(50))
        new = NewOrder(lines=(line,), columns={"name": "WEB-1"})
        return place_order(new=new, actor="test", now=timezone.now())


def is_waited_for():
    """Does somebody wait for a lock of ours?"""
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = 'advisory'")
        return cursor.fetchone()[0] > 0


def test_an_order_that_comes_while_its_payment_is_written_gets_it(shop, monkeypatch):
    """The payment's last look for its order finds none; the order is placed, and looks for its payments, meanwhile."""
    looked, has_looked, looks, orders = threading.Event(), threading.Event(), [], []
    find_order = payments.find_order

    def find_and_wait(*, order_key):
        found = find_order(order_key=order_key)
        if threading.current_thread() is threading.main_thread():
            looks.append(found)
            if len(looks) == 2:
                looked.set()
                while not has_looked.wait(0.02) and not is_waited_for():
                    pass
        return found

    def place_and_look():
        try:
            assert looked.wait(10)
            orders.append(place(shop))
            drain_events()  # it waits until the payment is written
        finally:
            has_looked.set()
            connection.close()

    other = threading.Thread(target=place_and_look)
    monkeypatch.setattr(payments, "find_order", find_and_wait)
    assert shop.post(PAID).status_code == 200
    other.start()
    drain_webhooks()
    other.join()
    drain_all()
    assert looks == [None, None]
    assert (shop.payment("pi_1").order_id, stands(shop, orders[0])) == (orders[0].pk, "paid")


def test_the_reconciliation_gives_a_payment_to_the_order_that_it_names(shop):
    order = place(shop)
    shop.take(PAID)
    with tenancy.tenant_scope(shop.tenant.pk):
        Payment.objects.update(order=None)
        type(order).objects.update(financial_status="pending")
    assert differ(shop) == []
    assert (shop.payment("pi_1").order_id, stands(shop, order)) == (order.pk, "paid")
