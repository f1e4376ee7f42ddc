"""The e-mail adapters, over real HTTP against the twin; and what their services post, from the door to the rows."""

from __future__ import annotations

import base64
import hmac
import json
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from django.db import transaction
from django.test import Client
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from config.infra import tenancy
from config.infra.breaker import Breaker
from messaging.email_events import has_password, is_signed_by_mailgun, parse_mailgun_event, parse_postmark_event
from messaging.models import Contact, DeliveryReport, Message, Suppression
from messaging.providers.base import Accepted, OutgoingMessage, ProviderAccount, ProviderError, Refused, get_provider
from messaging.providers.sandbox_email import EmailSandboxServer
from messaging.webhooks import UnreadableReport
from shopsync.actions.tenants import connect_service
from shopsync.models import RefusedDelivery, WebhookEvent
from tests.factories import drain_all
from tests.infra.redis_server import free_port, some_redis
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


def account_at(base_url: str, **fields: str) -> ProviderAccount:
    own = {"account_id": "postmark:broadcast", "sender": "The Shop <hello@shop.example>"}
    return ProviderAccount(
        service="email",
        connection_id=f"test-{secrets.token_hex(8)}",
        base_url=base_url,
        api_key="top-secret",
        **own | fields,
    )


@pytest.fixture
def account(sandbox: EmailSandboxServer) -> ProviderAccount:
    return account_at(sandbox.base_url)


def message(number: int = 1, **fields: str) -> OutgoingMessage:
    own = {
        "reference": f"r{number}",
        "to": f"c{number}@x.example",
        "subject": f"News {number}",
        "html": f"<p>Γειά {number}</p>",
        "text": f"Γειά {number}",
        "unsubscribe_url": f"https://m.example.com/u/{number}",
    }
    return OutgoingMessage(**own | fields)


def error_of(account: ProviderAccount) -> ProviderError:
    with pytest.raises(ProviderError) as caught:
        get_provider(account).send([message(1), message(2)])
    return caught.value


@contextmanager
def answering(body: bytes, *, status: int = 200) -> Iterator[tuple[str, list[bytes]]]:
    """Answer every request alike; keep what was asked."""
    asked: list[bytes] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked.append(f"{self.command} {self.path}\n{self.headers}".encode())
            asked.append(self.rfile.read(int(self.headers.get("Content-Length") or 0)))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST  # noqa: N815  (the base class's name)

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}", asked
    server.shutdown()
    server.server_close()


# Postmark


def test_each_e_mail_is_accepted_in_its_place_in_one_request(
    sandbox: EmailSandboxServer, account: ProviderAccount
) -> None:
    outcomes = get_provider(account).send([message(number) for number in (1, 2, 3)])
    accepted = sandbox.accepted()
    assert outcomes == [Accepted(f"r{n}", accepted[n - 1].message_id) for n in (1, 2, 3)]
    assert len(sandbox.state.calls) == 1
    first: Any = accepted[0]
    assert (first.subject, first.html, first.text, first.reference) == ("News 1", "<p>Γειά 1</p>", "Γειά 1", "r1")
    assert (first.sender, first.stream, first.account) == ("The Shop <hello@shop.example>", "broadcast", "top-secret")
    assert first.headers == {
        "X-PM-KeepID": "true",
        "Message-ID": "<r1@shop.example>",
        "List-Unsubscribe": "<https://m.example.com/u/1>",
        "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
    }


def test_500_e_mails_take_one_request(sandbox: EmailSandboxServer, account: ProviderAccount) -> None:
    started = time.perf_counter()
    outcomes = get_provider(account).send([message(number) for number in range(500)])
    print(f"500 e-mails in a batch: {(time.perf_counter() - started) * 1000:.0f} ms")
    assert all(isinstance(outcome, Accepted) for outcome in outcomes)
    assert len(sandbox.state.calls) == 1
    with pytest.raises(ValueError, match="Postmark takes 500"):
        get_provider(account).send([message()] * 501)
    assert get_provider(account).send([]) == []


def test_one_is_refused_and_the_others_are_not(sandbox: EmailSandboxServer, account: ProviderAccount) -> None:
    sandbox.behave(refuse_destinations=["c2@x.example"])
    batch = [message(1), message(2), message(3, to="no address"), message(4, subject="a\nBcc: b@x.example"), message(5)]
    outcomes = get_provider(account).send(batch)
    assert [type(outcome) for outcome in outcomes] == [Accepted, Refused, Refused, Refused, Accepted]
    refused = [outcome for outcome in outcomes if isinstance(outcome, Refused)]
    assert all(outcome.permanent for outcome in refused)
    assert "inactive" in refused[0].reason
    assert [seen.destination for seen in sandbox.accepted()] == ["c1@x.example", "c5@x.example"]


