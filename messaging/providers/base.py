"""The shape that every messaging provider has: how we ask it to send, and what can come of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias, cast

from django.utils.module_loading import import_string

from messaging.webhooks import DeliveryReport

PROVIDERS = {
    "mitto": "messaging.providers.mitto.MittoProvider",
    "email": "messaging.providers.email.make_provider",
}


@dataclass(frozen=True)
class ProviderAccount:
    """One tenant's account with one provider; `connection_id` names its circuit breaker."""

    service: str
    connection_id: str
    base_url: str
    api_key: str = field(repr=False)
    account_id: str
    sender: str


@dataclass(frozen=True)
class OutgoingMessage:
    """One message to one recipient. `to` is E.164 with the plus, or an e-mail address; `sender` may be empty: then the
    account's is used. An e-mail has a subject and HTML beside its text, and the link by which it is unsubscribed."""

    reference: str
    to: str
    text: str
    sender: str = ""
    subject: str = ""
    html: str = ""
    unsubscribe_url: str = ""


@dataclass(frozen=True)
class Accepted:
    """The provider took the message and will report on `provider_id`."""

    reference: str
    provider_id: str


@dataclass(frozen=True)
class Refused:
    """The provider surely did not take the message."""

    reference: str
    reason: str
    permanent: bool


Outcome: TypeAlias = Accepted | Refused
# Asked for or told, a provider says the same of a message.
ProviderStatus: TypeAlias = DeliveryReport


class ProviderError(Exception):
    """A whole request went wrong; what it means holds for every message in it.

    permanent  asking again would be refused again
    unknown    some or all messages may have been taken: never send them again by yourself
    neither    surely nothing was taken; ask again after `retry_after_seconds`, when given
    blocker    what the messages wait for, when the error knows it: an open breaker
    """

    def __init__(
        self,
        message: str,
        *,
        permanent: bool = False,
        unknown: bool = False,
        retry_after_seconds: float | None = None,
        status: int | None = None,
        blocker: str = "",
    ) -> None:
        super().__init__(message)
        self.permanent = permanent
        self.unknown = unknown
        self.retry_after_seconds = retry_after_seconds
        self.status = status
        self.blocker = blocker


class Provider(Protocol):
    """A provider for one account. One `send` is one HTTP request, whatever the number of its messages."""

    max_batch: int

    def send(self, messages: Sequence[OutgoingMessage]) -> list[Outcome]:
        """Send at most `max_batch` messages; the outcomes are in the order of the messages.

        Raises:
            ProviderError: the whole request was refused or failed.
            ValueError: more than `max_batch` messages.
        """
        ...

    def status(self, provider_id: str) -> ProviderStatus:
        """Ask what has become of one message.

        Raises:
            ProviderError: the provider does not know it (`status` 404) or did not say.
        """
        ...


def get_provider(account: ProviderAccount) -> Provider:
    """Return the adapter for an account.

    Raises:
        ValueError: no provider of that name.
    """
    path = PROVIDERS.get(account.service)
    if path is None:
        raise ValueError(f"no messaging provider is called {account.service!r}; known: {', '.join(sorted(PROVIDERS))}")
    return cast("Provider", import_string(path)(account))
