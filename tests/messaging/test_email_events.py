"""What e-mail services post: read, known by its signature or password, and taken from the door to the rows."""

from __future__ import annotations

import base64
import hmac
import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from config.infra import tenancy
from messaging.email_events import (
    EmailEvent,
    has_password,
    is_signed_by_mailgun,
    parse_mailgun_event,
    parse_postmark_event,
)
from messaging.models import Contact, DeliveryReport, Message, Suppression
from messaging.providers.base import get_provider
from messaging.providers.sandbox_email import EmailSandboxServer
from messaging.webhooks import UnreadableReport
from shopsync.actions.tenants import connect_service
from shopsync.models import RefusedDelivery, WebhookEvent
from tests.factories import drain_all
from tests.infra.redis_server import some_redis
from tests.messaging.mailing import account_at, message
from tests.messaging.twins import Client as TwinClient
from tests.messaging.twins import wait_for


@pytest.fixture(scope="module", autouse=True)
def _redis() -> Iterator[None]:
    with some_redis():
        yield


@pytest.fixture
def sandbox() -> Iterator[EmailSandboxServer]:
    with EmailSandboxServer() as server:
        yield server


# What Mailgun posts


def mailgun_event(**fields: Any) -> dict[str, Any]:
    return {
        "event": "delivered",
        "timestamp": 1793000000.5,
        "recipient": "c1@x.example",
        "message": {"headers": {"message-id": "a@b"}},
        "user-variables": {"reference": "r1"},
        **fields,
    }


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, ("delivered", "delivered", "")),
        ({"event": "clicked"}, ("delivered", "clicked", "")),
        ({"event": "failed", "severity": "permanent"}, ("failed", "failed permanent", "bounce")),
        ({"event": "failed", "severity": "temporary"}, ("failed", "failed temporary", "")),
        ({"event": "complained"}, ("failed", "complained", "complaint")),
        ({"event": "unsubscribed"}, ("delivered", "unsubscribed", "unsubscribed")),
        ({"event": "opened"}, None),
    ],
)
def test_mailguns_events_are_read(fields: dict[str, Any], expected: Any) -> None:
    event = parse_mailgun_event(json.dumps({"event-data": mailgun_event(**fields)}).encode())
    found = event and event.report and (event.report.status, event.report.raw_status, event.harm)
    assert found == expected
    if event and event.report:
        assert (event.address, event.report.reference, event.report.provider_id) == ("c1@x.example", "r1", "a@b")


def test_mailguns_signature_is_of_its_time_and_key() -> None:
    def body(stamp: str, *, key: bytes = b"key", token: str = "t") -> bytes:
        signature = hmac.digest(key, f"{stamp}{token}".encode(), "sha256").hex()
        return json.dumps({"signature": {"timestamp": stamp, "token": token, "signature": signature}}).encode()

    assert is_signed_by_mailgun(body=body("1000"), secret="key", now=1010)
    for bad, secret, now in (
        (body("1000"), "key", 9000), (body("1000"), "other", 1000), (body("1000", key=b""), "", 1000),
        (b"{}", "key", 0), (b"x", "key", 0), (body("nan"), "key", 0),
    ):  # fmt: skip
        assert not is_signed_by_mailgun(body=bad, secret=secret, now=now)


# What Postmark posts


def postmark_event(**fields: Any) -> bytes:
    own = {
        "RecordType": "Delivery",
        "MessageID": "p1",
        "Recipient": "c1@x.example",
        "DeliveredAt": "2026-11-02T08:00:00.1234567-05:00",
        "Metadata": {"reference": "r1"},
    }
    return json.dumps(own | fields).encode()


@pytest.mark.parametrize(
    ("fields", "status", "harm"),
    [
        ({}, "delivered", ""),
        ({"RecordType": "Click"}, "delivered", ""),
        ({"RecordType": "Bounce", "Type": "HardBounce", "Email": "c1@x.example"}, "failed", "bounce"),
        ({"RecordType": "Bounce", "Type": "BadEmailAddress"}, "failed", "bounce"),
        ({"RecordType": "Bounce", "Type": "SoftBounce"}, "failed", ""),
        ({"RecordType": "Bounce", "Type": "Transient"}, "unrecognised", ""),
        ({"RecordType": "Bounce", "Type": "AutoResponder"}, "unrecognised", ""),
        ({"RecordType": "SpamComplaint", "Type": "SpamComplaint"}, "failed", "complaint"),
    ],
)
def test_postmarks_events_are_read(fields: dict[str, Any], status: str, harm: str) -> None:
    event = parse_postmark_event(postmark_event(**fields))
    assert event is not None
    assert event.report is not None
    assert (event.report.status, event.harm, event.address) == (status, harm, "c1@x.example")
    assert (event.report.provider_id, event.report.reference) == ("p1", "r1")


