"""Contacts and what they agreed to."""

from __future__ import annotations

from collections.abc import Iterable

from messaging.models import ConsentEntry, ConsentState, Contact, ContactIdentity
from shopsync.identity import normalise_email, normalise_phone


def consent_on(*, contact_id: int, channel: str) -> ConsentEntry | None:
    """Return the newest statement of a contact on a channel; None when nothing is known."""
    entries = ConsentEntry.objects.filter(contact_id=contact_id, channel=channel)
    return entries.order_by("-source_version").first()


def marketing_address(contact: Contact, channel: str) -> str:
    """Return where a contact is written to with its consent: at the address that it agreed to, unless its own was
    changed away from that since; else at its own. Empty when nowhere. (As actions/freezing.py says it in SQL.)"""
    states = ConsentState.objects.filter(contact=contact, channel=channel, lapsed_at__isnull=True)
    return states.values_list("address", flat=True).first() or contact.address_on(channel)


def find_contacts(names: Iterable[str], *, country: str) -> tuple[list[int], list[str]]:
    """Find contacts by what each is named: an id, an e-mail address, or a phone (read by `country`).

    Returns their ids, and the names that are nobody's.
    """
    wanted: dict[str, tuple[str, str]] = {}
    for name in names:
        is_id = name.isascii() and name.isdigit() and len(name) <= 9
        kind = "id" if is_id else "email" if "@" in name else "phone"
        value = name if is_id else normalise_email(name) if kind == "email" else normalise_phone(name, country)
        wanted[name] = (kind, value)
    ids = [int(value) for kind, value in wanted.values() if kind == "id"]
    values = [value for kind, value in wanted.values() if kind != "id" and value]
    owners = {("id", str(pk)): pk for pk in Contact.objects.filter(pk__in=ids).values_list("pk", flat=True)}
    rows = ContactIdentity.objects.filter(kind__in=("email", "phone"), value__in=values)
    owners |= {(kind, value): pk for kind, value, pk in rows.values_list("kind", "value", "contact_id")}
    found = sorted({owners[key] for key in wanted.values() if key in owners})
    return found, [name for name, key in wanted.items() if key not in owners]
