"""What replies do: STOP, START, HELP, near misses; once, in any order, and beside what is being sent."""

from __future__ import annotations

import json
import logging
from datetime import timedelta

import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError
from django.utils import timezone

from config.infra import tenancy
from messaging.actions.answers import HELP_ANSWER, STOP_ANSWER
from messaging.actions.messages import Draft, send_single
from messaging.actions.replies import sync_replies
from messaging.actions.reviews import ReplyError, decide_reply, watch_replies
from messaging.actions.suppressions import address_key
from messaging.encoding import split_sms
from messaging.models import ConsentEntry, InboundMessage, Message, SendingPolicy, SendQueue, Suppression
from messaging.rules import Skip, decide_at_call
from messaging.tasks import drain_messages
from shopsync.models import Alert, Connection, WebhookEvent
from shopsync.shopify import Delivery
from shopsync.tasks import drain_webhooks
from tests.factories import run_together
from tests.messaging.replying import (
    NUMBER,
    PERSON,
    answers_of,
    make_ready,
    own_number,
    post,
    reply,
    state_of,
    wrote,
)
from tests.messaging.test_keywords import read_corpus

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def tenant(sandbox):
    return make_ready(sandbox.base_url)


def send():
    """Drain what is due, without any waiting."""
    with tenancy.all_tenants(reason="test"):
        Message.objects.filter(status="ready").update(due_at="2000-01-01T00:00:00Z")
        SendQueue.objects.update(blocker="", blocked_until=None)
    drain_messages()


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
