"""A single message may name who it is from: one that is registered, active, and of its channel and country."""

from __future__ import annotations

from decimal import Decimal

import pytest
from rest_framework.test import APIClient

from messaging.actions.messages import Draft, send_single
from messaging.models import Contact, Message, Price, Sender, Template, TemplateVersion
from messaging.providers.sandbox_email import EmailSandboxServer
from messaging.tasks import drain_messages
from shopsync.actions.tenants import connect_service, create_api_key
from tests.messaging.campaigns import add_contacts, make_ready_tenant

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def tenant(sandbox):
    return make_ready_tenant(sandbox.base_url)


@pytest.fixture
def api(tenant, in_scope):
    return APIClient(headers={"Authorization": f"Api-Key {create_api_key(name='new', actor='test').secret}"})


@pytest.fixture
def contact(tenant, in_scope):
    add_contacts(tenant, 1)
    return Contact.objects.get()


def send(api, contact, **given):
    body = {"contact_id": contact.pk, "text": "Hello", **given}
    return api.post("/api/v1/messages", body, format="json")


def test_a_single_message_is_from_the_sender_that_it_names_through_its_connection(api, contact, sandbox):
    account = {"base_url": sandbox.base_url, "account_id": "second", "sender": "Other", "api_key": "key"}
    second = connect_service(service="mitto", name="second", actor="test", **account)
    Sender.objects.create(channel="sms", value="+306900000000", connection=second)
    sent = send(api, contact, sender="+306900000000")
    assert (sent.status_code, sent.json()["sender"]) == (201, "+306900000000")
    assert send(api, contact).status_code == 201
    drain_messages()
    assert sorted(row.sender for row in sandbox.accepted()) == ["+306900000000", "Shop"]
    message = Message.objects.get(sender="+306900000000")
    assert (message.attempt.connection_id, message.outcome) == (second.pk, "sent")


@pytest.mark.parametrize(
    ("sender", "words"),
    [
        ("Nobody", "There is no sender Nobody"),
        ("hello@shop.example", "hello@shop.example is a sender for email, not for sms."),
        ("Gone", "The sender Gone was put away"),
        ("Cyprus", "The sender Cyprus is for CY alone"),
    ],
)
def test_a_sender_that_can_not_be_used_is_refused_in_words(api, contact, sender, words):
    Sender.objects.create(channel="email", value="hello@shop.example")
    Sender.objects.create(channel="sms", value="Gone", is_active=False)
    Sender.objects.create(channel="sms", value="Cyprus", country="CY")
    refused = send(api, contact, sender=sender)
    assert (refused.status_code, list(refused.json()["errors"])) == (400, ["sender"])
    assert words in refused.json()["errors"]["sender"][0]
    assert not Message.objects.exists()


def test_of_two_senders_of_one_value_the_one_of_the_recipients_country_is_taken(api, contact, sandbox):
    account = {"base_url": sandbox.base_url, "account_id": "greek", "sender": "Other", "api_key": "key"}
    greek = connect_service(service="mitto", name="greek", actor="test", **account)
    Sender.objects.create(channel="sms", value="Brand")
    Sender.objects.create(channel="sms", value="Brand", country="GR", connection=greek)
    assert send(api, contact, sender="Brand").status_code == 201
    assert Message.objects.get().connection_id == greek.pk


def test_an_e_mail_is_from_the_sender_that_it_names(api, contact):
    Price.objects.create(channel="email", country="", amount=Decimal("0.1"))
    Contact.objects.update(email="p1@people.example")
    Sender.objects.create(channel="email", value="News <news@shop.example>")
    template = Template.objects.create(name="sale", channel="email")
    version = TemplateVersion.objects.create(template=template, number=1, subject="Hi", body="<p>Hello</p>")
    asked = {"text": "", "channel": "email", "template_version_id": version.pk, "purpose": "transactional"}
    with EmailSandboxServer() as mailbox:
        account = {"base_url": mailbox.base_url, "account_id": "postmark", "sender": "Shop <hello@shop.example>"}
        connect_service(service="email", actor="test", api_key="key", **account)
        assert send(api, contact, sender="News <news@shop.example>", **asked).status_code == 201
        drain_messages()
        (email,) = mailbox.accepted()
    assert email.sender == "News <news@shop.example>"


def test_a_senders_own_limit_holds_for_single_messages_too(tenant, in_scope, sandbox):
    Sender.objects.create(channel="sms", value="Slow", recipients_per_second=5)
    add_contacts(tenant, 14)
    for number, contact in enumerate(Contact.objects.order_by("pk")):
        sender = "" if number % 4 == 3 else "Slow"
        send_single(draft=Draft(contact_id=contact.pk, channel="sms", text="Hi", sender=sender), actor="test")
    drain_messages()
    slow = sorted(row.accepted_at for row in sandbox.accepted() if row.sender == "Slow")
    fast = [row for row in sandbox.accepted() if row.sender == "Shop"]
    assert (len(slow), len(fast)) == (11, 3)
    assert max(sum(at <= other < at + 0.9 for other in slow) for at in slow) <= 5
