"""Unknown messages find their end: by a report, by asking, by giving up; and a watchdog tells of what is stuck."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from messaging.actions.messages import MessageError, resend_unknown, settle_unknown
from messaging.actions.progress import advance_campaigns
from messaging.actions.unknowns import GIVE_UP_AFTER, give_up_unknowns, match_orphans
from messaging.actions.watching import find_stuck, watch_sending
from messaging.models import Campaign, CreditAccount, DeliveryReport, Message, SendQueue
from messaging.providers.sandbox import SandboxServer
from messaging.queries import find_campaign_drift
from messaging.tasks import drain_messages
from shopsync.models import Alert, Connection
from tests.factories import drain_all
from tests.messaging.campaigns import add_contacts, launch, make_campaign, make_ready_tenant

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def sandbox():
    with SandboxServer() as server:
        server.behave(reports="none", cut_after_acceptance=1)
        yield server


@pytest.fixture
def tenant(sandbox):
    return make_ready_tenant(sandbox.base_url)


@pytest.fixture
def unknown(tenant, in_scope, sandbox):
    """Three messages that the sandbox accepted, and did not say so."""
    add_contacts(tenant, 3)
    launch(make_campaign(tenant))
    drain_messages()
    assert set(Message.objects.values_list("status", flat=True)) == {"unknown"}
    return {row.destination: row for row in sandbox.accepted()}


def held_and_spent():
    return tuple(CreditAccount.objects.get(kind=kind).balance for kind in ("held", "spent"))


def report(tenant, provider_id, status="Delivered", **fields):
    connection = Connection.objects.get(service="mitto")
    body = {"messageId": provider_id, "deliveryStatus": status, **fields}
    response = Client().post(
        f"/webhooks/mitto/dlr/{connection.token}", json.dumps(body), content_type="application/json"
    )
    assert response.status_code == 202
    drain_all()


def test_a_report_without_our_reference_is_asked_about_and_fits_exactly_one(tenant, in_scope, sandbox, unknown):
    message = Message.objects.order_by("pk").first()
    report(tenant, unknown[message.address].message_id)
    assert DeliveryReport.objects.get().message is None
    assert match_orphans() == 0  # not yet: an answer that is on its way brings the id itself
    DeliveryReport.objects.update(created_at=timezone.now() - timedelta(minutes=1))
    assert match_orphans() == 1
    message.refresh_from_db()
    assert (message.state, message.provider_id) == ("delivered", unknown[message.address].message_id)
    assert held_and_spent() == (2, 1)
    assert find_campaign_drift(tenant_id=tenant.pk) == []


def test_a_report_that_fits_two_or_none_settles_nobody(tenant, in_scope, sandbox, unknown):
    first, second, third = Message.objects.order_by("pk")
    report(tenant, unknown[first.address].message_id)
    report(tenant, "nobodys")
    Message.objects.filter(pk=second.pk).update(text=first.text, campaign=None, address=first.address)
    DeliveryReport.objects.update(created_at=timezone.now() - timedelta(minutes=1))
    assert match_orphans() == 0
    Message.objects.filter(pk=second.pk).update(started_at=timezone.now() - timedelta(hours=2))  # of another call
    assert match_orphans() == 1
    third.refresh_from_db()
    assert third.state == "unknown"


def test_what_nobody_hears_of_is_given_up_and_a_late_proof_is_the_houses_to_pay(tenant, in_scope, sandbox, unknown):
    assert give_up_unknowns(now=timezone.now()) == 0
    later = timezone.now() + GIVE_UP_AFTER + timedelta(minutes=1)
    assert give_up_unknowns(now=later) == 3
    assert set(Message.objects.values_list("outcome", "credit")) == {("unknown_final", "released")}
    assert held_and_spent() == (0, 0)
    message = Message.objects.first()
    report(tenant, unknown[message.address].message_id, reference=str(message.reference))
    message.refresh_from_db()
    assert (message.state, message.credit) == ("delivered", "house")
    assert held_and_spent() == (0, 1)
    assert CreditAccount.objects.get(kind="house").balance == -1
    assert find_campaign_drift(tenant_id=tenant.pk) == []


def test_an_operator_decides(tenant, in_scope, sandbox, unknown):
    first, second, third = Message.objects.order_by("pk")
    settle_unknown(message_id=first.pk, was_sent=True, actor="eve", now=timezone.now())
    settle_unknown(message_id=second.pk, was_sent=False, actor="eve", now=timezone.now())
    assert held_and_spent() == (1, 1)
    with pytest.raises(MessageError, match="only an unknown one"):
        resend_unknown(message_id=first.pk, actor="eve")
    resend_unknown(message_id=third.pk, actor="eve")
    drain_messages()
    third.refresh_from_db()
    assert third.state == "sent"
    assert sum(row.destination == third.address for row in sandbox.accepted()) == 2  # as the operator was warned
    assert held_and_spent() == (0, 2)


def test_a_late_report_for_the_first_call_settles_a_message_that_waits_for_its_second(tenant, in_scope, unknown):
    message = Message.objects.first()
    resend_unknown(message_id=message.pk, actor="eve")
    report(tenant, unknown[message.address].message_id, reference=str(message.reference))
    drain_messages()
    message.refresh_from_db()
    assert (message.state, message.attempts) == ("delivered", 0)


def test_what_is_stuck_without_a_reason_is_told_and_closes_itself(tenant, in_scope, sandbox):
    add_contacts(tenant, 2)
    campaign = make_campaign(tenant)
    launch(campaign)
    assert (find_stuck(), watch_sending()) == ([], 0)
    Message.objects.update(due_at="2026-01-01T00:00:00Z")
    SendQueue.objects.update(served_at="2026-01-01T00:00:00Z")
    assert "has messages due, no blocker, and was not served" in find_stuck()[0]
    assert watch_sending() == 1
    assert Alert.objects.get(kind="messages.stuck").severity == "critical"
    SendQueue.objects.update(blocker="no_connection", blocked_until=timezone.now() + timedelta(minutes=1))
    assert (find_stuck(), watch_sending()) == ([], 0)  # it says what it waits for
    assert Alert.objects.get(kind="messages.stuck").closed_at is not None


def test_a_campaign_whose_step_is_not_taken_is_stuck(tenant, in_scope, sandbox):
    add_contacts(tenant, 2)
    campaign = make_campaign(tenant)
    launch(campaign)
    Message.objects.update(flow=None)
    Campaign.objects.update(updated_at="2026-01-01T00:00:00Z")
    assert f"campaign {campaign.pk} has no blocker" in find_stuck()[0]
    advance_campaigns()
    assert find_stuck() == []