def test_what_is_of_no_use_is_nothing_and_a_suppression_of_postmarks_is_one_of_ours() -> None:
    assert parse_postmark_event(postmark_event(RecordType="Open")) is None
    change = {"RecordType": "SubscriptionChange", "SuppressSending": True, "SuppressionReason": "ManualSuppression"}
    event = parse_postmark_event(postmark_event(**change))
    assert event is not None
    assert event.report is not None
    assert (event.harm, event.report.provider_id, event.report.status) == ("unsubscribed", "p1", "pending")
    by_hand = postmark_event(**change, MessageID=None, Origin="Customer", Metadata={})
    assert parse_postmark_event(by_hand) == EmailEvent("c1@x.example", None, "unsubscribed")
    assert parse_postmark_event(postmark_event(**change | {"SuppressSending": False})) is None


@given(st.one_of(st.binary(max_size=60), st.dictionaries(st.text(max_size=12), st.integers()).map(json.dumps)))
def test_what_can_not_be_read_is_said_to_be_so(body: Any) -> None:
    raw = body if isinstance(body, bytes) else body.encode()
    for parse in (parse_postmark_event, parse_mailgun_event):
        with pytest.raises(UnreadableReport):
            parse(raw)


@given(st.text(max_size=30), st.text(max_size=30))
def test_a_password_is_the_secret_and_nothing_else(given_: str, secret: str) -> None:
    header = f"Basic {base64.b64encode(given_.encode('utf-8', 'replace')).decode()}"
    assert has_password(header, secret) == (given_ == secret and bool(secret))
    assert not has_password(given_, secret)


# From the door to the rows


@pytest.fixture
def shop(tenant):
    with tenancy.tenant_scope(tenant.pk):
        yield tenant


@pytest.fixture
def connection(shop):
    return connect_service(service="email", actor="test", name="m", account_id="postmark", sender="a@shop.example")


@pytest.fixture
def sent(connection):
    contact = Contact.objects.create(email="c1@x.example")
    return Message.objects.create(
        contact=contact,
        channel="email",
        address="c1@x.example",
        status="done",
        outcome="sent",
        connection=connection,
        provider_id="p1",
        sent_at=timezone.now(),
        finished_at=timezone.now(),
    )


def take(connection, body: bytes, **headers: str):
    path = f"/webhooks/email/{connection.token}"
    answer = Client().post(path, body, content_type="application/json", headers=headers)
    with tenancy.no_scope():
        drain_all()
    return answer


def outcome_of(row: Message) -> str:
    return Message.objects.get(pk=row.pk).outcome


@pytest.mark.django_db(transaction=True)
def test_a_delivery_moves_the_message_forward_once(sent, connection):
    for _ in range(2):
        assert take(connection, postmark_event()).status_code == 200
    assert outcome_of(sent) == "delivered"
    assert DeliveryReport.objects.count() == 1
    assert Suppression.objects.count() == 0
    assert WebhookEvent.objects.get().status == "done"


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("fields", "outcome", "reason"),
    [
        ({"RecordType": "Bounce", "Type": "HardBounce", "Email": "C1@X.example"}, "failed", "bounce"),
        ({"RecordType": "Bounce", "Type": "SoftBounce", "Email": "c1@x.example"}, "failed", None),
        ({"RecordType": "SpamComplaint", "Email": "c1@x.example"}, "failed", "complaint"),
        ({"RecordType": "Bounce", "Type": "Transient", "Email": "c1@x.example"}, "sent", None),
    ],
)  # fmt: skip
def test_bounces_and_complaints_fail_the_message_and_suppress_the_address(sent, connection, fields, outcome, reason):
    take(connection, postmark_event(**fields))
    assert outcome_of(sent) == outcome
    suppression = Suppression.objects.first()
    assert (suppression and suppression.reason) == reason
    if suppression:
        assert suppression.address == "c1@x.example"


