"""A payment's rows are a function of the set of its events: any order, any repetition, one result."""

from __future__ import annotations

import itertools
import json
import random

import pytest
from django.db import transaction

from config.infra import tenancy
from orders.actions.payments import take_facts
from orders.models import Dispute, GatewayRefund, Payment, PaymentCall, PaymentEvent
from orders.webhooks import read_event
from tests.factories import drain_all, run_together
from tests.payments.conftest import T0, charge, dispute, event, intent, refund

pytestmark = [pytest.mark.slow, pytest.mark.django_db]

PAID = [
    ("payment_intent.created", intent("requires_payment_method"), T0),
    ("payment_intent.succeeded", intent("succeeded", metadata={"order_reference": "#1"}), T0 + 1),
    ("charge.succeeded", charge(), T0 + 1),
    ("refund.created", refund("pending"), T0 + 5),
    ("refund.updated", refund("succeeded"), T0 + 6),
    ("charge.refunded", charge(amount_refunded=1500), T0 + 6),
]
REFUND_FAILS = [
    ("payment_intent.succeeded", intent("succeeded"), T0),
    ("charge.succeeded", charge(), T0),
    ("refund.created", refund("succeeded"), T0 + 5),
    ("charge.refunded", charge(amount_refunded=1500), T0 + 5),
    ("refund.failed", refund("failed", failure_reason="expired_or_canceled_card"), T0 + 90),
]
DISPUTED = [
    ("payment_intent.processing", intent("processing"), T0),
    ("payment_intent.succeeded", intent("succeeded"), T0),
    ("charge.succeeded", charge(), T0),
    ("charge.dispute.created", dispute(), T0 + 50),
    ("charge.dispute.closed", dispute("lost"), T0 + 50),
]
EXPIRED = [
    ("payment_intent.created", intent("requires_payment_method"), T0),
    ("payment_intent.amount_capturable_updated", intent("requires_capture"), T0),
    ("charge.succeeded", charge(captured=False, amount_captured=0), T0),
    ("charge.expired", charge(captured=False, amount_captured=0), T0 + 900),
    ("payment_intent.canceled", intent("canceled", cancellation_reason="automatic"), T0 + 900),
]
FAILED_THEN_PAID = [
    ("payment_intent.created", intent("requires_payment_method"), T0),
    ("payment_intent.payment_failed", intent("requires_payment_method", last_payment_error={"message": "no"}), T0 + 3),
    ("charge.failed", charge(id="ch_0", status="failed", amount_captured=0, captured=False), T0 + 3),
    ("payment_intent.succeeded", intent("succeeded"), T0 + 9),
    ("charge.succeeded", charge(), T0 + 9),
]
STORIES = {
    "paid": (PAID, ("partially_refunded", "50", "15")),
    "refund fails": (REFUND_FAILS, ("paid", "50", "0")),
    "disputed": (DISPUTED, ("charged_back", "50", "0")),
    "expired": (EXPIRED, ("expired", "0", "0")),
    "failed, then paid": (FAILED_THEN_PAID, ("paid", "50", "0")),
}


def rows(shop):
    """Read every domain row, without ids and our own clock."""
    with tenancy.tenant_scope(shop.tenant.pk):
        skip = {"id", "created_at", "updated_at", "payment_id", "key"}
        return {
            model.__name__: [
                {name: value for name, value in row.items() if name not in skip}
                for row in model.objects.order_by("provider_id").values()
            ]
            for model in (Payment, GatewayRefund, Dispute)
        }


def forget(shop):
    with tenancy.tenant_scope(shop.tenant.pk):
        for model in (PaymentCall, GatewayRefund, Dispute, PaymentEvent, Payment):
            model.objects.all().delete()


def tell(shop, story):
    """Take the events one by one, as the handler does, past the door (which would know them again)."""
    for given in story:
        with tenancy.tenant_scope(shop.tenant.pk), transaction.atomic():
            take_facts(connection_id=shop.connection.pk, facts=read_event(json.dumps(given).encode()))


