"""Sends e-mail through Postmark, many in one request.

Sources: https://postmarkapp.com/developer/api/email-api (batches, answers in their order),
https://postmarkapp.com/developer/api/overview#error-codes, .../api/messages-api (what became of one).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from anymail.backends.postmark import EmailBackend

from messaging.email_events import read_postmark_message
from messaging.providers.base import Accepted, Outcome, OutgoingMessage, ProviderAccount, ProviderError, Refused, is_id
from messaging.providers.base import ProviderStatus as Status
from messaging.providers.email import build, call, in_order, option_of, words_of
from messaging.webhooks import UnreadableReport

BASE_URL = "https://api.postmarkapp.com"
# Errors of the account or of Postmark, not of the e-mail: it may be taken later.
_LATER = frozenset({-1, 10, 100, 400, 401, 405, 412, 413, 429, 500, 503})


class PostmarkProvider:
    """One Postmark server; its account id is `postmark`, or `postmark:STREAM` (such as broadcast).

    Postmark has no idempotency key: a batch without a readable answer is unknown.
    """

    max_batch = 500
    shares_text = False

    def __init__(self, account: ProviderAccount) -> None:
        self._account = account
        self._backend = EmailBackend(server_token=account.api_key, message_stream=option_of(account) or None)

    def send(self, messages: Sequence[OutgoingMessage]) -> list[Outcome]:
        """Send at most `max_batch` messages in one request (see `Provider.send`)."""
        if len(messages) > self.max_batch:
            raise ValueError(f"{len(messages)} messages in one request; Postmark takes {self.max_batch}")
        # Postmark puts its own Message-ID in, unless it is told to keep ours.
        built = build(self._backend, messages, self._account, headers={"X-PM-KeepID": "true"})
        outcomes: dict[str, Outcome] = {key: one for key, one in built.items() if isinstance(one, Refused)}
        sent = [message for message in messages if message.reference not in outcomes]
        if sent:
            answer = self._call("POST", "/email/batch", json=[built[message.reference].data for message in sent])
            if not isinstance(answer, list) or len(answer) != len(sent):
                raise ProviderError("Postmark's answer does not match what was sent", unknown=True)
            for message, entry in zip(sent, answer, strict=True):
                outcomes[message.reference] = _outcome(message, entry, to=built[message.reference].data["To"])
        return in_order(messages, outcomes)

    def status(self, provider_id: str) -> Status:
        """Ask what has become of one message (see `Provider.status`)."""
        try:
            answer = self._call("GET", f"/messages/outbound/{quote(provider_id, safe='')}/details")
        except ProviderError as error:
            error.status = 404 if error.status == 422 else error.status  # 422 with ErrorCode 701: it knows no such one
            raise
        try:
            return read_postmark_message(answer)
        except UnreadableReport as error:
            raise ProviderError(str(error), unknown=True) from error

    def _call(self, method: str, path: str, **options: Any) -> Any:
        url = (self._account.base_url or BASE_URL).rstrip("/") + path
        headers = {"X-Postmark-Server-Token": self._account.api_key}
        return call(self._account, method, url, headers=headers, **options)


def _outcome(message: OutgoingMessage, entry: Any, *, to: str) -> Outcome:
    """Read one entry of the answer; its recipient has to be whom the message went to, as it was written there."""
    entry = entry if isinstance(entry, dict) else {}
    code, said = entry.get("ErrorCode", 0), entry.get("To")
    if isinstance(said, str) and to.lower() not in said.lower():
        raise ProviderError("Postmark's answer is in another order than what was sent", unknown=True)
    if code == 0 and is_id(entry.get("MessageID")):
        return Accepted(message.reference, entry["MessageID"])
    if isinstance(code, int) and code != 0:
        return Refused(message.reference, words_of(entry.get("Message")), permanent=code not in _LATER)
    raise ProviderError("Postmark's answer names neither an id nor an error for a message", unknown=True)
