"""Unsubscribing by a message's link, and the preferences page behind it: suppressions and consent, in one step."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from django.conf import settings
from django.db import transaction

from audit.actions import record
from messaging import links
from messaging.actions.suppressions import address_key, lift_suppression, suppress
from messaging.models import ConsentEntry, ConsentState, Contact, Message, Suppression
from messaging.models.contacts import Channel
from shopsync.shopify import version

SOURCE = "unsubscribe_link"
State, Reason = ConsentEntry.State, Suppression.Reason


@dataclass(frozen=True, slots=True)
class Preference:
    """A channel on which a contact can be reached; `blocked` is why it can't be switched on here (empty: it can)."""

    channel: str
    address: str
    is_on: bool
    is_suppressed: bool
    blocked: str


def unsubscribe_url(*, reference: uuid.UUID) -> str:
    """Make a message's unsubscribe link."""
    return links.unsubscribe_url(reference, base_url=settings.PUBLIC_URL, secret=_secret())


def read_token(token: str) -> uuid.UUID | None:
    """Return the reference of the message that a token names; None for a token that is not ours."""
    return links.read_token(token, secret=_secret())


def _secret() -> bytes:
    """Derive the links' own key; from the key that is kept, since an old e-mail's link must work for good."""
    return hashlib.sha256(b"unsubscribe|" + settings.DIGEST_KEY.encode()).digest()


@transaction.atomic(savepoint=False)
def unsubscribe(*, message: Message, now: datetime) -> bool:
    """Write to the message's address no more on its channel; say whether that is news. Done twice is done once."""
    contact = Contact.objects.select_for_update().get(pk=message.contact_id)
    return _switch_off(contact, message.channel, address=message.address, source=f"message:{message.pk}", now=now)


@transaction.atomic(savepoint=False)
def save_preferences(*, message: Message, wanted: Mapping[str, bool], now: datetime) -> None:
    """Switch the contact's channels on and off; a channel that is not named stays as it is.

    Switching on lifts a suppression that came from unsubscribing, and no other: neither STOP nor a bounce.
    """
    contact = Contact.objects.select_for_update().get(pk=message.contact_id)
    source = f"message:{message.pk}"
    for preference in preferences_of(message=message):
        is_wanted = wanted.get(preference.channel, preference.is_on)
        if is_wanted == preference.is_on or (is_wanted and preference.blocked):
            continue
        if is_wanted:
            _switch_on(contact, preference.channel, address=preference.address, now=now)
        else:
            _switch_off(contact, preference.channel, address=preference.address, source=source, now=now)


def preferences_of(*, message: Message) -> list[Preference]:
    """List the channels on which the message's contact can be reached, its own first."""
    contact = Contact.objects.get(pk=message.contact_id)
    channels = sorted(Channel.values, key=lambda channel: (channel != message.channel, channel))
    addresses = {channel: _address(message, contact, channel) for channel in channels}
    return [_preference(contact, channel, address) for channel, address in addresses.items() if address]


def _address(message: Message, contact: Contact, channel: str) -> str:
    return message.address if channel == message.channel and message.address else contact.address_on(channel)


def _preference(contact: Contact, channel: str, address: str) -> Preference:
    known = ConsentState.objects.filter(contact=contact, channel=channel, state=State.SUBSCRIBED).first()
    suppression = Suppression.objects.filter(
        channel=channel, address_key=address_key(channel, address), lifted_at__isnull=True
    ).first()
    blocked = "" if suppression is None or suppression.reason == Reason.UNSUBSCRIBED else suppression.reason
    is_on = suppression is None and known is not None and known.covers(address)
    return Preference(channel, address, is_on, suppression is not None, blocked)


def _switch_off(contact: Contact, channel: str, *, address: str, source: str, now: datetime) -> bool:
    actor, addresses = f"contact:{contact.pk}", [address] if address else []
    added = suppress(channel=channel, addresses=addresses, reason=Reason.UNSUBSCRIBED, source=source, actor=actor)
    stated = _state(contact, channel, state=State.UNSUBSCRIBED, address=address, now=now)
    return bool(added) or stated


def _switch_on(contact: Contact, channel: str, *, address: str, now: datetime) -> None:
    reasons = (Reason.UNSUBSCRIBED,)
    lift_suppression(channel=channel, address=address, actor=f"contact:{contact.pk}", now=now, reasons=reasons)
    _state(contact, channel, state=State.SUBSCRIBED, address=address, now=now)


def _state(contact: Contact, channel: str, *, state: str, address: str, now: datetime) -> bool:
    """Add a statement to the ledger, unless it says so already; say whether it was added.

    Its version is the moment's: older statements of Shopify's lose to it, newer ones win, and of two of the same
    moment the person's own (rank 2) does.
    """
    known = ConsentState.objects.filter(contact=contact, channel=channel, state=state).first()
    if known is not None and (state == State.UNSUBSCRIBED or known.covers(address)):
        return False
    entry = ConsentEntry(
        contact=contact,
        channel=channel,
        state=state,
        address=address,
        source=SOURCE,
        stated_at=now,
        source_version=version(now, now, rank=2, digest=hashlib.sha256(f"{channel}|{state}".encode()).hexdigest()),
    )
    entry.save(force_insert=True)
    data = {"channel": channel, "state": state}
    record(name="consent.stated", subject=f"contact:{contact.pk}", actor=f"contact:{contact.pk}", data=data)
    return True
