"""An account that several tenants hold: its reports come to one address, and are of whoever's message they fit."""

from __future__ import annotations

import json
import threading
import uuid
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.db import connections, transaction
from django.test import Client
from django.utils import timezone

from config.infra import tenancy
from config.local.processes import wait_until
from messaging.actions import outcomes
from messaging.actions.claiming import begin_call
from messaging.actions.unknowns import match_orphans
from messaging.models import Contact, CreditAccount, DeliveryReport, Message, SendQueue, Suppression
from messaging.providers.base import Accepted
from messaging.providers.sandbox_state import Hook
from messaging.queries import find_campaign_drift, find_credit_drift
from messaging.tasks import drain_messages
from shopsync.models import Connection
from tests.factories import drain_all
from tests.messaging.campaigns import (
    add_contacts,
    launch,
    make_campaign,
    make_ready_tenant,
    make_sender_tenant,
    name_is_waited_for,
    unblock,
)

pytestmark = pytest.mark.django_db(transaction=True)


def shares(tenant, **values):
    """Let a tenant's connection be of the house's account."""
    with tenancy.tenant_scope(tenant.pk):
        Connection.objects.filter(service="mitto").update(**{"account_id": "house", "api_key": "key"} | values)
    return tenant


@pytest.fixture
def ours(sandbox):
    return shares(make_ready_tenant(sandbox.base_url))


@pytest.fixture
def theirs(sandbox):
    tenant = shares(make_sender_tenant(sandbox.base_url))
    yield tenant
    assert find_campaign_drift(tenant_id=tenant.pk) == []
    assert find_credit_drift(tenant_id=tenant.pk) == []


@pytest.fixture
def stranger(sandbox):
    return shares(make_sender_tenant(sandbox.base_url), api_key="another key")


def via(tenant):
    with tenancy.tenant_scope(tenant.pk):
        return Connection.objects.get(service="mitto")


def sends(tenant, count=1, text="Hello {{ contact.first_name }}"):
    """Let a campaign of a tenant's be called."""
    add_contacts(tenant, count)
    with tenancy.tenant_scope(tenant.pk):
        launch(make_campaign(tenant, text=text))
    for _ in range(2):
        unblock()
        drain_messages()
    return messages(tenant)


def messages(tenant):
    with tenancy.tenant_scope(tenant.pk):
        return list(Message.objects.order_by("pk"))


def report(tenant, *told):
    """Post reports to a tenant's address."""
    body = [{"deliveryStatus": "Delivered", "updatedAt": "2026-11-29T12:00:00Z", **one} for one in told]
    answer = Client().post(
        f"/webhooks/mitto/dlr/{via(tenant).token}", json.dumps(body), content_type="application/json"
    )
    assert answer.status_code == 202
    drain_all()


def reports_of(tenant):
    """A tenant's reports: by what connection, of which message."""
    with tenancy.tenant_scope(tenant.pk):
        return list(DeliveryReport.objects.order_by("pk").values_list("connection_id", "message_id"))


def begin(tenant):
    queue = SendQueue.objects.get()
    return begin_call(queue_id=queue.pk, via=via(tenant), limit=10, now=timezone.now())


def test_a_report_at_anybodys_address_is_of_whoever_has_the_id(ours, theirs):
    [message] = sends(theirs)
    [own] = sends(ours)
    report(ours, {"messageId": message.provider_id}, {"messageId": own.provider_id}, {"messageId": "nobodys"})
    assert [messages(one)[0].state for one in (ours, theirs)] == ["delivered", "delivered"]
    assert reports_of(theirs) == [(via(theirs).pk, message.pk)]
    assert Counter(reports_of(ours)) == {(via(ours).pk, own.pk): 1, (via(ours).pk, None): 1}
    report(theirs, {"messageId": message.provider_id})  # once more, at their own
    report(ours, {"messageId": message.provider_id})
    assert len(reports_of(theirs)) == 1


