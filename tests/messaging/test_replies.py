"""What replies do: STOP, START, HELP, near misses; once, in any order, and beside what is being sent."""

from __future__ import annotations

import json
import logging
import threading
from datetime import timedelta

import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError, connection
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from config.infra import tenancy
from config.infra.ratelimit import Grant, Level, grant
from config.local.processes import wait_until
from messaging.actions import claiming, outcomes
from messaging.actions.answers import HELP_ANSWER, STOP_ANSWER
from messaging.actions.messages import Draft, send_single
from messaging.actions.preparing import prepare_singles
from messaging.actions.replies import sync_replies
from messaging.actions.reviews import ReplyError, decide_reply, recount_possibly_sent, watch_replies
from messaging.actions.suppressions import address_key
from messaging.encoding import split_sms
from messaging.inbound import numbers_of, parse_replies, phone_of, tells_repetitions
from messaging.models import ConsentEntry, InboundMessage, Message, SendingPolicy, SendQueue, Suppression
from messaging.providers.sandbox import SandboxServer
from messaging.rules import Skip, decide_at_call
from messaging.tasks import drain_messages
from messaging.webhooks import UnreadableReport
from shopsync.models import Alert, Connection, WebhookEvent
from shopsync.shopify import Delivery
from shopsync.tasks import drain_webhooks
from tests.factories import run_together
from tests.messaging.replying import (
    NUMBER,
    PERSON,
    answers_of,
    make_replied_to,
    own_number,
    post,
    reply,
    state_of,
    wrote,
)
from tests.messaging.test_keywords import read_corpus

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def sandbox():
    with SandboxServer() as server:
        server.behave(reports="none")
        yield server


@pytest.fixture
def tenant(sandbox):
    tenant = make_replied_to(name="First shop", base_url=sandbox.base_url)
    wait_until(lambda: isinstance(grant([Level(f"warm-{tenant.pk}", 10**6)]), Grant), 5, "the limiter to warm up")
    return tenant


@pytest.fixture
def in_scope(tenant):
    with tenancy.tenant_scope(tenant.pk):
        yield


def send():
    """Drain what is due, without any waiting."""
    with tenancy.all_tenants(reason="test"):
        Message.objects.filter(status="ready").update(due_at="2000-01-01T00:00:00Z")
        SendQueue.objects.update(blocker="", blocked_until=None)
    drain_messages()


# Reading


@pytest.mark.parametrize("sender", ["from", "msisdn", "sender"])
@pytest.mark.parametrize("text", ["text", "message"])
@pytest.mark.parametrize("to", ["to", "destination", "recipient"])
def test_every_name_of_a_field_is_read(sender, text, to):
    entry = {sender: "306912345678", text: "STOP", to: NUMBER, "id": "m-1", "time": "2026-11-02T12:00:00Z"}
    (found,) = parse_replies(json.dumps(entry).encode())
    assert (found.sender, found.text, found.recipient, found.provider_id) == ("306912345678", "STOP", NUMBER, "m-1")
    assert found.sent_at.hour == 12
    assert parse_replies(json.dumps([entry, entry]).encode()) == [found, found]


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"null", b"3", b'"STOP"', b"[[]]", b"{}", b'{"from": "+306912345678"}', b'{"text": "STOP"}',
     b'{"from": {}, "text": "STOP"}', b'{"from": "", "text": "STOP"}', b'{"from": "+3069", "text": ["STOP"]}',
     b'{"from": NaN, "text": "x"}', b"[" * 100_000, b'{"from": ' + b"9" * 5000 + b', "text": "x"}', b"\xff\xfe",
     json.dumps([{"from": "+306912345678", "text": "STOP"}] * 501).encode()],
)  # fmt: skip
def test_what_can_not_be_read_is_quarantined_with_the_reason(tenant, in_scope, body):
    with pytest.raises(UnreadableReport):
        parse_replies(body)
    assert post(tenant, body).status_code == 202
    drain_webhooks()
    row = WebhookEvent.objects.get(source="mitto")
    assert (row.status, bool(row.last_error)) == ("buried", True) or row.status == "quarantined"
    assert not InboundMessage.objects.exists()


@given(body=st.binary(max_size=200) | st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.sampled_from(["from", "text", "to", "id", "time", "message", "sender"]), inner, max_size=6),
    max_leaves=12,
).map(lambda document: json.dumps(document).encode()))  # fmt: skip
def test_any_body_is_read_or_refused(body):
    assert isinstance(tells_repetitions(body), bool)
    try:
        found = parse_replies(body)
    except UnreadableReport:
        return
    assert all("\x00" not in one.text + one.sender + one.recipient + one.provider_id for one in found)


