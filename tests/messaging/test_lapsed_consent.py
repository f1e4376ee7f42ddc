"""Consent is for an address: one that the contact gave up since is not written to, nor the new one without consent."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from django.db import connection
from django.utils import timezone

from config.infra import tenancy
from messaging.actions.consent import state_consent
from messaging.actions.freezing import recipients_of
from messaging.actions.messages import Draft, MessageError, send_single
from messaging.actions.profiles import change_contact
from messaging.actions.sending import send_due
from messaging.actions.unsubscribes import preferences_of, save_preferences
from messaging.models import ConsentState, Contact, Message
from tests.factories import deliver, drain_all
from tests.messaging.automations import give_thanks_automation
from tests.messaging.campaigns import launch, make_campaign, make_sender_tenant
from tests.messaging.test_contacts import customer, order, sms_consent

pytestmark = pytest.mark.django_db(transaction=True)
OLD, NEW, OTHER = "+306900000001", "+306900000002", "+306900000003"


@pytest.fixture
def tenant(sandbox):
    return make_sender_tenant(sandbox.base_url)


def change(**values):
    change_contact(contact_id=Contact.objects.get().pk, values=values, actor="test", now=timezone.now())


def agree(address, state="subscribed"):
    contact = Contact.objects.get()
    state_consent(
        contact=contact, channel="sms", state=state, source="test", stated_at=timezone.now(), actor="t", address=address
    )


def shopify(tenant, topic, body):
    deliver(topic, {**body, "x": f"{tenant.pk} {Message.objects.count()}"}, tenant)
    drain_all()


def reached(tenant):
    """Where a campaign would go, and why not; a single message and an automation agree."""
    sql, parameters = recipients_of(make_campaign(tenant))
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        [(contact_id, address, reason)] = cursor.fetchall()
    draft = Draft(contact_id=contact_id, channel="sms", text="Hello")
    if address:
        assert send_single(draft=draft, actor="test").address == address
    else:
        with pytest.raises(MessageError, match="can't be reached"):
            send_single(draft=draft, actor="test")
    give_thanks_automation(tenant)
    number = Message.objects.count() + 100
    shopify(tenant, "orders/paid", order(number, customer={"id": 1}, financial_status="paid"))
    assert Message.objects.get(automation_version__isnull=False, trigger__startswith="order:").address == address
    return address, reason


@pytest.mark.parametrize(
    ("steps", "ends"),
    [
        ([], (OLD, "")),
        ([lambda: change(phone=NEW)], (NEW, "no_consent")),
        ([lambda: change(phone="")], ("", "no_address")),
        ([lambda: change(phone=NEW), lambda: change(phone=OLD)], (OLD, "")),
        ([lambda: change(phone=""), lambda: agree(OLD)], (OLD, "")),
        ([lambda: change(phone=NEW), lambda: agree("")], (NEW, "")),
        ([lambda: change(phone=NEW), lambda: agree(OTHER)], (OTHER, "")),
        ([lambda: agree(OTHER)], (OTHER, "")),
        ([lambda: agree(OTHER), lambda: change(phone=NEW)], (OTHER, "")),
        ([lambda: agree(OTHER), lambda: change(phone=OTHER), lambda: change(phone=NEW)], (NEW, "no_consent")),
        ([lambda: change(phone=NEW), lambda: agree(OLD, "unsubscribed")], (OLD, "unsubscribed")),
        ([lambda: change(first_name="Eva", phone=OLD)], (OLD, "")),
    ],
)
def test_a_campaign_a_single_message_and_an_automation_go_to_the_address_agreed_to_while_it_is_the_contacts(
    tenant, in_scope, steps, ends
):
    shopify(tenant, "customers/create", customer())
    shopify(tenant, "customers_marketing_consent/update", sms_consent())
    for step in steps:
        step()
    assert reached(tenant) == ends


def test_shopifys_new_phone_and_its_older_consent_end_alike_in_either_order(tenant):
    moved = ("customers/update", customer(phone="6900000002", updated_at="2026-11-09T00:00:00Z"))
    agreed = ("customers_marketing_consent/update", sms_consent(at="2026-11-02T00:00:00Z"))
    for steps in ((moved, agreed), (agreed, moved)):
        other = make_sender_tenant("http://127.0.0.1:9")
        with tenancy.tenant_scope(other.pk):
            shopify(other, "customers/create", customer(updated_at="2026-11-01T00:00:00Z"))
            for topic, body in steps:
                shopify(other, topic, body)
            assert ConsentState.objects.get(channel="sms").lapsed_at is not None
            assert reached(other) == (NEW, "no_consent")


def test_an_address_given_up_after_the_freeze_is_not_written_to_at_the_call(tenant, in_scope, sandbox):
    shopify(tenant, "customers/create", customer())
    shopify(tenant, "customers_marketing_consent/update", sms_consent())
    campaign = make_campaign(tenant)
    launch(campaign)
    change(phone="")
    send_due()
    assert Message.objects.get(campaign=campaign).reason == "no_consent"
    assert sandbox.accepted() == []


def test_who_prefers_messages_again_agrees_to_the_address_of_today(tenant, in_scope):
    shopify(tenant, "customers/create", customer())
    shopify(tenant, "customers_marketing_consent/update", sms_consent())
    change(phone=NEW)
    message = Message(contact=Contact.objects.get(), channel="email", address="zoe@example.com")
    assert [
        (one.channel, one.address, one.is_on) for one in preferences_of(message=message) if one.channel == "sms"
    ] == [("sms", NEW, False)]
    message.save()
    save_preferences(message=message, wanted={"sms": True}, now=datetime.now(UTC))
    assert reached(tenant) == (NEW, "")
