"""Consent: a ledger of statements per contact and channel; the newest is the state."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime

from django.db import transaction

from audit.actions import record
from messaging.models import ConsentEntry, Contact
from messaging.models.contacts import Channel
from messaging.shopify import ConsentSnapshot
from shopsync.shopify import version

State = ConsentEntry.State
_FIRST, _LAST = datetime(1970, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC)


class ConsentError(ValueError):
    """A statement that can't be written as it is; the message begins with the field."""


def version_at(*, stated_at: datetime, state: str, source: str, address: str) -> str:
    """Build the version of a statement of ours; it sorts among Shopify's (messaging/shopify.py) by when it was made.

    Shopify tells time by the second. Of two statements of one moment an opt-out of ours wins over anything, and
    Shopify's over any other of ours. The same statement has the same version.
    """
    digest = hashlib.sha256(f"{source}|{state}|{address}".encode()).hexdigest()
    second = _LAST if state == State.UNSUBSCRIBED else _FIRST
    return version(stated_at, second, rank=0, digest=digest)


@transaction.atomic(savepoint=False)
def state_consent(
    *,
    contact: Contact,
    channel: str,
    state: str,
    source: str,
    stated_at: datetime,
    actor: str,
    address: str = "",
    text_shown: str = "",
    proof: Mapping[str, object] | None = None,
    opt_in_level: str = "",
) -> ConsentEntry:
    """Write what a person said about a channel into the ledger, from any source but Shopify; once per statement.

    source: what said so, e.g. `form:3`, `reply`, `api`. address: where they are reached; empty: where the contact is.
    Whatever was stated later than `stated_at` stays the state.

    Raises: ConsentError for an unknown channel or state.
    """
    if channel not in Channel.values:
        raise ConsentError(f"channel: one of {', '.join(Channel.values)} is needed")
    if state not in State.values:
        raise ConsentError(f"state: one of {', '.join(State.values)} is needed")
    where = address or contact.address_on(channel)
    entry = ConsentEntry(
        contact=contact,
        channel=channel,
        state=state,
        address=where,
        source=source[:40],
        opt_in_level=opt_in_level[:30],
        text_shown=text_shown,
        proof=dict(proof or {}),
        stated_at=stated_at,
        source_version=version_at(stated_at=stated_at, state=state, source=source, address=where),
    )
    return _write(entry, actor=actor)


@transaction.atomic(savepoint=False)
def write_consent(*, contact: Contact, snapshot: ConsentSnapshot) -> None:
    """Add what Shopify says to the ledger, once per version."""
    entry = ConsentEntry(
        contact=contact,
        channel=snapshot.channel,
        state=snapshot.state,
        address=snapshot.address,
        source="shopify",
        opt_in_level=snapshot.opt_in_level,
        stated_at=snapshot.stated_at,
        source_version=snapshot.version,
    )
    _write(entry, actor="shopify")


def _write(entry: ConsentEntry, *, actor: str) -> ConsentEntry:
    """Save a statement and record it; one that is in the ledger already is returned as it is there."""
    same = ConsentEntry.objects.filter(
        contact_id=entry.contact_id, channel=entry.channel, source_version=entry.source_version
    ).first()
    if same is not None:
        return same
    Contact.objects.select_for_update(no_key=True).get(pk=entry.contact_id)  # its address stays while this is written
    entry.save()
    data = {"channel": entry.channel, "state": entry.state, "source": entry.source}
    record(name="consent.stated", subject=f"contact:{entry.contact_id}", actor=actor, data=data)
    return entry
