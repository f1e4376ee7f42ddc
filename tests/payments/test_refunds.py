"""Refunds through the gateway: asked for once per key, never too much, and known again when the answer was lost."""

from __future__ import annotations

from decimal import Decimal

import pytest
from django.db import IntegrityError, transaction
from django.utils import timezone
from rest_framework.test import APIClient

from config.infra import tenancy
from config.infra.breaker import Breaker
from orders.actions.gateway_refunds import InvalidRefund, NotRefundable, RefundKeyReused, RefundRequest, request_refund
from orders.actions.refunds import RefundTooLarge, refund_order
from orders.models import Dispute, GatewayRefund, Payment, PaymentCall, Refund
from shopsync.actions.tenants import create_api_key
from shopsync.models import Alert, Connection
from tests.factories import run_together
from tests.payments.conftest import T0, event, intent, refund
from tests.payments.test_currencies import place

pytestmark = pytest.mark.django_db(transaction=True)


def ask_back(shop, payment_id, amount="50", key="k-1", currency="EUR", reason="duplicate"):
    """Ask for a refund, of whom this key stands for."""
    with tenancy.tenant_scope(shop.tenant.pk):
        request = RefundRequest(payment_id=payment_id, amount=Decimal(amount), currency=currency, reason=reason)
        return request_refund(request=request, idempotency_key=key, actor="test")


@pytest.fixture
def paid(shop):
    return shop.payment(shop.pay())


def made(shop):
    """List the refunds that the twin really made."""
    return [one for one in shop.sandbox.state.objects.values() if one["object"] == "refund"]


def test_a_refund_is_made_once_and_told_of(shop, paid):
    ask_back(shop, paid.pk, "12.34")
    shop.run_calls()
    (row,) = shop.refunds()
    assert (row.status, row.provider_id, row.amount) == ("succeeded", made(shop)[0]["id"], Decimal("12.34"))
    assert (made(shop)[0]["amount"], made(shop)[0]["reason"]) == (1234, "duplicate")
    shop.take_outbox()
    payment = shop.payment(paid.provider_id)
    assert (payment.status, payment.amount_refunded) == ("partially_refunded", Decimal("12.34"))
    assert [call.status for call in shop.calls()] == ["done"]


@pytest.mark.parametrize("told", ["by asking", "by a report"])
def test_an_answer_that_was_lost_after_the_effect_is_found_and_nothing_is_paid_twice(shop, paid, told):
    shop.sandbox.behave(cut_after_effect=1)
    ask_back(shop, paid.pk)
    shop.run_calls()
    assert [call.status for call in shop.calls()] == ["unknown"]
    assert [row.status for row in shop.refunds()] == ["requested"]
    if told == "by asking":
        assert shop.settle() == 1
    else:
        shop.take_outbox()
        assert shop.settle() == 0
    assert [call.status for call in shop.calls()] == ["done"]
    assert [row.status for row in shop.refunds()] == ["succeeded"]
    assert len(made(shop)) == 1
    assert shop.payment(paid.provider_id).status == "refunded"


def test_a_lost_refund_stays_unknown_while_the_question_about_it_is_refused(shop, paid):
    shop.sandbox.behave(cut_after_effect=1)
    ask_back(shop, paid.pk)
    shop.run_calls()
    address = shop.connection.base_url
    for base_url, settled, status in ((f"{address}/nowhere", 0, "requested"), (address, 1, "succeeded")):
        with tenancy.tenant_scope(shop.tenant.pk):
            Connection.objects.filter(pk=shop.connection.pk).update(base_url=base_url)
        assert shop.settle() == settled
        assert [row.status for row in shop.refunds()] == [status]
    assert len(made(shop)) == 1


def test_a_call_that_never_arrived_is_made_again_under_the_same_key(shop, paid):
    shop.sandbox.behave(cut_before_effect=1)
    ask_back(shop, paid.pk)
    shop.run_calls()
    assert [call.status for call in shop.calls()] == ["unknown"]
    assert shop.settle() == 1
    shop.run_calls()
    assert [row.status for row in shop.refunds()] == ["succeeded"]
    assert len(made(shop)) == 1