@pytest.mark.parametrize(
    "to",
    ["<v@d.example>", '"a"<v@d.example>', "x@e.example,v@d.example", "é@d.example", "a@dé.example", '"x"@d.example'],
)
@pytest.mark.parametrize("service", ["postmark", "mailgun"])
def test_an_address_that_was_stored_in_another_form_is_refused_and_nobody_else_of_its_batch(
    sandbox: EmailSandboxServer, account: ProviderAccount, to: str, service: str
) -> None:
    if service == "mailgun":
        (outcome,) = get_provider(replace(account, account_id="mailgun")).send([message(to=to)])
        assert (type(outcome), sandbox.state.calls) == (Refused, [])
        return
    outcomes = get_provider(account).send([message(1), message(2, to=to), message(3)])
    assert [type(outcome) for outcome in outcomes] == [Accepted, Refused, Accepted]
    assert "is not one e-mail address in its plain form" in outcomes[1].reason  # type: ignore[union-attr]
    assert [seen.destination for seen in sandbox.accepted()] == ["c1@x.example", "c3@x.example"]


def test_a_domain_of_any_script_is_sent_to_and_from(sandbox: EmailSandboxServer, account: ProviderAccount) -> None:
    batch = [message(1), message(2, to="info@xn--mller-kva.example"), message(3)]
    outcomes = get_provider(replace(account, sender="Shop <hello@müller.example>")).send(batch)
    assert all(isinstance(outcome, Accepted) for outcome in outcomes)
    seen: Any = sandbox.accepted()[1]
    assert seen.destination == "info@xn--mller-kva.example"
    assert (seen.sender, seen.headers["Message-ID"]) == (
        "Shop <hello@xn--mller-kva.example>",
        "<r2@xn--mller-kva.example>",
    )


def test_a_mail_without_link_or_html_is_sent_as_it_is(sandbox: EmailSandboxServer, account: ProviderAccount) -> None:
    get_provider(account).send([message(1, unsubscribe_url="", html="")])
    seen: Any = sandbox.accepted()[0]
    assert set(seen.headers) == {"X-PM-KeepID", "Message-ID"}
    assert (seen.html, seen.text) == ("", "Γειά 1")


@pytest.mark.parametrize(
    ("behaviour", "flags"),
    [
        ({"cut_after_acceptance": 1}, (False, True, None)),
        ({"cut_before_acceptance": 1}, (False, True, None)),
        ({"throttle": 1}, (False, False, 429)),
        ({"error": 1}, (False, True, 500)),
        ({"refuse_calls": 1}, (True, False, 422)),
    ],
)
def test_what_goes_wrong_says_what_is_known(
    sandbox: EmailSandboxServer, account: ProviderAccount, behaviour: dict[str, Any], flags: tuple[Any, ...]
) -> None:
    sandbox.behave(**behaviour)
    error = error_of(account)
    assert (error.permanent, error.unknown, error.status) == flags
    assert len(sandbox.state.calls) == 1


def test_a_closed_port_and_an_open_breaker_are_surely_not_sent(
    sandbox: EmailSandboxServer, account: ProviderAccount
) -> None:
    error = error_of(account_at(f"http://127.0.0.1:{free_port()}"))
    assert (error.permanent, error.unknown) == (False, False)
    for _ in range(3):
        Breaker("email", account.connection_id).failed()
    error = error_of(account)
    assert (error.permanent, error.unknown, error.blocker) == (False, False, "breaker open: email")
    assert sandbox.state.calls == []


def test_a_wrong_key_is_permanent_and_never_shown(account: ProviderAccount) -> None:
    error = error_of(replace(account, api_key="wrong"))
    assert (error.permanent, error.unknown, error.status) == (True, False, 401)
    assert "top-secret" not in repr(account)


@pytest.mark.parametrize(
    ("fields", "blocker"),
    [
        ({"account_id": "pigeon"}, "unknown_email_service"),
        ({"account_id": ""}, "unknown_email_service"),
        ({"sender": "The Shop"}, "bad_sender"),
        ({"sender": ""}, "bad_sender"),
        ({"sender": "Shop hello@shop.example"}, "bad_sender"),
        ({"sender": "a@shop.example, b@shop.example"}, "bad_sender"),
    ],
)
def test_a_connection_that_has_to_be_mended_lets_messages_wait(
    account: ProviderAccount, fields: dict[str, str], blocker: str
) -> None:
    error = error_of(replace(account, **fields))
    assert (error.permanent, error.unknown, error.blocker) == (False, False, blocker)


