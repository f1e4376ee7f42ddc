"""Authorisations: captured once per key, given up with their order, and known again when the answer was lost."""

from __future__ import annotations

from decimal import Decimal

import pytest
from django.db import IntegrityError, transaction
from django.utils import timezone
from rest_framework.test import APIClient

from audit.models import AuditEvent
from config.infra import tenancy
from orders.actions import moves
from orders.actions.authorisations import (
    CaptureKeyReused,
    CaptureRequest,
    InvalidCapture,
    NotCapturable,
    NotDue,
    request_capture,
    settle_amount,
)
from orders.models import OrderLine, PaymentCall
from shopsync.actions.tenants import create_api_key
from shopsync.models import Alert
from tests.factories import drain_all, run_together
from tests.payments.conftest import T0, charge, event, refund
from tests.payments.test_currencies import differ, place, stands
from tests.payments.test_own_orders import said

pytestmark = pytest.mark.django_db(transaction=True)


def authorise(shop, **terms):
    """Place an order of 50 and authorise it at the twin."""
    order = place(shop, **terms)
    provider_id = shop.pay(5000, capture_method="manual", **{"metadata[order_id]": str(order.pk)})
    assert stands(shop, order) == "authorized"
    return order, provider_id


def capture(shop, order, key="k-1", **fields):
    with tenancy.tenant_scope(shop.tenant.pk):
        request = CaptureRequest(order_id=order.pk, **fields)
        return request_capture(request=request, idempotency_key=key, actor="test")


def cancel(shop, order):
    with tenancy.tenant_scope(shop.tenant.pk):
        moves.cancel_order(order_id=order.pk, reason="customer", restock=True, actor="test", now=timezone.now())
    drain_all()


def done(shop, word):
    """Count what the twin did of a kind, repetitions apart."""
    calls = shop.sandbox.state.calls
    return sum(call["path"].endswith(word) and not call["is_repetition"] for call in calls)


def open_alerts(shop):
    with tenancy.tenant_scope(shop.tenant.pk):
        return sorted(Alert.objects.filter(closed_at=None).values_list("kind", flat=True))


def money(shop, provider_id):
    payment = shop.payment(provider_id)
    return payment.status, payment.amount_captured, payment.amount_refunded


def test_an_authorisation_is_captured_once_per_key(shop):
    order, provider_id = authorise(shop)
    results = run_together([lambda: capture(shop, order) for _ in range(8)], threads=8)
    assert sorted(new for _, new in results) == [False] * 7 + [True]
    with pytest.raises(NotCapturable, match="being captured"):
        capture(shop, order, key="k-2")
    with pytest.raises(CaptureKeyReused):
        capture(shop, order, amount=Decimal(1))
    shop.run_calls()
    assert (done(shop, "capture"), stands(shop, order)) == (1, "paid")
    shop.take_outbox()
    assert money(shop, provider_id) == ("paid", 50, 0)
    assert [(call.status, call.outcome) for call in shop.calls("capture")] == [("done", "captured")]
    with pytest.raises(NotCapturable, match="waits to be captured"):
        capture(shop, order, key="k-3")
    assert (differ(shop), open_alerts(shop)) == ([], [])


@pytest.mark.parametrize("how", ["captured", "given up"])
@pytest.mark.parametrize("told", ["by asking", "by a report", "never done"])
def test_an_answer_that_was_lost_is_asked_for_and_nothing_is_done_twice(shop, how, told):
    order, provider_id = authorise(shop)
    shop.sandbox.behave(**{"cut_before_effect" if told == "never done" else "cut_after_effect": 1})
    kind, status = ("capture", "paid") if how == "captured" else ("cancel", "voided")
    if how == "captured":
        capture(shop, order)
    else:
        cancel(shop, order)
    shop.run_calls()
    assert [call.status for call in shop.calls(kind)] == ["unknown"]
    if told == "by a report":
        shop.take_outbox()
    assert shop.settle() == (told != "by a report")
    if told == "never done":
        shop.run_calls()
    assert [call.status for call in shop.calls(kind)] == ["done"]
    shop.take_outbox()
    assert (done(shop, kind), stands(shop, order)) == (1, status)
    assert money(shop, provider_id) == (("paid", 50, 0) if how == "captured" else ("canceled", 0, 0))
    assert (differ(shop), open_alerts(shop)) == ([], [])


def test_a_part_is_captured_and_what_is_let_go_is_no_refund(shop):
    order, provider_id = authorise(shop)
    capture(shop, order, amount=Decimal(30))
    shop.run_calls()
    shop.take_outbox()
    assert money(shop, provider_id) == ("paid", 30, 0)
    assert (stands(shop, order), differ(shop), open_alerts(shop)) == ("partially_paid", [], [])


