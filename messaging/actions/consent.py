"""Consent: a ledger of statements per contact and channel; the newest is the state."""

from __future__ import annotations

from django.db import transaction

from audit.actions import record
from messaging.models import ConsentEntry, Contact
from messaging.shopify import ConsentSnapshot


@transaction.atomic(savepoint=False)
def write_consent(*, contact: Contact, snapshot: ConsentSnapshot) -> None:
    """Add a statement to the ledger, once per version."""
    already = ConsentEntry.objects.filter(
        contact=contact, channel=snapshot.channel, source_version=snapshot.version
    ).exists()
    if already:
        return  # repeated: the statement is in the ledger
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
    entry.save()
    data = {"channel": snapshot.channel, "state": snapshot.state}
    record(name="consent.stated", subject=f"contact:{contact.pk}", actor="shopify", data=data)