@pytest.mark.parametrize("names", ["the message", "its call"])
def test_an_unknown_message_is_settled_by_our_reference_at_anothers_address(ours, theirs, sandbox, names):
    if names == "its call":
        for tenant in (ours, theirs):
            shares(tenant, account_id="classic:house")
    sandbox.behave(reports="none", cut_after_acceptance=1)
    [message] = sends(theirs, text="Sale")
    assert message.state == "unknown"
    [taken] = sandbox.accepted()
    if names == "its call":
        fields = {"id": taken.message_id, "reference": taken.reference, "to": taken.destination[1:], "errorCode": "0"}
        moment = {"status": "Delivered", "timestamp": "2026-11-29T16:07:01Z"}
        assert Client().get(f"/webhooks/mitto/dlr/{via(ours).token}", fields | moment).status_code == 202
        drain_all()
    else:
        report(ours, {"messageId": "p-1", "reference": str(message.reference)})
    assert messages(theirs)[0].state == "delivered"
    with tenancy.tenant_scope(theirs.pk):
        assert CreditAccount.objects.get(kind="spent").balance == 1
    with tenancy.tenant_scope(ours.pk):
        assert CreditAccount.objects.filter(kind="spent", balance__gt=0).count() == 0


@pytest.mark.parametrize("at_both", [False, True])
def test_one_that_is_faster_than_the_id_is_kept_and_applied_when_it_comes(ours, theirs, at_both):
    add_contacts(theirs, 1)
    launch(make_campaign(theirs))
    with tenancy.tenant_scope(theirs.pk):
        call = begin(theirs)
    for tenant in (ours, theirs) if at_both else (ours,):
        report(tenant, {"messageId": "early"})
    assert reports_of(ours) == [(via(ours).pk, None)]
    with tenancy.tenant_scope(theirs.pk):
        outcomes.store(call, [Accepted(str(call.rows[0].reference), "early")], now=timezone.now())
    [message] = messages(theirs)
    assert message.state == "delivered"
    assert (reports_of(ours), reports_of(theirs)) == ([], [(via(theirs).pk, message.pk)])


def test_one_that_comes_while_the_id_is_written_waits_for_it(ours, theirs):
    add_contacts(theirs, 1)
    launch(make_campaign(theirs))
    stored, may_end = threading.Event(), threading.Event()

    def store():
        try:
            with tenancy.tenant_scope(theirs.pk), transaction.atomic():
                call = begin(theirs)
                outcomes.store(call, [Accepted(str(call.rows[0].reference), "p-1")], now=timezone.now())
                stored.set()
                assert may_end.wait(20)
        finally:
            connections.close_all()

    def tell():
        try:
            report(ours, {"messageId": "p-1"})
        finally:
            connections.close_all()

    with ThreadPoolExecutor(2) as pool:
        storing = pool.submit(store)
        assert stored.wait(20)
        telling = pool.submit(tell)
        wait_until(name_is_waited_for, 20, "the report to wait for the id")
        may_end.set()
        storing.result()
        telling.result()
    assert messages(theirs)[0].state == "delivered"


@pytest.mark.parametrize("order", ["before", "after", "out_of_order"])
def test_the_twins_reports_to_one_address_reach_both_tenants(ours, theirs, sandbox, order, live_server):
    hook = Hook(uuid.uuid4().hex, f"{live_server.url}/webhooks/mitto/dlr/{via(ours).token}", {}, frozenset({"house"}))
    sandbox.state.register(hook)
    sandbox.behave(reports=order, echo_references=0)
    sends(theirs, 3)
    sends(ours, 2)

    def is_over():
        drain_all()
        return [Counter(row.state for row in messages(one)) for one in (ours, theirs)] == [
            {"delivered": 2}, {"delivered": 3}
        ]  # fmt: skip

    wait_until(is_over, 10, "the reports")
    assert None not in [message_id for one in (ours, theirs) for _, message_id in reports_of(one)]


# Who has not the key


@pytest.mark.parametrize("key", ["another key", ""])
def test_who_has_not_the_key_of_the_account_moves_nobodys_message(ours, theirs, stranger, sandbox, key):
    shares(stranger, api_key=key)
    sandbox.behave(reports="none", cut_after_acceptance=1)
    [message] = sends(theirs)
    report(stranger, {"messageId": "p-1", "reference": str(message.reference)}, {"messageId": "p-2"})
    assert messages(theirs)[0].state == "unknown"
    [own] = sends(ours)
    report(stranger, {"messageId": own.provider_id})
    assert messages(ours)[0].state == "sent"
    add_contacts(ours, 1, first=50)
    launch(make_campaign(ours))
    with tenancy.tenant_scope(ours.pk):
        call = begin(ours)
        outcomes.store(call, [Accepted(str(row.reference), f"p-{row.id}") for row in call.rows], now=timezone.now())
    report(stranger, *({"messageId": row.provider_id} for row in messages(ours)))
    assert {row.state for row in messages(ours)} == {"sent"}
    assert {message_id for _, message_id in reports_of(stranger)} == {None}


