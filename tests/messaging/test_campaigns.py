"""Campaigns end to end, in one process: frozen, prepared, sent, paused, cancelled; counts that equal the rows."""

from __future__ import annotations

import threading
from datetime import timedelta
from decimal import Decimal

import pytest
from django.db import IntegrityError, connection, connections, transaction
from django.utils import timezone

from config.infra import tenancy
from messaging.actions import campaigns
from messaging.actions.campaigns import (
    CampaignError,
    begin_campaign,
    cancel_campaign,
    pause_campaign,
    resume_campaign,
    schedule_campaign,
)
from messaging.actions.composing import Composer
from messaging.actions.credits import top_up
from messaging.actions.freezing import freeze
from messaging.actions.progress import advance_campaigns
from messaging.actions.suppressions import suppress
from messaging.models import Campaign, Contact, Message
from messaging.queries import find_credit_drift, tally_of
from messaging.tasks import drain_messages
from tests.factories import make_tenant
from tests.messaging.campaigns import (
    add_contacts,
    balances,
    counts,
    launch,
    make_campaign,
    make_ready_tenant,
    make_sender_tenant,
)

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def tenant(sandbox):
    return make_ready_tenant(sandbox.base_url)


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
