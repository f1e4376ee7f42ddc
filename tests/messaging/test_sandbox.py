"""The sandbox twin behaves like Mitto, and like Mitto on a bad day when told to."""

from __future__ import annotations

import http.client
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from messaging.providers.sandbox import SandboxServer
from messaging.webhooks import parse_mitto_reports
from tests.messaging.twins import Client, Receiver, wait_for

BULK = "/api/v1.1/Messages/sendmessagesbulk"


@pytest.fixture
def sandbox() -> Iterator[SandboxServer]:
    with SandboxServer() as server:
        yield server


@pytest.fixture
def client(sandbox: SandboxServer) -> Client:
    return Client(sandbox.port)


@pytest.fixture
def receiver(client: Client) -> Iterator[Receiver]:
    """A receiver of the reports of account a1."""
    receiver = Receiver()
    hook = {
        "url": receiver.url,
        "webhookTriggers": ["dlr"],
        "headers": {"X-Token": "t"},
        "linkTrafficAccountIds": ["a1"],
    }
    status, answer = client("POST", "/api/v1/Webhooks", hook)
    assert status == 201
    assert answer["id"]
    yield receiver
    receiver.close()


def entry(number: int = 1, **changes: Any) -> dict[str, Any]:
    sms = {"text": f"text {number}", "sender": "MyShop"}
    return {
        "trafficAccountId": "a1",
        "destination": f"+30691234567{number}",
        "sms": sms,
        "reference": f"r{number}",
        **changes,
    }


def test_send_and_bulk_accept_with_ids_that_are_unique(client: Client, sandbox: SandboxServer) -> None:
    status, one = client("POST", "/api/v1.1/Messages/send", entry(1))
    assert (status, list(one)) == (200, ["messages"])
    status, many = client("POST", BULK, {"messages": [entry(n % 10) for n in range(1000)]})
    assert status == 200
    assert many["bulkId"]
    ids = [answer["messageId"] for answer in one["messages"] + many["messages"]]
    assert len(set(ids)) == 1001
    assert all(len(name) == 26 and name.isalnum() and name.isupper() for name in ids)
    assert [message.message_id for message in sandbox.accepted()] == ids


def test_a_message_can_be_asked_for(client: Client) -> None:
    client("PUT", "/sandbox/behaviour", {"report_delay_seconds": 60})
    _, answer = client("POST", "/api/v1.1/Messages/send", entry())
    message_id = answer["messages"][0]["messageId"]
    status, seen = client("GET", f"/api/v1.1/Messages/{message_id}")
    assert status == 200
    assert (seen["messageId"], seen["deliveryStatus"], seen["reference"], seen["text"]) == (
        message_id,
        "Pending",
        "r1",
        "text 1",
    )
    assert client("GET", "/api/v1.1/Messages/other")[0] == 404


@pytest.mark.parametrize(("key", "status"), [("", 401), ("wrong", 401), ("any", 200)])
def test_an_api_key_is_needed(client: Client, key: str, status: int) -> None:
    assert client("POST", BULK, {"messages": [entry()]}, key=key)[0] == status


@pytest.mark.parametrize(
    ("method", "path", "document", "status"),
    [
        ("POST", BULK, None, 400),
        ("POST", BULK, [], 400),
        ("POST", BULK, {"messages": []}, 400),
        ("POST", BULK, {"messages": [{}] * 5001}, 400),
        ("POST", "/api/v1/Webhooks", {"url": "http://h/", "linkTrafficAccountIds": []}, 400),
        ("POST", "/api/v1/Webhooks", [], 400),
        ("PUT", "/sandbox/behaviour", {"thottle": 1}, 400),
        ("PUT", "/sandbox/behaviour", {"throttle": -1}, 400),
        ("PUT", "/sandbox/behaviour", {"reports": "never"}, 400),
        ("PUT", "/sandbox/behaviour", {"fail_destinations": "+30"}, 400),
        ("GET", "/api/v1.1/Nothing", None, 404),
        ("DELETE", "/api/v1/Webhooks/none", None, 404),
    ],
)
def test_what_makes_no_sense_is_refused(client: Client, method: str, path: str, document: Any, status: int) -> None:
    answer = client(method, path, document)
    assert answer[0] == status
    assert answer[1]


