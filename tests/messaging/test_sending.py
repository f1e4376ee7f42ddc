"""Sending, step by step: what is called once, what waits, what is parked, what a report settles."""

from __future__ import annotations

import json

import pytest
from django.db import transaction
from django.test import Client
from django.utils import timezone

from audit.tasks import drain_events
from config.infra import tenancy, work
from config.infra.breaker import Breaker
from config.infra.ratelimit import Grant, Level, Refusal, grant
from config.local.processes import wait_until
from messaging.actions import sending
from messaging.actions.claiming import begin_call
from messaging.actions.preparing import prepare_singles
from messaging.actions.reports import adopt_reports
from messaging.models import Attempt, ConsentState, Contact, DeliveryReport, Message, SendQueue
from messaging.providers.base import Accepted
from messaging.providers.mitto import MittoProvider
from messaging.tasks import drain_messages
from shopsync.actions.tenants import connect_service
from shopsync.models import Connection, Tenant
from shopsync.tasks import drain_webhooks
from tests.factories import deliver, drain_all, make_tenant
from tests.messaging.automations import give_thanks_automation
from tests.messaging.campaigns import add_contacts, make_sender_tenant
from tests.messaging.test_contacts import customer, order, sms_consent

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def tenant(sandbox):
    tenant = make_tenant(country="GR")
    give_thanks_automation(tenant)
    with tenancy.tenant_scope(tenant.pk):
        fields = {"base_url": sandbox.base_url, "account_id": f"a-{tenant.pk}", "sender": "Shop", "api_key": "key"}
        connect_service(service="mitto", actor="test", **fields)
    wait_until(lambda: isinstance(grant([Level(f"warm-{tenant.pk}", 10**6)]), Grant), 5, "the limiter to warm up")
    return tenant


def prepare(tenant, *, consent=True, number=1):
    """Bring a paid order of a known customer up to the message that waits to be sent."""
    deliver("customers/create", customer(number, email=f"c{number}@example.com", phone=f"+30690000{number:04}"), tenant)
    if consent:
        deliver("customers_marketing_consent/update", sms_consent(number, phone=f"+30690000{number:04}"), tenant)
    body = order(
        number, name=f"#{number}", customer={"id": number}, financial_status="paid", email=f"c{number}@example.com"
    )
    deliver("orders/paid", body, tenant)
    drain_webhooks()
    drain_events()


def send():
    """Drain until the limiter has let everything due through (it warms up for a second after a flush)."""
    with tenancy.all_tenants(reason="test"):
        Message.objects.filter(status="ready").update(due_at="2000-01-01T00:00:00Z")
        SendQueue.objects.update(blocker="", blocked_until=None)
    drain_messages()


def begin(tenant):
    """Begin a call of what is due, and make none."""
    prepare_singles(now=timezone.now())
    via = Connection.objects.get(service="mitto")
    return begin_call(queue_id=SendQueue.objects.get().pk, via=via, limit=100, now=timezone.now())


def report(tenant, **fields):
    connection = Connection.objects.get(service="mitto")
    body = {"updatedAt": "2026-11-02T12:00:00Z", **fields}
    url = f"/webhooks/mitto/dlr/{connection.token}"
    response = Client().post(url, json.dumps(body), content_type="application/json")
    assert response.status_code == 202
    drain_all()


def test_a_message_with_consent_is_called_once_and_sent(tenant, in_scope, sandbox):
    prepare(tenant)
    send()
    send()
    message = Message.objects.get()
    assert (message.state, message.attempts, message.text) == ("sent", 1, "Thanks Zoe, we have your order #1.")
    assert [row.reference for row in sandbox.accepted()] == [str(message.reference)]
    assert Attempt.objects.get().outcome == "answered"


def test_without_known_consent_it_is_skipped_with_that_reason(tenant, in_scope, sandbox):
    prepare(tenant, consent=False)
    send()
    message = Message.objects.get()
    assert (message.state, message.reason, message.attempts) == ("skipped", "no_consent", 0)
    assert sandbox.accepted() == []


def test_an_opt_out_before_the_call_stops_the_message(tenant, in_scope, sandbox):
    prepare(tenant)
    deliver("customers_marketing_consent/update", sms_consent(state="unsubscribed", at="2026-11-09T00:00:00Z"), tenant)
    drain_webhooks()
    send()
    assert (Message.objects.get().state, Message.objects.get().reason) == ("skipped", "unsubscribed")
    assert sandbox.accepted() == []


def test_consent_for_one_number_does_not_cover_another(tenant, in_scope, sandbox):
    prepare(tenant)
    Message.objects.update(address="+306911111111")
    send()
    assert Message.objects.get().state == "skipped"
    assert sandbox.accepted() == []


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("{{ order.nothing_of_this_name }}", "missing_value: order.nothing_of_this_name"),
        ("{% for i in (1..100000) %}x{% endfor %}", "template_error"),
    ],
)
def test_a_template_that_can_not_be_rendered_skips_with_that_reason(sandbox, template, reason):
    tenant = make_tenant(country="GR")
    give_thanks_automation(tenant, template=template)
    prepare(tenant)
    with tenancy.tenant_scope(tenant.pk):
        assert (Message.objects.get().state, Message.objects.get().reason) == ("skipped", reason)