@pytest.mark.parametrize("turn", [1, -1])
def test_the_rest_of_a_part_is_no_refund_although_it_is_told_as_one(shop, turn):
    part = {"amount_captured": 3000, "amount_refunded": 2000}
    events = [
        event("charge.captured", charge(**part), at=T0),
        event("refund.created", refund(amount=2000), at=T0),
        event("charge.refunded", charge(**part | {"amount_refunded": 4000}), at=T0 + 9),
        event("refund.created", refund(id="re_2", amount=2000), at=T0 + 9),
    ]
    shop.take(*events[:2][::turn])
    assert money(shop, "pi_1") == ("paid", 30, 0)
    shop.take(*events[2:][::turn])
    assert money(shop, "pi_1") == ("partially_refunded", 30, 20)


def test_what_is_captured_is_what_the_order_costs_by_then(shop):
    order, _ = authorise(shop, price="25", quantity=2)
    with tenancy.tenant_scope(shop.tenant.pk):
        line = OrderLine.objects.get(order=order)
        moves.cancel_lines(order_id=order.pk, quantities={line.pk: 1}, restock=True, actor="test", now=timezone.now())
    call, _ = capture(shop, order)
    assert call.amount == 25
    shop.run_calls()
    assert stands(shop, order) == "paid"


def test_an_order_that_was_cancelled_is_not_captured_and_its_authorisation_given_up(shop):
    order, provider_id = authorise(shop)
    capture(shop, order)
    cancel(shop, order)
    with pytest.raises(NotCapturable, match="cancelled"):
        capture(shop, order, key="k-2")
    shop.run_calls()
    shop.run_calls()
    assert (done(shop, "capture"), done(shop, "cancel")) == (0, 1)
    assert money(shop, provider_id) == ("canceled", 0, 0)
    assert (differ(shop), open_alerts(shop)) == ([], [])
    shop.take(said(order, "requires_capture", payment="pi_late"))  # on its way when the order was cancelled
    given_up = [shop.payment(one).pk for one in (provider_id, "pi_late")]
    assert [call.payment_id for call in shop.calls("cancel")] == given_up


@pytest.mark.parametrize("how", ["by hand", "by another payment", "before it came"])
def test_an_order_that_is_paid_without_its_authorisation_gives_it_up(shop, how):
    order = place(shop, shown_in="EUR", rate="1")
    names = {"metadata[order_id]": str(order.pk)}
    if how == "before it came":
        shop.pay(5000, **names)
    provider_id = shop.pay(5000, capture_method="manual", **names)
    if how == "by another payment":
        shop.pay(5000, **names)
    if how == "by hand":
        with tenancy.tenant_scope(shop.tenant.pk):
            moves.mark_paid(order_id=order.pk, actor="test", now=timezone.now())
        drain_all()
    shop.run_calls()
    shop.take_outbox()
    assert (done(shop, "cancel"), money(shop, provider_id)) == (1, ("canceled", 0, 0))
    assert (stands(shop, order), differ(shop), open_alerts(shop)) == ("paid", [], [])
    with tenancy.tenant_scope(shop.tenant.pk):
        assert AuditEvent.objects.filter(name="payment.cancel_requested").count() == 1


def test_an_authorisation_stays_while_a_part_of_the_order_is_due(shop):
    order, provider_id = authorise(shop)
    shop.pay(2000, **{"metadata[order_id]": str(order.pk)})
    shop.run_calls()
    assert (stands(shop, order), money(shop, provider_id)) == ("partially_paid", ("authorized", 0, 0))
    capture(shop, order)
    shop.run_calls()
    assert money(shop, provider_id) == ("paid", 30, 0)


def test_a_refusal_is_told_and_the_gateway_is_asked_how_it_stands(shop):
    order, provider_id = authorise(shop)
    with shop.sandbox.state.lock:
        shop.sandbox.state.cancel(shop.sandbox.state.objects[provider_id])
        shop.sandbox.state.outbox = []
    capture(shop, order)
    shop.run_calls()
    (call,) = shop.calls("capture")
    assert "status is canceled" in call.outcome
    assert open_alerts(shop) == ["payment.capture_refused"]
    shop.run_calls()
    assert (money(shop, provider_id), stands(shop, order)) == (("canceled", 0, 0), "voided")


