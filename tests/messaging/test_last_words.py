"""Who has the last word on a call: an operator keeps it against what comes late; what a refusal says outlives us."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest
from django.db import connections
from django.utils import timezone

from config.infra import tenancy
from config.infra.work.claims import sweep
from messaging.actions import bisecting, outcomes, sending
from messaging.actions.campaigns import cancel_campaign
from messaging.actions.claiming import begin_call
from messaging.actions.messages import resend_unknown, settle_unknown
from messaging.actions.progress import advance_campaigns
from messaging.actions.reports import keep_reports
from messaging.models import CreditAccount, Frequency, Message, SendingPolicy, SendQueue
from messaging.providers.base import Accepted, Refused
from messaging.queries import count_rows, find_campaign_drift, find_credit_drift, tally_of
from messaging.tasks import drain_messages, settle_unknowns
from messaging.webhooks import DeliveryReport as ReportSnapshot
from shopsync.models import Connection
from tests.messaging.campaigns import launched, make_ready_tenant, pass_time, unblock

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def tenant(sandbox):
    tenant = make_ready_tenant(sandbox.base_url)
    with tenancy.tenant_scope(tenant.pk):
        SendingPolicy.objects.create(cap_messages=5)
        yield tenant
        assert find_campaign_drift(tenant_id=tenant.pk) == []
        assert find_credit_drift(tenant_id=tenant.pk) == []


def begin():
    via = Connection.objects.get(service="mitto")
    return begin_call(queue_id=SendQueue.objects.get().pk, via=via, limit=100, now=timezone.now())


def expire():
    """Let every lease end, and campaigns take their step."""
    Message.objects.filter(status="leased").update(lease_until="2000-01-01T00:00:00Z")
    sweep(Message)
    advance_campaigns()


def say(message_id, *, was_sent=True):
    settle_unknown(message_id=message_id, was_sent=was_sent, actor="eve", now=timezone.now())


def stands(campaign):
    """How a campaign stands, how many of its messages each address was counted for, and what was spent for it."""
    campaign.refresh_from_db()
    tally = tally_of(campaign.pk)
    assert tally == count_rows(campaign.pk)
    counted = sorted(len(row.moments) for row in Frequency.objects.all())
    spent = CreditAccount.objects.get(kind="spent").balance
    return campaign.status, {state: count.messages for state, count in tally.states.items()}, counted, spent


def report_of(row, status):
    return ReportSnapshot(
        provider_id="p-1", status=status, raw_status=status, updated_at=timezone.now(), reference=str(row.reference)
    )


def keep(call, told):
    keep_reports([told], connection_id=call.attempt.connection_id, now=timezone.now())


def hand_back(call):
    outcomes.hand_back(call, blocker="provider_unavailable", error="429")


def refuse(call):
    outcomes.refuse(call, reason="refused")


def refuse_each(call):
    answers = [Refused(str(row.reference), "no such number", permanent=True) for row in call.rows]
    outcomes.store(call, answers, now=timezone.now())


def refuse_each_for_now(call):
    answers = [Refused(str(row.reference), "later", permanent=False) for row in call.rows]
    outcomes.store(call, answers, now=timezone.now())


def call_halves(call):
    via = Connection.objects.get(service="mitto")
    for half in bisecting.halve(call):
        assert bisecting.begin_half(half, via=via, now=timezone.now(), granted_at=timezone.now()) is None


@pytest.mark.parametrize("late", [hand_back, refuse, refuse_each, refuse_each_for_now, call_halves])
def test_what_an_operator_says_was_sent_stays_so_whatever_comes_late(tenant, sandbox, late):
    campaign = launched(tenant, 2)
    call = begin()
    expire()
    for row in call.rows:
        say(row.id)
    assert stands(campaign) == ("done", {"sent": 2}, [1, 1], 2)
    late(call)
    assert stands(campaign) == ("done", {"sent": 2}, [1, 1], 2)
    pass_time()
    assert stands(campaign) == ("done", {"sent": 2}, [1, 1], 2)
    assert sandbox.accepted() == []


@pytest.mark.parametrize("late", [hand_back, refuse, refuse_each])
def test_what_an_operator_says_was_not_sent_stays_so(tenant, sandbox, late):
    campaign = launched(tenant, 1)
    call = begin()
    expire()
    say(call.rows[0].id, was_sent=False)
    late(call)
    pass_time()
    assert stands(campaign) == ("done", {"failed": 1}, [0], 0)
    assert sandbox.accepted() == []


def test_of_a_call_that_comes_back_only_what_nobody_decided_on_is_sent(tenant, sandbox):
    campaign = launched(tenant, 3)
    call = begin()
    expire()
    say(call.rows[0].id)
    hand_back(call)
    assert stands(campaign) == ("sending", {"sent": 1, "queued": 2}, [0, 0, 1], 1)
    pass_time()
    assert stands(campaign) == ("done", {"sent": 3}, [1, 1, 1], 3)
    assert call.rows[0].address not in {row.destination for row in sandbox.accepted()}


def test_what_comes_back_late_does_not_uncount_what_a_report_proved(tenant):
    campaign = launched(tenant, 1)
    call = begin()
    keep(call, report_of(call.rows[0], "delivered"))
    hand_back(call)
    assert stands(campaign)[1:] == ({"delivered": 1}, [1], 1)


def test_a_report_of_failure_is_proof_against_an_operators_word(tenant):
    campaign = launched(tenant, 1)
    call = begin()
    expire()
    say(call.rows[0].id)
    keep(call, report_of(call.rows[0], "failed"))
    assert stands(campaign)[1] == {"failed": 1}


def test_a_report_that_it_was_sent_is_proof_against_an_operators_word_and_the_house_pays(tenant):
    campaign = launched(tenant, 1)
    call = begin()
    expire()
    say(call.rows[0].id, was_sent=False)
    keep(call, report_of(call.rows[0], "sent"))
    assert stands(campaign)[1::2] == ({"sent": 1}, 1)
    assert CreditAccount.objects.get(kind="house").balance == -1


# Of two calls of one message, the first of which nobody knew the fate of


@pytest.fixture
def second(tenant):
    """The second call of a message, which an operator ordered and which is open."""
    launched(tenant, 1)
    first = begin()
    expire()
    resend_unknown(message_id=first.rows[0].id, actor="eve")
    unblock()
    return begin()


def test_a_late_failure_of_the_first_call_does_not_end_the_second_which_is_on_its_way(second):
    [row] = second.rows
    keep(second, report_of(row, "failed"))
    assert Message.objects.get().state == "calling"
    outcomes.store(second, [Accepted(str(row.reference), "p-2")], now=timezone.now())
    keep(second, replace(report_of(row, "delivered"), provider_id="p-2", reference=None))
    message = Message.objects.get()
    assert (message.state, message.provider_id) == ("delivered", "p-2")


def test_a_failure_of_the_call_that_is_open_waits_for_its_answer_or_for_the_end_of_its_lease(second):
    [row] = second.rows
    keep(second, report_of(row, "failed"))
    outcomes.store(second, [Accepted(str(row.reference), "p-1")], now=timezone.now())
    assert Message.objects.get().state == "failed"


def test_a_failure_of_a_call_without_an_answer_ends_it(second):
    keep(second, report_of(second.rows[0], "failed"))
    expire()
    assert settle_unknowns() == 1
    assert Message.objects.get().state == "failed"


def test_a_late_delivery_of_the_first_call_ends_the_second_which_is_on_its_way(second):
    keep(second, report_of(second.rows[0], "delivered"))
    assert Message.objects.get().state == "delivered"


# Of a refused call, when the process ends between its halves


class Killed(BaseException):
    """The end of a process."""


@pytest.mark.parametrize("killed_at", [1, 2])
def test_halves_that_were_never_called_go_back_to_the_queue(tenant, sandbox, monkeypatch, killed_at):
    campaign = launched(tenant, 4)
    sandbox.behave(reports="none", refuse_calls=1)
    real, begun = bisecting.begin_half, []

    def begin_half(half, **named):
        begun.append(half)
        if len(begun) == killed_at:
            raise Killed
        return real(half, **named)

    monkeypatch.setattr(bisecting, "begin_half", begin_half)
    with pytest.raises(Killed):
        drain_messages()
    monkeypatch.setattr(bisecting, "begin_half", real)
    expire()
    states = stands(campaign)[1]
    assert states == ({"unknown": 4} if killed_at == 1 else {"unknown": 2, "sent": 2})
    assert settle_unknowns() == states["unknown"]
    pass_time()
    assert stands(campaign) == ("done", {"sent": 4}, [1, 1, 1, 1], 4)
    assert sorted(row.destination for row in sandbox.accepted()) == sorted(
        Message.objects.values_list("address", flat=True)
    )


def test_what_a_half_left_is_closed_where_its_campaign_is_cancelled(tenant, sandbox):
    campaign = launched(tenant, 2)
    call = begin()
    outcomes.close(call, outcome="refused", error="400")
    cancel_campaign(campaign_id=campaign.pk, actor="eve")
    expire()
    settle_unknowns()
    assert stands(campaign) == ("cancelled", {"skipped": 2}, [0, 0], 0)


def test_of_what_a_half_left_an_operators_word_holds(tenant, sandbox):
    campaign = launched(tenant, 2)
    call = begin()
    outcomes.close(call, outcome="refused", error="400")
    expire()
    say(call.rows[0].id)
    resend_unknown(message_id=call.rows[1].id, actor="eve")
    assert settle_unknowns() == 0
    pass_time()
    assert stands(campaign) == ("done", {"sent": 2}, [1, 1], 2)
    assert [row.destination for row in sandbox.accepted()] == [call.rows[1].address]


def test_an_operator_who_decides_while_a_call_comes_back_and_it_find_one_end(tenant, monkeypatch):
    """The campaign is not opened for what was decided on meanwhile."""
    campaign = launched(tenant, 1)
    call = begin()
    expire()
    real = outcomes.return_rows

    def decide():
        with tenancy.tenant_scope(tenant.pk):
            say(call.rows[0].id)
        connections.close_all()

    def return_rows(*arguments, **named):
        thread = threading.Thread(target=decide)
        thread.start()
        thread.join()
        return real(*arguments, **named)

    monkeypatch.setattr(outcomes, "return_rows", return_rows)
    hand_back(call)
    assert stands(campaign) == ("done", {"sent": 1}, [1], 1)
    assert sending.send_due(budget_seconds=0.1) == 0
