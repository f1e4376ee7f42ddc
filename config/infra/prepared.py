"""Runs the intake's statements: prepared, on connections that only they use.

Django's connection costs the intake three things it does not need: being taken from the pool and set up for each
request, a round trip that asks whether it still lives, and a statement that is planned anew with the body written into
it as text. So web processes keep a small pool of their own. A connection that turns out to be dead is replaced and the
statement run once more, which is why only statements that may be repeated belong here.
Everywhere else (in tests and commands) they run on Django's connection, inside its transaction. The gain is in
docs/decisions/0005-intake.md.
"""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import psycopg
import psycopg_pool
from django.conf import settings
from django.db import connection

Row = tuple[Any, ...]
WAIT_SECONDS = 3.0
_opening = threading.Lock()


def fetch_one(sql: str, parameters: Mapping[str, Any]) -> Row | None:
    """Run a statement that may be repeated, in a transaction of its own, and return its first row.

    Raises: django.db.DatabaseError, as Django's own connection would.
    """
    with connection.wrap_database_errors:
        try:
            return _run(sql, parameters)
        except psycopg.OperationalError as error:
            if settings.PROCESS != "web" or isinstance(error, psycopg_pool.PoolTimeout):
                raise
            _own_pool().check()  # the server went away and may be back: let go of every dead connection
            return _run(sql, parameters)


def _run(sql: str, parameters: Mapping[str, Any]) -> Row | None:
    with _connection() as own, own.cursor() as cursor:
        return cursor.execute(sql, parameters, prepare=True).fetchone()


@contextmanager
def _connection() -> Iterator[psycopg.Connection[Row]]:
    if settings.PROCESS == "web":
        with _own_pool().connection() as own:
            yield own
        return
    connection.ensure_connection()
    own = connection.connection
    factory, own.cursor_factory = own.cursor_factory, psycopg.Cursor  # Django's writes parameters into the statement
    try:
        yield own
    finally:
        own.cursor_factory = factory


def _own_pool() -> psycopg_pool.ConnectionPool[psycopg.Connection[Row]]:
    with _opening:  # the first requests of a process come in several threads: they are to share one pool
        return _pool(os.getpid())


@functools.lru_cache(maxsize=2)
def _pool(pid: int) -> psycopg_pool.ConnectionPool[psycopg.Connection[Row]]:
    """Open this process's pool; the pid is the key, since a forked child must not share its parent's sockets."""
    parameters = connection.get_connection_params()
    wanted = ("dbname", "user", "password", "host", "port", "connect_timeout", "options", "application_name")
    own = {name: parameters[name] for name in wanted if name in parameters}
    return psycopg_pool.ConnectionPool(
        kwargs={**own, "autocommit": True}, min_size=1, max_size=settings.DB_POOL_SIZE, timeout=WAIT_SECONDS, open=True
    )
