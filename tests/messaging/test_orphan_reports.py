"""Reports of ids that nobody knows: the provider is asked about each in its turn, within the limits; and whose they
are."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import timedelta

import pytest
from django.utils import timezone

from config.infra import tenancy
from messaging.actions import unknowns
from messaging.actions.limits import forget_limits
from messaging.actions.messages import Draft, send_single, settle_unknown
from messaging.actions.reports import keep_reports
from messaging.actions.unknowns import GIVE_UP_AFTER, give_up_unknowns, match_orphans
from messaging.models import Contact, DeliveryReport, Message, SendLimit
from messaging.providers.base import ProviderError
from messaging.providers.mitto import MittoProvider
from messaging.tasks import drain_messages
from messaging.webhooks import DeliveryReport as ReportSnapshot
from shopsync.models import Connection
from tests.messaging.campaigns import add_contacts, launched, make_ready_tenant, unblock

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def tenant(sandbox):
    tenant = make_ready_tenant(sandbox.base_url)
    with tenancy.tenant_scope(tenant.pk):
        yield tenant


@pytest.fixture
def unknown(tenant, sandbox):
    """A message that the sandbox took, and did not say so."""
    sandbox.behave(reports="none", cut_after_acceptance=1)
    launched(tenant, 1)
    drain_messages()
    message = Message.objects.get()
    assert message.state == "unknown"
    return message


def come(*provider_ids):
    """Let reports of these ids come in, a minute ago."""
    told = [ReportSnapshot(provider_id=one, status="delivered", raw_status="Delivered") for one in provider_ids]
    keep_reports(told, connection_id=Connection.objects.get(service="mitto").pk, now=timezone.now())
    DeliveryReport.objects.update(created_at=timezone.now() - timedelta(minutes=1))


def state_of(message):
    message.refresh_from_db()
    return message.state


# Who is asked about


def test_an_id_that_the_provider_does_not_know_keeps_no_other_from_being_asked_about(unknown, sandbox):
    come("0000-nobodys", *(row.message_id for row in sandbox.accepted()))
    assert match_orphans() == 1
    assert state_of(unknown) == "delivered"


def test_each_report_is_asked_about_in_its_turn_however_many_are_nobodys(unknown, sandbox, monkeypatch):
    monkeypatch.setattr(unknowns, "ASK_BATCH", 10)
    [taken] = sandbox.accepted()
    ids = [f"0000-nobodys-{number}" for number in range(10)]
    for one in ids:
        sandbox.state.messages[one] = replace(taken, message_id=one, destination="+306900000000", reference=None)
    come(*ids)
    match_orphans()
    come(taken.message_id)
    match_orphans()
    assert state_of(unknown) == "delivered"


@pytest.mark.parametrize(
    ("error", "asked"),
    [
        (ProviderError("gone", permanent=True, status=410, blocker="refused_with_410"), 3),
        (ProviderError("the key is wrong", permanent=True, status=401, blocker="refused_with_401"), 1),
        (ProviderError("too many", status=429), 1),
        (ProviderError("down", unknown=True, status=503), 1),
        (ProviderError("no connection"), 1),
    ],
)
def test_what_concerns_the_provider_as_a_whole_ends_the_round_until_the_next(unknown, monkeypatch, error, asked):
    seen = []

    def status(self, provider_id):
        seen.append(provider_id)
        raise error

    monkeypatch.setattr(MittoProvider, "status", status)
    come("p1", "p2", "p3")
    match_orphans()
    assert seen == ["p1", "p2", "p3"][:asked]
    match_orphans()
    assert set(seen) == {"p1", "p2", "p3"} if asked == 3 else seen == ["p1", "p2"]


def test_what_is_asked_keeps_the_limit_of_the_account(unknown, monkeypatch):
    account = Connection.objects.get(service="mitto").account_id
    SendLimit.objects.create(level="account", subject=f"mitto:{account}", requests_per_second=5)
    forget_limits()
    asked = []

    def call(self, method, path, document):
        asked.append(time.monotonic())
        return {"messageId": path.rsplit("/", 1)[1], "deliveryStatus": "Delivered"}

    monkeypatch.setattr(MittoProvider, "_call", call)
    come(*(f"p{number}" for number in range(60)))
    match_orphans()
    assert asked
    assert max(sum(start <= at < start + 0.9 for at in asked) for start in asked) <= 5
    assert DeliveryReport.objects.filter(asked_at__isnull=False).count() == len(asked)


# Whose it is


@pytest.fixture
def twice(tenant, sandbox):
    """Two messages alike: the sandbox took the first alone, and said so of neither."""
    add_contacts(tenant, 1)
    draft = Draft(contact_id=Contact.objects.get().pk, channel="sms", text="Your order is ready")
    rows = []
    for behaviour in ({"cut_after_acceptance": 1}, {"cut_before_acceptance": 1}):
        sandbox.behave(reports="none", **behaviour)
        rows.append(send_single(draft=draft, actor="t"))
        unblock()
        drain_messages()
    [taken] = sandbox.accepted()
    come(taken.message_id)
    assert match_orphans() == 0
    assert [state_of(row) for row in rows] == ["unknown", "unknown"]
    return rows


@pytest.mark.parametrize("was_sent", [True, False])
def test_a_report_that_fits_two_is_not_the_others_once_an_operator_decided_on_one(twice, was_sent):
    settle_unknown(message_id=twice[0].pk, was_sent=was_sent, actor="eve", now=timezone.now())
    assert match_orphans() == 0
    assert state_of(twice[1]) == "unknown"


def test_a_report_that_fits_two_is_not_the_others_once_one_was_given_up(twice):
    now, first = timezone.now(), Message.objects.filter(pk=twice[0].pk)
    first.update(started_at=now - GIVE_UP_AFTER - timedelta(minutes=1))
    assert give_up_unknowns(now=now) == 1
    first.update(started_at=now)
    assert match_orphans() == 0
    assert [state_of(row) for row in twice] == ["unknown_final", "unknown"]


@pytest.mark.parametrize("was_sent", [True, False])
def test_a_report_that_fits_one_alone_is_its_whatever_an_operator_said(unknown, sandbox, was_sent):
    settle_unknown(message_id=unknown.pk, was_sent=was_sent, actor="eve", now=timezone.now())
    add_contacts(Connection.objects.get(service="mitto").tenant, 1, first=1)
    sandbox.behave(reports="none", cut_before_acceptance=1)
    other = send_single(draft=Draft(contact_id=Contact.objects.latest("pk").pk, channel="sms", text="x"), actor="t")
    unblock()
    drain_messages()
    come(*(row.message_id for row in sandbox.accepted()))
    assert match_orphans() == 1
    assert [state_of(unknown), state_of(other)] == ["delivered", "unknown"]
