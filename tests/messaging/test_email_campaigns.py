"""Campaigns by e-mail, to Postmark's twin: rendered, shortened, unsubscribed by one click, bounced."""

from __future__ import annotations

import json
import re
from decimal import Decimal

import pytest
from django.test import Client
from django.utils import timezone
from rest_framework.test import APIClient

from config.infra import tenancy
from config.infra.ratelimit import Grant, Level, grant
from config.local.processes import wait_until
from messaging.actions.campaigns import Plan, save_campaign
from messaging.actions.credits import top_up
from messaging.actions.messages import Draft, MessageError, send_single
from messaging.actions.previews import ask_for_report
from messaging.actions.progress import advance_campaigns
from messaging.models import (
    Contact,
    CreditAccount,
    Message,
    MessageBody,
    Price,
    Segment,
    Suppression,
    Template,
    TemplateVersion,
)
from messaging.providers.sandbox_email import EmailSandboxServer
from messaging.queries import find_campaign_drift, tally_of
from messaging.tasks import drain_messages
from shopsync.actions.tenants import connect_service, create_api_key
from shopsync.models import Connection
from tests.factories import drain_all, make_tenant
from tests.messaging.campaigns import launch

pytestmark = pytest.mark.django_db(transaction=True)
SUBJECT = "{{ contact.first_name }}!"
BODY = '<p>Hello {{ contact.first_name }}, <a href="https://shop.example/sale">the sale</a> is on.</p>'


@pytest.fixture
def sandbox():
    with EmailSandboxServer() as server:
        server.behave(reports="none")
        yield server


@pytest.fixture
def tenant(sandbox):
    tenant = make_tenant(country="GR")
    Price.objects.create(channel="email", amount=Decimal("0.1"))
    with tenancy.tenant_scope(tenant.pk):
        connection = connect_service(
            service="email",
            actor="test",
            base_url=sandbox.base_url,
            account_id="postmark",
            sender="Shop <hello@shop.example>",
            api_key="key",
        )
        Connection.objects.filter(pk=connection.pk).update(postal_address="1 Main St, Athens")
        top_up(amount=Decimal(100), key="start", actor="test")
    wait_until(lambda: isinstance(grant([Level(f"warm-{tenant.pk}", 10**6)]), Grant), 5, "the limiter to warm up")
    return tenant


@pytest.fixture
def campaign(tenant, in_scope):
    """A campaign to three people who agreed to e-mail."""
    for number in (1, 2, 3):
        contact = Contact.objects.create(first_name=f"P{number}", email=f"p{number}@people.example")
        contact.consents.create(channel="email", state="subscribed", source="test", source_version="1")
    segment = Segment.objects.create(name="everybody", definition={"all": []})
    template = Template.objects.create(name="sale", channel="email")
    version = TemplateVersion.objects.create(
        template=template, number=1, subject="{{ contact.first_name }}!", body=BODY
    )
    ids = {"segment_id": segment.pk, "template_version_id": version.pk}
    plan = Plan(name="Sale", channel="email", keeps_quiet_hours=False, **ids)
    return save_campaign(campaign_id=None, plan=plan, actor="test")


def test_everybody_gets_their_own_e_mail_and_one_click_is_enough(tenant, in_scope, sandbox, campaign):
    report = ask_for_report(campaign_id=campaign.pk, now=timezone.now()).preflight
    assert (report["recipients"], Decimal(report["cost"])) == (3, Decimal("0.3"))
    launch(campaign)
    drain_messages()
    sent = {email.destination: email for email in sandbox.accepted()}
    assert sorted(sent) == [f"p{number}@people.example" for number in (1, 2, 3)]
    first = sent["p1@people.example"]
    assert (first.subject, "1 Main St, Athens" in first.html, "Hello P1" in first.text) == ("P1!", True, True)
    assert re.search(r'href="http[^"]+/l/[a-z0-9]+"', first.html)
    assert "shop.example/sale" not in first.html
    (link,) = re.findall(r"<(http[^>]+/u/[\w-]+)>", first.headers["List-Unsubscribe"])
    path = link.removeprefix("http://localhost")
    answer = Client().post(path, "List-Unsubscribe=One-Click", content_type="application/x-www-form-urlencoded")
    assert answer.status_code == 200
    assert Suppression.objects.get().address == "p1@people.example"
    assert CreditAccount.objects.get(kind="spent").balance == Decimal("0.3")
    assert tally_of(campaign.pk).states["sent"].messages == 3
    assert find_campaign_drift(tenant_id=tenant.pk) == []