@pytest.mark.django_db(transaction=True)
def test_nothing_is_sent_inside_a_transaction(sandbox: EmailSandboxServer, account: ProviderAccount) -> None:
    with pytest.raises(RuntimeError, match="transaction"), transaction.atomic():
        get_provider(account).send([message()])
    assert sandbox.accepted() == []


OK = {"ErrorCode": 0, "MessageID": "a", "To": "c1@x.example"}


@pytest.mark.parametrize(
    "document",
    [
        None,
        {},
        [],
        [OK],
        [OK, {}],
        [OK, {"ErrorCode": 0, "MessageID": ""}],
        [OK, {"ErrorCode": 0, "MessageID": "b\x00"}],
        [OK, {"ErrorCode": "0"}],
        [{**OK, "To": "c2@x.example"}, {**OK, "To": "c1@x.example"}],
        [OK, 5],
    ],
)
def test_an_answer_that_does_not_match_is_unknown(document: Any) -> None:
    with answering(json.dumps(document).encode() if document is not None else b"<html>") as (base_url, _):
        error = error_of(account_at(base_url))
    assert (error.permanent, error.unknown) == (False, True)


@pytest.mark.parametrize(
    ("code", "permanent"), [(300, True), (406, True), (405, False), (412, False), (100, False), (400, False)]
)
def test_what_is_the_accounts_fault_may_be_taken_later(code: int, permanent: bool) -> None:
    body = json.dumps([OK, {"ErrorCode": code, "Message": "No\nway"}]).encode()
    with answering(body) as (base_url, _):
        outcomes = get_provider(account_at(base_url)).send([message(1), message(2)])
    assert outcomes == [Accepted("r1", "a"), Refused("r2", "No way", permanent=permanent)]


def test_status_says_what_has_become_of_one(sandbox: EmailSandboxServer, account: ProviderAccount) -> None:
    sandbox.behave(report_delay_seconds=60)
    provider = get_provider(account)
    [outcome] = provider.send([message()])
    assert isinstance(outcome, Accepted)
    status = provider.status(outcome.provider_id)
    assert (status.provider_id, status.status, status.reference) == (outcome.provider_id, "sent", "r1")
    with pytest.raises(ProviderError) as caught:
        provider.status("no/such?id")
    assert (caught.value.permanent, caught.value.status) == (True, 404)


# Mailgun


def test_mailgun_takes_one_at_a_time_as_a_form() -> None:
    with answering(b'{"id": "<20261101.1@mg.shop.example>", "message": "Queued. Thank you."}') as (base_url, asked):
        account = account_at(base_url, account_id="mailgun:mg.shop.example")
        provider = get_provider(account)
        assert provider.send([message()]) == [Accepted("r1", "20261101.1@mg.shop.example")]
        with pytest.raises(ValueError, match="Mailgun takes 1"):
            provider.send([message(1), message(2)])
    head, body = asked[0].decode(), asked[1].decode()
    assert head.startswith("POST /v3/mg.shop.example/messages\n")
    assert f"Authorization: Basic {base64.b64encode(b'api:top-secret').decode()}" in head
    for part in ("to=c1%40x.example", "h%3AList-Unsubscribe-Post=List-Unsubscribe%3DOne-Click", "v%3Areference=r1",
                 "h%3AMessage-Id=%3Cr1%40shop.example%3E", "o%3Atracking-opens=no", "subject=News+1"):  # fmt: skip
        assert part in body, part


@pytest.mark.parametrize("body", [b"{}", b"[]", b'{"id": 5}', b"Mailgun Magnificent API"])
def test_an_answer_of_mailguns_without_an_id_is_unknown(body: bytes) -> None:
    with answering(body) as (base_url, _), pytest.raises(ProviderError) as caught:
        get_provider(account_at(base_url, account_id="mailgun")).send([message()])
    assert caught.value.unknown


def test_mailgun_is_asked_what_became_of_one() -> None:
    items = [
        {"event": "opened", "message": {"headers": {"message-id": "a@b"}}},
        {"event": "delivered", "timestamp": 1793000000.5, "message": {"headers": {"message-id": "a@b"}}},
        {"event": "accepted", "message": {"headers": {"message-id": "a@b"}}},
    ]
    with answering(json.dumps({"items": items}).encode()) as (base_url, asked):
        status = get_provider(account_at(base_url, account_id="mailgun")).status("a@b")
    assert (status.provider_id, status.status) == ("a@b", "delivered")
    assert asked[0].startswith(b"GET /v3/shop.example/events?message-id=a%40b\n")


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
    assert (event.harm, event.report) == ("unsubscribed", None)
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
