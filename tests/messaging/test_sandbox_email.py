"""The e-mail twin behaves like Postmark, and like Postmark on a bad day when told to."""

from __future__ import annotations

import base64
import http.client
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from messaging.email_events import parse_postmark_event, read_postmark_message
from messaging.providers.sandbox_email import EmailSandboxServer
from tests.messaging.twins import Client, Receiver, wait_for

KEY = "X-Postmark-Server-Token"


@pytest.fixture
def sandbox() -> Iterator[EmailSandboxServer]:
    with EmailSandboxServer() as server:
        yield server


@pytest.fixture
def client(sandbox: EmailSandboxServer) -> Client:
    return Client(sandbox.port, KEY)


@pytest.fixture
def receiver(client: Client) -> Iterator[Receiver]:
    """A receiver of the events of the account k."""
    receiver = Receiver()
    hook = {
        "Url": receiver.url,
        "HttpAuth": {"Username": "us", "Password": "them"},
        "HttpHeaders": [{"Name": "X-Own", "Value": "1"}],
    }
    status, answer = client("POST", "/webhooks", hook)
    assert status == 200
    assert answer["ID"]
    yield receiver
    receiver.close()


def email(number: int = 1, **changes: Any) -> dict[str, Any]:
    return {
        "From": "Shop <hello@shop.example>",
        "To": f"c{number}@x.example",
        "Subject": "News",
        "HtmlBody": "<p>Hi</p>",
        "TextBody": "Hi",
        "Headers": [{"Name": "Message-ID", "Value": f"<r{number}@shop.example>"}],
        "Metadata": {"reference": f"r{number}"},
        "MessageStream": "broadcast",
        **changes,
    }


def kinds(receiver: Receiver) -> list[str]:
    return [document.get("Type") or document["RecordType"] for document in receiver.documents()]


def test_one_and_many_are_accepted_in_their_order(client: Client, sandbox: EmailSandboxServer) -> None:
    status, one = client("POST", "/email", email(1))
    assert (status, one["ErrorCode"], one["To"]) == (200, 0, "c1@x.example")
    status, many = client("POST", "/email/batch", [email(number) for number in range(500)])
    assert status == 200
    assert [entry["To"] for entry in many] == [f"c{number}@x.example" for number in range(500)]
    assert len({entry["MessageID"] for entry in [one, *many]}) == 501
    line = client("GET", "/sandbox/log")[1]["messages"][0]
    assert (line["subject"], line["html"], line["text"], line["reference"]) == ("News", "<p>Hi</p>", "Hi", "r1")
    assert (line["headers"], line["stream"]) == ({"Message-ID": "<r1@shop.example>"}, "broadcast")


def test_recipients_are_refused_one_by_one(client: Client, sandbox: EmailSandboxServer) -> None:
    sandbox.behave(refuse_destinations=["c2@x.example"])
    batch = [email(1), email(2), email(3, To="nobody"), email(4, HtmlBody="", TextBody=""), email(5, From=""), 6]
    codes = [entry["ErrorCode"] for entry in client("POST", "/email/batch", batch)[1]]
    assert codes == [0, 406, 300, 300, 300, 300]
    assert len(sandbox.accepted()) == 1


def test_what_postmark_can_not_work_with_it_answers_with_422(client: Client) -> None:
    for body in ([], {}, [email()] * 501):
        assert client("POST", "/email/batch", body)[0] == 422
    assert client("POST", "/email", email(), key="wrong")[1]["ErrorCode"] == 10
    assert client("POST", "/email", email(), key="")[0] == 401
    assert client("GET", "/messages/outbound/no/details")[0] == 422
    assert client("POST", "/webhooks", {"Url": "x"})[0] == 422
    assert client("PUT", "/sandbox/behaviour", {"report_batch": 2})[0] == 422
    assert client("PUT", "/sandbox/behaviour", {"nonsense": 2})[0] == 422


def test_what_becomes_of_an_e_mail_is_posted(client: Client, sandbox: EmailSandboxServer, receiver: Receiver) -> None:
    sandbox.behave(
        fail_destinations=["c2@x.example"],
        soft_bounce_destinations=["c3@x.example"],
        complaint_destinations=["c4@x.example"],
        click_destinations=["c5@x.example"],
        report_delay_seconds=0.005,
    )
    client("POST", "/email/batch", [email(number) for number in range(1, 6)])
    wait_for(lambda: len(receiver.bodies) == 7)
    events = [parse_postmark_event(body) for body in receiver.bodies]
    seen = {(event.report.reference, event.report.raw_status, event.report.status, event.harm) for event in events}
    assert seen == {
        ("r1", "Delivery", "delivered", ""),
        ("r2", "HardBounce", "failed", "bounce"),
        ("r3", "SoftBounce", "failed", ""),
        ("r4", "Delivery", "delivered", ""),
        ("r4", "SpamComplaint", "failed", "complaint"),
        ("r5", "Delivery", "delivered", ""),
        ("r5", "Click", "delivered", ""),
    }
    expected = f"Basic {base64.b64encode(b'us:them').decode()}"
    assert {(headers["Authorization"], headers["X-Own"]) for headers in receiver.headers} == {(expected, "1")}


