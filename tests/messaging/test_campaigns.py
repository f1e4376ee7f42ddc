"""Campaigns end to end, in one process: frozen, prepared, sent, paused, cancelled; counts that equal the rows."""

from __future__ import annotations

import threading
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from django.db import IntegrityError, connection, connections, transaction
from django.utils import timezone

from config.infra import tenancy
from config.infra.cache import redis_client
from config.infra.ratelimit import Grant, Level, grant
from config.local.processes import wait_until
from messaging.actions import campaigns, sending
from messaging.actions.campaigns import (
    CampaignError,
    begin_campaign,
    cancel_campaign,
    pause_campaign,
    resume_campaign,
    schedule_campaign,
)
from messaging.actions.composing import Composer
from messaging.actions.credits import save_policy, top_up
from messaging.actions.freezing import freeze
from messaging.actions.limits import forget_limits
from messaging.actions.progress import advance_campaigns
from messaging.actions.suppressions import suppress
from messaging.models import Attempt, Campaign, Contact, CreditAccount, Flow, Message, Sender, SendingPolicy, SendLimit
from messaging.providers.sandbox import SandboxServer
from messaging.queries import count_rows, find_credit_drift, tally_of
from messaging.tasks import drain_messages
from shopsync.models import Alert
from tests.factories import make_tenant
from tests.messaging.campaigns import ZONE, add_contacts, launch, make_campaign, make_sender_tenant, unblock

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def sandbox():
    with SandboxServer() as server:
        server.behave(reports="none")
        yield server


@pytest.fixture
def tenant(sandbox):
    tenant = make_sender_tenant(sandbox.base_url)
    wait_until(lambda: isinstance(grant([Level(f"warm-{tenant.pk}", 10**6)]), Grant), 5, "the limiter to warm up")
    return tenant


@pytest.fixture
def in_scope(tenant):
    with tenancy.tenant_scope(tenant.pk):
        yield


def balances():
    return {row.kind: row.balance for row in CreditAccount.objects.all()}


def counts(campaign):
    """Return how many messages are in each state; the tally is what the rows say."""
    tally = tally_of(campaign.pk)
    assert tally == count_rows(campaign.pk)
    return {state: count.messages for state, count in tally.states.items()}


def test_everybody_gets_it_once_and_what_was_accepted_is_paid(tenant, in_scope, sandbox):
    add_contacts(tenant, 25)
    campaign = make_campaign(tenant)
    launch(campaign)
    assert counts(campaign) == {"queued": 25}
    assert (balances()["held"], balances()["spent"]) == (25, 0)
    drain_messages()
    advance_campaigns()
    campaign.refresh_from_db()
    assert (campaign.status, counts(campaign)) == ("done", {"sent": 25})
    assert (balances()["held"], balances()["spent"]) == (0, 25)
    texts = sorted(row.text for row in sandbox.accepted())
    assert texts == sorted(f"Hello P{n}" for n in range(1, 26))
    assert find_credit_drift(tenant_id=tenant.pk) == []


def test_a_large_audience_is_frozen_by_the_next_step_and_nobody_waits(tenant, in_scope, monkeypatch):
    add_contacts(tenant, 6)
    campaign = make_campaign(tenant)
    monkeypatch.setattr(campaigns, "AT_ONCE", 5)
    schedule_campaign(campaign_id=campaign.pk, at=None, actor="test", now=timezone.now())
    campaign.refresh_from_db()
    assert (campaign.status, Message.objects.count()) == ("scheduled", 0)
    advance_campaigns()
    assert counts(campaign) == {"queued": 6}


def test_a_freeze_may_take_longer_than_other_statements_and_one_process_is_at_it(tenant, in_scope):
    add_contacts(tenant, 3)
    campaign = make_campaign(tenant)
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL statement_timeout = '30s'")
        assert freeze(campaign) == 3
        cursor.execute("SHOW statement_timeout")
        assert cursor.fetchone() == ("220s",)
        transaction.set_rollback(True)
    Campaign.objects.update(status="scheduled", scheduled_at=timezone.now())
    begun = []

    def begin_beside():
        with tenancy.tenant_scope(tenant.pk):
            begun.append(begin_campaign(campaign_id=campaign.pk, now=timezone.now()))
        connections.close_all()

    with transaction.atomic():
        begin_campaign(campaign_id=campaign.pk, now=timezone.now())
        thread = threading.Thread(target=begin_beside)
        thread.start()
        thread.join()
    assert (begun, counts(campaign)) == ([None], {"waiting": 3})


