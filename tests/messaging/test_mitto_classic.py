"""Mitto's classic API: what is asked, what its answers mean, and how campaigns, cuts and reports go by it."""

from __future__ import annotations

import json
import secrets
import uuid
from collections import Counter
from typing import Any

import pytest
from django.db import connection, transaction
from django.test import Client
from django.utils import timezone

from config.infra import tenancy
from config.infra.ratelimit import Grant, Level, grant
from config.local.processes import wait_until
from messaging.actions.claiming import begin_call
from messaging.actions.previews import ask_for_report
from messaging.actions.unknowns import match_orphans
from messaging.models import Attempt, Campaign, Contact, Message, Sender, SendingPolicy, SendQueue
from messaging.providers.base import Accepted, OutgoingMessage, ProviderAccount, ProviderError, get_provider
from messaging.providers.sandbox import SandboxServer
from messaging.providers.sandbox_state import Hook
from messaging.queries import find_campaign_drift
from messaging.tasks import drain_messages
from shopsync.models import Connection, Tenant
from tests.factories import drain_all
from tests.messaging.campaigns import add_contacts, launch, make_campaign, make_sender_tenant
from tests.messaging.twins import answering

pytestmark = pytest.mark.django_db(transaction=True)
GREEK = "Γειά"


def account(base_url: str, account_id: str = "classic:main") -> ProviderAccount:
    return ProviderAccount("mitto", f"test-{secrets.token_hex(8)}", base_url, "key", account_id, "MyShop")


def message(number: int = 1, **fields: Any) -> OutgoingMessage:
    told = {"text": "Sale", "call": "attempt-7", **fields}
    return OutgoingMessage(reference=f"r{number}", to=f"+30691234567{number}", **told)


def answer_of(code: Any, *ids: Any) -> bytes:
    return json.dumps({"responseCode": code, "responseText": "said", "messages": [{"id": one} for one in ids]}).encode()


ONE = {"from": "MyShop", "to": "306912345671", "text": "Sale", "type": "GSM", "reference": "r1", "validity": 2880}
MANY = {**ONE, "to": ["306912345671", "306912345672"], "reference": "attempt-7"}


@pytest.mark.parametrize(
    ("messages", "path", "body"),
    [
        ([message()], "/sms", ONE),
        ([message(text="10 €")], "/sms", {**ONE, "text": "10 €"}),
        ([message(text=GREEK)], "/sms", {**ONE, "text": GREEK, "type": "Unicode"}),
        ([message(sender="+306900000000")], "/sms", {**ONE, "from": "306900000000"}),
        ([message(1), message(2)], "/smsbulk", MANY),
        ([message(1, sender="MyShop"), message(2)], "/smsbulk", MANY),
        ([message(1, call=""), message(2, call="")], "/smsbulk", {**MANY, "reference": "r1"}),
    ],
)
def test_a_request_says_what_the_api_takes(messages, path, body):
    twin = answering(json.dumps({"id": "a", "responseCode": 0, "messages": [{"id": "a"}, {"id": "b"}]}).encode())
    with twin as base_url:
        outcomes = get_provider(account(base_url)).send(messages)
    assert twin.asked == [(path, body)]
    assert outcomes == [Accepted(one.reference, word) for one, word in zip(messages, "ab", strict=False)]


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("code", range(1, 9))
def test_a_response_code_is_a_refusal_for_good_or_unknown(code, count):
    with answering(answer_of(code)) as base_url, pytest.raises(ProviderError) as caught:
        get_provider(account(base_url)).send([message(number + 1) for number in range(count)])
    assert (caught.value.permanent, caught.value.unknown) == (code > 1, code == 1)
    assert str(code) in str(caught.value)


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"[]", b"{}", b'{"responseCode": 0}', answer_of(0), answer_of(0, "a"), answer_of(0, "a", "b", "c")),
        *(answer_of(0, "a", None), answer_of(0, "a", 5), answer_of(0, "a", "b\x00"), answer_of("0", "a", "b")),
        *(answer_of(False, "a", "b"), answer_of(9, "a", "b"), answer_of(-1), answer_of(1, "a", "b")),
        answer_of(8, "a"),  # refused, and one taken: nobody knows
    ],
)
def test_an_answer_that_does_not_match_is_unknown(body):
    with answering(body) as base_url, pytest.raises(ProviderError) as caught:
        get_provider(account(base_url)).send([message(1), message(2)])
    assert (caught.value.permanent, caught.value.unknown) == (False, True)


def test_what_can_not_be_one_request_is_refused_here():
    provider = get_provider(account("http://127.0.0.1:1"))
    assert (provider.send([]), provider.shares_text) == ([], True)
    for one in (message(2, text="other"), message(2, sender="Other")):
        with pytest.raises(ValueError, match="one text from one sender"):
            provider.send([message(1), one])
    with pytest.raises(ValueError, match="Mitto takes 5000"):
        provider.send([message()] * 5001)
    with pytest.raises(ProviderError, match="can't be asked") as caught:
        provider.status("a")
    assert caught.value.permanent


