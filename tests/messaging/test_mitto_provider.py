"""The Mitto adapter, over real HTTP against its sandbox twin."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from dataclasses import replace

import pytest

from config.infra.breaker import Breaker
from messaging.providers.base import Accepted, OutgoingMessage, ProviderAccount, ProviderError, Refused, get_provider
from messaging.providers.mitto import MittoProvider
from messaging.providers.sandbox import SandboxServer
from tests.infra.redis_server import free_port, some_redis
from tests.messaging.twins import answering


@pytest.fixture(scope="module", autouse=True)
def _redis() -> Iterator[None]:
    with some_redis():
        yield


@pytest.fixture
def sandbox() -> Iterator[SandboxServer]:
    with SandboxServer() as server:
        yield server


def account_at(base_url: str) -> ProviderAccount:
    return ProviderAccount(
        service="mitto",
        connection_id=f"test-{secrets.token_hex(8)}",
        base_url=base_url,
        api_key="top-secret",
        account_id="account-1",
        sender="MyShop",
    )


@pytest.fixture
def account(sandbox: SandboxServer) -> ProviderAccount:
    return account_at(sandbox.base_url)


def message(number: int = 1) -> OutgoingMessage:
    return OutgoingMessage(reference=f"r{number}", to=f"+30691234567{number}", text=f"Γειά {number}")


def error_of(account: ProviderAccount) -> ProviderError:
    with pytest.raises(ProviderError) as caught:
        MittoProvider(account).send([message(1), message(2)])
    return caught.value


def test_every_message_is_accepted_in_its_place(sandbox: SandboxServer, account: ProviderAccount) -> None:
    provider = get_provider(account)
    outcomes = provider.send([message(1), replace(message(2), sender="Other"), message(3)])
    accepted = sandbox.accepted()
    assert outcomes == [Accepted(f"r{n}", accepted[n - 1].message_id) for n in (1, 2, 3)]
    assert [(seen.reference, seen.destination, seen.text, seen.account, seen.sender) for seen in accepted] == [
        ("r1", "+306912345671", "Γειά 1", "account-1", "MyShop"),
        ("r2", "+306912345672", "Γειά 2", "account-1", "Other"),
        ("r3", "+306912345673", "Γειά 3", "account-1", "MyShop"),
    ]
    assert len(sandbox.state.calls) == 1


def test_one_recipient_is_refused_and_the_others_are_not(sandbox: SandboxServer, account: ProviderAccount) -> None:
    sandbox.behave(refuse_destinations=[message(2).to])
    first, second, third = MittoProvider(account).send([message(1), message(2), message(3)])
    assert isinstance(first, Accepted)
    assert second == Refused("r2", "Invalid destination", permanent=True)
    assert isinstance(third, Accepted)


def test_cut_after_acceptance_is_unknown_and_not_repeated(sandbox: SandboxServer, account: ProviderAccount) -> None:
    sandbox.behave(cut_after_acceptance=1)
    error = error_of(account)
    assert (error.permanent, error.unknown) == (False, True)
    assert [seen.reference for seen in sandbox.accepted()] == ["r1", "r2"]


def test_cut_before_acceptance_looks_the_same_from_here(sandbox: SandboxServer, account: ProviderAccount) -> None:
    sandbox.behave(cut_before_acceptance=1)
    error = error_of(account)
    assert (error.permanent, error.unknown) == (False, True)
    assert sandbox.accepted() == []


def test_429_is_surely_not_done(sandbox: SandboxServer, account: ProviderAccount) -> None:
    sandbox.behave(throttle=1, retry_after_seconds=3)
    error = error_of(account)
    assert (error.permanent, error.unknown, error.retry_after_seconds, error.status) == (False, False, 3.0, 429)
    assert sandbox.accepted() == []


def test_500_is_unknown(sandbox: SandboxServer, account: ProviderAccount) -> None:
    sandbox.behave(error=1)
    error = error_of(account)
    assert (error.permanent, error.unknown, error.status) == (False, True, 500)


def test_a_wrong_key_is_permanent_and_never_shown(account: ProviderAccount) -> None:
    error = error_of(replace(account, api_key="wrong"))
    assert (error.permanent, error.unknown, error.status) == (True, False, 401)
    assert "top-secret" not in repr(account)


def test_a_closed_port_is_surely_not_sent() -> None:
    error = error_of(account_at(f"http://127.0.0.1:{free_port()}"))
    assert (error.permanent, error.unknown) == (False, False)


def test_an_open_breaker_is_surely_not_sent(sandbox: SandboxServer, account: ProviderAccount) -> None:
    for _ in range(5):
        Breaker("mitto", account.connection_id).failed()
    error = error_of(account)
    assert (error.permanent, error.unknown) == (False, False)
    assert 0 < (error.retry_after_seconds or 0) <= 30
    assert sandbox.state.calls == []


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"[]",
        b"{}",
        b'{"messages": [{"messageId": "a"}]}',
        b'{"messages": [{"messageId": "a"}, {}]}',
        b'{"messages": [{"messageId": "a"}, {"messageId": 5, "errors": ["x"]}]}',
        b'{"messages": [{"messageId": "a"}, {"messageId": "b\\u0000"}]}',
    ],
)
def test_an_answer_that_does_not_match_is_unknown(body: bytes) -> None:
    with answering(body) as base_url:
        error = error_of(account_at(base_url))
    assert (error.permanent, error.unknown) == (False, True)


@pytest.mark.parametrize(
    ("errors", "reason"),
    [
        (["a", "b"], "a; b"),
        ([{"message": "Bad\nnumber"}], "Bad number"),
        ([{"code": 7}], "{'code': 7}"),
        ("\ud800\x00", "?\ufffd"),
    ],
)
def test_errors_of_any_shape_become_one_line(errors: object, reason: str) -> None:
    body = json.dumps({"messages": [{"messageId": "a"}, {"errors": errors}]}).encode()
    with answering(body) as base_url:
        outcomes = MittoProvider(account_at(base_url)).send([message(1), message(2)])
    assert outcomes == [Accepted("r1", "a"), Refused("r2", reason, permanent=True)]


def test_status_says_what_has_become_of_a_message(sandbox: SandboxServer, account: ProviderAccount) -> None:
    sandbox.behave(report_delay_seconds=60)
    provider = MittoProvider(account)
    [outcome] = provider.send([message()])
    assert isinstance(outcome, Accepted)
    status = provider.status(outcome.provider_id)
    assert (status.provider_id, status.status, status.reference) == (outcome.provider_id, "pending", "r1")
    assert status.updated_at is not None


def test_an_id_that_mitto_does_not_know_is_a_404(account: ProviderAccount) -> None:
    with pytest.raises(ProviderError) as caught:
        MittoProvider(account).status("no/such?id")
    assert (caught.value.permanent, caught.value.status) == (True, 404)


def test_nothing_and_too_much(sandbox: SandboxServer, account: ProviderAccount) -> None:
    provider = MittoProvider(account)
    assert provider.send([]) == []
    with pytest.raises(ValueError, match="Mitto takes 5000"):
        provider.send([message()] * 5001)
    assert sandbox.state.calls == []


def test_an_unknown_provider_is_refused_by_name(account: ProviderAccount) -> None:
    with pytest.raises(ValueError, match="known: email, mitto"):
        get_provider(replace(account, service="pigeon"))