@pytest.mark.parametrize("name", STORIES)
def test_every_order_of_events_ends_in_the_same_rows(shop, name):
    story, expected = STORIES[name]
    events = [event(topic, thing, at=at, event_id=f"evt_{n}") for n, (topic, thing, at) in enumerate(story)]
    tell(shop, events)
    first = rows(shop)
    (payment,) = first["Payment"]
    shown = (payment["status"], f"{payment['amount_captured']:.0f}", f"{payment['amount_refunded']:.0f}")
    assert shown == expected
    orders = list(itertools.permutations(events))
    if len(events) > 5:  # 720: every one of five is proved, and of six a share that is drawn anew each time
        orders = random.sample(orders, 120)
    for order in orders:
        forget(shop)
        tell(shop, order)
        assert rows(shop) == first, [given["id"] for given in order]


@pytest.mark.parametrize("name", STORIES)
def test_events_that_come_twice_change_nothing(shop, name):
    events = [event(topic, thing, at=at) for topic, thing, at in STORIES[name][0]]
    tell(shop, events)
    first = rows(shop)
    forget(shop)
    doubled = events * 2
    random.shuffle(doubled)
    tell(shop, doubled)
    assert rows(shop) == first


def test_through_the_door_in_disorder_and_twice(shop):
    events = [event(topic, thing, at=at) for topic, thing, at in PAID]
    shop.take(*reversed(events), *events)
    payment = shop.payment("pi_1")
    assert (payment.status, payment.amount_refunded, payment.order_key) == ("partially_refunded", 15, "name:#1")
    (back,) = shop.refunds()
    assert (back.status, back.amount, back.is_ours) == ("succeeded", 15, False)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("apart", [0, 4])
def test_what_contradicts_itself_is_asked_about_and_the_answer_is_taken(shop, apart):
    intent_id = shop.pay()
    shop.take(event("payment_intent.canceled", intent("canceled", id=intent_id), at=2_000_000_000 + apart),
              event("payment_intent.succeeded", intent("succeeded", id=intent_id), at=2_000_000_000))  # fmt: skip
    drain_all()
    payment = shop.payment(intent_id)
    assert (payment.status, payment.is_contradicted) == ("paid", False)
    assert [call.outcome for call in shop.calls("ask")] == ["answered"]


@pytest.mark.django_db(transaction=True)
def test_a_refund_of_a_payment_that_nobody_told_of_is_asked_about(shop):
    intent_id = shop.pay()
    forget(shop)
    shop.take(event("refund.created", refund(payment_intent=intent_id), at=T0))
    assert shop.payment(intent_id).amount == 15
    shop.run_calls()
    payment = shop.payment(intent_id)
    assert (payment.amount, payment.amount_captured, payment.status) == (50, 50, "partially_refunded")


@pytest.mark.parametrize(
    ("currency", "minor", "major"),
    [("jpy", 5000, "5000"), ("kwd", 5000, "5"), ("eur", 5000, "50"), ("isk", 5000, "50"), ("ugx", 5000, "50"),
     ("clp", 5000, "5000"), ("bhd", 1230, "1.23"), ("mga", 7, "7")],
)  # fmt: skip
def test_minor_units_are_the_currencys(shop, currency, minor, major):
    given = intent("succeeded", currency=currency, amount=minor, amount_received=minor)
    shop.take(event("payment_intent.succeeded", given, at=T0))
    payment = shop.payment("pi_1")
    assert (f"{payment.amount.normalize():f}", payment.currency) == (major, currency.upper())


@pytest.mark.django_db(transaction=True)
def test_events_that_come_at_the_same_moment_end_in_the_same_rows(shop):
    events = [event(topic, thing, at=at) for topic, thing, at in PAID]
    tell(shop, events)
    first = rows(shop)
    forget(shop)
    jobs = [lambda one=one: tell(shop, [one]) for one in events * 3]
    assert run_together(jobs, threads=9) == [None] * len(jobs)
    assert rows(shop) == first