def test_an_error_of_the_gateway_is_unknown_and_a_throttle_waits(shop, paid):
    shop.sandbox.behave(throttle=1, retry_after_seconds=7)
    ask_back(shop, paid.pk)
    shop.run_calls()
    (call,) = shop.calls()
    assert (call.status, call.blocker, call.attempts) == ("ready", "the payment gateway is unavailable", 0)
    shop.sandbox.behave(error=1)
    shop.run_calls()
    assert [call.status for call in shop.calls()] == ["unknown"]
    shop.settle()
    shop.run_calls()
    assert len(made(shop)) == 1


def test_a_report_that_is_faster_than_the_answer_settles_the_call(shop, paid):
    ask_back(shop, paid.pk, "15")
    (row,) = shop.refunds()
    told = refund("pending", payment_intent=paid.provider_id, metadata={"shopsync_refund": str(row.key)})
    shop.take(event("refund.created", told, at=T0))
    assert [(row.provider_id, row.status) for row in shop.refunds()] == [("re_1", "pending")]
    assert [call.status for call in shop.calls()] == ["done"]
    assert made(shop) == []


def test_a_refund_that_fails_later_is_told_and_leaves_the_money_there(shop, paid):
    shop.sandbox.behave(fail_refunds_later=1)
    ask_back(shop, paid.pk)
    shop.run_calls()
    shop.take_outbox()
    (row,) = shop.refunds()
    assert (row.status, row.failure_reason) == ("failed", "lost_or_stolen_card")
    payment = shop.payment(paid.provider_id)
    assert (payment.status, payment.amount_refunded) == ("paid", 0)
    with tenancy.tenant_scope(shop.tenant.pk):
        assert Alert.objects.get(kind="refund.failed").is_open
    ask_back(shop, paid.pk, key="k-2")


@pytest.mark.parametrize(("again", "is_open"), [("30", False), ("29.99", True)])
def test_the_alert_of_a_failed_refund_closes_once_as_much_was_given_back(shop, paid, again, is_open):
    shop.sandbox.behave(fail_refunds_later=1)
    for number, amount in enumerate(("30", again)):
        ask_back(shop, paid.pk, amount, key=f"k-{number}")
        shop.run_calls()
        shop.take_outbox()
    assert [row.status for row in shop.refunds()] == ["failed", "succeeded"]
    with tenancy.tenant_scope(shop.tenant.pk):
        alert = Alert.objects.get(kind="refund.failed")
    assert (alert.is_open, "30.00 EUR" in alert.message) == (is_open, True)


def test_another_refund_that_was_asked_for_before_one_failed_does_not_make_it_good(shop, paid):
    for number in range(2):
        ask_back(shop, paid.pk, "10", key=f"k-{number}")
    shop.sandbox.behave(fail_refunds_later=1)
    shop.run_calls()
    shop.take_outbox()
    assert sorted(row.status for row in shop.refunds()) == ["failed", "succeeded"]
    with tenancy.tenant_scope(shop.tenant.pk):
        assert Alert.objects.get(kind="refund.failed").is_open


def test_a_refusal_of_the_gateway_is_a_failed_refund_with_its_words(shop, paid):
    charge = next(one for one in shop.sandbox.state.objects.values() if one["object"] == "charge")
    charge["amount_refunded"] = 4000
    ask_back(shop, paid.pk)
    shop.run_calls()
    (row,) = shop.refunds()
    assert row.status == "failed"
    assert "greater than unrefunded amount" in row.failure_reason


def test_a_wrong_api_key_waits_for_a_right_one(shop, paid):
    shop.connection.api_key = "wrong"
    with tenancy.tenant_scope(shop.tenant.pk):
        shop.connection.save()
    ask_back(shop, paid.pk)
    shop.run_calls()
    (call,) = shop.calls()
    assert (call.status, call.blocker) == ("ready", "stripe refuses the API key")