def test_who_is_not_written_to_is_a_row_with_its_reason(tenant, in_scope, sandbox):
    add_contacts(tenant, 6)
    one, two, three, four, five, six = Contact.objects.order_by("pk")
    suppress(channel="sms", addresses=[one.phone], reason="stop", source="test", actor="test")
    two.consents.create(channel="sms", state="unsubscribed", source="test", source_version="2")
    three.consents.create(channel="sms", state="pending", source="test", source_version="2")
    four.consents.create(channel="sms", state="subscribed", address=five.phone, source="test", source_version="2")
    Contact.objects.create(first_name="nowhere")
    campaign = make_campaign(tenant)
    launch(campaign)
    assert tally_of(campaign.pk).skipped == {
        "suppressed": 1,
        "unsubscribed": 1,
        "no_consent": 1,
        "duplicate_address": 1,
        "no_address": 1,
    }
    reasons = dict(Message.objects.filter(campaign=campaign).values_list("contact_id", "reason"))
    assert (reasons[four.pk], reasons[five.pk], reasons[six.pk]) == ("", "duplicate_address", "")
    drain_messages()
    assert counts(campaign) == {"skipped": 5, "sent": 2}
    assert sorted(row.destination for row in sandbox.accepted()) == [five.phone, six.phone]


def test_a_hold_out_is_a_matter_of_campaign_and_contact(tenant, in_scope):
    add_contacts(tenant, 400)
    first, second = (make_campaign(tenant, holdout_percent=Decimal(25)) for _ in range(2))
    for campaign in (first, second):
        launch(campaign)
    held = [
        set(Message.objects.filter(campaign=campaign, reason="held_out").values_list("contact_id", flat=True))
        for campaign in (first, second)
    ]
    assert all(60 <= len(who) <= 140 for who in held)
    assert held[0] != held[1]


def test_the_database_refuses_a_second_message_to_a_contact_or_an_address(tenant, in_scope):
    add_contacts(tenant, 2)
    campaign = make_campaign(tenant)
    launch(campaign)
    message = Message.objects.first()
    other = Contact.objects.create(first_name="other")
    for contact, address, name in (
        (message.contact, "+306900009999", "message_is_one_per_contact"),
        (other, message.address, "message_is_one_per_address"),
    ):
        with pytest.raises(IntegrityError, match=name), transaction.atomic():
            Message.objects.create(campaign=campaign, contact=contact, address=address, channel="sms")


def test_a_missing_value_skips_its_recipient_and_holds_nothing(tenant, in_scope):
    add_contacts(tenant, 3)
    Contact.objects.filter(first_name="P2").update(first_name="")
    campaign = make_campaign(tenant)
    launch(campaign)
    assert counts(campaign) == {"queued": 2, "skipped": 1}
    assert tally_of(campaign.pk).skipped == {"missing_value: contact.first_name": 1}
    assert balances()["held"] == 2


def test_out_of_credits_blocks_the_campaign_and_a_top_up_lifts_it(sandbox, tenant):
    poor = make_sender_tenant(sandbox.base_url, paid="10")
    add_contacts(poor, 25)
    campaign = make_campaign(poor)
    launch(campaign)
    with tenancy.tenant_scope(poor.pk):
        campaign.refresh_from_db()
        assert (campaign.blocker, counts(campaign)) == ("no_credits", {"queued": 10, "waiting": 15})
        drain_messages()
        advance_campaigns()
        assert counts(campaign) == {"sent": 10, "waiting": 15}
        waiting = Message.objects.filter(flow__isnull=True).select_related("campaign", "flow__queue").first()
        assert waiting.waits_for == "no_credits"
        top_up(amount=Decimal(15), key="more", actor="test")
        advance_campaigns()
        drain_messages()
        advance_campaigns()
        campaign.refresh_from_db()
        assert (campaign.status, campaign.blocker, counts(campaign)) == ("done", "", {"sent": 25})
        assert balances() == {"funding": -25, "available": 0, "held": 0, "spent": 25, "house": 0}


def test_while_credits_are_short_of_the_next_recipient_one_is_composed_and_no_more(sandbox, monkeypatch):
    poor = make_sender_tenant(sandbox.base_url, paid="0.5")
    add_contacts(poor, 25)
    campaign = make_campaign(poor)
    launch(campaign)
    composed = []
    real = Composer.compose
    monkeypatch.setattr(
        Composer, "compose", lambda self, rows, **now: composed.append(len(rows)) or real(self, rows, **now)
    )
    advance_campaigns()
    assert composed == [1]
    with tenancy.tenant_scope(poor.pk):
        top_up(amount=Decimal(30), key="more", actor="test")
        advance_campaigns()
        assert counts(campaign) == {"queued": 25}
    assert composed == [1, 1, 24]


