"""Orders of our own follow their payments: every order of arrival, parts, cancelled lines, late money."""

from __future__ import annotations

import itertools
import json
import time
from datetime import timedelta
from decimal import Decimal
from functools import partial
from unittest.mock import patch

import pytest
from django.utils import timezone

from config.infra import tenancy
from inventory.actions.upkeep import expire_reservations
from inventory.models import Reservation, StockLevel
from orders.actions import moves
from orders.actions.payments import take_facts
from orders.actions.placing import NewLine, NewOrder, place_order
from orders.actions.reconciliation import reconcile_payments
from orders.actions.refunds import RefundTooLarge, refund_order
from orders.models import Order, OrderLine, Payment
from orders.rules import IllegalMove
from orders.webhooks import read_event
from shopsync.models import Alert
from shopsync.tasks import drain_webhooks
from tests.factories import drain_all, run_together, stock_variant
from tests.payments.conftest import T0, charge, event, intent, refund

pytestmark = pytest.mark.django_db(transaction=True)


def place(shop, *prices):
    """Place an order of one unit for each of the prices (50 when none is given)."""
    with tenancy.tenant_scope(shop.tenant.pk):
        variant, _ = stock_variant(5)
        lines = tuple(
            NewLine(variant_id=variant.pk, quantity=1, price_amount=Decimal(price)) for price in prices or (50,)
        )
        return place_order(new=NewOrder(lines=lines), actor="test", now=timezone.now())


def said(order, status, *, at=T0, payment="pi_1", **fields):
    """Make the event of a payment for this order."""
    names = {"succeeded": "succeeded", "canceled": "canceled", "requires_capture": "amount_capturable_updated"}
    given = intent(status, id=payment, metadata={"order_id": str(order.pk)}, **fields)
    return event(f"payment_intent.{names.get(status, 'created')}", given, at=at)


def captured(order, amount, **options):
    return said(order, "succeeded", amount=5000, amount_received=amount, **options)


def reload(shop, order):
    with tenancy.tenant_scope(shop.tenant.pk):
        return Order.objects.get(pk=order.pk)


def stands(shop, order):
    order = reload(shop, order)
    return order.financial_status, order.stock_state


def alerts(shop, **which):
    with tenancy.tenant_scope(shop.tenant.pk):
        return sorted(Alert.objects.filter(**which).values_list("kind", flat=True))


@pytest.mark.parametrize("turns", list(itertools.permutations(range(3))))
def test_a_cancelled_attempt_and_one_that_pays_end_paid_in_every_order_of_arrival(shop, turns):
    order = place(shop)
    events = [said(order, "canceled", at=T0 + 10), said(order, "requires_payment_method", payment="pi_2", at=T0 + 5),
              said(order, "succeeded", payment="pi_2", at=T0 + 20)]  # fmt: skip
    shop.take(*(events[turn] for turn in turns))
    assert stands(shop, order) == ("paid", "committed")
    assert alerts(shop) == []


def test_a_cancelled_attempt_leaves_the_order_open_to_an_authorisation(shop):
    order = place(shop)
    shop.take(said(order, "canceled"))
    assert stands(shop, order)[0] == "voided"
    shop.take(said(order, "requires_capture", payment="pi_2"))
    assert stands(shop, order) == ("authorized", "reserved")


def held_until(shop, order):
    with tenancy.tenant_scope(shop.tenant.pk):
        return Order.objects.select_related("reservation").get(pk=order.pk).reservation.expires_at


def expire(shop, *, after):
    with tenancy.tenant_scope(shop.tenant.pk):
        expire_reservations(now=timezone.now() + after)
    drain_all()