@pytest.mark.parametrize(
    "bad",
    [{"destination": "12"}, {"destination": None}, {"trafficAccountId": ""}, {"sms": None}, {"sms": {"text": ""}}],
)
def test_a_bad_entry_is_refused_in_its_place(client: Client, bad: dict[str, Any]) -> None:
    status, answer = client("POST", BULK, {"messages": [entry(1), entry(2, **bad), entry(3)]})
    assert status == 200
    assert ["errors" in item for item in answer["messages"]] == [False, True, False]
    assert len(client("GET", "/sandbox/log")[1]["messages"]) == 2


def test_reports_come_after_the_answer_with_the_reference_and_the_fixed_header(
    client: Client, receiver: Receiver
) -> None:
    _, answer = client("POST", BULK, {"messages": [entry(1)]})
    wait_for(lambda: len(receiver.bodies) == 2)
    assert receiver.words() == ["Sent", "Delivered"]
    [report] = parse_mitto_reports(receiver.bodies[1])
    assert (report.provider_id, report.reference) == (answer["messages"][0]["messageId"], "r1")
    assert all(headers["X-Token"] == "t" for headers in receiver.headers)
    assert client("GET", "/sandbox/log")[1]["messages"][0]["deliveryStatus"] == "Delivered"


def test_reports_of_other_accounts_go_elsewhere(client: Client, receiver: Receiver) -> None:
    client("POST", BULK, {"messages": [entry(1, trafficAccountId="a2"), entry(2)]})
    wait_for(lambda: len(receiver.bodies) == 2)
    assert {parse_mitto_reports(body)[0].reference for body in receiver.bodies} == {"r2"}


@pytest.mark.parametrize(
    ("behaviour", "words"),
    [
        ({"reports": "twice"}, ["Sent", "Sent", "Delivered", "Delivered"]),
        ({"reports": "out_of_order"}, ["Delivered", "Sent"]),
        ({"fail_destinations": ["+306912345671"]}, ["Sent", "Failure"]),
    ],
)
def test_reports_come_as_told(client: Client, receiver: Receiver, behaviour: Any, words: list[str]) -> None:
    client("PUT", "/sandbox/behaviour", behaviour)
    client("POST", BULK, {"messages": [entry(1)]})
    wait_for(lambda: len(receiver.bodies) == len(words))
    assert receiver.words() == words
    assert client("GET", "/sandbox/log")[1]["messages"][0]["deliveryStatus"] in ("Delivered", "Failure")


def test_reports_can_come_before_the_answer(client: Client, receiver: Receiver) -> None:
    client("PUT", "/sandbox/behaviour", {"reports": "before"})
    client("POST", BULK, {"messages": [entry(1)]})
    assert receiver.words() == ["Sent", "Delivered"]


def test_no_reports_are_posted_when_told_so(client: Client, receiver: Receiver) -> None:
    client("PUT", "/sandbox/behaviour", {"reports": "none"})
    client("POST", BULK, {"messages": [entry(1)]})
    wait_for(lambda: client("GET", "/sandbox/log")[1]["messages"][0]["deliveryStatus"] == "Delivered")
    assert receiver.bodies == []


def test_reports_can_share_a_post(client: Client, receiver: Receiver) -> None:
    client("PUT", "/sandbox/behaviour", {"report_batch": 2})
    client("POST", BULK, {"messages": [entry(n) for n in (1, 2, 3)]})
    wait_for(lambda: len(receiver.bodies) == 4)
    assert sorted(len(parse_mitto_reports(body)) for body in receiver.bodies) == [1, 1, 2, 2]


def test_a_report_that_is_refused_is_posted_again(client: Client, receiver: Receiver) -> None:
    receiver.refusals = 3
    client("POST", BULK, {"messages": [entry(1)]})
    wait_for(lambda: len(receiver.bodies) == 2)
    assert sorted(receiver.words()) == ["Delivered", "Sent"]