@pytest.mark.parametrize(
    ("given", "country", "expected"),
    [("+306912345678", "US", PERSON), ("306912345678", "US", PERSON), ("306912345678", "GR", PERSON),
     ("6912345678", "GR", PERSON), ("00306912345678", "US", PERSON), ("+30 691 234 5678", "", PERSON),
     ("15145550101", "GR", "+15145550101"), ("5145550101", "US", "+15145550101"),
     ("54321", "GR", ""), ("Shop", "GR", ""), ("", "GR", ""), ("+", "", ""), ("9" * 40, "GR", ""),
     ("٣٠٦٩١٢٣٤٥٦٧٨", "GR", "")],
)  # fmt: skip
def test_a_senders_number_is_written_as_contacts_have_it(given, country, expected):
    assert phone_of(given, country=country) == expected


def test_a_number_is_looked_for_as_it_may_be_written():
    assert numbers_of("302101234567") == numbers_of(NUMBER) == [NUMBER, "302101234567"]
    assert numbers_of("54321") == ["54321"]
    assert numbers_of("Shop") == ["Shop"]
    assert numbers_of(" ") == []


# The door


def test_the_door_stores_and_answers(tenant, in_scope):
    assert post(tenant, {"from": PERSON, "text": "hello", "id": "1"}).status_code == 202
    assert post(tenant, {"from": PERSON, "text": "hello", "id": "1"}).status_code == 202
    row = WebhookEvent.objects.get()
    assert (row.source, row.topic, row.duplicates) == ("mitto", "inbound", 1)


def test_a_stranger_to_the_door_is_refused(client, db):
    url = "/webhooks/mitto/inbound/nobodys"
    assert client.post(url, "{}", content_type="application/json").status_code == 404
    assert client.get(url).status_code == 405


def test_the_same_bytes_without_id_and_time_are_another_stop(tenant):
    wrote(tenant)
    body = {"from": PERSON, "text": "STOP"}
    for text, reason in (("STOP", "stop"), ("START", ""), ("STOP", "stop")):
        post(tenant, {**body, "text": text})
        drain_webhooks()
        assert state_of(tenant)[0] == reason
    assert len(answers_of(tenant)) == 2


# The corpus


def test_the_whole_corpus_ends_as_it_says(tenant, in_scope):
    SendingPolicy.objects.create()
    expected, entries = {}, {}
    for number, (text, languages, outcome) in enumerate(read_corpus()):
        address = f"+3069{number:08}"
        expected[address] = (text, outcome)
        entries.setdefault(languages, []).append({"from": address, "to": NUMBER, "text": text, "id": f"c-{number}"})
    own_number(tenant)
    for languages, bodies in entries.items():
        SendingPolicy.objects.update(reply_languages=list(languages))
        for start in range(0, len(bodies), 40):
            post(tenant, bodies[start : start + 40])
            drain_webhooks()
    rows = {row.address: row for row in InboundMessage.objects.all()}
    suppressed = set(Suppression.objects.filter(reason="stop").values_list("address", flat=True))
    agreed = set(ConsentEntry.objects.filter(state="subscribed", source="reply").values_list("address", flat=True))
    helped = set(Message.objects.filter(trigger__startswith="help:").values_list("address", flat=True))
    ends = {address: (address in suppressed, address in agreed, address in helped, rows[address].review == "open")
            for address in expected}  # fmt: skip
    kinds = ("optout", "optin", "help", "review")
    wrong = [expected[address] for address, end in ends.items()
             if end != tuple(expected[address][1] == kind for kind in kinds)]  # fmt: skip
    print(f"{len(expected)} replies, {len(wrong)} ended otherwise than expected")
    assert wrong == []
    assert len(expected) >= 300
    assert Message.objects.filter(purpose="confirmation").count() == len(suppressed)


def test_texts_of_replies_are_not_logged(tenant, caplog):
    wrote(tenant)
    with caplog.at_level(logging.DEBUG):
        for text in ("my secret is 1234, stop", "STOP", "good day, marker"):
            reply(tenant, text)
        post(tenant, {"from": "x", "text": "marker of nobody"})
        drain_webhooks()
    assert not any(word in caplog.text for word in ("1234", "marker", PERSON))


