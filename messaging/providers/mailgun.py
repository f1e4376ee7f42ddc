"""Sends e-mail through Mailgun, one in a request.

Mailgun's batches put values into one common text, and ours has none: each recipient's e-mail is rendered here.
Sources: https://documentation.mailgun.com/docs/mailgun/api-reference/send/mailgun/messages and .../events.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import quote, urlencode

from anymail.backends.mailgun import EmailBackend

from config.infra.outbound import basic_auth
from messaging.email_events import read_mailgun_events
from messaging.providers.base import Accepted, Outcome, OutgoingMessage, ProviderAccount, ProviderError, Refused, is_id
from messaging.providers.base import ProviderStatus as Status
from messaging.providers.email import build, call, domain_of, option_of
from messaging.webhooks import UnreadableReport

BASE_URL = "https://api.mailgun.net"  # of the EU: https://api.eu.mailgun.net


class MailgunProvider:
    """One domain at Mailgun; its account id is `mailgun:DOMAIN`, or `mailgun` for the sender's own domain.

    Mailgun has no idempotency key: a request without a readable answer is unknown.
    """

    max_batch = 1
    shares_text = False

    def __init__(self, account: ProviderAccount) -> None:
        self._account = account
        self._backend = EmailBackend(api_key=account.api_key)

    def send(self, messages: Sequence[OutgoingMessage]) -> list[Outcome]:
        """Send one message (see `Provider.send`)."""
        if len(messages) > self.max_batch:
            raise ValueError(f"{len(messages)} messages in one request; Mailgun takes {self.max_batch}")
        return [self._send(message) for message in messages]

    def status(self, provider_id: str) -> Status:
        """Ask what has become of one message (see `Provider.status`)."""
        domain = option_of(self._account) or domain_of(self._account, OutgoingMessage("", "", ""))
        answer = self._call("GET", domain, f"events?{urlencode({'message-id': provider_id})}")
        try:
            return read_mailgun_events(answer, provider_id=provider_id)
        except UnreadableReport as error:
            raise ProviderError(str(error), unknown=True) from error

    def _send(self, message: OutgoingMessage) -> Outcome:
        built = build(self._backend, [message], self._account, headers={})[message.reference]
        if isinstance(built, Refused):
            return built
        domain = option_of(self._account) or domain_of(self._account, message)
        answer = self._call("POST", domain, "messages", form=urlencode(built.data, doseq=True))
        given = answer.get("id") if isinstance(answer, dict) else None
        provider_id = given.strip("<>") if isinstance(given, str) else None
        if not isinstance(provider_id, str) or not is_id(provider_id):
            raise ProviderError("Mailgun's answer names no id for the message", unknown=True)
        return Accepted(message.reference, provider_id)

    def _call(self, method: str, domain: str, path: str, **options: Any) -> Any:
        base = (self._account.base_url or BASE_URL).rstrip("/")
        url = f"{base}/v3/{quote(domain, safe='')}/{path}"
        return call(self._account, method, url, headers=basic_auth("api", self._account.api_key), **options)