def test_calls_wait_for_the_breaker_by_name(shop, paid):
    breaker = Breaker("payments", str(shop.connection.pk))
    for _ in range(5):
        breaker.failed()
    ask_back(shop, paid.pk)
    shop.run_calls()
    assert [call.blocker for call in shop.calls()] == ["breaker open: payments"]
    breaker.reset()


def test_twenty_requests_under_one_key_are_one_refund(shop, paid):
    results = run_together([lambda: ask_back(shop, paid.pk) for _ in range(20)], threads=20)
    assert sorted(new for _, new in results) == [False] * 19 + [True]
    assert len({row.pk for row, _ in results}) == 1
    shop.run_calls()
    assert len(made(shop)) == 1


def test_of_twenty_requests_for_all_of_it_one_is_taken(shop, paid):
    jobs = [lambda n=n: ask_back(shop, paid.pk, key=f"k-{n}") for n in range(20)]
    results = run_together(jobs, threads=20)
    refused = [one for one in results if isinstance(one, NotRefundable)]
    assert (len(refused), {one.available for one in refused}) == (19, {"0.00"})
    shop.run_calls()
    assert [one["amount"] for one in made(shop)] == [5000]


@pytest.mark.parametrize(
    ("amount", "currency", "field"),
    [("0", "EUR", "amount"), ("-1", "EUR", "amount"), ("1.234", "EUR", "amount"), ("1", "USD", "currency")],
)
def test_a_request_that_makes_no_sense_names_the_field(shop, paid, amount, currency, field):
    with pytest.raises(InvalidRefund) as refused:
        ask_back(shop, paid.pk, amount, currency=currency)
    assert refused.value.field == field
    assert shop.refunds() == []


def test_too_much_and_another_request_under_one_key_are_refused(shop, paid):
    with pytest.raises(NotRefundable):
        ask_back(shop, paid.pk, "50.01")
    ask_back(shop, paid.pk, "30", key="a")
    with pytest.raises(RefundKeyReused):
        ask_back(shop, paid.pk, "20", key="a")
    with pytest.raises(NotRefundable) as refused:
        ask_back(shop, paid.pk, "20.01", key="b")
    assert refused.value.available == "20.00"


def test_the_database_refuses_what_the_code_would_let_through(shop, paid):
    with tenancy.tenant_scope(shop.tenant.pk):
        mine = {"payment": paid, "connection": shop.connection, "is_ours": True, "currency": "EUR"}
        with pytest.raises(IntegrityError, match="would give back too much"), transaction.atomic():
            GatewayRefund(**mine, status="requested", amount=51).save()
        with pytest.raises(IntegrityError, match="payment_refunds_no_more_than_captured"), transaction.atomic():
            Payment.objects.update(amount_refunded=51)
        with pytest.raises(IntegrityError, match="paymentcall_of_a_refund_has_one"), transaction.atomic():
            PaymentCall(kind="refund", payment=paid).save()
        with pytest.raises(IntegrityError, match="gatewayrefund_gives_something_back"), transaction.atomic():
            GatewayRefund(**mine, status="failed", amount=0).save()


def test_an_authorisation_can_not_be_refunded(shop):
    shop.take(event("payment_intent.amount_capturable_updated", intent("requires_capture"), at=T0))
    with pytest.raises(NotRefundable):
        ask_back(shop, shop.payment("pi_1").pk, "1")


