"""The sandbox twin speaks Mitto's classic API too, into the same log."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs

import pytest

from messaging.providers.sandbox import SandboxServer
from messaging.webhooks import parse_classic_reports
from tests.messaging.twins import Client, Receiver, wait_for

ONE = {"from": "MyShop", "to": "306912345671", "text": "Hello", "type": "GSM", "reference": "r1", "validity": 2880}
MANY = {**ONE, "to": ["306912345671", "306912345672"], "reference": "attempt-7"}


@pytest.fixture
def sandbox() -> Iterator[SandboxServer]:
    with SandboxServer() as server:
        yield server


@pytest.fixture
def client(sandbox: SandboxServer) -> Client:
    return Client(sandbox.port)


@pytest.fixture
def receiver(client: Client) -> Iterator[Receiver]:
    """A receiver of the reports of the key k."""
    receiver = Receiver()
    client("POST", "/api/v1/Webhooks", {"url": f"{receiver.url}?t=1", "linkTrafficAccountIds": ["k"]})
    yield receiver
    receiver.close()


def test_one_and_many_are_answered_in_their_shapes_and_logged_alike(client: Client, sandbox: SandboxServer) -> None:
    status, one = client("POST", "/sms", ONE)
    assert (status, one["responseCode"], one["responseText"], one["textLength"]) == (200, 0, "SMS sent", 5)
    status, many = client("POST", "/smsbulk", MANY)
    assert (status, list(many)) == (200, ["responseCode", "responseText", "messages"])
    entry = {"trafficAccountId": "a1", "destination": "+306912345671", "sms": {"text": "x", "sender": "y"}}
    client("POST", "/api/v1.1/Messages/send", entry)
    seen = client("GET", "/sandbox/log")[1]
    assert [(row["destination"], row["reference"], row["account"]) for row in seen["messages"]] == [
        ("+306912345671", "r1", "k"),
        ("+306912345671", "attempt-7", "k"),
        ("+306912345672", "attempt-7", "k"),
        ("+306912345671", None, "a1"),
    ]
    ids = [one["id"], *(entry["id"] for entry in many["messages"])]
    assert [message.message_id for message in sandbox.accepted()][:3] == ids
    assert [call["messages"] for call in seen["calls"]] == [1, 2, 1]
    assert client("GET", f"/api/v1.1/Messages/{one['id']}")[0] == 404  # the classic API can't be asked


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"type": "Morse"}, 2),
        ({"text": ""}, 3),
        ({"text": "Γειά"}, 4),
        ({"text": "Γειά", "type": "Unicode"}, 0),
        ({"from": ""}, 5),
        ({"from": "ab"}, 6),
        ({"from": "306900000000"}, 0),
        ({"to": []}, 7),
        ({"to": ["306912345671", ""]}, 7),
        ({"to": ["306912345671", "+306912345672"]}, 8),
        ({"to": ["306912345671", "306912345679"]}, 8),
        ({"to": ["306912345671", "306912345671"]}, 0),  # as Mitto says: a number given twice is sent twice
    ],
)
def test_a_call_is_taken_as_a_whole_or_not_at_all(
    client: Client, sandbox: SandboxServer, change: dict[str, Any], code: int
) -> None:
    sandbox.behave(refuse_destinations=["+306912345679"])
    status, answer = client("POST", "/smsbulk", {**MANY, **change})
    assert (status, answer["responseCode"], len(answer["messages"])) == (200, code, 0 if code else 2)
    assert len(sandbox.accepted()) == (0 if code else 2)
    assert sandbox.state.calls[0]["outcome"] == ("refused" if code else "accepted")


@pytest.mark.parametrize(("path", "to"), [("/sms", ["306912345671"]), ("/smsbulk", "306912345671"), ("/sms", None)])
def test_a_receiver_of_the_wrong_shape_is_refused(client: Client, path: str, to: Any) -> None:
    assert client("POST", path, {**ONE, "to": to})[0] == 400
    assert client("POST", path, [])[0] == 200  # empty: refused by its code


@pytest.mark.parametrize(
    ("behaviour", "words"),
    [
        ({}, ["Sent", "Sent", "Delivered", "Delivered"]),
        ({"report_batch": 2, "fail_destinations": ["+306912345672"]}, ["Delivered", "Failure", "Sent", "Sent"]),
        ({"reports": "twice"}, ["Sent"] * 4 + ["Delivered"] * 4),
        ({"reports": "out_of_order"}, ["Delivered", "Delivered", "Sent", "Sent"]),
    ],
)
def test_reports_go_by_get_one_by_one(client: Client, receiver: Receiver, behaviour: Any, words: list[str]) -> None:
    client("PUT", "/sandbox/behaviour", behaviour)
    ids = {entry["id"] for entry in client("POST", "/smsbulk", MANY)[1]["messages"]}
    wait_for(lambda: len(receiver.queries) == len(words))
    reports = [parse_classic_reports(query.encode())[0] for query in receiver.queries]
    assert sorted(report.raw_status for report in reports) == sorted(words)
    assert {report.provider_id for report in reports} == ids
    assert {(report.reference, report.destination) for report in reports} == {
        ("attempt-7", "+306912345671"),
        ("attempt-7", "+306912345672"),
    }
    assert {parse_qs(query)["t"][0] for query in receiver.queries} == {"1"}


def test_throttling_and_cuts_are_those_of_every_call(client: Client, sandbox: SandboxServer) -> None:
    sandbox.behave(throttle=1, error=1)
    assert [client("POST", "/sms", ONE)[0] for _ in range(3)] == [429, 500, 200]
    sandbox.behave(cut_after_acceptance=1, reports="none")
    with pytest.raises(ConnectionError):
        client("POST", "/smsbulk", MANY)
    assert len(sandbox.accepted()) == 3


@pytest.mark.parametrize(
    "body",
    [
        b"id=m1&reference=order-1001&status=Delivered&timestamp=2025-10-29T16%3A07%3A01Z&errorCode=0",
        b'{"id": "m1", "reference": "order-1001", "status": "Delivered", "timestamp": "2025-10-29T16:07:01Z",'
        b' "errorCode": 0}',
        b'[{"messageId": "m1", "Reference": "order-1001", "deliveryStatus": "delivered",'
        b' "updated_at": "2025-10-29T16:07:01Z"}]',
    ],
)
def test_the_invented_report_is_read_in_every_shape(body: bytes) -> None:
    [report] = parse_classic_reports(body)
    assert (report.provider_id, report.reference, report.status) == ("m1", "order-1001", "delivered")
    assert (report.error, report.destination, report.updated_at is not None) == (None, None, True)


@pytest.mark.parametrize(
    ("number", "seen"),
    [("306912345671", "+306912345671"), ("+30 691-2345671", "+306912345671"), ("00306912345671", "+306912345671"),
     ("MyShop", None), ("", None), ("1" * 16, None)],
)  # fmt: skip
def test_receivers_are_read_however_they_are_written(number: str, seen: str | None) -> None:
    [report] = parse_classic_reports(f"id=a&status=Sent&to={number.replace('+', '%2B')}".encode())
    assert report.destination == seen


@pytest.mark.parametrize(
    "body",
    [b"", b"\xff\xfe", b"id=a", b"status=Sent", b"id=%00&status=Sent", b"[1]", b"{", b"id=a&status=", b"a=&" * 101],
)
def test_a_report_that_says_nothing_is_refused_in_words(body: bytes) -> None:
    with pytest.raises(ValueError, match="report"):
        parse_classic_reports(body)