@pytest.mark.parametrize("amount", ["0", "50.01", "1.005"])
def test_an_amount_that_can_not_be_captured_names_its_field(shop, amount):
    order, _ = authorise(shop)
    with pytest.raises(InvalidCapture) as refused:
        capture(shop, order, amount=Decimal(amount))
    assert refused.value.field == "amount"
    assert shop.calls("capture") == []


def test_the_api_queues_a_capture_and_says_where_it_stands(shop):
    order, provider_id = authorise(shop)
    shop.take(said(order, "requires_capture", payment="pi_2"))
    with tenancy.tenant_scope(shop.tenant.pk):
        key = create_api_key(name="channel", actor="test").secret
    client = APIClient(headers={"Authorization": f"Api-Key {key}"})

    def post(body, key="k"):
        path = f"/api/v1/orders/{order.pk}/capture"
        return client.post(path, body, format="json", headers={"Idempotency-Key": key})

    assert list(post({}).json()["errors"]) == ["payment_id"]
    payment = shop.payment(provider_id)
    body = {"payment_id": payment.pk, "amount": "12.50"}
    for _ in range(2):
        answer = post(body)
        assert answer.status_code == 202
        shown = [answer.json()[name] for name in ("payment_id", "amount", "currency", "status")]
        assert shown == [payment.pk, "12.50", "EUR", "ready"]
    assert (post(body, key="other").status_code, post({}, key="k").status_code) == (409, 409)
    assert list(post({"payment_id": 10**6}, key="x").json()["errors"]) == ["payment_id"]
    shop.run_calls()
    assert [post(body).json()[name] for name in ("status", "outcome")] == ["done", "captured"]


def test_the_database_captures_once_at_a_time_and_gives_up_once(shop):
    order, provider_id = authorise(shop)
    call, _ = capture(shop, order)
    with tenancy.tenant_scope(shop.tenant.pk):
        rows = {"payment": shop.payment(provider_id), "lane": "x", "key": "k"}
        for name, fields in (
            ("captures_once_at_a_time", {"kind": "capture", "amount": 1}),
            ("captures_something", {"kind": "capture"}),
            ("captures_something", {"kind": "cancel", "amount": 1}),
            ("has_a_key", {"kind": "cancel", "key": ""}),
        ):
            with pytest.raises(IntegrityError, match=name), transaction.atomic():
                PaymentCall(**(rows | fields)).save()
        assert PaymentCall.objects.get(pk=call.pk).actor == "test"


@pytest.mark.parametrize("is_lost", [False, True])
def test_what_is_about_to_be_captured_is_not_due_once_more(shop, is_lost):
    order, first = authorise(shop)
    second = shop.pay(5000, capture_method="manual", **{"metadata[order_id]": str(order.pk)})
    if is_lost:
        shop.sandbox.behave(cut_after_effect=1)
    capture(shop, order, payment_id=shop.payment(first).pk)
    if is_lost:
        shop.run_calls()
    with pytest.raises(NotCapturable, match="Nothing of the order is due"):
        capture(shop, order, key="k-2", payment_id=shop.payment(second).pk)


def test_what_is_due_is_less_what_the_other_currency_brought(shop):
    order = place(shop)  # 50 EUR, 55 USD
    names = {"capture_method": "manual", "metadata[order_id]": str(order.pk)}
    euros, dollars = shop.pay(2000, **names), shop.pay(5500, currency="usd", **names)
    capture(shop, order, payment_id=shop.payment(euros).pk)
    call, _ = capture(shop, order, key="k-2", payment_id=shop.payment(dollars).pk)
    assert call.amount == Decimal(33)


def test_one_key_used_at_once_for_two_orders_is_a_clear_refusal(shop):
    orders = [authorise(shop)[0] for _ in range(4)]
    with tenancy.tenant_scope(shop.tenant.pk):
        key = create_api_key(name="channel", actor="test").secret
    client = APIClient(headers={"Authorization": f"Api-Key {key}"})
    jobs = [
        lambda order=order: (
            client.post(
                f"/api/v1/orders/{order.pk}/capture", {}, format="json", headers={"Idempotency-Key": "same"}
            ).status_code
        )
        for order in orders
    ]
    assert sorted(run_together(jobs, threads=4)) == [202, 409, 409, 409]


def cancel_one(shop, order):
    with tenancy.tenant_scope(shop.tenant.pk):
        line = OrderLine.objects.get(order=order)
        moves.cancel_lines(order_id=order.pk, quantities={line.pk: 1}, restock=True, actor="test", now=timezone.now())
    drain_all()


def lowered(shop):
    with tenancy.tenant_scope(shop.tenant.pk):
        return [event.data for event in AuditEvent.objects.filter(name="payment.capture_lowered")]