def test_an_authorised_order_keeps_its_units_for_as_long_as_the_money_can_be_captured(shop):
    order = place(shop)
    soon, late = int(time.time()) + 3600, int(time.time()) + 5 * 86400
    shop.take(said(order, "requires_capture", at=int(time.time())))  # nobody says until when: seven days
    assert held_until(shop, order) > timezone.now() + timedelta(days=6, hours=23)
    other = place(shop)
    ends = [{"payment_method_details": {"card": {"capture_before": end}}, "captured": False} for end in (late, soon)]
    shop.take(*(said(other, "requires_capture", payment=f"pi_{n}") for n in (3, 4)))
    for number, end in zip((3, 4), ends, strict=True):
        shop.take(event("charge.succeeded", charge(id=f"ch_{number}", payment_intent=f"pi_{number}", **end), at=T0 + 1))
    assert held_until(shop, other).timestamp() >= late
    expire(shop, after=timedelta(days=4))
    assert stands(shop, other) == ("authorized", "reserved")
    shop.take(*(said(other, "canceled", payment=f"pi_{n}", at=T0 + 9) for n in (3, 4)))
    assert stands(shop, other) == ("voided", "reserved")
    assert held_until(shop, other) < timezone.now() + timedelta(minutes=16)
    expire(shop, after=timedelta(minutes=20))
    assert stands(shop, other) == ("voided", "unallocated")
    assert stands(shop, order) == ("authorized", "reserved")


def test_one_authorised_too_late_is_given_units_anew_or_says_that_they_are_gone(shop):
    order, other = place(shop), place(shop)
    expire(shop, after=timedelta(minutes=20))
    assert stands(shop, order) == ("pending", "unallocated")
    shop.take(said(order, "requires_capture", at=int(time.time())))
    assert stands(shop, order) == ("authorized", "reserved")
    with tenancy.tenant_scope(shop.tenant.pk):
        level = other.reservation.lines.get().level
        StockLevel.objects.filter(pk=level.pk).update(available=0)
    shop.take(said(other, "requires_capture", payment="pi_2", at=int(time.time())))
    assert stands(shop, other) == ("authorized", "unallocated")
    assert alerts(shop, kind="order.authorised_unallocated", closed_at=None) == ["order.authorised_unallocated"]
    shop.take(said(other, "canceled", payment="pi_2", at=int(time.time()) + 9))
    assert alerts(shop, kind="order.authorised_unallocated", closed_at=None) == []


def test_the_alert_is_over_once_an_authorised_order_has_units_again(shop):
    order = place(shop)
    expire(shop, after=timedelta(minutes=20))
    with tenancy.tenant_scope(shop.tenant.pk):
        StockLevel.objects.update(available=0)
    shop.take(said(order, "requires_capture", at=int(time.time())))
    assert alerts(shop, closed_at=None) == ["order.authorised_unallocated"]
    with tenancy.tenant_scope(shop.tenant.pk):
        StockLevel.objects.update(available=5)
    shop.take(said(order, "requires_capture", payment="pi_2", at=int(time.time())))
    assert stands(shop, order) == ("authorized", "reserved")
    assert alerts(shop, closed_at=None) == []


@pytest.mark.parametrize("is_gone", [False, True], ids=["units left", "units gone"])
@pytest.mark.parametrize("is_ended", [False, True], ids=["overdue", "expired, and nobody told the order"])
def test_one_authorised_just_when_its_time_is_up_holds_units_or_says_that_they_are_gone(shop, is_ended, is_gone):
    order = place(shop)
    with tenancy.tenant_scope(shop.tenant.pk):
        Reservation.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
        if is_ended:
            expire_reservations(now=timezone.now())
            StockLevel.objects.update(available=0 if is_gone else 5)
    assert shop.post(said(order, "requires_capture", at=int(time.time()))).status_code == 200
    drain_webhooks()
    expire(shop, after=timedelta(minutes=1))
    is_lost = is_ended and is_gone
    assert stands(shop, order) == ("authorized", "unallocated" if is_lost else "reserved")
    assert alerts(shop, closed_at=None) == (["order.authorised_unallocated"] if is_lost else [])


