"""Reads over stock that span models: does the ledger say what the levels say?"""

from __future__ import annotations

from dataclasses import dataclass

from django.db import connection

from inventory.models import STATES


@dataclass(frozen=True, slots=True)
class Drift:
    """A level that is not what its ledger, or its reservations, say: `problem` says how."""

    level_id: int
    state: str
    level: int | None
    ledger: int | None
    problem: str


_VALUES = ", ".join(f"('{state}', l.{state})" for state in STATES)
_DRIFT = f"""
WITH step AS (
    SELECT m.level_id, m.state, m.sequence, m.delta, m.before, m.after,
           lag(m.after) OVER (PARTITION BY m.level_id, m.state ORDER BY m.sequence) AS previous,
           row_number() OVER (PARTITION BY m.level_id, m.state ORDER BY m.sequence) AS place,
           row_number() OVER (PARTITION BY m.level_id ORDER BY m.sequence) AS rank
    FROM inventory_stockmovement m WHERE m.tenant_id = %(tenant)s
), ledger AS (
    SELECT level_id, state, sum(delta)::bigint AS total, (array_agg(after ORDER BY sequence DESC))[1] AS last,
           bool_or(place > 1 AND before IS DISTINCT FROM previous) AS is_torn
    FROM step GROUP BY level_id, state
), numbered AS (
    SELECT level_id, count(*) AS steps, bool_or(sequence <> rank) AS has_gap FROM step GROUP BY level_id
), promised AS (
    SELECT level_id, sum(held)::bigint AS held FROM inventory_reservationline WHERE tenant_id = %(tenant)s
    GROUP BY level_id
)
SELECT l.id, s.state, s.value, g.last, CASE
    WHEN coalesce(g.is_torn, false) THEN 'a movement does not begin where the one before it ended'
    ELSE 'the level is not what its movements add up to' END
FROM inventory_stocklevel l CROSS JOIN LATERAL (VALUES {_VALUES}) AS s(state, value)
LEFT JOIN ledger g ON g.level_id = l.id AND g.state = s.state
WHERE l.tenant_id = %(tenant)s AND (coalesce(s.value, 0) <> coalesce(g.total, 0) OR coalesce(g.is_torn, false)
    OR (g.level_id IS NOT NULL AND g.last IS DISTINCT FROM s.value) OR (g.level_id IS NULL AND s.value <> 0))
UNION ALL
SELECT l.id, '', l.movement_count, n.steps, 'movements are missing, or numbered wrongly'
FROM inventory_stocklevel l LEFT JOIN numbered n ON n.level_id = l.id
WHERE l.tenant_id = %(tenant)s AND (coalesce(n.steps, 0) <> l.movement_count OR coalesce(n.has_gap, false))
UNION ALL
SELECT l.id, 'held', l.held, coalesce(p.held, 0), 'the level does not hold what its reservations do'
FROM inventory_stocklevel l LEFT JOIN promised p ON p.level_id = l.id
WHERE l.tenant_id = %(tenant)s AND l.held <> coalesce(p.held, 0)
ORDER BY 1, 2"""  # noqa: S608  the names put in are this module's own


def find_drift(*, tenant_id: int) -> list[Drift]:
    """Compare every level of a tenant with its ledger and its reservations; an empty list is the proof."""
    with connection.cursor() as cursor:
        cursor.execute(_DRIFT, {"tenant": tenant_id})
        return [Drift(*row) for row in cursor.fetchall()]
