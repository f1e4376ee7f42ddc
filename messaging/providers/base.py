"""The shape that every messaging provider has: how we ask it to send, and what can come of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias, cast

from django.utils.module_loading import import_string

from config.infra import outbound
from messaging.webhooks import MAX_ID_LENGTH, MAX_TEXT_LENGTH, DeliveryReport

PROVIDERS = {
    "mitto": "messaging.providers.mitto.make_provider",
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
    account's is used. An e-mail has a subject and HTML beside its text, and the link by which it is unsubscribed.

    `call` names the call that it is sent in: where a request takes one reference for all its messages, that is the
    call's, and with the recipient it names one of them.
    """

    reference: str
    to: str
    text: str
    sender: str = ""
    subject: str = ""
    html: str = ""
    unsubscribe_url: str = ""
    call: str = ""


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
    concerns_all  what was refused is what all messages of the request share, such as one text: no half of them will do
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
        concerns_all: bool = False,
    ) -> None:
        super().__init__(message)
        self.permanent = permanent
        self.unknown = unknown
        self.retry_after_seconds = retry_after_seconds
        self.status = status
        self.blocker = blocker
        self.concerns_all = concerns_all


class Provider(Protocol):
    """A provider for one account. One `send` is one HTTP request, whatever the number of its messages.

    shares_text   a request carries one text from one sender: all its messages have the same
    """

    max_batch: int
    shares_text: bool

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


OF_THE_CONTENT = frozenset({400, 413, 422})  # refusals of what is in a request, not of who asks


class Unusable:
    """What stands for an account that nobody can tell how to speak to: its messages wait, with a blocker, until
    somebody mends the connection."""

    max_batch = 500
    shares_text = False

    def __init__(self, sentence: str, *, blocker: str) -> None:
        self._sentence, self.blocker = sentence, blocker

    def send(self, messages: Sequence[OutgoingMessage]) -> list[Outcome]:
        """Raise: surely nothing is sent."""
        raise ProviderError(self._sentence, blocker=self.blocker)

    def status(self, provider_id: str) -> ProviderStatus:
        """Raise: nobody can be asked."""
        raise ProviderError(self._sentence, blocker=self.blocker)


def call(account: ProviderAccount, name: str, *, method: str, url: str, **options: Any) -> Any:
    """Make one request to an account's service and return its answer's JSON; `name` begins what an error says.

    Raises: ProviderError, with the flags of outbound's drawing and the words of a refusal.
    """
    try:
        return outbound.call(
            service=account.service,
            connection=account.connection_id,
            method=method,
            url=url,
            repeatable=method == "GET",
            **options,
        ).json()
    except outbound.OutboundError as error:
        said = f": {line_of(error.body)}" if error.body else ""
        raise ProviderError(
            f"{name}: {error}{said}",
            permanent=error.permanent,
            unknown=error.unknown,
            retry_after_seconds=error.retry_after_seconds,
            status=error.status,
            blocker=error.blocker or _waits_for(error),
        ) from error


def _waits_for(error: outbound.OutboundError) -> str:
    """Name what has to be mended when a refusal is of the account or its address, and not of what was sent."""
    if not error.permanent or error.status in OF_THE_CONTENT:
        return ""
    return f"refused_with_{error.status}" if error.status is not None else "bad_address"


def is_id(value: object) -> bool:
    """Is it an id that can be stored?"""
    return isinstance(value, str) and 0 < len(value) <= MAX_ID_LENGTH and value.isprintable()


def line_of(said: object) -> str:
    """Write what a service or a library said as one storable line."""
    text = said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)
    text = text.encode("utf-8", "replace").decode().replace("\x00", "\ufffd")
    return " ".join(text.split())[:MAX_TEXT_LENGTH]
