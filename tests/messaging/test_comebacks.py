"""What comes back: to campaigns that are over, by operators, halved, late; and what changed between preparing and the
call."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from django.db import connections, transaction
from django.utils import timezone

from config.infra import tenancy
from config.infra.work.claims import sweep
from config.local.processes import wait_until
from messaging.actions import bisecting, outcomes
from messaging.actions.campaigns import (
    CampaignError,
    cancel_campaign,
    pause_campaign,
    resume_campaign,
    schedule_campaign,
)
from messaging.actions.claiming import begin_call
from messaging.actions.credits import save_policy
from messaging.actions.messages import MessageError, resend_unknown, settle_unknown
from messaging.actions.policies import save_setting
from messaging.actions.progress import advance_campaigns
from messaging.actions.reports import keep_reports
from messaging.actions.suppressions import suppress
from messaging.actions.unknowns import GIVE_UP_AFTER, give_up_unknowns
from messaging.actions.watching import find_stuck, watch_sending
from messaging.models import (
    Contact,
    CreditAccount,
    Flow,
    Frequency,
    Message,
    QuietHours,
    Sender,
    SendingPolicy,
    SendQueue,
)
from messaging.providers.base import Accepted, Refused
from messaging.queries import count_rows, find_campaign_drift, find_credit_drift, tally_of
from messaging.tasks import drain_messages
from messaging.webhooks import DeliveryReport as ReportSnapshot
from shopsync.models import Alert, Connection
from tests.messaging.campaigns import (
    add_contacts,
    launch,
    launched,
    make_campaign,
    make_ready_tenant,
    name_is_waited_for,
    pass_time,
)

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def tenant(sandbox):
    tenant = make_ready_tenant(sandbox.base_url)
    with tenancy.tenant_scope(tenant.pk):
        yield tenant
        assert find_campaign_drift(tenant_id=tenant.pk) == []
        assert find_credit_drift(tenant_id=tenant.pk) == []


def begin(limit=100):
    via = Connection.objects.get(service="mitto")
    return begin_call(queue_id=SendQueue.objects.get().pk, via=via, limit=limit, now=timezone.now())


def expire():
    """Let every lease end."""
    Message.objects.filter(status="leased").update(lease_until="2000-01-01T00:00:00Z")
    sweep(Message)


def ends(campaign):
    campaign.refresh_from_db()
    tally = tally_of(campaign.pk)
    assert tally == count_rows(campaign.pk)
    return campaign.status, {state: count.messages for state, count in tally.states.items()}


def balance(kind):
    return CreditAccount.objects.get(kind=kind).balance


def accepted(call):
    return [Accepted(str(row.reference), f"id-{row.id}") for row in call.rows]


def report(message, status="delivered", provider_id="p-1"):
    told = ReportSnapshot(
        provider_id=provider_id,
        status=status,
        raw_status=status,
        updated_at=timezone.now(),
        reference=str(message.reference),
    )
    keep_reports([told], connection_id=message.connection_id, now=timezone.now())


# To campaigns that are over


def test_what_comes_back_to_a_cancelled_campaign_is_closed_and_its_credits_are_given_back(tenant):
    campaign = launched(tenant, 5)
    call = begin()
    cancel_campaign(campaign_id=campaign.pk, actor="eve")
    advance_campaigns()
    outcomes.hand_back(call, blocker="provider_unavailable", error="429")
    assert ends(campaign) == ("cancelled", {"skipped": 5})
    assert (balance("held"), tally_of(campaign.pk).skipped) == (0, {"cancelled": 5})


def test_one_that_is_refused_for_now_in_a_cancelled_campaign_is_closed_too(tenant):
    campaign = launched(tenant, 2)
    call = begin()
    cancel_campaign(campaign_id=campaign.pk, actor="eve")
    advance_campaigns()
    first, second = call.rows
    answers = [Accepted(str(first.reference), "p1"), Refused(str(second.reference), "later", permanent=False)]
    outcomes.store(call, answers, now=timezone.now())
    assert ends(campaign) == ("cancelled", {"sent": 1, "skipped": 1})
    assert (balance("held"), balance("spent")) == (0, 1)


def test_what_comes_back_to_a_done_campaign_is_sent_and_it_is_done_again(tenant, sandbox):
    campaign = launched(tenant, 5)
    call = begin()
    expire()
    advance_campaigns()
    assert ends(campaign) == ("done", {"unknown": 5})
    outcomes.hand_back(call, blocker="provider_unavailable", error="429")
    assert ends(campaign) == ("sending", {"queued": 5})
    pass_time()
    assert ends(campaign) == ("done", {"sent": 5})
    assert len(sandbox.accepted()) == 5


def test_a_message_in_a_finished_flow_is_told_of(tenant):
    campaign = launched(tenant, 1)
    drain_messages()
    advance_campaigns()
    assert (ends(campaign)[0], find_stuck()) == ("done", [])
    Message.objects.update(status="ready", outcome="", due_at=timezone.now() - timedelta(minutes=5))
    assert "is queued, and its campaign is over" in find_stuck()[0]
    Message.objects.update(status="done", outcome="sent")


def test_a_re_send_after_the_end_is_sent_and_the_campaign_is_done_again(tenant, sandbox):
    campaign = launched(tenant, 5)
    begin()
    expire()
    advance_campaigns()
    resend_unknown(message_id=Message.objects.first().pk, actor="eve")
    pass_time()
    assert ends(campaign) == ("done", {"sent": 1, "unknown": 4})
    assert (len(sandbox.accepted()), balance("held"), balance("spent")) == (1, 4, 1)


def test_nothing_of_a_cancelled_campaign_is_sent_again_and_this_is_said(tenant):
    campaign = launched(tenant, 2)
    begin()
    expire()
    cancel_campaign(campaign_id=campaign.pk, actor="eve")
    message = Message.objects.first()
    with pytest.raises(MessageError, match="sends no more"):
        resend_unknown(message_id=message.pk, actor="eve")
    assert settle_unknown(message_id=message.pk, was_sent=False, actor="eve", now=timezone.now()).state == "failed"


# Proofs that come late


def test_a_re_send_that_was_stopped_is_delivered_when_the_first_call_was(tenant):
    launched(tenant, 1)
    begin()
    expire()
    message = Message.objects.get()
    resend_unknown(message_id=message.pk, actor="eve")
    suppress(channel="sms", addresses=[message.address], reason="stop", source="test", actor="test")
    pass_time()
    message.refresh_from_db()
    assert (message.state, balance("spent")) == ("skipped", 0)
    report(message)
    message.refresh_from_db()
    assert (message.state, message.credit, message.reason) == ("delivered", "house", "")


@pytest.mark.parametrize("ended_by", ["a person", "time"])
def test_an_answer_after_the_end_is_proof_and_the_house_pays(tenant, ended_by):
    launched(tenant, 1)
    call = begin()
    expire()
    message = Message.objects.get()
    if ended_by == "time":
        give_up_unknowns(now=timezone.now() + GIVE_UP_AFTER + timedelta(minutes=1))
    else:
        settle_unknown(message_id=message.pk, was_sent=False, actor="eve", now=timezone.now())
    outcomes.store(call, accepted(call), now=timezone.now())
    message.refresh_from_db()
    assert (message.state, message.credit) == ("sent", "house")
    assert (balance("held"), balance("available"), balance("house")) == (0, 1_000_000, -1)


def test_a_report_of_failure_before_our_commit_stays(tenant):
    launched(tenant, 1)
    call = begin()
    message = Message.objects.get()
    report(message, "failed", f"id-{message.pk}")  # the id that the answer brings
    outcomes.store(call, accepted(call), now=timezone.now())
    message.refresh_from_db()
    assert (message.state, message.credit) == ("failed", "settled")


def test_what_a_person_says_was_not_sent_is_not_counted_towards_the_cap(tenant, sandbox):
    SendingPolicy.objects.create(cap_messages=1)
    launched(tenant, 1)
    begin()
    expire()
    settle_unknown(message_id=Message.objects.get().pk, was_sent=False, actor="eve", now=timezone.now())
    second = make_campaign(tenant)
    launch(second)
    drain_messages()
    assert ends(second)[1] == {"sent": 1}


# Refusals


def test_what_stops_a_message_between_a_refusal_and_its_half_stops_it(tenant, sandbox, monkeypatch):
    campaign = launched(tenant, 4)
    people = list(Contact.objects.order_by("pk"))
    sandbox.behave(reports="none", refuse_calls=1)
    real = bisecting.halve

    def stop():
        with tenancy.tenant_scope(tenant.pk):
            suppress(channel="sms", addresses=[people[3].phone], reason="stop", source="test", actor="test")
        connections.close_all()

    def halve(call):
        thread = threading.Thread(target=stop)
        thread.start()
        thread.join()
        return real(call)

    monkeypatch.setattr(bisecting, "halve", halve)
    drain_messages()
    assert people[3].phone not in {row.destination for row in sandbox.accepted()}
    assert ends(campaign)[1] == {"sent": 3, "skipped": 1}
    assert balance("held") == 0


def test_a_half_whose_lease_ended_and_that_somebody_decided_on_is_not_called(tenant, sandbox, monkeypatch):
    campaign = launched(tenant, 4)
    sandbox.behave(reports="none", refuse_calls=1)
    real, begun = bisecting.begin_half, []

    def begin_late(half, **named):
        begun.append(half)
        if len(begun) == 2:
            expire()
            settle_unknown(message_id=half.rows[0].id, was_sent=False, actor="eve", now=timezone.now())
        return real(half, **named)

    monkeypatch.setattr(bisecting, "begin_half", begin_late)
    drain_messages()
    pass_time()
    decided = Message.objects.get(outcome="failed")
    assert decided.address not in {row.destination for row in sandbox.accepted()}
    assert ends(campaign)[1] == {"failed": 1, "sent": 3}
    assert (balance("held"), balance("spent"), len(sandbox.accepted())) == (0, 3, 3)


def test_a_refused_key_fails_nobody_and_mending_it_lets_everybody_go(tenant, sandbox):
    asked = []

    class Refuser(BaseHTTPRequestHandler):
        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            asked.append(self.path)
            self.send_response(401)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *arguments):
            """Say nothing."""

    campaign = launched(tenant, 16)
    with ThreadingHTTPServer(("127.0.0.1", 0), Refuser) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        Connection.objects.update(base_url=f"http://127.0.0.1:{server.server_address[1]}")
        drain_messages()
        server.shutdown()
    assert (len(asked), ends(campaign)[1]) == (1, {"queued": 16})
    message = Message.objects.select_related("campaign", "flow__queue").first()
    assert message.waits_for == "refused_with_401"
    watch_sending()
    assert "refused_with_401" in Alert.objects.get(kind="messages.refused", closed_at__isnull=True).message
    Connection.objects.update(base_url=sandbox.base_url)
    pass_time()
    assert ends(campaign) == ("done", {"sent": 16})
    watch_sending()
    assert not Alert.objects.filter(kind="messages.refused", closed_at__isnull=True).exists()


def test_one_that_is_refused_for_now_waits_longer_each_time(tenant):
    launched(tenant, 1)
    waits = []
    for _ in range(3):
        Message.objects.update(due_at=timezone.now())
        call = begin()
        outcomes.store(call, [Refused(str(call.rows[0].reference), "later", permanent=False)], now=timezone.now())
        waits.append((Message.objects.get().due_at - timezone.now()).total_seconds())
    assert [round(wait) for wait in waits] == [4, 8, 16]


# What changed after preparing


def test_two_campaigns_in_one_call_count_once_each_towards_a_cap(tenant, sandbox):
    SendingPolicy.objects.create(cap_messages=2)
    add_contacts(tenant, 5)
    first, second = make_campaign(tenant), make_campaign(tenant)
    launch(first)
    launch(second)
    pass_time()
    assert (ends(first), ends(second)) == (("done", {"sent": 5}), ("done", {"sent": 5}))
    assert len(sandbox.accepted()) == 10


def test_a_cap_that_is_set_later_counts_what_was_sent_before(tenant, sandbox):
    add_contacts(tenant, 5)
    first = make_campaign(tenant)
    launch(first)
    pass_time()
    policy = save_setting(SendingPolicy(), {"cap_messages": 2}, actor="test")
    assert [len(row.moments) for row in Frequency.objects.all()] == [1] * 5
    second, third = make_campaign(tenant), make_campaign(tenant)
    for campaign in (second, third):
        launch(campaign)
        pass_time()
    assert (ends(second), ends(third)) == (("done", {"sent": 5}), ("done", {"skipped": 5}))
    save_setting(policy, {"cap_messages": None}, actor="test")
    fourth = make_campaign(tenant)
    launch(fourth)
    pass_time()
    save_setting(policy, {"cap_messages": 4, "cap_hours": 48}, actor="test")
    assert [len(row.moments) for row in Frequency.objects.all()] == [3] * 5
    save_setting(policy, {"cap_hours": 72}, actor="test")  # looked at twice, counted once
    assert [len(row.moments) for row in Frequency.objects.all()] == [3] * 5


def test_a_cap_that_is_set_counts_a_call_that_is_just_beginning(tenant, sandbox):
    launched(tenant, 3)
    begun, may_end = threading.Event(), threading.Event()

    def begin():
        try:
            with tenancy.tenant_scope(tenant.pk), transaction.atomic():
                via = Connection.objects.get(service="mitto")
                begin_call(queue_id=SendQueue.objects.get().pk, via=via, limit=10, now=timezone.now())
                begun.set()
                assert may_end.wait(20)
        finally:
            connections.close_all()

    def set_cap():
        try:
            with tenancy.tenant_scope(tenant.pk):
                save_setting(SendingPolicy(), {"cap_messages": 2}, actor="test")
        finally:
            connections.close_all()

    with ThreadPoolExecutor(2) as pool:
        beginning = pool.submit(begin)
        assert begun.wait(20)
        setting = pool.submit(set_cap)
        wait_until(name_is_waited_for, 20, "the cap to wait for the call")
        may_end.set()
        beginning.result()
        setting.result()
    assert Frequency.objects.count() == 3


def test_hours_that_an_owner_changed_hold_for_what_is_prepared(tenant, sandbox):
    QuietHours.objects.create(starts_at="00:00", ends_at="00:00")
    campaign = launched(tenant, 2, keeps_quiet_hours=True)
    local = timezone.now().astimezone(timezone.get_fixed_timezone(0))
    quiet = {"starts_at": (local + timedelta(hours=5)).time(), "ends_at": (local + timedelta(hours=6)).time()}
    QuietHours.objects.update(**quiet)
    pass_time()
    assert (ends(campaign)[1], sandbox.accepted()) == ({"queued": 2}, [])
    assert set(Flow.objects.exclude(zones="").values_list("blocker", flat=True)) <= {"quiet_hours", ""}
    assert (balance("held"), balance("spent")) == (2, 0)


def test_who_moved_to_another_zone_is_written_to_by_its_clocks(tenant, sandbox):
    now = timezone.now()
    awake = next(f"Etc/GMT{-offset:+d}" for offset in range(-11, 13) if (now.hour + offset) % 24 == 12)
    asleep = next(f"Etc/GMT{-offset:+d}" for offset in range(-11, 13) if (now.hour + offset) % 24 == 3)
    add_contacts(tenant, 2, zone=awake)
    campaign = make_campaign(tenant, keeps_quiet_hours=True)
    launch(campaign)
    Contact.objects.filter(first_name="P1").update(timezone=asleep)
    pass_time()
    assert (ends(campaign)[1], len(sandbox.accepted())) == ({"queued": 1, "sent": 1}, 1)


def test_a_country_that_is_no_longer_written_to_is_skipped_at_the_call(tenant, sandbox):
    campaign = launched(tenant, 2)
    save_policy(daily_cap=None, low_balance_at=None, countries=["US"], actor="test")
    pass_time()
    assert (ends(campaign)[1], sandbox.accepted(), balance("held")) == ({"skipped": 2}, [], 0)
    assert tally_of(campaign.pk).skipped == {"country_not_allowed": 2}


def test_a_sender_that_was_put_away_stops_the_launch_or_blocks_what_runs(tenant, sandbox):
    add_contacts(tenant, 2)
    sender = Sender.objects.create(channel="sms", value="+302101112233")
    draft, running = (make_campaign(tenant, sender_id=sender.pk) for _ in range(2))
    launch(running)
    save_setting(sender, {"is_active": False}, actor="test")
    with pytest.raises(CampaignError, match="no active sender"):
        schedule_campaign(campaign_id=draft.pk, at=None, actor="test", now=timezone.now())
    drain_messages()  # its campaign took no step since
    pause_campaign(campaign_id=running.pk, actor="test")
    resumed = resume_campaign(campaign_id=running.pk, actor="test", now=timezone.now())
    drain_messages()
    assert (resumed.blocker, sandbox.accepted()) == ("sender_inactive", [])
    save_setting(sender, {"is_active": True}, actor="test")
    pass_time()
    assert ends(running) == ("done", {"sent": 2})