@pytest.mark.parametrize("account_id", ["clasic:main", ":"])
def test_an_unknown_option_is_refused_in_words(account_id):
    with pytest.raises(ProviderError, match="known: classic") as caught:
        get_provider(account("http://127.0.0.1:1", account_id)).send([message()])
    assert (caught.value.blocker, caught.value.permanent, caught.value.unknown) == ("unknown_mitto_api", False, False)
    assert not get_provider(account("http://127.0.0.1:1", "11111111-2222")).shares_text


# Through the whole of sending


def classic_tenant(sandbox: SandboxServer) -> Tenant:
    tenant = make_sender_tenant(sandbox.base_url)
    with tenancy.tenant_scope(tenant.pk):
        Connection.objects.update(account_id=f"classic:{tenant.pk}", api_key=f"key-{tenant.pk}")
        SendingPolicy.objects.update_or_create(defaults={"batch_size": 4})
    wait_until(lambda: isinstance(grant([Level(f"warm-{tenant.pk}", 10**6)]), Grant), 5, "the limiter to warm up")
    return tenant


@pytest.fixture
def tenant(sandbox):
    return classic_tenant(sandbox)


def send(campaign: Campaign) -> list[int]:
    """Send a campaign; return how many messages each call had, of the number of calls that its report said."""
    calls = Attempt.objects.order_by("pk")
    before = calls.count()
    told = ask_for_report(campaign_id=campaign.pk, now=timezone.now()).preflight["calls"]
    launch(campaign)
    drain_messages()
    made = list(calls.values_list("message_count", flat=True))[before:]
    assert len(made) == told
    assert set(Message.objects.filter(campaign=campaign).values_list("outcome", flat=True)) == {"sent"}
    return made


def nobody_got_it_twice(sandbox: SandboxServer) -> bool:
    return set(Counter((row.destination, row.text) for row in sandbox.accepted()).values()) == {1}


def test_one_text_for_all_goes_to_many_in_a_call(tenant, in_scope, sandbox):
    add_contacts(tenant, 9)
    assert send(make_campaign(tenant, text="Sale")) == [4, 4, 1]
    assert {row.sender for row in sandbox.accepted()} == {"Shop"}
    first, *_, last = sandbox.accepted()
    assert first.reference == Attempt.objects.earliest("pk").reference
    assert last.reference == str(Message.objects.get(address=last.destination).reference)
    assert (len(sandbox.accepted()), nobody_got_it_twice(sandbox)) == (9, True)
    assert find_campaign_drift(tenant_id=tenant.pk) == []


def test_what_all_share_is_refused_of_all_in_one_call(tenant, in_scope, sandbox):
    add_contacts(tenant, 4)
    Connection.objects.update(sender="no sender has such a name")
    launch(make_campaign(tenant, text="Sale"))
    drain_messages()
    assert set(Message.objects.values_list("outcome", "reason", "credit")) == {
        ("failed", "Mitto: invalid sender (6)", "released")
    }
    assert (Attempt.objects.count(), sandbox.accepted()) == (1, [])


@pytest.mark.parametrize("text", ["Hello {{ contact.first_name }}", "Stop: {{ unsubscribe_url }}"])
def test_a_text_of_ones_own_is_a_call_of_its_own(tenant, in_scope, sandbox, text):
    add_contacts(tenant, 6)
    assert send(make_campaign(tenant, text=text)) == [1] * 6
    sent = {row.destination: row.text for row in sandbox.accepted()}
    assert sent == dict(Message.objects.values_list("address", "text"))


def test_a_senders_own_limit_counts_recipients_and_not_what_a_call_had_room_for(tenant, in_scope, sandbox):
    Sender.objects.create(channel="sms", value="Shop", recipients_per_second=4)
    add_contacts(tenant, 10)
    assert send(make_campaign(tenant)) == [1] * 10  # within one drain: a second each would be too long for it


def test_of_a_mixed_queue_each_call_has_one_text_and_one_sender(tenant, in_scope, sandbox):
    add_contacts(tenant, 10)
    Contact.objects.filter(phone__regex="[147]$").update(country="DE")
    assert send(make_campaign(tenant, text="Sale in {{ contact.country }}")) == [2, 4, 1, 3]
    assert nobody_got_it_twice(sandbox)
    launch(make_campaign(tenant, text="Sale"))
    odd = Message.objects.filter(status="ready").order_by("pk")[3]
    Message.objects.filter(pk=odd.pk).update(sender="Other")
    Message.objects.filter(status="ready").exclude(pk=odd.pk).filter(pk__gt=odd.pk).update(sender="Shop")
    drain_messages()
    senders = {attempt.pk: set(attempt.messages.values_list("sender", flat=True)) for attempt in Attempt.objects.all()}
    assert all(len(of_call) == 1 for of_call in senders.values())
    assert [row.destination for row in sandbox.accepted() if row.sender == "Other"] == [odd.address]


