"""The test database without running its migrations each time: what they made is kept in a file, and restored.

The file's name is a digest of all that makes the schema, and Django still runs `migrate` on what is restored. It is
of use on the throw-away server alone, whose programs are at hand.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psycopg
from django.db import connection
from psycopg import sql

from config.local.binaries import find_postgres, unprivileged_account
from config.local.state import private_folder
from tests import services

ROOT = services.CHECKOUT
KEPT = ROOT / ".local" / "tests"
APPS = ("audit", "config", "inventory", "messaging", "orders", "shopsync")


def restore() -> bool:
    """Make the test database out of what an earlier session kept; say whether it did."""
    if not services.has_own_postgres() or not (kept := _kept()).exists():
        return False
    name = connection.creation._get_test_db_name()
    with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as server:
        server.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    _run("psql", "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--single-transaction", f"--file={kept}", name=name)
    return True


def keep() -> None:
    """Keep the test database as it is now, before the first test, for the sessions to come."""
    if services.has_own_postgres() and not (kept := _kept()).exists():
        private_folder(KEPT)
        making = kept.with_suffix(f".{os.getpid()}")
        _run("pg_dump", "--no-owner", f"--file={making}", name=str(connection.settings_dict["NAME"]))
        for old in KEPT.glob("*.sql"):
            old.unlink(missing_ok=True)
        making.rename(kept)


def _kept() -> Path:
    digest = hashlib.sha256()
    for path in sorted(_sources()):
        digest.update(f"{path.relative_to(ROOT)}\0".encode() + path.read_bytes() + b"\0")
    return KEPT / f"{digest.hexdigest()[:20]}.sql"


def _sources() -> Iterator[Path]:
    yield from ROOT.glob("requirements*.txt")
    for app in APPS:
        for path in (ROOT / app).rglob("*.py"):
            if app == "config" or {"migrations", "models", "apps"} & {*path.relative_to(ROOT).parts, path.stem}:
                yield path


def _run(program: str, *options: str, name: str) -> None:
    """Run a program of PostgreSQL's on a database of the server; it ends the session where it fails."""
    info = connection.get_connection_params()
    place = {
        "PGHOST": info["host"],
        "PGPORT": str(info["port"]),
        "PGUSER": info["user"],
        "PGPASSWORD": info["password"],
    }
    path = find_postgres(unprivileged_account()).path.with_name(program)
    subprocess.run([path, *options, f"--dbname={name}"], env=os.environ | place, stdout=subprocess.DEVNULL, check=True)
