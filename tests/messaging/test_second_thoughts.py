"""What an adversary tried: a stranger's sign-up, a sender put away, a re-send under a cap, costs that nobody paid."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from django.core.exceptions import ValidationError
from django.db import connection, connections, transaction
from django.test import Client
from django.utils import timezone

from config.infra import tenancy
from config.local.processes import wait_until
from messaging.actions import outcomes
from messaging.actions.campaigns import CampaignError, pause_campaign, resume_campaign, schedule_campaign
from messaging.actions.claiming import begin_call
from messaging.actions.consent import state_consent
from messaging.actions.credits import save_policy
from messaging.actions.forms import save_form
from messaging.actions.messages import resend_unknown
from messaging.actions.policies import save_setting
from messaging.actions.previews import ask_for_report, send_test
from messaging.actions.profiles import change_contact, create_contact
from messaging.actions.progress import advance_campaigns
from messaging.actions.questions import _unprepare
from messaging.actions.reports import keep_reports
from messaging.models import ConsentState, Contact, CreditAccount, Message, Sender, SendingPolicy, SendQueue
from messaging.queries import find_campaign_drift, find_credit_drift, tally_of, waits_for
from messaging.rendering import TemplateError, check_template, render_text
from messaging.tasks import drain_messages
from messaging.webhooks import DeliveryReport
from shopsync.models import Connection
from tests.factories import deliver, drain_all
from tests.messaging.campaigns import add_contacts, launch, launched, make_campaign, make_ready_tenant, unblock
from tests.messaging.test_contacts import order, sms_consent

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def tenant(sandbox):
    tenant = make_ready_tenant(sandbox.base_url)
    with tenancy.tenant_scope(tenant.pk):
        yield tenant
        assert find_campaign_drift(tenant_id=tenant.pk) == []
        assert find_credit_drift(tenant_id=tenant.pk) == []


def begin():
    via = Connection.objects.get(service="mitto")
    return begin_call(queue_id=SendQueue.objects.get().pk, via=via, limit=100, now=timezone.now())


def make_unknown(campaign):
    outcomes.park(begin(), error="cut")
    return Message.objects.get(campaign=campaign)


def report(message, status):
    told = DeliveryReport(
        provider_id="p-1", status=status, raw_status=status, updated_at=timezone.now(), reference=str(message.reference)
    )
    with transaction.atomic():
        keep_reports([told], connection_id=message.connection_id, now=timezone.now())


def sale_is_sent(campaign):
    unblock()
    Message.objects.filter(status="ready").update(due_at="2000-01-01T00:00:00Z")
    drain_messages()
    return tally_of(campaign.pk).states


# Templates


@pytest.mark.parametrize(
    "template",
    [
        "{{ (1..9999999) | join: '' | size }}",
        "{% for i in (1..9999999) reversed %}{% break %}{% endfor %}x",
        "{% assign r = (1..9999999) %}{{ r.size }}",
        "{{ (1..contact.attributes.n) | join: '' | size }}",
    ],
)
def test_a_range_that_is_too_long_is_refused_before_anything_is_made_of_it(template):
    contact = {"contact": {"attributes": {"n": 9_999_999}}}
    with pytest.raises(TemplateError, match="a range is too long"):
        render_text(template, contact)
    if "attributes" not in template:
        with pytest.raises(TemplateError, match="a range is too long"):
            check_template(template)
    assert render_text("{{ (1..5) | join: '-' }}", {}) == "1-2-3-4-5"


# Consent


def submit(form, **given):
    answer = Client().post(f"/forms/{form.token}", given, HTTP_ACCEPT="application/json")
    assert answer.status_code in {200, 202}, answer.content


@pytest.mark.parametrize("double_opt_in", [True, False])
def test_a_strangers_sign_up_ends_and_moves_nobodys_subscription(tenant, double_opt_in):
    contact = create_contact(values={"email": "old@example.com"}, actor="t", now=timezone.now())
    change_contact(contact_id=contact.pk, values={"email": "new@example.com"}, actor="t", now=timezone.now())
    stated = {"channel": "email", "state": "subscribed", "source": "t", "stated_at": timezone.now(), "actor": "t"}
    state_consent(contact=Contact.objects.get(), **stated)
    form = save_form(
        form_id=None,
        values={"name": "f", "channels": ["email"], "text_shown": "News?", "double_opt_in": double_opt_in},
        actor="t",
        now=timezone.now(),
    )
    submit(form, email="old@example.com", agree="on")
    assert Contact.objects.count() == 1
    state = ConsentState.objects.get()
    assert (state.state, state.address, state.lapsed_at) == ("subscribed", "new@example.com", None)


def test_who_gave_up_an_address_and_signs_up_with_it_again_is_asked_and_may_confirm(tenant):
    contact = create_contact(values={"email": "old@example.com"}, actor="t", now=timezone.now())
    stated = {"channel": "email", "state": "subscribed", "source": "t", "stated_at": timezone.now(), "actor": "t"}
    state_consent(contact=contact, **stated)
    change_contact(contact_id=contact.pk, values={"email": "new@example.com"}, actor="t", now=timezone.now())
    assert ConsentState.objects.get().lapsed_at is not None
    form = save_form(
        form_id=None, values={"name": "f", "channels": ["email"], "text_shown": "News?"}, actor="t", now=timezone.now()
    )
    submit(form, email="old@example.com", agree="on")
    assert ConsentState.objects.get().state == "pending"
    assert Message.objects.get(trigger=f"form:{form.pk}").address == "old@example.com"


def test_an_order_that_is_older_than_the_consent_lapses_none_in_either_order(sandbox):
    steps = [
        ("customers_marketing_consent/update", sms_consent(at="2026-11-05T00:00:00Z")),
        ("orders/create", order(7, customer={"id": 1}, phone="+306900000009", updated_at="2026-11-01T00:00:00Z")),
    ]
    for ordered in (steps, steps[::-1]):
        tenant = make_ready_tenant(sandbox.base_url)
        with tenancy.tenant_scope(tenant.pk):
            for topic, body in ordered:
                deliver(topic, {**body, "x": tenant.pk}, tenant)
                drain_all()
            assert ConsentState.objects.get(channel="sms").lapsed_at is None


# Senders


def test_a_campaign_that_sends_again_does_not_from_a_sender_that_was_put_away(tenant, sandbox):
    sender = Sender.objects.create(channel="sms", value="+302101112233")
    campaign = launched(tenant, 1, sender_id=sender.pk)
    message = make_unknown(campaign)
    advance_campaigns()
    save_setting(sender, {"is_active": False}, actor="t")
    resend_unknown(message_id=message.pk, actor="eve")
    drain_messages()
    campaign.refresh_from_db()
    assert (campaign.blocker, sandbox.accepted()) == ("sender_inactive", [])
    with pytest.raises(CampaignError, match="put away"):
        send_test(campaign=campaign, contact_id=message.contact_id, actor="eve", now=timezone.now())


def test_a_resume_while_the_sender_is_being_put_away_sends_nothing(tenant, sandbox):
    sender = Sender.objects.create(channel="sms", value="+302101112233")
    campaign = launched(tenant, 2, sender_id=sender.pk)
    pause_campaign(campaign_id=campaign.pk, actor="t")
    put_away, may_commit = threading.Event(), threading.Event()

    def put():
        try:
            with tenancy.tenant_scope(tenant.pk), transaction.atomic():
                save_setting(Sender.objects.get(), {"is_active": False}, actor="t")
                put_away.set()
                assert may_commit.wait(20)
        finally:
            connections.close_all()

    def resume():
        try:
            with tenancy.tenant_scope(tenant.pk):
                resume_campaign(campaign_id=campaign.pk, actor="t", now=timezone.now())
        finally:
            connections.close_all()

    def is_waiting():
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
            return cursor.fetchone()[0] >= 1

    with ThreadPoolExecutor(2) as pool:
        putting = pool.submit(put)
        assert put_away.wait(20)
        resuming = pool.submit(resume)
        wait_until(is_waiting, 20, "the resume to wait for the sender")
        may_commit.set()
        putting.result()
        resuming.result()
    drain_messages()
    campaign.refresh_from_db()
    assert (campaign.blocker, sandbox.accepted()) == ("sender_inactive", [])


def test_a_sender_stays_of_its_channel_and_two_who_save_it_lose_nothing(tenant):
    sender = Sender.objects.create(channel="sms", value="+302101112233")
    mine, theirs = Sender.objects.get(), Sender.objects.get()
    with pytest.raises(ValidationError, match="stays of its channel"):
        save_setting(sender, {"channel": "email", "value": "a@b.gr"}, actor="t")
    save_setting(mine, {"is_active": False}, actor="t")
    save_setting(theirs, {"recipients_per_second": 5}, actor="t")
    sender.refresh_from_db()
    assert (sender.is_active, sender.recipients_per_second) == (False, 5)


# Once more, and late


def test_a_resend_goes_out_under_a_cap_that_the_first_call_had_filled(tenant, sandbox):
    SendingPolicy.objects.create(cap_messages=1)
    campaign = launched(tenant, 1)
    resend_unknown(message_id=make_unknown(campaign).pk, actor="eve")
    assert "sent" in sale_is_sent(campaign)
    assert len(sandbox.accepted()) == 1


def test_a_late_failure_of_the_first_call_does_not_end_what_is_sent_again_and_a_late_delivery_does(tenant, sandbox):
    campaign = launched(tenant, 1)
    message = make_unknown(campaign)
    resend_unknown(message_id=message.pk, actor="eve")
    report(message, "failed")
    assert Message.objects.get().status == "ready"
    assert "sent" in sale_is_sent(campaign)


def test_what_is_delivered_after_it_was_taken_back_to_be_prepared_is_paid_by_the_house(tenant, sandbox):
    campaign = launched(tenant, 1)
    message = make_unknown(campaign)
    resend_unknown(message_id=message.pk, actor="eve")
    with transaction.atomic():
        _unprepare([message.pk])
    report(message, "delivered")
    message.refresh_from_db()
    assert (message.outcome, message.credit, message.price) == ("delivered", "house", 1)
    assert CreditAccount.objects.get(kind="held").balance == 0


def test_one_that_costs_more_than_a_day_may_holds_up_nobody(tenant, sandbox):
    save_policy(daily_cap=Decimal(3), low_balance_at=None, countries=[], actor="t")
    add_contacts(tenant, 3)
    dear = Contact.objects.order_by("pk").first()
    change_contact(contact_id=dear.pk, values={"first_name": "x" * 200}, actor="t", now=timezone.now())
    campaign = make_campaign(tenant, text="{{ contact.first_name }} " * 4)
    told = ask_for_report(campaign_id=campaign.pk, now=timezone.now()).preflight
    assert (told["skipped"], told["days_under_cap"]) == ({"over_daily_cap": 1}, 1)
    launch(campaign)
    assert sale_is_sent(campaign)["sent"].messages == 2


# What is told


def test_a_campaign_at_each_ones_hour_waits_for_its_time_and_the_report_knows_when_that_is(tenant):
    add_contacts(tenant, 2, zone="Asia/Tokyo")
    campaign = make_campaign(tenant, is_local_time=True)
    at = timezone.now() + timedelta(hours=20)  # by the clocks of Athens: 13 or 14 hours from now in Tokyo
    told = ask_for_report(campaign_id=campaign.pk, at=at, now=timezone.now()).preflight
    ahead = at - datetime.fromisoformat(told["first_may_start_at"])
    assert timedelta(hours=6) <= ahead <= timedelta(hours=7)
    schedule_campaign(campaign_id=campaign.pk, at=at, actor="t", now=timezone.now())
    advance_campaigns()
    campaign.refresh_from_db()
    assert (waits_for(campaign), {one.waits_for for one in Message.objects.all()}) == ("its_time", {"its_time"})


def test_the_report_says_whose_hour_is_over_and_why_nobody_gets_it(tenant):
    add_contacts(tenant, 2, zone="Asia/Tokyo")
    soon = timezone.now() + timedelta(minutes=30)
    late = make_campaign(tenant, is_local_time=True)
    told = ask_for_report(campaign_id=late.pk, at=soon, now=timezone.now()).preflight
    assert (told["hour_is_over"], told["warnings"]) == (
        2,
        ["For 2 recipients that hour is over by their clocks: they get it at once."],
    )
    nobody = make_campaign(tenant, text="{{ contact.attributes.none }}")
    told = ask_for_report(campaign_id=nobody.pk, now=timezone.now()).preflight
    assert told["warnings"] == ["Nobody would get it: 2 missing_value: contact.attributes.none."]


def test_the_report_reckons_with_the_senders_own_limit(tenant):
    Sender.objects.create(channel="sms", value="Shop", recipients_per_second=4)
    add_contacts(tenant, 40)
    told = ask_for_report(campaign_id=make_campaign(tenant).pk, now=timezone.now()).preflight
    assert (told["calls"], told["seconds_under_limits"]) == (10, 10.0)


def test_a_report_far_in_the_future_is_refused(tenant):
    campaign = make_campaign(tenant, is_local_time=True)
    with pytest.raises(CampaignError, match="days ahead"):
        ask_for_report(campaign_id=campaign.pk, at=datetime(9999, 12, 31, tzinfo=UTC), now=timezone.now())
