"""A real SMTP server on loopback that can be told to misbehave."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from email import message_from_bytes
from email.message import Message as Email
from typing import Any

from aiosmtpd.controller import Controller

from config.local.processes import free_port


class Mailbox:
    """What the server took, and how it behaves: `after_data` is accept, cut, or an answer such as "451 later"."""

    def __init__(self) -> None:
        self.emails: list[Email] = []
        self.envelopes: list[Any] = []
        self.after_data = "accept"
        self.to_recipients = ""
        self.unknown: set[str] = set()

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: list[str]) -> str:
        if self.to_recipients:
            return self.to_recipients
        if address in self.unknown:
            return "550 nobody of that name"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        if self.after_data not in {"accept", "cut"}:
            return self.after_data
        self.emails.append(message_from_bytes(envelope.content))
        self.envelopes.append(envelope)
        if self.after_data == "cut":
            server.transport.abort()  # taken, and the answer is lost
        return "250 OK"


@contextlib.contextmanager
def smtp_server(port: int | None = None) -> Iterator[tuple[Mailbox, int]]:
    """Serve on a port of loopback until the end of the block."""
    mailbox = Mailbox()
    controller = Controller(mailbox, hostname="127.0.0.1", port=port or free_port())
    controller.start()
    try:
        yield mailbox, controller.port
    finally:
        controller.stop()
