"""Reads over stock that span models: is the ledger what the levels say, and what is new of low and short stock?"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

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
UNION ALL
SELECT l.id, 'promised', l.promised, coalesce(p.held, 0), 'the level does not add up what its reservations hold'
FROM inventory_stocklevel l LEFT JOIN promised p ON p.level_id = l.id
WHERE l.tenant_id = %(tenant)s AND l.promised <> coalesce(p.held, 0)
UNION ALL
SELECT n.level_id, 'held', n.held, CASE r.status WHEN 'active' THEN n.quantity - n.pushed ELSE 0 END,
    format('reservation %%s is %%s, and does not hold what that says', r.id, r.status)
FROM inventory_reservationline n JOIN inventory_reservation r ON r.id = n.reservation_id
WHERE n.tenant_id = %(tenant)s AND inventory_is_misheld(r.status, n)
ORDER BY 1, 2, 5"""  # noqa: S608  the names put in are this module's own


def find_drift(*, tenant_id: int) -> list[Drift]:
    """Compare every level of a tenant with its ledger and its reservations; an empty list is the proof."""
    with connection.cursor() as cursor:
        cursor.execute(_DRIFT, {"tenant": tenant_id})
        return [Drift(*row) for row in cursor.fetchall()]


@dataclass(frozen=True, slots=True)
class Turn:
    """A threshold that is to become low, or not low any more: `sellable` is null where nothing is counted."""

    tenant_id: int
    threshold_id: int
    is_low: bool
    sellable: Decimal | None
    low_at: int
    recovered_at: int
    sku: str
    location: str


# Null, so never low: an untracked level among them (there is no end of it), a variant that is no longer sold, a
# location that is switched off. Asked for one tenant, or, without one, for all of them at once.
_TURNS = """
SELECT t.tenant_id, t.id, NOT t.is_low, s.sellable, t.low_at, t.recovered_at,
       coalesce(nullif(v.sku, ''), 'variant ' || v.id), coalesce(nullif(p.name, ''), 'location ' || p.id, '')
FROM inventory_stockthreshold t JOIN inventory_variant v ON v.id = t.variant_id
LEFT JOIN inventory_location p ON p.id = t.location_id
LEFT JOIN LATERAL (
    SELECT CASE WHEN NOT bool_or(l.available IS NULL) THEN sum(l.available - l.held) END AS sellable
    FROM inventory_stocklevel l JOIN inventory_location w ON w.id = l.location_id AND w.is_active
    WHERE l.item_id = v.item_id AND v.removed_at IS NULL AND (t.location_id IS NULL OR l.location_id = t.location_id)
) s ON true
WHERE (%(tenant)s::bigint IS NULL OR t.tenant_id = %(tenant)s) AND CASE
    WHEN t.is_low THEN coalesce(s.sellable >= t.recovered_at, true)
    ELSE coalesce(s.sellable <= t.low_at, false) END
ORDER BY t.id LIMIT %(most)s"""


@dataclass(frozen=True, slots=True)
class Shortfall:
    """What is to be said of a level: `message` while more is promised than there is, null once that is over."""

    tenant_id: int
    subject: str
    message: str | None


# The open alert is what is remembered: told is what it says, and only what differs from that is found. A variant that
# may be sold below zero has no shortfall, nor has what is neither sold any more nor promised to anybody.
_SHORTFALLS = """
WITH short AS (
    SELECT l.tenant_id, 'level:' || l.id AS subject, format(
        '%%s at %%s: %%s promised to buyers, %%s there. Bring stock in, or release reservations and cancel orders.',
        coalesce((SELECT min(v.sku) FROM inventory_variant v WHERE v.item_id = l.item_id AND v.sku <> ''),
                 'item ' || l.item_id), coalesce(nullif(p.name, ''), 'location ' || p.id), l.held, l.available
    ) AS message
    FROM inventory_stocklevel l JOIN inventory_location p ON p.id = l.location_id
    WHERE l.available < l.held AND (%(tenant)s::bigint IS NULL OR l.tenant_id = %(tenant)s)
      AND NOT EXISTS (SELECT FROM inventory_variant v
                      WHERE v.item_id = l.item_id AND v.policy = 'continue' AND v.removed_at IS NULL)
      AND (l.held > 0 OR EXISTS (
          SELECT FROM inventory_variant v WHERE v.item_id = l.item_id AND v.removed_at IS NULL))
), told AS (
    SELECT tenant_id, subject, message FROM shopsync_alert
    WHERE kind = 'stock.short' AND closed_at IS NULL AND tenant_id IS NOT NULL
      AND (%(tenant)s::bigint IS NULL OR tenant_id = %(tenant)s)
)
SELECT tenant_id, subject, short.message FROM short FULL JOIN told USING (tenant_id, subject)
WHERE short.message IS DISTINCT FROM told.message
ORDER BY subject LIMIT %(most)s"""


