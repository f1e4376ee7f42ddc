"""After a bulk write: no plan is kept that was made when the tables were small.

A connection keeps the plans of foreign keys' checks, and of statements in triggers. One that was made for a table of a
single page reads the whole table for each row that is checked, and goes on so however large the table has become, until
it is analysed. Autovacuum does that a minute or more after a bulk write, and never for the transaction that writes.
"""

from __future__ import annotations

from django.db import connection

GROWTH = 0.1  # of the rows that were known, as autovacuum's analyze_scale_factor


def plan_anew() -> None:
    """Forget this connection's plans: what is written next is planned for the tables as they are now."""
    with connection.cursor() as cursor:
        cursor.execute("DISCARD PLANS")


def analyze_grown(table: str, *, by: int) -> None:
    """Analyse a table that this transaction added many rows to: when it commits, every connection plans anew."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT reltuples FROM pg_class WHERE oid = %s::regclass", [table])
        (known,) = cursor.fetchone()
        if by > known * GROWTH:
            cursor.execute(f"ANALYZE {connection.ops.quote_name(table)}")