def test_one_that_cannot_be_composed_costs_nobody_else_theirs(tenant, in_scope, monkeypatch, caplog):
    add_contacts(tenant, 5)
    real = Composer._write

    def write(self, row):
        if row.contact.first_name == "P3":
            raise ZeroDivisionError("of ours")
        return real(self, row)

    monkeypatch.setattr(Composer, "_write", write)
    campaign = make_campaign(tenant)
    launch(campaign)
    assert counts(campaign) == {"queued": 4, "skipped": 1}
    assert tally_of(campaign.pk).skipped == {"composing_failed": 1}
    assert "can't be composed" in caplog.text


def test_a_campaign_whose_step_fails_says_so_until_one_does_not(tenant, in_scope, monkeypatch):
    add_contacts(tenant, 5)
    campaign = make_campaign(tenant)
    with monkeypatch.context() as patch:
        patch.setattr(Composer, "compose", lambda self, rows, **now: 1 / 0)
        with pytest.raises(ExceptionGroup):
            launch(campaign)
        campaign.refresh_from_db()
        assert campaign.blocker == "failed: see the log"
    advance_campaigns()
    campaign.refresh_from_db()
    assert (campaign.blocker, counts(campaign)) == ("", {"queued": 5})


def test_a_pause_blocks_two_rows_and_a_resume_lets_go(tenant, in_scope, sandbox):
    add_contacts(tenant, 20)
    campaign = make_campaign(tenant)
    launch(campaign)
    before = list(Message.objects.order_by("pk").values())
    pause_campaign(campaign_id=campaign.pk, actor="eve")
    assert list(Message.objects.order_by("pk").values()) == before
    drain_messages()
    assert sandbox.accepted() == []
    assert Message.objects.select_related("campaign", "flow__queue").first().waits_for == "paused_by:eve"
    resume_campaign(campaign_id=campaign.pk, actor="eve", now=timezone.now())
    drain_messages()
    assert counts(campaign) == {"sent": 20}


def test_a_cancelled_campaign_closes_its_rows_and_gives_back_what_it_held(tenant, in_scope, sandbox):
    add_contacts(tenant, 20)
    campaign = make_campaign(tenant)
    launch(campaign)
    cancel_campaign(campaign_id=campaign.pk, actor="eve")
    drain_messages()
    assert sandbox.accepted() == []
    advance_campaigns()
    campaign.refresh_from_db()
    assert (campaign.status, campaign.blocker, counts(campaign)) == ("cancelled", "", {"skipped": 20})
    assert (balances()["held"], balances()["available"]) == (0, 1_000_000)


def test_an_expired_campaign_sends_no_more(tenant, in_scope, sandbox):
    add_contacts(tenant, 5)
    campaign = make_campaign(tenant, expires_at=timezone.now() + timedelta(hours=1))
    launch(campaign)
    Campaign.objects.update(expires_at=timezone.now())
    drain_messages()
    advance_campaigns()
    campaign.refresh_from_db()
    assert (campaign.status, tally_of(campaign.pk).skipped) == ("done", {"expired": 5})
    assert (sandbox.accepted(), balances()["held"]) == ([], 0)


def test_an_opt_out_after_preparing_stops_the_message_and_gives_its_price_back(tenant, in_scope, sandbox):
    add_contacts(tenant, 3)
    campaign = make_campaign(tenant)
    launch(campaign)
    first = Contact.objects.order_by("pk").first()
    suppress(channel="sms", addresses=[first.phone], reason="stop", source="test", actor="test")
    drain_messages()
    assert counts(campaign) == {"sent": 2, "skipped": 1}
    assert (balances()["held"], balances()["spent"]) == (0, 2)


def test_a_cap_on_frequency_counts_campaigns_and_gives_back_what_was_not_sent(tenant, in_scope, sandbox):
    SendingPolicy.objects.create(cap_messages=1)
    add_contacts(tenant, 3)
    first, second, third = (make_campaign(tenant) for _ in range(3))
    launch(first)
    launch(second)
    sandbox.behave(reports="none", throttle=1)
    drain_messages()  # throttled: surely not sent, and not counted
    unblock()
    Message.objects.filter(status="ready").update(due_at="2000-01-01T00:00:00Z")
    drain_messages()
    sent = counts(first).get("sent", 0) + counts(second).get("sent", 0)
    skipped = counts(first).get("skipped", 0) + counts(second).get("skipped", 0)
    assert (sent, skipped, len(sandbox.accepted())) == (3, 3, 3)
    launch(third)
    assert tally_of(third.pk).skipped == {"frequency_cap": 3}