def test_two_without_a_key_share_nothing(ours, theirs):
    [message] = sends(theirs)
    for tenant in (ours, theirs):
        shares(tenant, api_key="")
    report(ours, {"messageId": message.provider_id})
    assert messages(theirs)[0].state == "sent"


def test_a_strangers_early_report_is_not_applied_when_the_id_comes(theirs, stranger):
    add_contacts(theirs, 1)
    launch(make_campaign(theirs))
    with tenancy.tenant_scope(theirs.pk):
        call = begin(theirs)
    report(stranger, {"messageId": "early"})
    with tenancy.tenant_scope(theirs.pk):
        outcomes.store(call, [Accepted(str(call.rows[0].reference), "early")], now=timezone.now())
    assert messages(theirs)[0].state == "sent"
    assert reports_of(stranger) == [(via(stranger).pk, None)]


# Asked about, and given later


def age():
    with tenancy.all_tenants(reason="test"):
        DeliveryReport.objects.update(created_at=timezone.now() - timedelta(minutes=1))


def test_a_report_without_our_reference_is_asked_about_for_the_whole_account(ours, theirs, sandbox):
    sandbox.behave(reports="none", cut_after_acceptance=1)
    [message] = sends(theirs)
    [taken] = sandbox.accepted()
    report(ours, {"messageId": taken.message_id, "updatedAt": timezone.now().isoformat()})
    age()
    assert match_orphans() == 1
    [message] = messages(theirs)
    assert (message.state, message.provider_id) == ("delivered", taken.message_id)
    assert (reports_of(ours), reports_of(theirs)) == ([], [(via(theirs).pk, message.pk)])


def test_one_that_fits_messages_of_two_tenants_settles_neither(ours, theirs, sandbox):
    sandbox.behave(reports="none", cut_after_acceptance=2)
    for tenant in (ours, theirs):
        sends(tenant)
    assert [messages(one)[0].state for one in (ours, theirs)] == ["unknown", "unknown"]
    report(ours, {"messageId": sandbox.accepted()[0].message_id, "updatedAt": timezone.now().isoformat()})
    age()
    assert match_orphans() == 0


def test_a_key_that_is_changed_for_one_after_the_other_loses_no_report(ours, theirs):
    [message] = sends(theirs)
    shares(ours, api_key="new")
    report(ours, {"messageId": message.provider_id})
    assert messages(theirs)[0].state == "sent"
    age()
    match_orphans()
    assert messages(theirs)[0].state == "sent"
    shares(theirs, api_key="new")
    match_orphans()
    assert messages(theirs)[0].state == "delivered"
    assert (reports_of(ours), reports_of(theirs)) == ([], [(via(theirs).pk, message.pk)])


@pytest.mark.parametrize(
    ("event", "end"),
    [
        ({"RecordType": "Bounce", "Type": "HardBounce", "Email": "c1@x.example"}, "failed"),
        (
            {
                "RecordType": "SubscriptionChange",
                "Recipient": "c1@x.example",
                "Origin": "Recipient",
                "SuppressSending": True,
                "SuppressionReason": "ManualSuppression",
            },
            "sent",
        ),
    ],
)
def test_who_bounces_or_unsubscribes_is_suppressed_for_whoever_wrote(ours, theirs, event, end):
    for tenant in (ours, theirs):
        shares(tenant, service="email", account_id="postmark")
    with tenancy.tenant_scope(theirs.pk):
        add_contacts(theirs, 1)
        fields = {"channel": "email", "address": "c1@x.example", "provider_id": "p1", "contact_id": contact_of(theirs)}
        ended = {"status": "done", "outcome": "sent", "connection": Connection.objects.get(), "text": "Hello"}
        Message.objects.create(**fields, **ended)
    with tenancy.tenant_scope(ours.pk):
        token = Connection.objects.get().token
    Client().post(f"/webhooks/email/{token}", json.dumps(event | {"MessageID": "p1"}), content_type="application/json")
    drain_all()
    assert messages(theirs)[0].state == end
    assert [suppressed(one) for one in (ours, theirs)] == [0, 1]


def contact_of(tenant):
    with tenancy.tenant_scope(tenant.pk):
        return Contact.objects.get().pk


def suppressed(tenant):
    with tenancy.tenant_scope(tenant.pk):
        return Suppression.objects.filter(address="c1@x.example").count()