# STOP


def test_stop_suppresses_states_and_confirms_once(tenant, sandbox):
    wrote(tenant)
    found = reply(tenant, "Stop!")
    assert (found.kind, found.keyword, found.routed_by, found.effect) == ("optout", "stop", "conversation", "optout")
    assert state_of(tenant) == ("stop", "unsubscribed")
    send()
    reply(tenant, "STOP")
    send()
    (answer,) = answers_of(tenant)
    assert (answer.purpose, answer.state, answer.sender) == ("confirmation", "sent", NUMBER)
    (sent,) = sandbox.accepted()
    assert (sent.destination, sent.text) == (PERSON, STOP_ANSWER.format(name="First shop"))


def test_the_same_stop_delivered_twice_is_kept_and_confirmed_once(tenant, in_scope, sandbox):
    wrote(tenant)
    body = {"id": "m-1", "from": PERSON, "to": NUMBER, "text": "STOP"}
    for extra in ({}, {"time": "2026-11-02T12:00:00Z"}, {"more": 1}):  # other bytes, the same reply
        post(tenant, body | extra)
        drain_webhooks()
    WebhookEvent.objects.update(status="ready", finished_at=None)
    drain_webhooks()
    send()
    assert InboundMessage.objects.count() == 1
    assert len(sandbox.accepted()) == 1


@pytest.mark.parametrize(("known_by", "kept"), [({}, 20), ({"id": "m-1"}, 1)])
def test_twenty_stops_at_once_suppress_once_and_confirm_once(tenant, sandbox, known_by, kept):
    wrote(tenant)
    with tenancy.tenant_scope(tenant.pk):
        via = Connection.objects.get(service="mitto").pk

    def handle(number):
        body = json.dumps({"from": PERSON, "to": NUMBER, "text": "STOP", **known_by}).encode()
        known = {"id": number, "digest": str(number), "tenant_id": tenant.pk, "connection_id": via, "body": body}
        known |= {"triggered_at": None, "received_at": timezone.now()}
        delivery = Delivery(source="mitto", topic="inbound", **known)
        with tenancy.tenant_scope(tenant.pk):
            sync_replies(delivery=delivery)

    results = run_together([lambda n=n: handle(n) for n in range(20)], threads=20)
    assert results == [None] * 20
    send()
    with tenancy.tenant_scope(tenant.pk):
        assert InboundMessage.objects.count() == kept
        assert Suppression.objects.count() == 1
        assert ConsentEntry.objects.filter(state="unsubscribed").count() == 1
    assert len(sandbox.accepted()) == 1


def test_nothing_but_the_confirmation_goes_to_who_opted_out(tenant, in_scope, sandbox):
    contact = wrote(tenant).contact
    reply(tenant, "STOP")
    for purpose in ("marketing", "transactional"):
        send_single(draft=Draft(contact_id=contact.pk, channel="sms", text="Sale", purpose=purpose), actor="test")
    send()
    assert [message.text[:4] for message in sandbox.accepted()] == ["Firs"]
    assert set(Message.objects.filter(text="Sale").values_list("outcome", "reason")) == {("skipped", "suppressed")}


def test_a_confirmation_that_start_has_overtaken_is_not_sent(tenant, in_scope, sandbox):
    wrote(tenant)
    reply(tenant, "STOP")
    reply(tenant, "START")
    send()
    assert [(one.outcome, one.reason) for one in answers_of(tenant)] == [("skipped", "opted_in_again")]
    assert sandbox.accepted() == []


def test_rules_let_a_confirmation_through_only_while_suppressed():
    assert decide_at_call(consent="unsubscribed", is_suppressed=True, confirms_opt_out=True) is None
    assert decide_at_call(consent="subscribed", confirms_opt_out=True) == Skip("opted_in_again")
    assert decide_at_call(consent=None, is_suppressed=True, is_expired=True, confirms_opt_out=True) == Skip("expired")


# START and HELP


def test_start_after_stop_lifts_and_subscribes_again(tenant, in_scope, sandbox):
    contact = wrote(tenant).contact
    reply(tenant, "STOP")
    found = reply(tenant, "Start 😊")
    assert (found.kind, found.effect) == ("optin", "optin")
    assert state_of(tenant) == ("", "subscribed")
    entry = ConsentEntry.objects.filter(source="reply", state="subscribed").get()
    assert (entry.text_shown, entry.proof) == ("Start 😊", {"reply": found.pk})
    send_single(draft=Draft(contact_id=contact.pk, channel="sms", text="Sale"), actor="test")
    send()
    assert [message.text for message in sandbox.accepted()] == ["Sale"]
    reply(tenant, "STOP")
    send()
    assert len(sandbox.accepted()) == 2  # another opt-out, confirmed once more


