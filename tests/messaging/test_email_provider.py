"""The e-mail adapters, over real HTTP against the twin."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from django.db import transaction

from config.infra.breaker import Breaker
from messaging.providers.base import Accepted, ProviderAccount, ProviderError, Refused, get_provider
from messaging.providers.sandbox_email import EmailSandboxServer
from tests.infra.redis_server import free_port, some_redis
from tests.messaging.mailing import account_at, message


@pytest.fixture(scope="module", autouse=True)
def _redis() -> Iterator[None]:
    with some_redis():
        yield


@pytest.fixture
def sandbox() -> Iterator[EmailSandboxServer]:
    with EmailSandboxServer() as server:
        yield server


@pytest.fixture
def account(sandbox: EmailSandboxServer) -> ProviderAccount:
    return account_at(sandbox.base_url)


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