def test_units_stay_held_while_a_part_of_the_money_is_still_authorised(shop):
    order = place(shop)
    at = int(time.time())
    for payment, amount in (("pi_1", 3000), ("pi_2", 2000)):
        shop.take(said(order, "requires_capture", payment=payment, amount=amount, amount_capturable=amount, at=at))
    shop.take(said(order, "succeeded", amount=3000, amount_received=3000, at=at + 1))
    assert stands(shop, order) == ("partially_paid", "reserved")
    assert held_until(shop, order) > timezone.now() + timedelta(days=6)


def test_nobody_marks_a_cancelled_order_paid_by_hand(shop):
    order = place(shop)
    with tenancy.tenant_scope(shop.tenant.pk):
        moves.cancel_order(order_id=order.pk, reason="customer", restock=True, actor="test", now=timezone.now())
        with pytest.raises(IllegalMove):
            moves.mark_paid(order_id=order.pk, actor="test", now=timezone.now())


def test_a_part_that_was_captured_and_partly_given_back_pays_nothing(shop):
    order = place(shop)
    shop.take(captured(order, 2000), event("refund.created", refund(amount=500), at=T0 + 5))
    assert stands(shop, order) == ("partially_paid", "reserved")
    assert not reload(shop, order).is_paid
    shop.take(captured(order, 3000, payment="pi_2", at=T0 + 9))
    assert stands(shop, order) == ("partially_refunded", "committed")
    assert reload(shop, order).is_paid


def test_a_part_that_was_given_back_whole_pays_nothing(shop):
    order = place(shop)
    shop.take(captured(order, 2000), event("refund.created", refund(amount=2000), at=T0 + 5))
    assert stands(shop, order) == ("refunded", "reserved")
    assert not reload(shop, order).is_paid
    shop.take(captured(order, 5000, payment="pi_2", at=T0 + 9))
    assert stands(shop, order) == ("paid", "committed")  # all of it is kept


def cancel_first_line(shop, order):
    with tenancy.tenant_scope(shop.tenant.pk):
        line = OrderLine.objects.filter(order=order).order_by("pk")[0]
        options = {"restock": True, "actor": "test", "now": timezone.now()}
        moves.cancel_lines(order_id=order.pk, quantities={line.pk: 1}, **options)


def differ(shop):
    with tenancy.tenant_scope(shop.tenant.pk):
        return [one.kind for one in reconcile_payments(now=timezone.now(), settle=timedelta(), actor="test").findings]


@pytest.mark.parametrize("is_paid_first", [False, True])
def test_an_order_whose_lines_were_cancelled_is_paid_by_what_it_costs_now(shop, is_paid_first):
    order = place(shop, 25, 25)
    turns = [lambda: cancel_first_line(shop, order), lambda: shop.take(captured(order, 2500))]
    for turn in turns[:: -1 if is_paid_first else 1]:
        turn()
    drain_all()
    assert stands(shop, order) == ("paid", "committed")
    assert (differ(shop), alerts(shop)) == ([], [])


def test_a_paid_order_that_costs_less_now_differs_until_the_rest_is_given_back(shop):
    order = place(shop, 25, 25)
    shop.take(captured(order, 5000))
    assert differ(shop) == []
    cancel_first_line(shop, order)
    drain_all()
    assert differ(shop) == ["amount_differs"]
    shop.take(event("refund.created", refund(amount=2500), at=T0 + 5))
    assert differ(shop) == []
    assert stands(shop, order) == ("partially_refunded", "committed")


def test_a_partly_paid_order_differs_once_its_sums_do(shop):
    order = place(shop)
    shop.take(captured(order, 2000))
    assert differ(shop) == []
    with tenancy.tenant_scope(shop.tenant.pk):
        Payment.objects.update(amount_captured=50)
    assert differ(shop) == ["amount_differs"]


def test_a_partly_paid_order_of_shopifys_differs_once_all_of_it_was_captured(shop):
    order = shop.order(financial_status="partially_paid")
    shop.take(captured(order, 2000))
    assert differ(shop) == []
    shop.take(captured(order, 3000, payment="pi_2"))
    assert differ(shop) == ["amount_differs"]