def test_quiet_hours_block_the_flow_and_not_its_rows(tenant, in_scope, sandbox):
    add_contacts(tenant, 10, zone="Pacific/Auckland")
    add_contacts(tenant, 10, first=10, zone="Pacific/Honolulu")
    campaign = make_campaign(tenant, keeps_quiet_hours=True)
    launch(campaign)
    before = list(Message.objects.order_by("pk").values("pk", "due_at", "blocker"))
    drain_messages()
    now = timezone.now()
    is_open = {zone: 8 <= now.astimezone(ZoneInfo(zone)).hour < 21 for zone in ("Pacific/Auckland", "Pacific/Honolulu")}
    assert counts(campaign).get("sent", 0) == 10 * sum(is_open.values())
    for flow in Flow.objects.all():
        assert (flow.blocker == "quiet_hours") is not is_open[flow.zones]
    assert list(Message.objects.order_by("pk").values("pk", "due_at", "blocker")) == before


@pytest.mark.parametrize(
    ("day", "hour", "expected"),
    [
        # The tenant's Athens says 10:00; each person's own clocks say so too, before and after they change.
        (date(2026, 3, 7), 10, {"America/New_York": "2026-03-07T15:00", "Pacific/Auckland": "2026-03-06T21:00"}),
        (date(2026, 3, 8), 10, {"America/New_York": "2026-03-08T14:00", "Pacific/Auckland": "2026-03-07T21:00"}),
        (date(2026, 11, 1), 10, {"America/New_York": "2026-11-01T15:00", "Pacific/Kiritimati": "2026-10-31T20:00"}),
        # 2:30 is leapt over on 8 March in New York, and is there twice, an hour apart, on 1 November at 1:30.
        (date(2026, 3, 8), 2.5, {"America/New_York": "2026-03-08T07:30", "Asia/Kolkata": "2026-03-07T21:00"}),
        (date(2026, 11, 1), 1.5, {"America/New_York": "2026-11-01T05:30", "Pacific/Pago_Pago": "2026-11-01T12:30"}),
    ],
)
def test_a_local_time_is_that_of_each_recipients_clocks(tenant, in_scope, day, hour, expected):
    for number, zone in enumerate(expected):
        add_contacts(tenant, 1, first=number, zone=zone)
    campaign = make_campaign(tenant, is_local_time=True)
    wall = datetime.combine(day, time(int(hour), int(hour % 1 * 60)), tzinfo=ZoneInfo(ZONE))
    rows = [
        Message(campaign=campaign, contact=contact, address=contact.phone, channel="sms", pk=contact.pk)
        for contact in Contact.objects.all()
    ]
    campaign.scheduled_at = wall
    zones = dict(Contact.objects.values_list("pk", "timezone"))
    composed = Composer(campaign).compose(rows, now=timezone.now())
    due = {zones[one.id]: one.due_at.astimezone(UTC).isoformat()[:16] for one in composed}
    assert due == expected


def test_the_days_cap_blocks_the_campaign_and_a_low_balance_is_told(tenant, in_scope, sandbox):
    save_policy(daily_cap=Decimal(10), low_balance_at=Decimal(999_995), countries=[], actor="test")
    add_contacts(tenant, 25)
    campaign = make_campaign(tenant)
    launch(campaign)
    campaign.refresh_from_db()
    assert (campaign.blocker, counts(campaign)) == ("daily_cap", {"queued": 10, "waiting": 15})
    assert Alert.objects.get(kind="credits.low", closed_at__isnull=True).severity == "warning"
    drain_messages()
    advance_campaigns()
    assert counts(campaign) == {"sent": 10, "waiting": 15}
    save_policy(daily_cap=Decimal(30), low_balance_at=None, countries=[], actor="test")
    advance_campaigns()
    drain_messages()
    assert counts(campaign) == {"sent": 25}
    assert len(sandbox.accepted()) == 25


def test_a_redis_that_is_emptied_while_sending_lets_nothing_out_for_a_window(tenant, in_scope, sandbox, monkeypatch):
    SendingPolicy.objects.create(batch_size=1)
    SendLimit.objects.create(level="tenant", subject=str(tenant.pk), requests_per_second=5)
    forget_limits()
    add_contacts(tenant, 12)
    launch(make_campaign(tenant))
    real, granted = sending.grant, []

    def grant_and_empty(levels):
        found = real(levels)
        if isinstance(found, Grant):
            granted.append(found.granted_at_ms)
            if len(granted) == 3:
                redis_client().flushdb()
        return found

    monkeypatch.setattr(sending, "grant", grant_and_empty)
    drain_messages()
    assert len(sandbox.accepted()) == len(granted) == 12
    assert granted[3] - granted[2] >= 1000
    assert max(sum(at <= other < at + 1000 for other in granted) for at in granted) <= 5


