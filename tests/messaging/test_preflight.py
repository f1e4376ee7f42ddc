"""The report before the launch: what it says is what then happens, whether it is made at once or in parts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from django.utils import timezone

from config.infra import tenancy
from messaging.actions import previews
from messaging.actions.campaigns import InvalidCampaign, Plan, save_campaign
from messaging.actions.credits import reserve_credits, save_policy, settle_credits
from messaging.actions.flows import queue_for
from messaging.actions.previews import ask_for_report
from messaging.actions.progress import advance_campaigns
from messaging.actions.suppressions import suppress
from messaging.models import Campaign, Contact, CreditAccount, Price, Sender, SendingPolicy, SendQueue
from messaging.queries import tally_of
from messaging.tasks import drain_messages
from shopsync.models import Connection
from tests.messaging.campaigns import add_contacts, launch, make_campaign, make_ready_tenant

pytestmark = pytest.mark.django_db(transaction=True)
TEXT = "{{ contact.first_name }}, look: https://shop.example/sale and {{ contact.attributes.more }} today only"


@pytest.fixture
def tenant(sandbox):
    tenant = make_ready_tenant(sandbox.base_url)
    with tenancy.tenant_scope(tenant.pk):
        yield tenant


def make_mixed_audience(tenant):
    """Fill a tenant with people of whom some get one part, some three, some none, at the prices of three countries."""
    Price.objects.create(channel="sms", country="US", amount=Decimal("0.25"))
    Price.objects.create(channel="sms", country="CA", amount=Decimal("0.5"))
    add_contacts(tenant, 60)
    people = list(Contact.objects.order_by("pk"))
    for number, contact in enumerate(people):
        contact.attributes = {"more": ("x" * 20, "y" * 300, "ΚΑΛΗΜΕΡΑ 🎉", "ö€[]" * 40)[number % 4]}
        contact.country = ("GR", "US", "CA", "")[number % 4]
        contact.first_name = "" if number == 7 else contact.first_name
        if number == 8:
            del contact.attributes["more"]
        contact.save()
    suppress(channel="sms", addresses=[people[3].phone], reason="stop", source="test", actor="test")
    people[4].consents.create(channel="sms", state="unsubscribed", source="test", source_version="2")
    for twin in people[20:32]:
        twin.consents.create(
            channel="sms", state="subscribed", address=people[11].phone, source="test", source_version="2"
        )
    Contact.objects.create(first_name="nowhere")


@pytest.mark.parametrize("in_parts", [False, True])
def test_the_report_is_what_happens(tenant, sandbox, monkeypatch, in_parts):
    make_mixed_audience(tenant)
    SendingPolicy.objects.create(batch_size=7)
    campaign = make_campaign(tenant, text=TEXT, holdout_percent=Decimal(10), shortens_links=True)
    if in_parts:
        monkeypatch.setattr(previews, "AT_ONCE", 5)
        monkeypatch.setattr(previews, "PART", 10)
    told = ask_for_report(campaign_id=campaign.pk, now=timezone.now()).preflight
    assert told["status"] == ("asked" if in_parts else "ready")
    if in_parts:
        assert (told["part"], told["of"]) == (0, 7)
        advance_campaigns()
        campaign.refresh_from_db()
        told = campaign.preflight
    launch(campaign)
    drain_messages()
    tally = tally_of(campaign.pk)
    assert told["skipped"] == tally.skipped
    assert {"duplicate_address", "suppressed", "unsubscribed", "no_address"} <= set(tally.skipped)
    sent = tally.states["sent"]
    assert (told["recipients"], told["parts"], Decimal(told["cost"])) == (sent.messages, sent.parts, sent.cost)
    assert Decimal(told["cost"]) == CreditAccount.objects.get(kind="spent").balance > 0
    assert told["contacts"] == 61
    assert len({row.destination for row in sandbox.accepted()}) == told["recipients"]
    assert sent.parts > sent.messages


def test_a_draft_written_anew_has_no_report_and_the_steps_of_the_old_one_end(tenant, monkeypatch):
    make_mixed_audience(tenant)
    campaign = make_campaign(tenant)
    monkeypatch.setattr(previews, "AT_ONCE", 5)
    ask_for_report(campaign_id=campaign.pk, now=timezone.now())
    ids = {"segment_id": campaign.segment_id, "template_version_id": campaign.template_version_id}
    save_campaign(campaign_id=campaign.pk, plan=Plan(name="Anew", channel="sms", **ids), actor="test")
    assert previews.advance_report(campaign.pk, now=timezone.now()) == 0
    campaign.refresh_from_db()
    assert campaign.preflight is None


def report(campaign, **options):
    return ask_for_report(campaign_id=campaign.pk, now=timezone.now(), **options).preflight


def test_a_report_that_an_earlier_version_began_is_begun_anew(tenant, monkeypatch):
    make_mixed_audience(tenant)
    campaign = make_campaign(tenant)
    whole = report(campaign)
    monkeypatch.setattr(previews, "PART", 10)
    places = {"contacts": 20, "recipients": 9, "places": [[["Europe/Athens"], "08:00:00", "21:00:00"]], "cost": "9"}
    for so_far in (places, {}, None, []):
        old = {"status": "asked", "part": 2, "of": 3, "so_far": so_far}
        Campaign.objects.filter(pk=campaign.pk).update(preflight=old)
        assert previews.advance_report(campaign.pk, now=timezone.now()) == 1
        campaign.refresh_from_db()
        assert (campaign.preflight["part"], campaign.preflight["of"]) == (0, 7)
        advance_campaigns()
        campaign.refresh_from_db()
        assert {name: campaign.preflight[name] for name in ("contacts", "recipients", "cost", "skipped")} == {
            name: whole[name] for name in ("contacts", "recipients", "cost", "skipped")
        }


def test_nothing_in_the_way_is_said_as_nothing(tenant):
    add_contacts(tenant, 3)
    told = report(make_campaign(tenant))
    assert (told["blocker"], told["warnings"], told["would_expire"]) == ("", [], 0)
    assert (told["left_of_cap"], told["days_under_cap"]) == (None, 1)


@pytest.mark.parametrize(
    ("change", "blocker"),
    [
        ({"is_active": False}, "no_connection"),
        ({"account_id": "nonsense:x"}, "unknown_mitto_api"),
        ({"sender": ""}, "bad_sender"),
    ],
)
def test_an_account_that_can_not_be_used_is_said_before_the_launch(tenant, change, blocker):
    add_contacts(tenant, 3)
    campaign = make_campaign(tenant)
    Connection.objects.update(**change)
    told = report(campaign)
    assert (told["recipients"], told["blocker"], len(told["warnings"])) == (3, blocker, 1)
    assert blocker.replace("_", " ").split()[-1] in told["warnings"][0]


def test_a_refusal_of_the_account_and_a_sender_that_was_put_away_are_said(tenant):
    add_contacts(tenant, 3)
    queue_for(channel="sms")
    SendQueue.objects.update(blocker="refused_with_401")
    campaign = make_campaign(tenant)
    assert report(campaign)["blocker"] == "refused_with_401"
    SendQueue.objects.update(blocker="rate_limit")
    assert report(campaign)["blocker"] == ""
    sender = Sender.objects.create(channel="sms", value="Shop")
    own = make_campaign(tenant, sender_id=sender.pk)
    assert report(own)["blocker"] == ""
    Sender.objects.update(is_active=False)
    assert report(own)["blocker"] == "sender_inactive"


@pytest.mark.parametrize(("cap", "days"), [("10", 1), ("9.5", 2), ("5", 2), ("4", 3), ("0", None)])
def test_the_days_that_it_takes_under_the_cap_are_counted(tenant, cap, days):
    add_contacts(tenant, 10)
    campaign = make_campaign(tenant)
    uncapped = report(campaign)
    save_policy(daily_cap=Decimal(cap), low_balance_at=None, countries=[], actor="test")
    told = report(campaign)
    assert (Decimal(told["cost"]), Decimal(told["left_of_cap"]), told["days_under_cap"]) == (10, Decimal(cap), days)
    assert bool(told["warnings"]) is (days != 1)
    later = datetime.fromisoformat(told["estimated_end_at"]) - datetime.fromisoformat(uncapped["estimated_end_at"])
    assert round(later / timedelta(days=1)) == (days or 1) - 1


def test_what_is_held_and_settled_today_is_taken_off_the_cap_and_tomorrow_is_another_day(tenant):
    add_contacts(tenant, 10)
    campaign = make_campaign(tenant)
    save_policy(daily_cap=Decimal(12), low_balance_at=None, countries=[], actor="test")
    spent = {"amount": Decimal(5), "reference": "r", "actor": "t", "now": timezone.now()}
    reserve_credits(key="a", **spent)
    settle_credits(key="b", **spent)
    assert (report(campaign)["left_of_cap"], report(campaign)["days_under_cap"]) == ("7.0000", 2)
    tomorrow = report(campaign, at=timezone.now() + timedelta(days=1))
    assert (Decimal(tomorrow["left_of_cap"]), tomorrow["days_under_cap"]) == (12, 1)


NIGHT = datetime(2099, 1, 1, 21, 0, tzinfo=UTC)  # 23:00 in Athens, 16:00 in New York


@pytest.mark.parametrize("in_parts", [False, True])
def test_hours_are_reckoned_from_the_time_that_is_asked_for(tenant, monkeypatch, in_parts):
    add_contacts(tenant, 3)
    add_contacts(tenant, 2, first=10, zone="America/New_York")
    campaign = make_campaign(tenant, keeps_quiet_hours=True, expires_at=NIGHT + timedelta(hours=8))
    if in_parts:
        monkeypatch.setattr(previews, "AT_ONCE", 1)
        monkeypatch.setattr(previews, "PART", 2)
    told = report(campaign, at=NIGHT)
    if in_parts:
        advance_campaigns()
        campaign.refresh_from_db()
        assert campaign.scheduled_at is None
        told = campaign.preflight
    morning = datetime(2099, 1, 2, 6, 0, tzinfo=UTC)
    assert datetime.fromisoformat(told["reckoned_from"]) == NIGHT
    assert datetime.fromisoformat(told["first_may_start_at"]) == NIGHT
    assert datetime.fromisoformat(told["last_may_start_at"]) == morning
    assert (told["recipients"], told["would_expire"]) == (5, 3)
    assert told["warnings"] == ["It expires before 3 of 5 recipients may be written to."]


def test_at_each_ones_hour_the_report_reckons_each_ones_clock(tenant):
    add_contacts(tenant, 3)
    add_contacts(tenant, 2, first=10, zone="America/New_York")
    at = datetime(2099, 1, 1, 10, 0, tzinfo=UTC)  # noon in Athens; seven hours later it is noon in New York
    campaign = make_campaign(tenant, is_local_time=True, expires_at=at + timedelta(hours=7))
    told = report(campaign, at=at)
    assert datetime.fromisoformat(told["last_may_start_at"]) == at + timedelta(hours=7)
    assert told["would_expire"] == 2


def test_a_report_from_a_time_that_is_past_is_refused(tenant):
    with pytest.raises(InvalidCampaign) as caught:
        report(make_campaign(tenant), at=timezone.now() - timedelta(minutes=1))
    assert caught.value.field == "scheduled_at"
