"""Reads that span messaging's models."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

from django.db import connection

from messaging.models import ConsentEntry, Contact, ContactIdentity, Message
from shopsync.identity import normalise_email, normalise_phone


def consent_on(*, contact_id: int, channel: str) -> ConsentEntry | None:
    """Return the newest statement of a contact on a channel; None when nothing is known."""
    entries = ConsentEntry.objects.filter(contact_id=contact_id, channel=channel)
    return entries.order_by("-source_version").first()


def consents_of(messages: Iterable[Message]) -> dict[tuple[int, str], ConsentEntry]:
    """Return the newest statement per (contact id, channel) for many messages, in one query."""
    contacts = {message.contact_id for message in messages}
    entries = ConsentEntry.objects.filter(contact_id__in=contacts).order_by("contact_id", "channel", "-source_version")
    return {(entry.contact_id, entry.channel): entry for entry in entries.distinct("contact_id", "channel")}


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


@dataclass(frozen=True, slots=True)
class CreditDrift:
    """Something in the ledger of credits that does not add up; `problem` says what."""

    subject: str
    found: Decimal
    expected: Decimal
    problem: str


_CREDIT_DRIFT = """
WITH booked AS (
    SELECT account_id, sum(amount) AS total, (array_agg(balance_after ORDER BY id DESC))[1] AS last
    FROM messaging_creditentry WHERE tenant_id = %(tenant)s GROUP BY account_id
)
SELECT 'account:' || a.kind, a.balance, coalesce(b.total, 0), 'the balance is not what its entries add up to'
FROM messaging_creditaccount a LEFT JOIN booked b ON b.account_id = a.id
WHERE a.tenant_id = %(tenant)s AND (a.balance <> coalesce(b.total, 0) OR a.balance <> coalesce(b.last, 0))
UNION ALL
SELECT 'transaction:' || t.id, coalesce(sum(e.amount), 0), 0, 'the entries do not add up to zero'
FROM messaging_credittransaction t LEFT JOIN messaging_creditentry e ON e.transaction_id = t.id
WHERE t.tenant_id = %(tenant)s GROUP BY t.id HAVING coalesce(sum(e.amount), 0) <> 0 OR count(e.id) < 2
UNION ALL
SELECT 'account:spent', coalesce(max(a.balance), 0), coalesce((SELECT sum(settled) FROM messaging_creditday
       WHERE tenant_id = %(tenant)s), 0), 'what was settled by day is not what was settled'
FROM messaging_creditaccount a WHERE a.tenant_id = %(tenant)s AND a.kind = 'spent'
HAVING coalesce(max(a.balance), 0) + coalesce((SELECT max(balance) FROM messaging_creditaccount
       WHERE tenant_id = %(tenant)s AND kind = 'house'), 0)
    <> coalesce((SELECT sum(settled) FROM messaging_creditday WHERE tenant_id = %(tenant)s), 0)
ORDER BY 1"""


def find_credit_drift(*, tenant_id: int) -> list[CreditDrift]:
    """Compare a tenant's balances with their entries, and the entries with each other; an empty list is the proof."""
    with connection.cursor() as cursor:
        cursor.execute(_CREDIT_DRIFT, {"tenant": tenant_id})
        return [CreditDrift(*row) for row in cursor.fetchall()]
