"""Reads that span messaging's models."""

from __future__ import annotations

from collections.abc import Iterable

from messaging.models import ConsentEntry, Message


def consent_on(*, contact_id: int, channel: str) -> ConsentEntry | None:
    """Return the newest statement of a contact on a channel; None when nothing is known."""
    entries = ConsentEntry.objects.filter(contact_id=contact_id, channel=channel)
    return entries.order_by("-source_version").first()


def consents_of(messages: Iterable[Message]) -> dict[tuple[int, str], ConsentEntry]:
    """Return the newest statement per (contact id, channel) for many messages, in one query."""
    contacts = {message.contact_id for message in messages}
    entries = ConsentEntry.objects.filter(contact_id__in=contacts).order_by("contact_id", "channel", "-source_version")
    return {(entry.contact_id, entry.channel): entry for entry in entries.distinct("contact_id", "channel")}
