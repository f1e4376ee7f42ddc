"""A sandbox twin of Postmark's API: a real HTTP server on loopback that sends nothing to anybody.

    python -m messaging.providers.sandbox_email --port 0 --port-file PATH
    with EmailSandboxServer() as sandbox: ...  # sandbox.base_url

Postmark's own (any X-Postmark-Server-Token but "wrong" will do, and is the account):
    POST   /email                            {From, To, Subject, HtmlBody, TextBody, Headers[], Metadata{}}
    POST   /email/batch                      an array of those, 500 at the most
    GET    /messages/outbound/ID/details
    POST   /webhooks                         {Url, HttpAuth{Username, Password}, HttpHeaders[{Name, Value}]}
    DELETE /webhooks/ID
The sandbox's own:
    PUT    /sandbox/behaviour                the whole behaviour: `EmailBehaviour` and `sandbox_state.Behaviour` list it
    GET    /sandbox/behaviour
    GET    /sandbox/log                      {messages[every e-mail accepted], calls[every sending call]}
    DELETE /sandbox/log
Sources: https://postmarkapp.com/developer/api/email-api, .../webhooks-api, .../messages-api, and
https://postmarkapp.com/developer/webhooks/webhooks-overview
"""

from __future__ import annotations

import base64
import re
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any

from messaging.providers.sandbox import Handler, SandboxServer, read_json, serve
from messaging.providers.sandbox_state import AcceptedMessage, BadRequestError, Behaviour, Hook, Sandbox, timestamp

BATCH_LIMIT = 500
_ADDRESS = re.compile(r"(?:.*<)?[^@\s<>,]+@[^@\s<>,]+\.[^@\s<>,]+>?")
_INACTIVE = 406
_INVALID = 300
_ERRORS = {400: 402, 401: 10, 404: 701, 429: 429, 500: 500}  # the ErrorCode that goes with a status
_KINDS = {"HardBounce": "Bounced", "SoftBounce": "Bounced", "Delivery": "Delivered", "Click": "LinkClicked"}


@dataclass(frozen=True)
class EmailBehaviour(Behaviour):
    """How this twin behaves: `fail_destinations` bounce for good; the others are as for every twin."""

    soft_bounce_destinations: tuple[str, ...] = ()
    complaint_destinations: tuple[str, ...] = ()  # delivered, then reported as spam
    click_destinations: tuple[str, ...] = ()  # delivered, then a link is followed

    def statuses_of(self, destination: str) -> list[str]:
        """Return the events of an e-mail in the order in which they are posted."""
        events = ["Delivery"]
        if destination in self.fail_destinations:
            events = ["HardBounce"]
        elif destination in self.soft_bounce_destinations:
            events = ["SoftBounce"]
        elif destination in self.complaint_destinations:
            events = ["Delivery", "SpamComplaint"]
        elif destination in self.click_destinations:
            events = ["Delivery", "Click"]
        if self.reports == "out_of_order":
            events.reverse()
        return [event for event in events for _ in range(2)] if self.reports == "twice" else events

    @classmethod
    def read(cls, document: Any) -> EmailBehaviour:
        """Read a behaviour from JSON.

        Raises: BadRequestError; also for several reports in a post, which Postmark does not do.
        """
        behaviour = super().read(document)
        assert isinstance(behaviour, cls)
        if behaviour.report_batch != 1:
            raise BadRequestError("report_batch is 1: Postmark posts one event at a time")
        return behaviour


@dataclass
class AcceptedEmail(AcceptedMessage):
    """One e-mail that the sandbox took."""

    subject: str = ""
    html: str = ""
    stream: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    events: list[dict[str, Any]] = field(default_factory=list)

    def as_log_line(self) -> dict[str, Any]:
        """Return what GET /sandbox/log shows of the e-mail."""
        own = {"subject": self.subject, "html": self.html, "headers": self.headers, "stream": self.stream}
        return super().as_log_line() | own


@dataclass
class EmailSandbox(Sandbox):
    """Everything the twin remembers."""

    behaviour: Behaviour = EmailBehaviour()

    def accept(self, entry: Any) -> AcceptedMessage | str:
        """Take one e-mail (with the account that sends it), or return the reason for which it is refused."""
        entry = entry if isinstance(entry, dict) else {}
        to, sender = str(entry.get("To") or ""), str(entry.get("From") or "")
        for name, value in (("To", to), ("From", sender)):
            if not _ADDRESS.fullmatch(value):
                return f"Invalid '{name}' address: '{value}'."
        if to in self.behaviour.refuse_destinations:
            return f"You tried to send to a recipient that has been marked as inactive. Found inactive addresses: {to}."
        if not entry.get("HtmlBody") and not entry.get("TextBody"):
            return "Provide either email TextBody or HtmlBody or both."
        now, metadata = time.time(), entry.get("Metadata")
        email = AcceptedEmail(
            message_id=str(uuid.uuid4()),
            account=str(entry.get("account")),
            destination=to,
            text=str(entry.get("TextBody") or ""),
            sender=sender,
            reference=metadata.get("reference") if isinstance(metadata, dict) else None,
            accepted_at=now,
            updated_at=now,
            status="Sent",
            subject=str(entry.get("Subject") or ""),
            html=str(entry.get("HtmlBody") or ""),
            stream=str(entry.get("MessageStream") or "outbound"),
            headers=_headers_in(entry),
        )
        with self.lock:
            self.messages[email.message_id] = email
        return email

    def report(self, message: AcceptedMessage, status: str) -> dict[str, Any]:
        """Note that something happened to an e-mail, and return the event that says so."""
        assert isinstance(message, AcceptedEmail)
        now = time.time()
        kind = _KINDS.get(status, status)
        with self.lock:
            # An event that is posted twice, or late, is of the moment at which it happened.
            known = next((event for event in message.events if event["Type"] == kind), None)
            if known is None:
                known = {"Type": kind, "ReceivedAt": timestamp(now), "Details": {"Summary": "smtp;550 no such mailbox"}}
                message.events.append(known)
                message.status, message.updated_at = kind, now
        return _event(message, status, at=known["ReceivedAt"])


