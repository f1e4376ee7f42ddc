"""The calls of campaigns: what is asked once more, whose hours and caps hold, what a refusal or a cut leaves."""

from __future__ import annotations

from datetime import UTC, date, datetime, time
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from django.utils import timezone

from audit.tasks import drain_events
from config.infra import tenancy
from config.infra.cache import redis_client
from config.infra.ratelimit import Grant
from config.local.database import work_left
from messaging.actions import sending
from messaging.actions.composing import Composer
from messaging.actions.credits import save_policy
from messaging.actions.limits import forget_limits
from messaging.actions.progress import advance_campaigns
from messaging.actions.suppressions import suppress
from messaging.models import Attempt, Contact, Flow, Message, Sender, SendingPolicy, SendLimit
from messaging.queries import tally_of
from messaging.tasks import drain_messages
from shopsync.models import Alert
from tests.messaging.campaigns import (
    ZONE,
    add_contacts,
    balances,
    counts,
    launch,
    make_campaign,
    make_ready_tenant,
    make_sender_tenant,
    unblock,
)

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def tenant(sandbox):
    return make_ready_tenant(sandbox.base_url)


def test_an_opt_out_after_preparing_stops_the_message_and_gives_its_price_back(tenant, in_scope, sandbox):
    add_contacts(tenant, 3)
    campaign = make_campaign(tenant)
    launch(campaign)
    first = Contact.objects.order_by("pk").first()
    suppress(channel="sms", addresses=[first.phone], reason="stop", source="test", actor="test")
    drain_messages()
    assert counts(campaign) == {"sent": 2, "skipped": 1}
    assert (balances()["held"], balances()["spent"]) == (0, 2)
    assert {state: count.cost for state, count in tally_of(campaign.pk).states.items()} == {"sent": 2, "skipped": 0}


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
    drain_events()
    assert not work_left().is_idle
    before = list(Message.objects.order_by("pk").values("pk", "due_at", "blocker"))
    drain_messages()
    now = timezone.now()
    is_open = {zone: 8 <= now.astimezone(ZoneInfo(zone)).hour < 21 for zone in ("Pacific/Auckland", "Pacific/Honolulu")}
    assert counts(campaign).get("sent", 0) == 10 * sum(is_open.values())
    for flow in Flow.objects.all():
        assert (flow.blocker == "quiet_hours") is not is_open[flow.zones]
    assert list(Message.objects.order_by("pk").values("pk", "due_at", "blocker")) == before
    assert work_left().is_idle  # what waits for the hours is nobody's work now


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