@pytest.mark.parametrize("of", ["the order", "the payment"])
def test_what_a_lost_dispute_took_is_not_given_back_again(shop, of):
    order = place(shop, shown_in="EUR", rate="1")
    payment = shop.payment(shop.pay(**{"metadata[order_id]": str(order.pk)}))
    with shop.sandbox.state.lock:
        (charged,) = [one for one in shop.sandbox.state.objects.values() if one["object"] == "charge"]
        shop.sandbox.state.close_dispute(shop.sandbox.state.dispute(charged), "lost")
    shop.take_outbox()
    with tenancy.tenant_scope(shop.tenant.pk):
        key = create_api_key(name="channel", actor="test").secret
    client = APIClient(headers={"Authorization": f"Api-Key {key}", "Idempotency-Key": "k"})
    path = f"orders/{order.pk}" if of == "the order" else f"payments/{payment.pk}"
    body = {"amount": "10.00"} | ({} if of == "the order" else {"currency": "EUR"})
    answer = client.post(f"/api/v1/{path}/refunds", body, format="json")
    assert (answer.status_code, "dispute is lost" in answer.json()["detail"]) == (409, True)
    with tenancy.tenant_scope(shop.tenant.pk):
        assert not Refund.objects.exists()
    assert shop.refunds() == []


def lose(shop, provider_id, amount=None, *, ends="lost"):
    """Let the buyer of a payment dispute it, or an amount of it in minor units, and win unless it stays open."""
    with shop.sandbox.state.lock:
        charged = shop.sandbox.state.objects[shop.sandbox.state.objects[provider_id]["latest_charge"]]
        told = shop.sandbox.state.dispute(charged, amount)
        if ends:
            shop.sandbox.state.close_dispute(told, ends)
    shop.take_outbox()


def give_back(shop, order, amount):
    with tenancy.tenant_scope(shop.tenant.pk):
        refund_order(order_id=order.pk, backs=[], amount=Decimal(amount), note="", actor="test", now=timezone.now())


@pytest.mark.parametrize("state", ["lost", "given back", "open"])
def test_a_refund_of_an_order_is_made_of_a_payment_that_can_pay(shop, state):
    order = place(shop, price="100", shown_in="EUR", rate="1")
    first, second = (shop.pay(5000, **{"metadata[order_id]": str(order.pk)}) for _ in range(2))
    if state == "given back":
        ask_back(shop, shop.payment(first).pk)
    else:
        lose(shop, first, ends="lost" if state == "lost" else "")
    give_back(shop, order, 40)
    shop.run_calls()
    shop.take_outbox()
    given = [(row.payment_id, row.amount, row.status) for row in shop.refunds()]
    assert given[-1] == (shop.payment(second).pk, 40, "succeeded")
    assert len(given) == (2 if state == "given back" else 1)
    with pytest.raises(RefundTooLarge) as refused:
        give_back(shop, order, "10.01" if state != "open" else "50.01")
    assert ("a dispute is lost" in str(refused.value)) == (state == "lost")


@pytest.mark.parametrize("of", ["the order", "the payment"])
def test_what_a_partly_lost_dispute_left_is_given_back_and_no_more(shop, of):
    order = place(shop, shown_in="EUR", rate="1")
    provider_id = shop.pay(5000, **{"metadata[order_id]": str(order.pk)})
    lose(shop, provider_id, 2000)
    payment = shop.payment(provider_id)
    assert payment.status == "charged_back"

    def ask(amount, key):
        if of == "the order":
            give_back(shop, order, amount)
        else:
            ask_back(shop, payment.pk, amount, key=key)

    with pytest.raises((NotRefundable, RefundTooLarge), match="dispute is lost"):
        ask("30.01", "k-1")
    ask("10", "k-2")
    shop.run_calls()
    shop.take_outbox()
    ask("20", "k-3")
    with pytest.raises((NotRefundable, RefundTooLarge), match="dispute is lost"):
        ask("0.01", "k-4")
    shop.run_calls()
    assert [(row.amount, row.status) for row in shop.refunds()] == [(10, "succeeded"), (20, "succeeded")]


def test_of_a_payment_with_a_dispute_lost_in_another_currency_nothing_is_given_back(shop, paid):
    lose(shop, paid.provider_id, 2000)
    with tenancy.tenant_scope(shop.tenant.pk):
        Dispute.objects.update(currency="USD")
    with pytest.raises(NotRefundable, match=r"0\.00 EUR left"):
        ask_back(shop, paid.pk, "1")
