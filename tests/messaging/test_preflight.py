"""The report before the launch: what it says is what then happens, whether it is made at once or in parts."""

from __future__ import annotations

from decimal import Decimal

import pytest
from django.utils import timezone

from config.infra import tenancy
from messaging.actions import previews
from messaging.actions.campaigns import Plan, save_campaign
from messaging.actions.previews import ask_for_report
from messaging.actions.progress import advance_campaigns
from messaging.actions.suppressions import suppress
from messaging.models import Contact, CreditAccount, Price, SendingPolicy
from messaging.queries import tally_of
from messaging.tasks import drain_messages
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
