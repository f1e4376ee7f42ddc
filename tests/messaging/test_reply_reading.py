"""Reading replies: every name of a field, hostile bodies, numbers as they are written; and the door they come by."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from messaging.actions.reviews import watch_replies
from messaging.inbound import Inbound, Unread, numbers_of, parse_replies, phone_of, tells_repetitions
from messaging.models import InboundMessage
from messaging.webhooks import UnreadableReport
from shopsync.actions.inbox import replay_deliveries
from shopsync.models import Alert, WebhookEvent
from shopsync.tasks import drain_webhooks
from tests.messaging.replying import (
    NUMBER,
    PERSON,
    answers_of,
    make_replied_to,
    post,
    state_of,
    wrote,
)

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def tenant():
    return make_replied_to(name="First shop")


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
    read = [one for one in found if isinstance(one, Inbound)]
    assert all("\x00" not in one.text + one.sender + one.recipient + one.provider_id for one in read)
    assert bool(read) == bool(found)
    for one in found:
        if isinstance(one, Unread):
            with pytest.raises(UnreadableReport):
                parse_replies(one.body)


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


@pytest.mark.parametrize("bad", [{"from": PERSON}, {"text": "STOP"}, 7, [{"from": PERSON, "text": "STOP"}], None])
def test_an_entry_that_is_no_reply_costs_no_other_its_stop_and_is_kept_and_told_of(tenant, in_scope, bad):
    wrote(tenant)
    other = "+306900000009"
    wrote(tenant, address=other)
    body = [{"from": PERSON, "text": "STOP", "id": "1"}, bad, {"from": other, "text": "STOP", "id": "2"}]
    assert post(tenant, body).status_code == 202
    drain_webhooks()
    assert (state_of(tenant)[0], state_of(tenant, other)[0]) == ("stop", "stop")
    done, kept = WebhookEvent.objects.order_by("pk")
    assert (done.status, kept.status, json.loads(bytes(kept.body))) == ("done", "quarantined", [bad])
    assert kept.last_error.startswith("reply 1 of 1")
    replay_deliveries(rows=WebhookEvent.objects.filter(pk=done.pk), actor="test")
    drain_webhooks()
    assert (WebhookEvent.objects.count(), InboundMessage.objects.count()) == (2, 2)
    watch_replies(now=timezone.now())
    alert = Alert.objects.get(kind="replies.unreadable")
    assert (alert.closed_at, "1 bodies of replies were not worked on" in alert.message) == (None, True)
    watch_replies(now=timezone.now() + timedelta(days=8))
    alert.refresh_from_db()
    assert alert.closed_at is not None


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