@dataclass(frozen=True, slots=True)
class StockStep:
    """What a look finds new of a variant: it is `out`, `seen` again, `out_again` before that counted, `back`, or
    `gone` from the shop. `sellable` is null where there is no end of it."""

    tenant_id: int
    variant_id: int
    item_id: int
    step: str
    sellable: Decimal | None


_STEPS = """
WITH total AS (
    -- From a location that is closed nothing can be promised, whatever lies there.
    SELECT v.id, bool_or(w.is_active AND (v.policy = 'continue' OR l.available IS NULL)) AS is_endless,
           coalesce(sum(l.available - l.held) FILTER (WHERE w.is_active), 0) AS sellable
    FROM inventory_variant v JOIN inventory_stocklevel l ON l.item_id = v.item_id
    JOIN inventory_location w ON w.id = l.location_id
    WHERE v.removed_at IS NULL AND (%(tenant)s::bigint IS NULL OR v.tenant_id = %(tenant)s)
      AND (%(tenant)s::bigint IS NULL OR l.tenant_id = %(tenant)s)
    GROUP BY v.id
), found AS (
    SELECT v.tenant_id, v.id, v.item_id, CASE
        WHEN v.removed_at IS NOT NULL THEN CASE WHEN o.id IS NOT NULL THEN 'gone' END
        WHEN NOT t.is_endless AND t.sellable <= 0 THEN CASE
            WHEN o.id IS NULL THEN 'out' WHEN o.sellable_since IS NOT NULL THEN 'out_again' END
        WHEN t.id IS NOT NULL AND o.id IS NOT NULL THEN CASE
            WHEN o.sellable_since IS NULL THEN 'seen' WHEN o.sellable_since <= %(settled)s THEN 'back' END
        END AS step, CASE WHEN NOT t.is_endless THEN t.sellable END AS sellable
    FROM inventory_variant v LEFT JOIN total t ON t.id = v.id LEFT JOIN inventory_stockout o ON o.variant_id = v.id
    WHERE %(tenant)s::bigint IS NULL OR v.tenant_id = %(tenant)s
)
SELECT tenant_id, id, item_id, step, sellable FROM found WHERE step IS NOT NULL ORDER BY id LIMIT %(most)s"""


_NEWS = f"""
SELECT DISTINCT tenant_id FROM (
    (SELECT tenant_id FROM ({_TURNS}) turns) UNION ALL (SELECT tenant_id FROM ({_SHORTFALLS}) shortfalls)
    UNION ALL (SELECT tenant_id FROM ({_STEPS}) steps)) news
ORDER BY 1"""  # noqa: S608  put together from this module's own


def tenants_with_news(*, settled: datetime) -> list[int]:
    """Find, in one statement over all levels, the tenants of whose stock there is anything to tell."""
    return [row[0] for row in _ask(_NEWS, tenant=None, settled=settled, most=None)]


def find_turns(*, tenant_id: int, most: int) -> list[Turn]:
    """Find thresholds whose count has reached the other mark."""
    return [Turn(*row) for row in _ask(_TURNS, tenant=tenant_id, most=most)]


def find_shortfalls(*, tenant_id: int, most: int) -> list[Shortfall]:
    """Find levels whose shortfall is not told of yet, was told of with other numbers, or is over."""
    return [Shortfall(*row) for row in _ask(_SHORTFALLS, tenant=tenant_id, most=most)]


def find_steps(*, tenant_id: int, settled: datetime, most: int) -> list[StockStep]:
    """Find variants that ran out, or can be sold again; `settled` says since when, so that it counts as back."""
    return [StockStep(*row) for row in _ask(_STEPS, tenant=tenant_id, settled=settled, most=most)]


def _ask(query: str, **values: int | datetime | None) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(query, values)
        return list(cursor.fetchall())
