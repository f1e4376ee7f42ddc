"""Answers are dated by the gateway's own clock, as its events are; what should have ended is asked about."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from config.infra import tenancy
from orders.actions.payments import ask_gateway
from orders.actions.reconciliation import reconcile_payments
from orders.models import Order, Payment, PaymentEvent
from orders.webhooks import ASKED
from tests.payments.test_own_orders import place, stands

pytestmark = pytest.mark.django_db(transaction=True)


def authorise(shop, order):
    return shop.pay(5000, capture_method="manual", **{"metadata[order_id]": str(order.pk)})


def ask(shop):
    with tenancy.tenant_scope(shop.tenant.pk):
        ask_gateway(payment=Payment.objects.get())
    shop.run_calls()


def capture_there(shop, provider_id):
    with shop.sandbox.state.lock:
        shop.sandbox.state.capture(shop.sandbox.state.objects[provider_id], {})


@pytest.mark.parametrize("behind", [0, 3, 600])
def test_what_happens_just_after_our_question_counts_whatever_our_clock_says(shop, behind):
    shop.sandbox.behave(clock_behind_seconds=behind)
    order = place(shop)
    provider_id = authorise(shop, order)
    ask(shop)
    capture_there(shop, provider_id)
    shop.take_outbox()
    assert (shop.payment(provider_id).status, stands(shop, order)) == ("paid", ("paid", "committed"))


def test_two_answers_of_one_second_are_both_kept(shop):
    authorise(shop, place(shop))
    ask(shop)
    ask(shop)
    with tenancy.tenant_scope(shop.tenant.pk):
        assert PaymentEvent.objects.filter(topic=ASKED, kind="intent").count() == 2


def test_an_answer_dated_a_second_early_costs_one_more_question_at_most(shop):
    order = place(shop)
    with shop.sandbox.state.lock:
        params = {"amount": "5000", "currency": "eur", "confirm": "true", "capture_method": "manual"}
        intent = shop.sandbox.state.create_intent({**params, "metadata[order_id]": str(order.pk)})
        created, *rest = shop.sandbox.state.outbox
        shop.sandbox.state.outbox = []
    shop.take(created)
    capture_there(shop, intent["id"])
    ask(shop)
    shop.take(*rest)  # of the same second, and heard of after the answer
    for _ in range(3):
        shop.run_calls()
    assert len(shop.calls("ask")) <= 2
    assert {call.status for call in shop.calls("ask")} == {"done"}
    assert (shop.payment(intent["id"]).status, stands(shop, order)) == ("paid", ("paid", "committed"))


@pytest.mark.parametrize(
    ("fields", "days", "asks"),
    [
        ({"cancelled_at": timezone.now()}, 0, 1),
        ({"paid_at": timezone.now()}, 0, 1),
        ({"financial_status": "voided"}, 0, 1),
        ({}, 6, 0),
        ({}, 8, 1),
    ],
)
def test_an_authorisation_that_should_have_ended_is_asked_about_each_night(shop, fields, days, asks):
    order = shop.order()
    provider_id = authorise(shop, order)
    with tenancy.tenant_scope(shop.tenant.pk):
        Order.objects.update(**fields)
        Payment.objects.update(expires_at=None)
        reconcile_payments(now=timezone.now() + timedelta(days=days), settle=timedelta(), actor="test")
    assert [call.status for call in shop.calls("ask")] == ["ready"] * asks
    assert shop.payment(provider_id).status == "authorized"
