"""E-mail, whichever service sends it: what all services are told alike, and which adapter speaks to one.

django-anymail builds each e-mail as its service takes it. The requests leave by our outbound client, so the breaker,
the time-outs and the rule of no network inside a transaction are the same as everywhere, and nothing is repeated.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, cast

from anymail.exceptions import AnymailError
from anymail.utils import parse_single_address
from django.core.mail import EmailMultiAlternatives
from django.utils.module_loading import import_string

from messaging.providers.base import (
    Outcome,
    OutgoingMessage,
    Provider,
    ProviderAccount,
    ProviderError,
    Refused,
    Unusable,
    line_of,
)
from messaging.providers.base import call as ask
from shopsync.identity import ascii_domain, normalise_email

# What a connection's account_id begins with; behind a colon stands what the service calls its stream or domain.
EMAIL_SERVICES = {
    "postmark": "messaging.providers.postmark.PostmarkProvider",
    "mailgun": "messaging.providers.mailgun.MailgunProvider",
}
ONE_CLICK = "List-Unsubscribe=One-Click"
_BREAK = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def make_provider(account: ProviderAccount) -> Provider:
    """Return the adapter of the e-mail service that the account names."""
    name = account.account_id.partition(":")[0].strip().lower()
    path = EMAIL_SERVICES.get(name)
    if path is None:
        sentence = f"no e-mail service is called {name!r}; known: {', '.join(sorted(EMAIL_SERVICES))}"
        return Unusable(sentence, blocker="unknown_email_service")
    return cast("Provider", import_string(path)(account))


def option_of(account: ProviderAccount) -> str:
    """Return what stands behind the colon of an account's id: a stream, or a domain."""
    return account.account_id.partition(":")[2].strip()


def domain_of(account: ProviderAccount, message: OutgoingMessage) -> str:
    """Return the domain that a message is sent from.

    Raises: ProviderError with a blocker, for a sender that is no e-mail address.
    """
    domain = _domain_in(message.sender or account.sender)
    if not domain:
        raise ProviderError("the sender of the connection is no e-mail address", blocker="bad_sender")
    return domain


@lru_cache(maxsize=256)
def _domain_in(sender: str) -> str:
    try:
        return ascii_domain(parse_single_address(sender).domain)
    except AnymailError:
        return ""


def build(
    backend: Any, messages: Sequence[OutgoingMessage], account: ProviderAccount, *, headers: dict[str, str]
) -> dict[str, Any]:
    """Build what the service takes, by reference; an e-mail that can't be built is a Refused in its place.

    So is one to an address that is not written as normalise_email() does: suppressions know no other spelling, and a
    service that reads it otherwise than we do may write to somebody else.

    Each has a Message-ID of ours, is unsubscribed from by one click (RFC 8058), and carries its reference as metadata
    that call-backs echo. Opens and clicks are not tracked: short links of ours count the clicks.

    Raises: ProviderError with a blocker, for a sender that is no e-mail address.
    """
    built: dict[str, Any] = {}
    for message in messages:
        domain = domain_of(account, message)
        try:
            email = _email(message, account, {**headers, "Message-ID": f"<{message.reference}@{domain}>"})
            built[message.reference] = backend.build_message_payload(email, {})
        except (AnymailError, ValueError) as error:
            built[message.reference] = Refused(message.reference, line_of(error), permanent=True)
    return built


def _email(message: OutgoingMessage, account: ProviderAccount, headers: dict[str, str]) -> EmailMultiAlternatives:
    if any(map(_BREAK.search, (message.subject, message.to, message.unsubscribe_url, *headers.values()))):
        raise ValueError("a line break or a control character in a header")
    if not message.to or normalise_email(message.to) != message.to:
        raise ValueError(f"{message.to[:80]!r} is not one e-mail address in its plain form, e.g. zoe@example.com")
    if message.unsubscribe_url:
        headers |= {"List-Unsubscribe": f"<{message.unsubscribe_url}>", "List-Unsubscribe-Post": ONE_CLICK}
    sender = message.sender or account.sender
    email = EmailMultiAlternatives(message.subject, message.text, from_email=sender, to=[message.to], headers=headers)
    if message.html:
        email.attach_alternative(message.html, "text/html")
    email.metadata = {"reference": message.reference}  # type: ignore[attr-defined]  # anymail reads these
    email.track_opens = email.track_clicks = False  # type: ignore[attr-defined]
    return email


def call(account: ProviderAccount, method: str, url: str, **options: Any) -> Any:
    """Make one request to a service, named by its own name, and return its answer's JSON (see `base.call`)."""
    return ask(account, account.account_id.partition(":")[0], method=method, url=url, **options)


def in_order(messages: Sequence[OutgoingMessage], outcomes: dict[str, Outcome]) -> list[Outcome]:
    """Put outcomes into the order of the messages."""
    return [outcomes[message.reference] for message in messages]


def words_of(value: object) -> str:
    """Return a service's own words as one storable line; a word of ours where it gave none."""
    return line_of(value) if isinstance(value, str) and value.strip() else "refused without a reason"