def test_a_webhook_can_be_removed_and_registering_again_replaces(client: Client, receiver: Receiver) -> None:
    hook = {"url": receiver.url, "linkTrafficAccountIds": ["a1"]}
    _, second = client("POST", "/api/v1/Webhooks", hook)
    client("PUT", "/sandbox/behaviour", {"reports": "before"})
    client("POST", BULK, {"messages": [entry(1)]})
    assert len(receiver.bodies) == 2
    assert client("DELETE", f"/api/v1/Webhooks/{second['id']}?forceDelete=true")[0] == 200
    client("POST", BULK, {"messages": [entry(1)]})
    assert len(receiver.bodies) == 2


@pytest.mark.parametrize(("name", "recorded"), [("cut_after_acceptance", 1), ("cut_before_acceptance", 0)])
def test_the_line_is_cut_for_the_next_calls_only(client: Client, name: str, recorded: int) -> None:
    client("PUT", "/sandbox/behaviour", {name: 2})
    for _ in range(2):
        with pytest.raises((http.client.RemoteDisconnected, ConnectionError)):
            client("POST", BULK, {"messages": [entry(1)]})
    assert client("POST", BULK, {"messages": [entry(2)]})[0] == 200
    seen = client("GET", "/sandbox/log")[1]
    assert [message["reference"] for message in seen["messages"]] == ["r1"] * 2 * recorded + ["r2"]
    assert [call["outcome"] for call in seen["calls"]] == [name.replace("_", " ")] * 2 + ["accepted"]


@pytest.mark.parametrize(("name", "status"), [("throttle", 429), ("error", 500)])
def test_the_next_calls_are_refused(client: Client, name: str, status: int) -> None:
    client("PUT", "/sandbox/behaviour", {name: 2})
    answers = [client("POST", BULK, {"messages": [entry(1)]})[0] for _ in range(3)]
    assert answers == [status, status, 200]
    assert len(client("GET", "/sandbox/log")[1]["messages"]) == 1


@pytest.mark.parametrize("name", ["delay_seconds", "accept_delay_seconds"])
def test_answers_can_be_slow(client: Client, name: str) -> None:
    client("PUT", "/sandbox/behaviour", {name: 0.3})
    started = time.monotonic()
    client("POST", BULK, {"messages": [entry(1)]})
    assert 0.3 <= time.monotonic() - started < 2


def test_a_behaviour_replaces_the_one_before(client: Client) -> None:
    client("PUT", "/sandbox/behaviour", {"throttle": 5})
    client("PUT", "/sandbox/behaviour", {"error": 1})
    _, behaviour = client("GET", "/sandbox/behaviour")
    assert (behaviour["throttle"], behaviour["error"], behaviour["reports"]) == (0, 1, "after")


def test_the_log_shows_duplicates_and_can_be_emptied(client: Client) -> None:
    for _ in range(2):
        client("POST", "/api/v1.1/Messages/send", entry(1))
    seen = client("GET", "/sandbox/log")[1]["messages"]
    assert [(line["reference"], line["destination"], line["text"], line["account"]) for line in seen] == [
        ("r1", "+306912345671", "text 1", "a1")
    ] * 2
    assert seen[0]["time"].endswith("0Z")
    assert client("DELETE", "/sandbox/log")[0] == 204
    assert client("GET", "/sandbox/log")[1] == {"messages": [], "calls": []}


def test_a_stopped_sandbox_answers_nobody(client: Client, sandbox: SandboxServer) -> None:
    assert client("GET", "/sandbox/log")[0] == 200
    sandbox.stop()
    with pytest.raises((http.client.HTTPException, OSError)):
        client("GET", "/sandbox/log")


def test_it_runs_as_a_program_of_its_own(tmp_path: Path) -> None:
    port_file = tmp_path / "port"
    command = [sys.executable, "-m", "messaging.providers.sandbox", "--port", "0", "--port-file", str(port_file)]
    process = subprocess.Popen(command, cwd=Path(__file__).parents[2], stdout=subprocess.PIPE, text=True)
    try:
        wait_for(port_file.exists)
        client = Client(int(port_file.read_text()))
        assert client("POST", BULK, {"messages": [entry(1)]})[0] == 200
    finally:
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=10)
    assert process.returncode == 0
    assert output.startswith("Mitto sandbox on http://127.0.0.1:")