def give_back(shop, order, amount):
    with tenancy.tenant_scope(shop.tenant.pk):
        refund_order(order_id=order.pk, backs=[], amount=Decimal(amount), note="", actor="test", now=timezone.now())


@pytest.mark.parametrize(("amount", "status"), [("50", "refunded"), ("30", "partially_refunded")])
def test_a_refund_that_failed_is_possible_again_through_the_order(shop, amount, status):
    order = place(shop)
    shop.pay(5000, **{"metadata[order_id]": str(order.pk)})
    shop.sandbox.behave(fail_refunds_later=1)
    for expected in ("paid", status):
        give_back(shop, order, amount)
        with pytest.raises(RefundTooLarge):
            give_back(shop, order, "50.01" if expected == "paid" else amount)
        shop.run_calls()
        shop.take_outbox()
        assert stands(shop, order) == (expected, "committed")
    assert [row.status for row in shop.refunds()] == ["failed", "succeeded"]
    assert alerts(shop) == ["refund.failed"]


def test_a_refund_that_the_gateway_refused_is_possible_again_through_the_order(shop):
    order = place(shop)
    shop.pay(5000, **{"metadata[order_id]": str(order.pk)})
    made = next(one for one in shop.sandbox.state.objects.values() if one["object"] == "charge")
    made["amount_refunded"] = 4000
    give_back(shop, order, 50)
    shop.run_calls()
    assert [row.status for row in shop.refunds()] == ["failed"]
    made["amount_refunded"] = 0
    give_back(shop, order, 50)
    shop.run_calls()
    shop.take_outbox()
    assert stands(shop, order)[0] == "refunded"


@pytest.mark.parametrize("parts", [(5000,), (2000, 3000)])
def test_a_cancelled_order_that_is_then_paid_asks_for_its_refund_until_it_is_made(shop, parts):
    order = place(shop)
    *before, last = parts
    for number, part in enumerate(before):
        shop.take(captured(order, part, payment=f"pi_{number + 2}"))
    with tenancy.tenant_scope(shop.tenant.pk):
        moves.cancel_order(order_id=order.pk, reason="customer", restock=True, actor="test", now=timezone.now())
    shop.take(captured(order, last), captured(order, last, at=T0 + 1))
    assert stands(shop, order) == ("paid", "released")
    assert alerts(shop, closed_at=None, severity="critical") == ["order.paid_after_cancelled"]
    backs = [
        refund(id=f"re_{n}", payment_intent=f"pi_{n + 2}", charge=None, amount=part) for n, part in enumerate(before)
    ]
    backs.append(refund(id="re_9", amount=last))
    shop.take(*(event("refund.created", back, at=T0 + 5) for back in backs))
    assert stands(shop, order) == ("refunded", "released")
    assert alerts(shop, closed_at=None) == []


def test_events_and_refunds_of_one_order_at_the_same_moment_never_wait_for_each_other_in_a_ring(shop):
    order = place(shop, 500)
    shop.take(said(order, "succeeded", amount=50000, amount_received=50000))

    def give_one():
        give_back(shop, order, 1)

    def tell(second):
        given = event("charge.updated", charge(amount=50000, amount_captured=50000), at=T0 + second)
        with tenancy.tenant_scope(shop.tenant.pk):
            take_facts(connection_id=shop.connection.pk, facts=read_event(json.dumps(given).encode()))

    with patch("config.infra.transactions.logger.warning") as broken_off:
        jobs = [job for second in range(30) for job in (give_one, partial(tell, second))]
        assert run_together(jobs, threads=10) == [None] * len(jobs)
    assert broken_off.call_count == 0
    assert len(shop.refunds()) == 30


def test_a_payment_that_turns_out_to_be_another_orders_locks_that_one_and_begins_again(shop):
    order = place(shop)
    told = said(order, "succeeded")
    with patch("orders.actions.payments._find_orders", return_value=set()):
        shop.take(told)
    assert stands(shop, order) == ("paid", "committed")