def test_start_lifts_no_other_suppression_and_says_so(tenant, in_scope):
    wrote(tenant)
    reply(tenant, "hello")
    Suppression.objects.create(channel="sms", address=PERSON, reason="manual", address_key=address_key("sms", PERSON))
    found = reply(tenant, "START")
    assert state_of(tenant) == ("manual", "subscribed")
    assert found.note == "it stays suppressed: by a person here"


def test_a_start_that_was_sent_before_a_stop_and_came_late_is_left_to_a_person(tenant, in_scope):
    wrote(tenant)
    reply(tenant, "STOP")
    earlier = (timezone.now() - timedelta(hours=1)).isoformat()
    found = reply(tenant, "START", time=earlier)
    assert state_of(tenant) == ("stop", "unsubscribed")
    assert (found.review, found.effect) == ("open", "nothing")
    decide_reply(reply_id=found.pk, decision="optin", actor="user:1", now=timezone.now())
    assert state_of(tenant) == ("", "subscribed")


def test_a_stop_worked_on_after_a_later_start_changes_nothing(tenant, in_scope):
    wrote(tenant)
    reply(tenant, "STOP")
    reply(tenant, "START")
    post(tenant, {"id": "late", "from": PERSON, "to": NUMBER, "text": "STOP"})
    WebhookEvent.objects.filter(status="ready").update(created_at=timezone.now() - timedelta(minutes=5))
    drain_webhooks()
    found = InboundMessage.objects.get(provider_id="late")
    assert (found.effect, state_of(tenant)) == ("nothing", ("", "subscribed"))


def test_help_is_answered_once_with_name_and_how_to_stop(tenant, sandbox):
    wrote(tenant)
    assert reply(tenant, "HELP").effect == "help"
    assert reply(tenant, "help").note == "it was answered a moment ago"
    send()
    (sent,) = sandbox.accepted()
    assert sent.text == HELP_ANSWER.format(name="First shop")
    assert "STOP" in sent.text
    assert answers_of(tenant, "help:")[0].purpose == "transactional"
    assert state_of(tenant) == ("", "subscribed")


def test_answers_are_the_tenants_own_words_and_plain_ones_stay_plain(tenant, in_scope):
    wrote(tenant)
    for answer in (STOP_ANSWER, HELP_ANSWER):
        assert split_sms(answer.format(name="A shop with a name")).encoding == "GSM-7"
        assert len(split_sms(answer.format(name="A shop with a name")).parts) == 1
    tenant.name = "Καφενείο"
    tenant.save()
    reply(tenant, "HELP")
    assert answers_of(tenant, "help:")[0].text.startswith(tenant.shop_domain.partition(".")[0])
    SendingPolicy.objects.create(stop_answer="{name}: τέλος, {other}", reply_languages=["el"])
    reply(tenant, "ΣΤΟΠ")
    assert answers_of(tenant)[0].text == "Καφενείο: τέλος, {other}"


def test_keywords_of_other_languages_count_where_the_tenant_says_so(tenant, in_scope):
    wrote(tenant)
    assert reply(tenant, "Abmelden").kind == "conversation"
    SendingPolicy.objects.create(reply_languages=["de"])
    assert reply(tenant, "Abmelden").kind == "optout"


def test_a_language_without_keywords_is_refused_before_and_by_the_database(in_scope):
    with pytest.raises(ValidationError, match="not in xx"):
        SendingPolicy(reply_languages=["el", "xx"]).full_clean(exclude=["tenant"])
    with pytest.raises(IntegrityError, match="sendingpolicy_languages_have_keywords"):
        SendingPolicy.objects.create(reply_languages=["xx"])


# Near misses