def test_a_refused_call_is_halved_until_the_one_at_fault_is_found(tenant, in_scope, sandbox):
    sandbox.behave(reports="none", refuse_destinations=["+306900000003"])
    add_contacts(tenant, 8)
    campaign = make_campaign(tenant)
    launch(campaign)
    drain_messages()
    assert counts(campaign) == {"sent": 7, "failed": 1}
    assert (balances()["held"], balances()["spent"]) == (0, 7)


def test_a_cut_connection_leaves_unknowns_that_keep_their_hold_and_the_campaign_is_done(tenant, in_scope, sandbox):
    sandbox.behave(reports="none", cut_after_acceptance=1)
    add_contacts(tenant, 8)
    campaign = make_campaign(tenant)
    launch(campaign)
    drain_messages()
    advance_campaigns()
    campaign.refresh_from_db()
    assert (campaign.status, counts(campaign), balances()["held"]) == ("done", {"unknown": 8}, 8)


def test_a_limited_sender_of_a_campaign_gets_smaller_batches_and_passes_no_second(tenant, in_scope, sandbox):
    limited = Sender.objects.create(channel="sms", value="Slow", recipients_per_second=10)
    add_contacts(tenant, 25)
    launch(make_campaign(tenant, sender_id=limited.pk))
    launch(make_campaign(tenant))
    drain_messages()
    slow = sorted(row.accepted_at for row in sandbox.accepted() if row.sender == "Slow")
    fast = [row for row in sandbox.accepted() if row.sender == "Shop"]
    assert (len(slow), len(fast)) == (25, 25)
    windows = [sum(at <= other < at + 0.9 for other in slow) for at in slow]
    assert max(windows) <= 10
    assert slow[-1] - slow[0] > 1.5


def test_what_fails_of_one_tenant_is_named_and_ends_nobody_elses_turn(tenant, in_scope, sandbox, monkeypatch):
    broken = make_sender_tenant(sandbox.base_url)
    real = sending.begin_call

    def fail_for_one(**arguments):
        if arguments["via"].tenant_id == broken.pk:
            raise RuntimeError("of ours")
        return real(**arguments)

    monkeypatch.setattr(sending, "begin_call", fail_for_one)
    for each in (broken, tenant):
        add_contacts(each, 3, first=each.pk * 1000)
        launch(make_campaign(each))
    drain_messages()
    assert len(sandbox.accepted()) == 3
    with tenancy.tenant_scope(broken.pk):
        message = Message.objects.select_related("campaign", "flow__queue").first()
        assert message.waits_for == "failed: see the log"


def test_a_full_call_of_which_one_is_skipped_is_filled_up_with_others(tenant, in_scope, sandbox):
    SendingPolicy.objects.create(cap_messages=1, batch_size=3)
    add_contacts(tenant, 5)
    launch(make_campaign(tenant))
    suppress(channel="sms", addresses=["+306900000002"], reason="operator", source="test", actor="test")
    drain_messages()
    states = dict(Message.objects.values_list("address", "outcome"))
    assert states == {f"+30690000000{n}": "skipped" if n == 2 else "sent" for n in range(1, 6)}
    assert list(Attempt.objects.order_by("pk").values_list("message_count", flat=True)) == [3, 1]


def test_a_campaign_of_another_tenant_does_not_exist(tenant, in_scope):
    campaign = make_campaign(tenant)
    with tenancy.tenant_scope(make_tenant().pk):
        for action in (pause_campaign, cancel_campaign):
            with pytest.raises(Campaign.DoesNotExist):
                action(campaign_id=campaign.pk, actor="eve")


def test_moves_that_make_no_sense_are_refused_in_words(tenant, in_scope):
    campaign = make_campaign(tenant)
    with pytest.raises(CampaignError, match="nothing to pause"):
        pause_campaign(campaign_id=campaign.pk, actor="eve")
    with pytest.raises(CampaignError, match="not paused"):
        resume_campaign(campaign_id=campaign.pk, actor="eve", now=timezone.now())
    launch(campaign)
    with pytest.raises(CampaignError, match="only a draft"):
        schedule_campaign(campaign_id=campaign.pk, at=None, actor="eve", now=timezone.now())