@pytest.mark.parametrize("asked", [None, Decimal(50), Decimal(30), Decimal(20)])
@pytest.mark.parametrize("is_held_up", [False, True])
def test_a_capture_that_waits_takes_no_more_than_the_order_costs_when_it_is_made(shop, asked, is_held_up):
    order, provider_id = authorise(shop, price="25", quantity=2)
    call, _ = capture(shop, order, amount=asked)
    if is_held_up:
        shop.sandbox.behave(throttle=1)
        shop.run_calls()
        assert [call.status for call in shop.calls("capture")] == ["ready"]
    cancel_one(shop, order)
    shop.run_calls()
    shop.take_outbox()
    taken = min(call.amount, 25)
    assert money(shop, provider_id) == ("paid", taken, 0)
    assert stands(shop, order) == ("paid" if taken == 25 else "partially_paid")
    data = {"order": order.pk, "call": call.pk, "was": f"{call.amount:.2f}", "amount": "25.00", "currency": "EUR"}
    assert lowered(shop) == ([] if asked == 20 else [data])
    again, is_new = capture(shop, order, amount=asked)
    assert (again.amount, is_new, again.status) == (taken, False, "done")
    assert (differ(shop), open_alerts(shop)) == ([], [])


@pytest.mark.parametrize("is_done", [False, True])
def test_a_capture_that_was_begun_keeps_its_amount_and_what_is_too_much_is_told(shop, is_done):
    order, provider_id = authorise(shop, price="25", quantity=2)
    capture(shop, order)
    shop.sandbox.behave(**{"cut_after_effect" if is_done else "cut_before_effect": 1})
    shop.run_calls()
    cancel_one(shop, order)
    shop.settle()
    shop.run_calls()
    shop.take_outbox()
    assert money(shop, provider_id) == ("paid", 50, 0)
    assert (lowered(shop), stands(shop, order)) == ([], "paid")
    assert (differ(shop), open_alerts(shop)) == (["amount_differs"], ["payment.mismatch"])


def test_of_two_captures_of_an_order_that_costs_less_the_first_is_made_and_the_other_is_not_due(shop):
    order = place(shop, price="25", quantity=2)
    names = {"capture_method": "manual", "metadata[order_id]": str(order.pk)}
    first, second = shop.pay(2500, **names), shop.pay(2500, **names)
    for key, provider_id in (("k-1", first), ("k-2", second)):
        capture(shop, order, key=key, payment_id=shop.payment(provider_id).pk)
    cancel_one(shop, order)
    with tenancy.tenant_scope(shop.tenant.pk):
        calls = list(PaymentCall.objects.filter(kind="capture").order_by("-pk"))
    for call in calls:
        call.attempts = 1
    with tenancy.tenant_scope(shop.tenant.pk), pytest.raises(NotDue, match="Nothing of the order is due"):
        settle_amount(calls[0])
    shop.run_calls()
    shop.take_outbox()
    assert [money(shop, one)[1] for one in (first, second)] == [25, 0]
    outcomes = [(call.status, call.outcome) for call in shop.calls("capture")]
    nothing = "Nothing of the order is due but what is captured, or about to be."
    assert outcomes == [("done", "captured"), ("done", nothing)]
    assert (stands(shop, order), differ(shop), open_alerts(shop)) == ("paid", [], [])


def test_more_than_is_due_is_not_captured_although_it_is_authorised(shop):
    order, _ = authorise(shop, price="25", quantity=2)
    cancel_one(shop, order)
    with pytest.raises(InvalidCapture, match=r"Of the order 25\.00 EUR are due") as refused:
        capture(shop, order, amount=Decimal("25.01"))
    assert refused.value.field == "amount"
    capture(shop, order, amount=Decimal(25))


def test_a_capture_that_was_begun_and_not_done_takes_nothing_of_an_order_that_was_cancelled_since(shop):
    order, provider_id = authorise(shop)
    shop.sandbox.behave(cut_before_effect=1)
    capture(shop, order)
    shop.run_calls()
    with tenancy.tenant_scope(shop.tenant.pk):
        moves.cancel_order(order_id=order.pk, reason="customer", restock=True, actor="test", now=timezone.now())
    shop.settle()
    shop.run_calls()
    (call,) = shop.calls("capture")
    assert (call.attempts, call.status) == (2, "done")
    assert call.outcome == "The order is cancelled: its authorisations are given up."
    assert (done(shop, "capture"), money(shop, provider_id)[1]) == (0, 0)
