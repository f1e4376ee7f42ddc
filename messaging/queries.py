"""Reads that span messaging's models."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

from django.db import connection, transaction
from django.db.models import Sum

from config.infra import tenancy
from messaging.models import Campaign, CampaignTally, ConsentEntry, Contact, ContactIdentity, Message
from shopsync.identity import normalise_email, normalise_phone


def consent_on(*, contact_id: int, channel: str) -> ConsentEntry | None:
    """Return the newest statement of a contact on a channel; None when nothing is known."""
    entries = ConsentEntry.objects.filter(contact_id=contact_id, channel=channel)
    return entries.order_by("-source_version").first()


@dataclass(frozen=True, slots=True)
class Count:
    """Messages in one state, their SMS parts, and what they cost in credits."""

    messages: int = 0
    parts: int = 0
    cost: Decimal = Decimal(0)


@dataclass(frozen=True, slots=True)
class Tally:
    """Where a campaign's messages stand: by state, and the skipped ones by reason."""

    states: dict[str, Count]
    skipped: dict[str, int]

    @property
    def total(self) -> int:
        """How many messages there are."""
        return sum(count.messages for count in self.states.values())


def tally_of(campaign_id: int) -> Tally:
    """Add up a campaign's tallies: exactly what its rows say, in the snapshot of one query."""
    rows = CampaignTally.objects.filter(campaign_id=campaign_id).values("state", "reason").order_by("state", "reason")
    sums = rows.annotate(n=Sum("messages"), p=Sum("parts"), c=Sum("cost"))
    return _tally((row["state"], row["reason"], Count(row["n"], row["p"], row["c"])) for row in sums)


def count_rows(campaign_id: int) -> Tally:
    """Count a campaign's rows themselves: what tally_of says, the long way."""
    with connection.cursor() as cursor:
        cursor.execute(_COUNT_ROWS, [campaign_id])
        return _tally((state, reason, Count(*counts)) for state, reason, *counts in cursor.fetchall())


_COUNT_ROWS = """
SELECT messaging_state(status, outcome, flow_id, started_at) AS state,
       CASE WHEN outcome = 'skipped' THEN reason ELSE '' END AS reason, count(*), sum(parts), sum(price)
FROM messaging_message WHERE campaign_id = %s GROUP BY 1, 2 ORDER BY 1, 2"""


def _tally(rows: Iterable[tuple[str, str, Count]]) -> Tally:
    states: dict[str, Count] = {}
    skipped: dict[str, int] = {}
    for state, reason, count in rows:
        if not count.messages and not count.parts and not count.cost:
            continue
        known = states.get(state, Count())
        states[state] = Count(known.messages + count.messages, known.parts + count.parts, known.cost + count.cost)
        if state == Message.Outcome.SKIPPED:
            skipped[reason] = count.messages
    return Tally(states, skipped)


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


@dataclass(frozen=True, slots=True)
class CampaignDrift:
    """Something of a campaign, or of what its messages hold, that does not add up."""

    subject: str
    found: str
    expected: str


_HELD = """
SELECT coalesce((SELECT balance FROM messaging_creditaccount WHERE tenant_id = %(tenant)s AND kind = 'held'), 0),
       coalesce((SELECT sum(price) FROM messaging_message WHERE tenant_id = %(tenant)s AND credit = 'held'), 0),
       coalesce((SELECT balance FROM messaging_creditaccount WHERE tenant_id = %(tenant)s AND kind = 'spent'), 0),
       coalesce((SELECT sum(price) FROM messaging_message WHERE tenant_id = %(tenant)s
                 AND credit IN ('settled', 'house')), 0)"""


def find_campaign_drift(*, tenant_id: int) -> list[CampaignDrift]:
    """Compare each campaign's counts with its rows, and the credits held and spent with the messages they are for.

    Each comparison is one snapshot, so that it may run while messages are sent. An empty list is the proof.
    """
    drifts = []
    with tenancy.tenant_scope(tenant_id), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        for campaign_id in Campaign.objects.order_by("pk").values_list("pk", flat=True):
            tally, rows = tally_of(campaign_id), count_rows(campaign_id)
            if tally != rows:
                drifts.append(CampaignDrift(f"campaign:{campaign_id}", str(tally), str(rows)))
        cursor.execute(_HELD, {"tenant": tenant_id})
        held, held_for, spent, spent_for = cursor.fetchone()
    pairs = (("held", held, held_for), ("spent", spent, spent_for))
    return drifts + [
        CampaignDrift(f"credits:{word}", str(one), str(other)) for word, one, other in pairs if one != other
    ]