def test_a_bounce_fails_the_message_and_the_address_is_written_to_no_more(tenant, in_scope, sandbox, campaign):
    launch(campaign)
    drain_messages()
    message = Message.objects.get(address="p2@people.example")
    connection = Connection.objects.get(service="email")
    body = {
        "RecordType": "Bounce",
        "Type": "HardBounce",
        "MessageID": message.provider_id,
        "Email": message.address,
        "BouncedAt": "2026-11-28T10:00:00Z",
        "Description": "unknown user",
        "Metadata": {"reference": str(message.reference)},
    }
    url = f"/webhooks/email/{connection.token}"
    assert Client().post(url, json.dumps(body), content_type="application/json").status_code in {200, 202}
    drain_all()
    message.refresh_from_db()
    assert (message.state, Suppression.objects.get().reason) == ("failed", "bounce")


def test_without_a_connection_no_e_mail_is_written_and_the_campaign_says_so(tenant, in_scope, sandbox, campaign):
    Connection.objects.update(is_active=False)
    launch(campaign)
    campaign.refresh_from_db()
    assert (campaign.blocker, MessageBody.objects.count()) == ("no_connection", 0)
    draft = Draft(
        contact_id=Contact.objects.first().pk, channel="email", template_version_id=campaign.template_version_id
    )
    with pytest.raises(MessageError, match="no active connection"):
        send_single(draft=draft, actor="test")
    Connection.objects.update(is_active=True)
    advance_campaigns()
    campaign.refresh_from_db()
    assert campaign.blocker == ""
    assert all("1 Main St, Athens" in body.html for body in MessageBody.objects.all())
    assert MessageBody.objects.count() == 3
    assert send_single(draft=draft, actor="test").text.count("1 Main St, Athens") == 1


def test_the_stored_e_mail_is_what_was_sent(tenant, in_scope, sandbox, campaign):
    launch(campaign)
    stored = {body.message.address: (body.subject, body.html) for body in MessageBody.objects.select_related("message")}
    drain_messages()
    assert {email.destination: (email.subject, email.html) for email in sandbox.accepted()} == stored


def test_a_single_e_mail_is_written_by_a_template_and_goes_the_same_way(tenant, in_scope, sandbox, campaign):
    client = APIClient(headers={"Authorization": f"Api-Key {create_api_key(name='shop', actor='test').secret}"})
    contact = Contact.objects.get(email="p2@people.example")
    body = {"contact_id": contact.pk, "channel": "email", "template_version_id": campaign.template_version_id}
    for wrong, said in (
        ({**body, "template_version_id": None, "text": "Hello"}, "An e-mail is written by a template"),
        ({**body, "template_version_id": 2**50}, "There is no version"),
        ({**body, "text": "and a text"}, "no text"),
    ):
        refused = client.post("/api/v1/messages", wrong, format="json")
        assert (refused.status_code, said in refused.json()["detail"]) == (400, True)
    assert client.post("/api/v1/messages", body, format="json").status_code == 201
    drain_messages()
    (sent,) = sandbox.accepted()
    assert (sent.destination, sent.subject, "the sale" in sent.html) == ("p2@people.example", "P2!", True)
    assert "List-Unsubscribe" in sent.headers
    assert CreditAccount.objects.get(kind="spent").balance == Decimal("0.1")
