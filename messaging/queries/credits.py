"""The proof of the ledger of credits."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from django.db import connection


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