def test_a_connection_cut_after_acceptance_is_unknown_and_never_repeated(tenant, in_scope, sandbox):
    sandbox.behave(reports="none", cut_after_acceptance=1)
    prepare(tenant)
    for _ in range(3):
        send()
        work.sweep(Message)
    message = Message.objects.get()
    assert (message.state, message.attempts) == ("unknown", 1)
    assert len(sandbox.accepted()) == 1
    assert Attempt.objects.get().outcome == "unknown"
    report(tenant, messageId="M-1", deliveryStatus="Delivered", reference=str(message.reference))
    message.refresh_from_db()
    assert (message.state, message.provider_id, message.status) == ("delivered", "M-1", "done")


def test_a_call_that_surely_was_not_made_goes_back_uncounted_and_is_made_later(tenant, in_scope, sandbox):
    sandbox.behave(reports="none", throttle=1)
    prepare(tenant)
    send()
    message = Message.objects.get()
    assert (message.state, message.blocker, message.attempts) == ("queued", "provider_unavailable", 0)
    send()
    message.refresh_from_db()
    assert (message.state, message.attempts) == ("sent", 1)
    assert len(sandbox.accepted()) == 1


def test_a_closed_port_is_surely_not_sent(tenant, in_scope, sandbox):
    Connection.objects.update(base_url="http://127.0.0.1:1")
    prepare(tenant)
    send()
    assert (Message.objects.get().state, Message.objects.get().waits_for) == ("queued", "provider_unavailable")
    Breaker("mitto", str(Connection.objects.get().pk)).reset()


def test_an_open_breaker_is_the_named_blocker_and_costs_no_attempt(tenant, in_scope, sandbox):
    prepare(tenant)
    breaker = Breaker("mitto", str(Connection.objects.get().pk))
    for _ in range(5):
        breaker.failed()
    send()
    message = Message.objects.get()
    assert (message.state, message.waits_for, message.attempts) == ("queued", "breaker open: mitto", 0)
    assert sandbox.state.calls == []
    breaker.reset()
    send()
    message.refresh_from_db()
    assert (message.state, message.blocker, message.attempts) == ("sent", "", 1)


def test_a_refused_recipient_fails_and_its_neighbours_are_sent(tenant, in_scope, sandbox):
    sandbox.behave(reports="none", refuse_destinations=["+306900000002"])
    for number in (1, 2, 3):
        prepare(tenant, number=number)
    send()
    states = dict(Message.objects.values_list("address", "outcome"))
    assert states == {"+306900000001": "sent", "+306900000002": "failed", "+306900000003": "sent"}
    assert Message.objects.get(outcome="failed").reason


def test_without_a_connection_it_waits_and_says_so(sandbox):
    tenant = make_tenant(country="GR")
    give_thanks_automation(tenant)
    prepare(tenant)
    send()
    with tenancy.tenant_scope(tenant.pk):
        assert (Message.objects.get().state, Message.objects.get().waits_for) == ("queued", "no_connection")


def test_without_redis_nothing_is_sent_and_the_blocker_is_named(tenant, in_scope, sandbox, settings):
    prepare(tenant)
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    send()
    assert Message.objects.get().waits_for == "limiter_unavailable"
    assert sandbox.accepted() == []


def test_a_process_lost_between_acceptance_and_commit_leaves_it_unknown(tenant, in_scope, sandbox):
    prepare(tenant)
    begin(tenant)  # and here the process is lost
    Message.objects.update(lease_until="2000-01-01T00:00:00Z")
    assert work.sweep(Message).parked == 1
    send()
    assert (Message.objects.get().state, sandbox.accepted()) == ("unknown", [])


@pytest.mark.parametrize(
    ("words", "end"),
    [
        (["Sent", "Delivered"], "delivered"),
        (["Delivered", "Sent"], "delivered"),
        (["Delivered", "Failure"], "delivered"),
        (["Failure", "Delivered"], "delivered"),
        (["Failure", "Sent"], "failed"),
        (["Pending", "Delivered", "Delivered"], "delivered"),
        (["Sonstwas"], "sent"),
    ],
)
def test_reports_in_any_order_only_move_forward(tenant, in_scope, sandbox, words, end):
    prepare(tenant)
    send()
    provider_id = Message.objects.get().provider_id
    for second, word in enumerate(words):
        report(tenant, messageId=provider_id, deliveryStatus=word, updatedAt=f"2026-11-02T12:00:0{second}Z")
    assert Message.objects.get().state == end
    assert DeliveryReport.objects.count() == len(words)


