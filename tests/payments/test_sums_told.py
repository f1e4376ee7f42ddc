"""What a payment captured and gave back, where the gateway's words of it overlap: releases, failures, ties, answers."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime

import pytest

from config.infra import tenancy
from orders.actions.gateway_refunds import RefundRequest, request_refund
from orders.actions.payments import ask_gateway
from orders.models import Payment, PaymentEvent
from orders.payments.states import PaymentState, fold
from orders.webhooks import ASKED, read_object
from tests.payments.conftest import T0, charge, dispute, event, intent, refund
from tests.payments.test_authorisations import money, open_alerts
from tests.payments.test_currencies import differ, place, stands
from tests.payments.test_own_orders import said

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


@pytest.mark.parametrize("topic", [ASKED, "payment_intent.canceled"])
def test_what_ends_within_the_second_of_an_answer_has_ended(topic):
    open_then = [
        (ASKED, intent("requires_capture", amount_received=0), T0),
        (ASKED, charge(captured=False, amount_captured=0), T0),
    ]
    given_up = (topic, intent("canceled", amount_received=0), T0)
    assert told(*open_then, given_up)[0] == "canceled"
    dispute_topic = ASKED if topic == ASKED else "charge.dispute.closed"
    disputes = [(ASKED, dispute("needs_response"), T0), (dispute_topic, dispute("lost"), T0)]
    paid = [(ASKED, intent("succeeded"), T0), (ASKED, charge(), T0)]
    assert told(*paid, *disputes)[0] == "charged_back"
    assert told(*paid, (ASKED, refund("pending"), T0), (ASKED, refund("failed"), T0)) == ("paid", 50, 0)


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


def released(order):
    """Make the events of an authorisation that is given up, in the order in which it happens."""
    names = {"payment_intent": f"pi_{order.pk}"}
    untaken = charge(id=f"ch_{order.pk}", captured=False, amount_captured=0, amount_refunded=5000, **names)
    return [
        said(order, "requires_capture", at=T0, payment=f"pi_{order.pk}"),
        event("refund.created", refund(id=f"re_{order.pk}", amount=5000, **names), at=T0 + 5),
        event("charge.refunded", untaken, at=T0 + 5),
        said(order, "canceled", at=T0 + 6, payment=f"pi_{order.pk}"),
    ]


def test_an_authorisation_given_up_and_told_as_a_refund_pays_no_order(shop):
    for turns in itertools.permutations(range(4)):
        order = place(shop)
        events = released(order)
        for turn in turns:
            shop.take(events[turn])
            assert stands(shop, order) in {"pending", "authorized", "voided"}, turns
        assert (money(shop, f"pi_{order.pk}"), stands(shop, order)) == (("canceled", 0, 0), "voided"), turns
    assert (differ(shop), open_alerts(shop)) == ([], [])


def test_a_refund_told_of_alone_pays_nothing_until_the_gateway_was_asked(shop):
    provider_id = shop.pay()
    with tenancy.tenant_scope(shop.tenant.pk):
        PaymentEvent.objects.all().delete()
        Payment.objects.all().delete()
    shop.take(event("refund.created", refund(amount=5000, payment_intent=provider_id), at=T0))
    assert money(shop, provider_id) == ("processing", 0, 0)
    shop.run_calls()
    assert money(shop, provider_id) == ("refunded", 50, 50)


def test_a_refund_of_what_nobody_told_to_be_captured_is_asked_about(shop):
    order = place(shop)
    shop.take(said(order, "processing"), event("refund.created", refund(), at=T0 + 5))
    assert (money(shop, "pi_1"), stands(shop, order)) == (("processing", 0, 0), "pending")
    assert [call.status for call in shop.calls("ask")] == ["ready"]


def test_a_refund_of_nothing_does_not_keep_an_answer_from_being_read(shop):
    provider_id = shop.pay()
    with shop.sandbox.state.lock:
        made = shop.sandbox.state.refund({"payment_intent": provider_id, "amount": "1500"})
        shop.sandbox.state.objects["re_0"] = made | {"id": "re_0", "amount": 0}
        shop.sandbox.state.outbox = []
    with tenancy.tenant_scope(shop.tenant.pk):
        ask_gateway(payment=shop.payment(provider_id))
    shop.run_calls()
    assert [call.outcome for call in shop.calls("ask")] == ["answered"]
    assert money(shop, provider_id) == ("partially_refunded", 50, 15)


def test_all_that_was_captured_can_be_given_back_although_the_rest_was_told_as_a_refund(shop):
    shop.take(*(event(topic, thing, at=at) for topic, thing, at in RELEASED))
    assert [(row.provider_id, row.status) for row in shop.refunds()] == [("re_rest", "canceled")]
    payment = shop.payment("pi_1")
    with tenancy.tenant_scope(shop.tenant.pk):
        request = RefundRequest(payment_id=payment.pk, amount=payment.amount_captured, currency="EUR")
        assert request_refund(request=request, idempotency_key="k", actor="test")[1]