class EmailHandler(Handler):
    """Speaks Postmark's language."""

    key_header = "X-Postmark-Server-Token"

    def find_action(self, path: str, raw: bytes) -> Callable[[], None] | None:
        """Find what Postmark does at a path; None for nothing."""
        head, _, last = path.rpartition("/")
        routes: dict[tuple[str, str], Callable[[], None]] = {
            ("POST", "/email"): lambda: self._send([self._with_account(read_json(raw))], bulk=False),
            ("POST", "/email/batch"): lambda: self._send(self._batch(read_json(raw)), bulk=True),
            ("POST", "/webhooks"): lambda: self._add_hook(read_json(raw)),
        }
        if self.command == "GET" and head.startswith("/messages/outbound/") and last == "details":
            return lambda: self._show_details(head.rpartition("/")[2])
        if self.command == "DELETE" and head == "/webhooks":
            return lambda: self._unregister(last)
        return routes.get((self.command, path))

    def refuse(self, status: int, sentence: str, headers: dict[str, str] | None = None) -> None:
        """Refuse a request in Postmark's words."""
        code = _ERRORS.get(status, status)
        # What Postmark can't work with it answers with 422.
        self._answer(422 if status in {400, 404} else status, {"ErrorCode": code, "Message": sentence}, headers)

    def describe(self, messages: list[AcceptedMessage | str], *, bulk: bool) -> Any:
        """Return the answer to a sending call, each entry in its place."""
        answers = [_answer_entry(message) for message in messages]
        return answers if bulk else answers[0]

    def _with_account(self, entry: Any) -> Any:
        return {**entry, "account": self.headers.get(self.key_header)} if isinstance(entry, dict) else entry

    def _batch(self, document: Any) -> list[Any]:
        if not isinstance(document, list) or not 0 < len(document) <= BATCH_LIMIT:
            raise BadRequestError(f"a batch is an array of 1 to {BATCH_LIMIT} e-mails")
        return [self._with_account(entry) for entry in document]

    def _show_details(self, message_id: str) -> None:
        with self._sandbox.lock:
            message = self._sandbox.messages.get(message_id)
            if not isinstance(message, AcceptedEmail):
                return self.refuse(404, "This message was not found.")
            seen: dict[str, Any] = {"MessageID": message_id, "Status": "Sent", "MessageEvents": list(message.events)}
            seen |= {"Metadata": {"reference": message.reference}, "Subject": message.subject}
        return self._answer(200, seen)

    def _add_hook(self, document: Any) -> None:
        document = document if isinstance(document, dict) else {}
        url, auth = document.get("Url"), document.get("HttpAuth")
        if not isinstance(url, str) or not url.startswith(("http://", "https://")):
            raise BadRequestError("Url is not an http address")
        headers = _headers_in({"Headers": document.get("HttpHeaders")})
        if isinstance(auth, dict):
            pair = f"{auth.get('Username')}:{auth.get('Password')}"
            headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
        account = str(self.headers.get(self.key_header))
        hook = Hook(str(uuid.uuid4()), url, headers, frozenset({account}))
        self._sandbox.register(hook)
        self._answer(200, {"ID": hook.hook_id, "Url": url})


class EmailSandboxServer(SandboxServer):
    """The twin as an object; it listens from the moment it is made until `stop()`."""

    make_state = EmailSandbox

    @property
    def handler(self) -> type[BaseHTTPRequestHandler]:
        """Return the class that speaks Postmark's language."""
        return EmailHandler


def _headers_in(entry: dict[str, Any]) -> dict[str, str]:
    listed = entry.get("Headers")
    pairs = [one for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []
    return {str(one.get("Name")): str(one.get("Value")) for one in pairs}


def _answer_entry(message: AcceptedMessage | str) -> dict[str, Any]:
    if isinstance(message, str):
        return {"ErrorCode": _INACTIVE if "inactive" in message else _INVALID, "Message": message}
    return {
        "To": message.destination,
        "SubmittedAt": timestamp(message.accepted_at),
        "MessageID": message.message_id,
        "ErrorCode": 0,
        "Message": "OK",
    }


def _event(email: AcceptedEmail, status: str, *, at: str) -> dict[str, Any]:
    common = {"MessageID": email.message_id, "Metadata": {"reference": email.reference}, "MessageStream": email.stream}
    if status == "Delivery":
        own = {"RecordType": "Delivery", "Recipient": email.destination, "DeliveredAt": at, "Details": "250 OK"}
    elif status == "Click":
        own = {"RecordType": "Click", "Recipient": email.destination, "ReceivedAt": at, "OriginalLink": ""}
    else:
        is_complaint = status == "SpamComplaint"
        own = {"RecordType": "SpamComplaint" if is_complaint else "Bounce", "Type": status, "Email": email.destination}
        own |= {"BouncedAt": at, "Description": "It was reported as spam." if is_complaint else "No such mailbox."}
    return common | own


if __name__ == "__main__":
    serve(EmailSandboxServer, program="messaging.providers.sandbox_email", name="Postmark")