@pytest.mark.parametrize(
    ("decision", "expected"),
    [("optout", ("stop", "unsubscribed")), ("optin", ("", "subscribed")), ("nothing", ("", "subscribed"))],
)
def test_a_near_miss_waits_for_a_person_who_decides_once(tenant, in_scope, decision, expected):
    wrote(tenant)
    found = reply(tenant, "please stop sending me these")
    assert (found.kind, found.review, found.effect) == ("review", "open", "")
    assert found.contact_id is not None
    assert state_of(tenant) == ("", "subscribed")
    decided = decide_reply(reply_id=found.pk, decision=decision, actor="user:7", now=timezone.now())
    assert (decided.review, decided.decision, decided.decided_by) == ("done", decision, "user:7")
    assert state_of(tenant) == expected
    assert len(answers_of(tenant)) == (decision == "optout")
    with pytest.raises(ReplyError, match="Nothing is to be decided"):
        decide_reply(reply_id=found.pk, decision=decision, actor="user:7", now=timezone.now())


def test_a_review_that_waits_too_long_is_told_of_until_it_is_decided(tenant, in_scope):
    wrote(tenant)
    found = reply(tenant, "please stop it")
    now = timezone.now()
    assert watch_replies(now=now) == 0
    assert watch_replies(now=now + timedelta(minutes=20)) == 1
    alert = Alert.objects.get(kind="replies.review")
    assert (alert.closed_at, "1 replies wait" in alert.message, PERSON in alert.message) == (None, True, False)
    decide_reply(reply_id=found.pk, decision="nothing", actor="user:7", now=now)
    assert watch_replies(now=now + timedelta(minutes=20)) == 0
    alert.refresh_from_db()
    assert alert.closed_at is not None


# Beside what is being sent


def begin(tenant):
    """Begin a call of what is due, and make none."""
    with tenancy.tenant_scope(tenant.pk):
        queue = SendQueue.objects.get()
        via = Connection.objects.get(service="mitto")
        return claiming.begin_call(queue_id=queue.pk, via=via, limit=100, now=timezone.now())


def stop_beside(monkeypatch, tenant, *, where):
    """Let STOP be committed by another process while a call is being begun: before, or after consent is asked."""
    original, waiting, told = claiming._ask, threading.Event(), threading.Event()

    def ask(ids):
        if where == "before":
            waiting.set()
            assert told.wait(10)
        found = original(ids)
        if where == "after":
            waiting.set()
            assert told.wait(10)
        return found

    monkeypatch.setattr(claiming, "_ask", ask)
    calls = []

    def run():
        try:
            calls.append(begin(tenant))
        finally:
            connection.close()

    beginner = threading.Thread(target=run)
    beginner.start()
    assert waiting.wait(10)
    found = reply(tenant, "STOP")
    told.set()
    beginner.join()
    return calls[0], found


@pytest.fixture
def due(tenant):
    """A message that may be sent, prepared."""
    contact = wrote(tenant).contact
    with tenancy.tenant_scope(tenant.pk):
        message = send_single(draft=Draft(contact_id=contact.pk, channel="sms", text="Sale"), actor="test")
    prepare_singles(now=timezone.now())
    return message


def test_an_opt_out_committed_before_consent_is_asked_stops_the_message(monkeypatch, tenant, due):
    call, found = stop_beside(monkeypatch, tenant, where="before")
    assert call is None
    with tenancy.tenant_scope(tenant.pk):
        due.refresh_from_db()
        assert (due.outcome, due.reason) == ("skipped", "suppressed")
        recount_possibly_sent(now=timezone.now())
        found.refresh_from_db()
        assert found.possibly_sent == 0


def test_an_opt_out_that_comes_later_says_that_a_message_was_possibly_sent(monkeypatch, tenant, due):
    call, found = stop_beside(monkeypatch, tenant, where="after")
    assert [row.id for row in call.rows] == [due.pk]
    assert found.possibly_sent == 0  # the call had not been committed yet
    recount_possibly_sent(now=timezone.now())
    with tenancy.tenant_scope(tenant.pk):
        found.refresh_from_db()
        assert found.possibly_sent == 1


def test_an_opt_out_during_a_call_says_so_at_once(tenant, due):
    assert begin(tenant) is not None
    assert reply(tenant, "STOP").possibly_sent == 1


def test_a_call_notes_the_number_that_it_was_made_from(tenant, due):
    with tenancy.tenant_scope(tenant.pk):
        due.refresh_from_db()
        assert due.sender == ""
        call = begin(tenant)
        due.refresh_from_db()
        assert due.sender == NUMBER
        outcomes.hand_back(call, blocker="rate_limit", error="", wait_seconds=0)
        due.refresh_from_db()
        assert (due.sender, due.state) == ("", "queued")  # another connection may take it, with a number of its own