@pytest.mark.django_db(transaction=True)
def test_a_complaint_after_delivery_leaves_it_delivered_and_suppresses(sent, connection):
    take(connection, postmark_event())
    take(connection, postmark_event(RecordType="SpamComplaint", Email="c1@x.example"))
    assert outcome_of(sent) == "delivered"
    assert Suppression.objects.get().reason == "complaint"
    assert DeliveryReport.objects.count() == 2


@pytest.mark.django_db(transaction=True)
def test_what_can_not_be_read_is_quarantined(connection):
    assert take(connection, b"{}").status_code == 200
    assert WebhookEvent.objects.get().status == "quarantined"


@pytest.mark.django_db
def test_who_is_not_the_service_is_turned_away(connection):
    connection.signing_secret = "us:them"
    connection.save()
    path = f"/webhooks/email/{connection.token}"
    for authorization in ("", "Basic", "Basic !!", f"Basic {base64.b64encode(b'us:you').decode()}", "Bearer us:them"):
        answer = Client().post(path, b"{}", content_type="application/json", headers={"Authorization": authorization})
        assert answer.status_code == 401
    assert WebhookEvent.objects.count() == 0
    assert RefusedDelivery.objects.get().reason == "bad_signature"
    good = f"Basic {base64.b64encode(b'us:them').decode()}"
    assert Client().post(path, b"{}", content_type="x/y", headers={"Authorization": good}).status_code == 200
    assert Client().post("/webhooks/email/nobodys", b"{}", content_type="x/y").status_code == 404
    assert Client().get(path).status_code == 405


@pytest.mark.django_db(transaction=True)
def test_mailgun_is_known_by_its_signature(shop):
    connection = connect_service(service="email", actor="test", name="g", account_id="mailgun", sender="a@shop.example")
    connection.signing_secret = "key"
    connection.save()
    stamp = str(int(time.time()))
    signature = {
        "timestamp": stamp,
        "token": "t",
        "signature": hmac.digest(b"key", f"{stamp}t".encode(), "sha256").hex(),
    }
    event = mailgun_event(event="failed", severity="permanent")
    assert take(connection, json.dumps({"signature": signature, "event-data": event}).encode()).status_code == 200
    assert Suppression.objects.get().reason == "bounce"
    forged = json.dumps({"signature": {**signature, "token": "u"}, "event-data": event}).encode()
    assert take(connection, forged).status_code == 401


@pytest.mark.django_db(transaction=True)
def test_the_twins_events_reach_the_rows(sandbox, live_server, tenant):
    with tenancy.tenant_scope(tenant.pk):
        connection = connect_service(
            service="email",
            actor="test",
            name="m",
            account_id="postmark",
            sender="a@shop.example",
            api_key="top-secret",
        )
        connection.signing_secret = "us:them"
        connection.save()
        rows = [_queued(connection, f"c{number}@x.example") for number in (1, 2, 3)]
    sandbox.behave(
        fail_destinations=["c2@x.example"],
        complaint_destinations=["c3@x.example"],
        reports="twice",
        report_delay_seconds=0,
    )
    url = f"{live_server.url}/webhooks/email/{connection.token}"
    client = TwinClient(sandbox.port, "X-Postmark-Server-Token")
    client("POST", "/webhooks", {"Url": url, "HttpAuth": {"Username": "us", "Password": "them"}}, key="top-secret")
    account = account_at(sandbox.base_url, account_id="postmark")
    get_provider(account).send([message(1, reference=str(row.reference), to=row.address) for row in rows])
    wait_for(lambda: events_of(tenant) == 4)
    drain_all()
    with tenancy.tenant_scope(tenant.pk):
        assert [outcome_of(row) for row in rows] == ["delivered", "failed", "delivered"]
        assert set(Message.objects.values_list("provider_id", flat=True)) == {
            seen.message_id for seen in sandbox.accepted()
        }
        reasons = dict(Suppression.objects.values_list("address", "reason"))
        assert reasons == {"c2@x.example": "bounce", "c3@x.example": "complaint"}


def _queued(connection, address: str) -> Message:
    """Make a message whose call has no answer yet: its reports know it by its reference."""
    contact = Contact.objects.create(email=address)
    fields = {"contact": contact, "channel": "email", "address": address, "trigger": address}
    return Message.objects.create(**fields, connection=connection, status="unknown")


def events_of(tenant) -> int:
    with tenancy.tenant_scope(tenant.pk):
        return WebhookEvent.objects.count()
