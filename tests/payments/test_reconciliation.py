"""The comparison of payments with orders: each kind of difference opens once, and closes when it is gone."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from audit.models import AuditEvent
from config.infra import tenancy
from orders.actions.moves import mark_paid
from orders.actions.placing import NewLine, NewOrder, place_order
from orders.actions.reconciliation import MismatchClosed, accept_mismatch, reconcile_payments
from orders.actions.refunds import refund_order
from orders.models import Order, Payment, PaymentCall, PaymentMismatch, Refund
from orders.tasks import reconcile_payments as nightly
from shopsync.models import Alert
from tests.factories import deliver, drain_all, stock_variant
from tests.payments.conftest import T0, charge, event, intent, refund

pytestmark = pytest.mark.django_db


def differ(shop):
    with tenancy.tenant_scope(shop.tenant.pk):
        done = reconcile_payments(now=timezone.now(), settle=timedelta(), actor="test")
        return [one.kind for one in done.findings]


def paid_order(shop, **fields):
    return shop.order(paid_at=timezone.now(), financial_status="paid", **fields)


def pay_for(shop, order, **fields):
    given = intent("succeeded", metadata={"order_id": str(order.pk)}, **fields)
    shop.take(event("payment_intent.succeeded", given, at=T0))


def test_what_agrees_is_no_difference(shop):
    order = paid_order(shop)
    pay_for(shop, order)
    assert differ(shop) == []


def test_a_paid_order_without_a_payment(shop):
    order = paid_order(shop)
    paid_order(shop, total_amount=0)
    paid_order(shop, is_test=True)
    shop.order()
    assert differ(shop) == ["order_without_payment"]
    with tenancy.tenant_scope(shop.tenant.pk):
        assert PaymentMismatch.objects.get().order == order


@pytest.mark.parametrize("is_refunded", [False, True])
def test_an_order_that_was_paid_by_hand_needs_no_payment(shop, is_refunded):
    with tenancy.tenant_scope(shop.tenant.pk):
        line = NewLine(variant_id=stock_variant(1)[0].pk, quantity=1, price_amount=Decimal(50))
        order = place_order(new=NewOrder(lines=(line,)), actor="test", now=timezone.now())
        mark_paid(order_id=order.pk, actor="test", now=timezone.now())
        if is_refunded:
            terms = {"backs": [], "amount": Decimal(50), "note": ""}
            refund_order(order_id=order.pk, **terms, actor="test", now=timezone.now())
        Order.objects.update(paid_at=timezone.now())
    assert differ(shop) == []


def test_without_a_gateway_orders_need_no_payment(shop):
    paid_order(shop)
    with tenancy.tenant_scope(shop.tenant.pk):
        type(shop.connection).objects.update(is_active=False)
    assert differ(shop) == []


def test_a_payment_without_an_order(shop):
    shop.take(event("payment_intent.succeeded", intent("succeeded"), at=T0))
    assert differ(shop) == ["payment_without_order"]


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        ({"amount": 4999, "amount_received": 4999}, "amount_differs"),
        ({"amount": 5001, "amount_received": 5001}, "amount_differs"),
        ({"currency": "usd"}, "currency_differs"),
    ],
)
def test_sums_and_currencies_that_differ(shop, fields, kind):
    pay_for(shop, paid_order(shop), **fields)
    assert differ(shop) == [kind]


def test_what_was_paid_in_the_buyers_own_currency_is_compared_in_it(shop):
    pay_for(shop, paid_order(shop, presentment_currency="USD", presentment_total_amount="55"), currency="usd",
            amount=5500, amount_received=5500)  # fmt: skip
    assert differ(shop) == []


def test_refunds_that_differ_are_open_until_they_agree(shop):
    order = paid_order(shop)
    pay_for(shop, order)
    shop.take(event("charge.succeeded", charge(), at=T0), event("refund.created", refund(), at=T0 + 9))
    assert differ(shop) == ["refunds_differ"]
    assert differ(shop) == ["refunds_differ"]
    with tenancy.tenant_scope(shop.tenant.pk):
        assert PaymentMismatch.objects.filter(closed_at__isnull=True).count() == 1
        assert Alert.objects.get(kind="payment.mismatch").is_open
        Refund.objects.create(order=order, order_shopify_id=order.shopify_id, shopify_id=1, amount=15, currency="EUR",
                              source_version="1")  # fmt: skip
    assert differ(shop) == []
    with tenancy.tenant_scope(shop.tenant.pk):
        assert PaymentMismatch.objects.get().closed_at is not None
        assert not Alert.objects.get(kind="payment.mismatch").is_open


def test_what_is_explained_raises_no_alert_until_it_changes(shop):
    order = paid_order(shop)
    pay_for(shop, order, amount=5100, amount_received=5100)
    options = {"note": "a tip, in cash", "actor": "test", "now": timezone.now()}
    assert differ(shop) == ["amount_differs"]
    with tenancy.tenant_scope(shop.tenant.pk):
        row = PaymentMismatch.objects.get()
        assert Alert.objects.get(kind="payment.mismatch").is_open
        accept_mismatch(mismatch_id=row.pk, **options)
        assert not Alert.objects.filter(kind="payment.mismatch", closed_at=None).exists()
    assert differ(shop) == ["amount_differs"]
    with tenancy.tenant_scope(shop.tenant.pk):
        assert PaymentMismatch.objects.get().note == "a tip, in cash"
        assert not Alert.objects.filter(kind="payment.mismatch", closed_at=None).exists()
        Order.objects.update(total_amount=49, current_total_amount=49)
    assert differ(shop) == ["amount_differs"]
    with tenancy.tenant_scope(shop.tenant.pk):
        assert (PaymentMismatch.objects.get().accepted_at, PaymentMismatch.objects.get().note) == (None, "")
        assert Alert.objects.filter(kind="payment.mismatch", closed_at=None).exists()
        Order.objects.update(total_amount=51, current_total_amount=51)
    assert differ(shop) == []
    with tenancy.tenant_scope(shop.tenant.pk), pytest.raises(MismatchClosed):
        accept_mismatch(mismatch_id=row.pk, **options)


def test_more_orders_that_agree_cost_no_more_questions(shop):
    def questions():
        with CaptureQueriesContext(connection) as asked:
            assert differ(shop) == []
        return len(asked)

    pay_for(shop, paid_order(shop))
    one = questions()
    for number in range(2, 6):
        pay_for(shop, paid_order(shop), id=f"pi_{number}")
    assert questions() == one


def test_an_overdue_authorisation_is_asked_about(shop):
    details = {"card": {"capture_before": T0 - 10}}
    shop.take(event("charge.succeeded", charge(captured=False, amount_captured=0, payment_method_details=details),
                    at=1_600_000_000))  # fmt: skip
    with tenancy.tenant_scope(shop.tenant.pk):
        Payment.objects.update(expires_at="2020-01-01T00:00:00Z")
    assert shop.payment("pi_1").status == "authorized"
    differ(shop)
    differ(shop)
    assert [call.status for call in shop.calls("ask")] == ["ready"]
    assert PaymentCall._meta.ordering == ("-id",)


def test_a_payment_that_came_before_its_order_is_adopted(shop):
    shop.take(event("payment_intent.succeeded", intent("succeeded", metadata={"shopify_order_id": "77"}), at=T0))
    assert shop.payment("pi_1").order_id is None

    body = {"id": 77, "name": "#77", "currency": "EUR", "total_price": "50.00", "updated_at": "2026-11-02T08:16:00Z"}
    assert deliver("orders/create", body | {"line_items": [], "refunds": []}, shop.tenant).status_code == 200
    drain_all()
    with tenancy.tenant_scope(shop.tenant.pk):
        assert shop.payment("pi_1").order.shopify_id == 77


def test_an_order_of_our_own_follows_its_payments_and_is_paid_once(shop):
    with tenancy.tenant_scope(shop.tenant.pk):
        variant, _ = stock_variant(5)
        line = NewLine(variant_id=variant.pk, quantity=1, price_amount=Decimal("50"))
        order = place_order(new=NewOrder(lines=(line,)), actor="test", now=timezone.now())
    given = {"metadata": {"order_id": str(order.pk)}}
    shop.take(event("payment_intent.amount_capturable_updated", intent("requires_capture", **given), at=T0))

    def status():
        with tenancy.tenant_scope(shop.tenant.pk):
            return Order.objects.get(pk=order.pk).financial_status

    assert status() == "authorized"
    shop.take(event("payment_intent.succeeded", intent("succeeded", **given), at=T0 + 1))
    assert status() == "paid"
    shop.take(event("charge.succeeded", charge(), at=T0 + 1), event("refund.created", refund(amount=5000), at=T0 + 2))
    assert status() == "refunded"
    shop.take(event("refund.failed", refund("failed", amount=5000), at=T0 + 3))
    assert status() == "paid"
    with tenancy.tenant_scope(shop.tenant.pk):
        assert not Alert.objects.filter(kind="payment.order_differs").exists()
        assert AuditEvent.objects.filter(name="order.paid").count() == 1


def test_the_command_lists_what_differs_and_the_task_leaves_what_is_young(shop, capsys):
    paid_order(shop)
    assert nightly() == 0
    call_command("reconcile_payments")
    said = capsys.readouterr().out
    assert "order_without_payment" in said
    assert "1 differences" in said
    with pytest.raises(CommandError, match="No tenant"):
        call_command("reconcile_payments", tenant="nobody.myshopify.com")