def test_a_report_before_our_commit_and_without_reference_is_kept_and_applied(tenant, in_scope, sandbox):
    prepare(tenant)
    report(tenant, messageId="early", deliveryStatus="Delivered")
    assert DeliveryReport.objects.get().message is None
    send()
    message = Message.objects.get()
    with transaction.atomic():
        Message.objects.filter(pk=message.pk).update(provider_id="early")
        adopt_reports(connection_id=message.connection_id, provider_ids=["early"], now=timezone.now())
    message.refresh_from_db()
    assert (message.state, DeliveryReport.objects.get().message_id) == ("delivered", message.pk)


def test_a_report_of_another_tenants_connection_touches_nothing(tenant, in_scope, sandbox):
    prepare(tenant)
    send()
    message = Message.objects.get()
    other = make_tenant()
    with tenancy.tenant_scope(other.pk):
        connect_service(service="mitto", actor="test", base_url=sandbox.base_url, account_id="o", api_key="k")
        report(other, messageId=message.provider_id, deliveryStatus="Delivered", reference=str(message.reference))
        assert DeliveryReport.objects.get().message is None
    message.refresh_from_db()
    assert message.state == "sent"


def test_an_unknown_token_is_refused_and_counted():
    response = Client().post("/webhooks/mitto/dlr/nobodys", "{}", content_type="application/json")
    assert response.status_code == 404


def test_no_address_stands_twice_in_one_call(tenant, in_scope, sandbox):
    for number in (1, 2):
        prepare(tenant, number=number)
    Message.objects.update(address="+306900000001")
    ConsentState.objects.update(address="")
    assert [len(begin(tenant).rows), len(begin(tenant).rows), begin(tenant)] == [1, 1, None]


def test_halves_of_a_refused_call_that_get_no_grant_go_back_as_surely_not_sent(tenant, in_scope, sandbox, monkeypatch):
    """A call that was refused as a whole is halved; a half that gets no grant goes back, and is surely not sent."""
    for number in (1, 2, 3, 4):
        prepare(tenant, number=number)
    sandbox.behave(reports="none", refuse_calls=1)
    asked = []

    def one_grant_only(levels):
        asked.append(levels)
        return grant(levels) if len(asked) == 1 else Refusal("rate_limit", 60.0)

    monkeypatch.setattr(sending, "grant", one_grant_only)
    send()
    assert len(asked) == 3  # the call, its first half, and the queue when it had both back
    assert set(Message.objects.values_list("status", "attempts", "blocker")) == {("ready", 0, "rate_limit")}
    monkeypatch.undo()
    send()
    assert set(Message.objects.values_list("outcome", flat=True)) == {"sent"}
    assert len(sandbox.accepted()) == 4


@pytest.mark.parametrize("status", ["paused", "uninstalled"])
def test_a_tenant_that_is_not_active_sends_nothing_and_the_messages_say_so(tenant, in_scope, sandbox, status):
    prepare(tenant)
    Tenant.objects.filter(pk=tenant.pk).update(status=status)
    send()
    assert (Message.objects.get().state, Message.objects.get().waits_for) == ("queued", f"tenant_{status}")
    Tenant.objects.filter(pk=tenant.pk).update(status="active")
    send()
    assert Message.objects.get().state == "sent"


def test_a_message_that_was_sent_is_not_replayed(tenant, in_scope, sandbox):
    prepare(tenant)
    send()
    assert work.replay(Message.objects.all()) == 0
    assert Message.objects.get().state == "sent"


def test_an_id_given_twice_does_not_lose_what_was_accepted(tenant, in_scope, sandbox, monkeypatch):
    for number in (1, 2, 3):
        prepare(tenant, number=number)
    real = MittoProvider.send
    same = lambda self, rows: [Accepted(outcome.reference, "one-id") for outcome in real(self, rows)]  # noqa: E731
    monkeypatch.setattr(MittoProvider, "send", same)
    send()
    assert set(Message.objects.values_list("outcome", flat=True)) == {"sent"}
    assert sorted(Message.objects.values_list("provider_id", flat=True)) == ["", "", "one-id"]


def test_what_waits_of_one_tenant_keeps_nobody_elses_single_message_from_being_prepared(sandbox):
    mine, theirs = make_sender_tenant(sandbox.base_url), make_sender_tenant(sandbox.base_url, paid=None)
    kept = {tenant.pk: wait_to_be_prepared(tenant, count) for tenant, count in ((mine, 1), (theirs, 501))}
    assert prepare_singles(now=timezone.now()) == 501
    for tenant, state in ((mine, "queued"), (theirs, "waiting")):
        with tenancy.tenant_scope(tenant.pk):
            assert Message.objects.get(pk=kept[tenant.pk]).state == state


def wait_to_be_prepared(tenant, count):
    """Let so many single messages of a tenant wait; return the first one's id."""
    add_contacts(tenant, 1)
    with tenancy.tenant_scope(tenant.pk):
        contact = Contact.objects.get()
        fields = {"contact": contact, "channel": "sms", "address": contact.phone, "text": "Hello"}
        return Message.objects.bulk_create(Message(**fields) for _ in range(count))[0].pk