def test_rows_that_are_not_taken_are_not_locked_and_locked_ones_are_passed_over(tenant, in_scope):
    add_contacts(tenant, 6)
    launch(make_campaign(tenant, text="Sale"))
    ids = list(Message.objects.order_by("pk").values_list("pk", flat=True))
    Message.objects.filter(pk=ids[2]).update(text="Other")
    queue, via = SendQueue.objects.get(), Connection.objects.get()

    def begin() -> list[int]:
        told = {"queue_id": queue.pk, "via": via, "limit": 4, "now": timezone.now(), "shares_text": True}
        return [row.id for row in begin_call(**told).rows]

    with transaction.atomic():
        assert begin() == [ids[0], ids[1], ids[3]]
        other = connection.copy()
        try:
            with other.cursor() as cursor:
                cursor.execute("SELECT id FROM messaging_message WHERE status = 'ready' FOR UPDATE SKIP LOCKED")
                assert sorted(row[0] for row in cursor.fetchall()) == [ids[2], ids[4], ids[5]]
        finally:
            other.close()
    assert [begin(), begin()] == [[ids[2]], [ids[4], ids[5]]]


def report(**fields: Any) -> None:
    """Report by GET, with the names of the invented sample."""
    url = f"/webhooks/mitto/dlr/{Connection.objects.get(service='mitto').token}"
    told = {"status": "Delivered", "timestamp": "2026-11-29T16:07:01Z", "errorCode": "0", **fields}
    assert Client().get(url, told).status_code == 202
    drain_all()


def test_a_cut_call_is_unknown_until_a_report_names_it_and_the_receiver(tenant, in_scope, sandbox):
    sandbox.behave(reports="none", cut_after_acceptance=1)
    add_contacts(tenant, 3)
    launch(make_campaign(tenant, text="Sale"))
    drain_messages()
    assert set(Message.objects.values_list("status", flat=True)) == {"unknown"}
    first, second, third = sandbox.accepted()
    report(id=first.message_id, reference=first.reference, to=first.destination[1:])
    report(id=second.message_id, reference=second.reference)  # nobody's: which of three?
    report(id="x", reference=third.reference, to="306900000009")  # nobody's: of that call, not to that number
    assert match_orphans() == 0  # and nobody can be asked
    settled = Message.objects.get(address=first.destination)
    assert (settled.state, settled.provider_id) == ("delivered", first.message_id)
    assert Message.objects.filter(status="unknown").count() == 2
    report(id=third.message_id, reference=third.reference, to=third.destination, status="Failure", errorCode="5")
    assert Message.objects.get(outcome="failed").reason == "error 5"
    assert nobody_got_it_twice(sandbox)


@pytest.mark.parametrize("order", ["after", "before", "twice", "out_of_order"])
def test_the_twins_reports_come_in_any_order(tenant, in_scope, sandbox, order, live_server):
    token = Connection.objects.get().token
    hook = Hook(uuid.uuid4().hex, f"{live_server.url}/webhooks/mitto/dlr/{token}", {}, frozenset({f"key-{tenant.pk}"}))
    sandbox.state.register(hook)
    sandbox.behave(reports=order, fail_destinations=["+306900000002"], cut_after_acceptance=1)
    add_contacts(tenant, 3)
    launch(make_campaign(tenant, text="Sale"))
    drain_messages()

    def is_over() -> bool:
        drain_all()
        return Counter(Message.objects.values_list("outcome", flat=True)) == {"delivered": 2, "failed": 1}

    wait_until(is_over, 10, "the reports")
    assert nobody_got_it_twice(sandbox)


@pytest.mark.parametrize("behaviour", [{"refuse_calls": 2}, {"refuse_destinations": ["+306900000002"]}])
def test_a_refused_call_is_halved_down_to_who_is_at_fault(tenant, in_scope, sandbox, behaviour):
    sandbox.behave(reports="none", **behaviour)
    add_contacts(tenant, 4)
    launch(make_campaign(tenant, text="Sale"))
    drain_messages()
    failed = list(Message.objects.filter(outcome="failed").values_list("address", "reason"))
    at_fault = [] if "refuse_calls" in behaviour else [("+306900000002", "Mitto: invalid receiver (8)")]
    assert (failed, len(sandbox.accepted()), nobody_got_it_twice(sandbox)) == (at_fault, 4 - len(at_fault), True)


def test_two_tenants_texts_and_reports_are_their_own(tenant, sandbox):
    sandbox.behave(reports="none", cut_after_acceptance=2)
    other = classic_tenant(sandbox)
    for one in (tenant, other):
        add_contacts(one, 2)
        launch(make_campaign(one, text="Sale"))
    drain_messages()
    assert {(row.account, row.destination) for row in sandbox.accepted()} == {
        (f"key-{one.pk}", f"+30690000000{number}") for one in (tenant, other) for number in (1, 2)
    }
    theirs = next(row for row in sandbox.accepted() if row.account == f"key-{other.pk}")
    with tenancy.tenant_scope(tenant.pk):
        report(id=theirs.message_id, reference=theirs.reference, to=theirs.destination)
    for one in (tenant, other):
        with tenancy.tenant_scope(one.pk):
            assert Message.objects.filter(status="unknown").count() == 2