@pytest.mark.parametrize(
    ("reports", "expected"),
    [
        ("after", ["Delivery", "SpamComplaint"]),
        ("before", ["Delivery", "SpamComplaint"]),
        ("out_of_order", ["SpamComplaint", "Delivery"]),
        ("twice", ["Delivery", "Delivery", "SpamComplaint", "SpamComplaint"]),
    ],
)
def test_events_come_late_twice_and_in_any_order(
    client: Client, sandbox: EmailSandboxServer, receiver: Receiver, reports: str, expected: list[str]
) -> None:
    sandbox.behave(complaint_destinations=["c1@x.example"], reports=reports, report_delay_seconds=0.02)
    client("POST", "/email", email(1))
    if reports == "before":
        assert kinds(receiver) == expected
    wait_for(lambda: len(receiver.bodies) == len(expected))
    assert kinds(receiver) == expected
    if reports == "twice":
        assert receiver.bodies[0] == receiver.bodies[1]


def test_an_event_that_is_refused_is_posted_again(
    client: Client, sandbox: EmailSandboxServer, receiver: Receiver
) -> None:
    receiver.refusals = 1
    client("POST", "/email", email(1))
    wait_for(lambda: len(receiver.bodies) == 1)


def test_no_events_for_another_account_or_a_hook_that_is_gone(client: Client, receiver: Receiver) -> None:
    client("POST", "/email", email(1), key="other")
    client("POST", "/email", email(2))
    wait_for(lambda: len(receiver.bodies) == 1)
    assert receiver.documents()[0]["Metadata"] == {"reference": "r2"}
    assert client("DELETE", "/webhooks/none")[0] == 404


def test_the_details_say_what_has_become_of_it(client: Client, sandbox: EmailSandboxServer, receiver: Receiver) -> None:
    sandbox.behave(fail_destinations=["c2@x.example"])
    ids = [entry["MessageID"] for entry in client("POST", "/email/batch", [email(1), email(2)])[1]]
    wait_for(lambda: len(receiver.bodies) == 2)
    read = [read_postmark_message(client("GET", f"/messages/outbound/{one}/details")[1]) for one in ids]
    assert [(report.status, report.reference) for report in read] == [("delivered", "r1"), ("failed", "r2")]


@pytest.mark.parametrize(("name", "recorded"), [("cut_before_acceptance", 0), ("cut_after_acceptance", 1)])
def test_the_line_is_cut(client: Client, sandbox: EmailSandboxServer, name: str, recorded: int) -> None:
    sandbox.behave(**{name: 1})
    with pytest.raises((http.client.HTTPException, OSError)):
        client("POST", "/email/batch", [email(1)])
    assert len(sandbox.accepted()) == recorded
    assert Client(sandbox.port, KEY)("POST", "/email/batch", [email(1)])[0] == 200


@pytest.mark.parametrize(("name", "status"), [("throttle", 429), ("error", 500), ("refuse_calls", 422)])
def test_the_next_call_fails(client: Client, sandbox: EmailSandboxServer, name: str, status: int) -> None:
    sandbox.behave(**{name: 1})
    assert client("POST", "/email/batch", [email(1)])[0] == status
    assert sandbox.accepted() == []
    assert client("POST", "/email/batch", [email(1)])[0] == 200


def test_it_runs_as_a_program_of_its_own(tmp_path: Path) -> None:
    port_file = tmp_path / "port"
    command = [sys.executable, "-m", "messaging.providers.sandbox_email", "--port-file", str(port_file)]
    process = subprocess.Popen(command, cwd=Path(__file__).parents[2], stdout=subprocess.PIPE, text=True)
    try:
        wait_for(port_file.exists)
        assert Client(int(port_file.read_text()), KEY)("POST", "/email", email(1))[0] == 200
    finally:
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=10)
    assert process.returncode == 0
    assert output.startswith("Postmark sandbox on http://127.0.0.1:")
