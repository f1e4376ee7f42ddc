"""Emptying the database after a transactional test: only the tables that have rows, and no post_migrate.

Django truncates every table, some hundred of them, and fills content types, permissions and schedules anew: 0.3 s a
test. What was there before the first test (the baseline) is left alone here, as long as it is still the same; when it
is not, or a table has grown large, Django's way is taken: it fills those tables anew, under other ids, and what it
leaves is the baseline of the tests to come.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.core.management.base import CommandError
from django.db import OperationalError, connection, transaction
from django.test import TransactionTestCase

from config.infra.transactions import ATTEMPTS, is_broken_off

LARGE_BYTES = 8 * 2**20  # deleted rows leave dead ones behind: above this a TRUNCATE is cheaper for the tests to come
KEPT = "django_migrations"


@dataclass(slots=True)
class Baseline:
    """Every table, and of those that have rows before a test a digest of them."""

    tables: list[str]
    digests: dict[str, str]


def take_baseline() -> Baseline:
    """Look at the database as it is before the first test."""
    names = connection.introspection.django_table_names(only_existing=True, include_views=False)
    tables = sorted(set(names) - {KEPT})
    _look_fast(tables)
    return Baseline(tables, _digests(_with_rows()))


def install(baseline: Baseline) -> None:
    """Let transactional tests end by `empty_tables`, where this user of the database may; else nothing changes."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_setting('is_superuser') = 'on'")  # who may switch triggers off
        if not cursor.fetchone()[0]:
            return
    as_django_does = TransactionTestCase._fixture_teardown

    def end_test(case: Any) -> None:
        if not empty_tables(baseline):
            _begin_again_when_broken_off(lambda: as_django_does(case))
            baseline.digests = _digests(_with_rows())

    TransactionTestCase._fixture_teardown = end_test


def _begin_again_when_broken_off(empty: Callable[[], None]) -> None:
    """Empty everything; a TRUNCATE of all tables can cross a transaction of processes that still run (a look by the
    clock), and PostgreSQL then breaks one of the two off. Nothing is proved here that beginning again could hide."""
    for _ in range(ATTEMPTS - 1):
        try:
            return empty()
        except CommandError as error:
            if not isinstance(error.__cause__, OperationalError) or not is_broken_off(error.__cause__):
                raise
    return empty()


def empty_tables(baseline: Baseline) -> bool:
    """Delete what a test wrote; False, with nothing done, when that would not bring the baseline back."""
    filled = _with_rows()
    if not set(baseline.digests) <= set(filled) or _digests(list(baseline.digests)) != baseline.digests:
        return False
    written = [table for table in filled if table not in baseline.digests]
    if _largest(written) > LARGE_BYTES:
        return False
    if written:
        with transaction.atomic(), connection.cursor() as cursor:
            # No triggers: foreign keys hold anyway when everything goes, and append-only tables would refuse.
            cursor.execute("SET LOCAL session_replication_role = replica")
            cursor.execute("; ".join(f'DELETE FROM "{table}"' for table in written))
    return True


def _with_rows() -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT tests_with_rows()")
        return list(cursor.fetchone()[0])


def _look_fast(tables: list[str]) -> None:
    """Let the server look through the tables by plans that it keeps; a statement over all is planned anew each time."""
    looks = (f"IF EXISTS (SELECT FROM \"{table}\") THEN found := found || '{table}'::text; END IF;" for table in tables)
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE OR REPLACE FUNCTION tests_with_rows() RETURNS text[] LANGUAGE plpgsql AS $look$"
            f" DECLARE found text[] := '{{}}'; BEGIN {' '.join(looks)} RETURN found; END $look$"
        )


def _digests(tables: list[str]) -> dict[str, str]:
    parts = (f"SELECT '{table}', md5(string_agg(t::text, ';' ORDER BY t::text)) FROM \"{table}\" t" for table in tables)
    with connection.cursor() as cursor:
        cursor.execute(" UNION ALL ".join(parts))
        return dict(cursor.fetchall())


def _largest(tables: list[str]) -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT coalesce(max(pg_relation_size(t::regclass)), 0) FROM unnest(%s::text[]) t", [tables])
        return int(cursor.fetchone()[0])
