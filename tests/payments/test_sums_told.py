"""What a payment captured and gave back, where the gateway's words of it overlap: releases, failures, ties, answers."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime

import pytest

from config.infra import tenancy
from orders.actions.payments import ask_gateway
from orders.payments.states import PaymentState, fold
from orders.webhooks import ASKED, read_object
from tests.payments.conftest import T0, charge, intent, refund
from tests.payments.test_authorisations import money
from tests.payments.test_currencies import place, stands

pytestmark = pytest.mark.django_db(transaction=True)

PART = {"amount_captured": 3000}


def told(*things):
    """Fold what is told, whatever the ids of its events are, and see that they don't matter."""
    seen: set[PaymentState] = set()
    for turns in itertools.islice(itertools.permutations(range(len(things))), 120):
        facts = []
        for turn, (topic, thing, at) in zip(turns, things, strict=True):
            moment = datetime.fromtimestamp(at, UTC)
            facts += read_object(thing, topic=topic, event_id=f"evt_{turn}", happened_at=moment)
        seen |= {fold(facts), fold(reversed(facts)), fold(facts * 2)}
    (state,) = seen
    return state.status, state.amount_captured, state.amount_refunded


ANSWERED = [
    (ASKED, intent("succeeded"), T0 + 9),
    (ASKED, charge(amount_refunded=1500), T0 + 9),
    (ASKED, refund(), T0 + 9),
]


@pytest.mark.parametrize("at", [T0 + 9, T0 + 10], ids=["within the second", "later"])
def test_a_refund_that_fails_after_the_answer_is_no_refund(at):
    assert told(*ANSWERED, ("refund.failed", refund("failed"), at)) == ("paid", 50, 0)


def test_what_is_older_than_the_answer_does_not_undo_it():
    old = [
        ("charge.refunded", charge(amount_refunded=4000), T0 + 5),
        ("refund.failed", refund("failed"), T0 + 5),
        ("payment_intent.canceled", intent("canceled"), T0 + 5),
    ]
    assert told(*ANSWERED, *old[:2]) == told(*ANSWERED, old[2]) == ("partially_refunded", 50, 15)


def test_a_refund_that_failed_after_the_gateway_was_asked_can_be_made_again(shop):
    order = place(shop)
    payment = shop.payment(shop.pay(**{"metadata[order_id]": str(order.pk)}))
    with shop.sandbox.state.lock:
        made = shop.sandbox.state.refund({"payment_intent": payment.provider_id})
    shop.take_outbox()
    with tenancy.tenant_scope(shop.tenant.pk):
        ask_gateway(payment=payment)
    shop.run_calls()
    assert money(shop, payment.provider_id) == ("refunded", 50, 50)
    with shop.sandbox.state.lock:
        shop.sandbox.state.fail_refund(made)
    shop.take_outbox()
    assert (money(shop, payment.provider_id), stands(shop, order)) == (("paid", 50, 0), "paid")


@pytest.mark.parametrize("ids", ["ab", "ba"])
def test_ids_do_not_decide_what_was_captured_within_a_second(ids):
    at = datetime.fromtimestamp(T0, UTC)
    facts = [
        *read_object(
            charge(captured=False, amount_captured=0), topic="charge.succeeded", event_id=ids[0], happened_at=at
        ),
        *read_object(charge(**PART, amount_refunded=2000), topic="charge.captured", event_id=ids[1], happened_at=at),
        *read_object(refund(amount=2000), topic="refund.created", event_id="r", happened_at=at),
    ]
    state = fold(facts)
    assert (state.status, state.amount_captured, state.amount_refunded) == ("paid", 30, 0)


RELEASED = [
    ("payment_intent.succeeded", intent("succeeded", amount_received=3000), T0),
    ("charge.captured", charge(**PART, amount_refunded=2000), T0),
    ("refund.created", refund(id="re_rest", amount=2000), T0),
]
FIVE = [
    ("refund.created", refund(id="re_5", amount=500), T0 + 9),
    ("charge.refunded", charge(**PART, amount_refunded=2500), T0 + 9),
]


def test_the_rest_of_a_part_is_no_refund_whatever_becomes_of_others():
    assert told(*RELEASED) == ("paid", 30, 0)
    assert told(*RELEASED[::2]) == ("paid", 30, 0)
    assert told(*RELEASED, *FIVE) == ("partially_refunded", 30, 5)
    for at in (T0 + 9, T0 + 10):
        failed = ("refund.failed", refund("failed", id="re_5", amount=500), at)
        assert told(*RELEASED, *FIVE, failed) == ("paid", 30, 0)


def test_the_rest_of_a_part_may_be_told_as_a_refund_a_second_later():
    late = ("refund.created", refund(id="re_rest", amount=2000), T0 + 1)
    assert told(*RELEASED[:2], late) == ("paid", 30, 0)


def test_a_refund_of_as_much_as_the_rest_is_one():
    back = [
        ("refund.created", refund(amount=2000), T0 + 9),
        ("charge.refunded", charge(**PART, amount_refunded=4000), T0 + 9),
    ]
    assert told(*RELEASED[:2], *back) == ("partially_refunded", 30, 20)
    assert told(*RELEASED, *back) == ("partially_refunded", 30, 20)
