"""`make check`'s last step: missing migrations, and Django's own checks on production settings."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from config import embedded
from config.local.environment import local_environment
from config.local.session import BusyError, only_one, say
from config.local.stack import CHECKOUT

COMMANDS = (
    ("makemigrations", "--check", "--dry-run"),
    ("check", "--deploy", "--fail-level", "WARNING"),
)


def production_environment(local: dict[str, str]) -> dict[str, str]:
    """Return an environment of production on the local servers: throw-away secrets, a name, an address."""
    names = ("SECRET_KEY", "FIELD_KEYS", "DIGEST_KEY", "SHOPIFY_API_KEY", "SHOPIFY_API_SECRET")
    throw_away = {name: secrets.token_urlsafe(64) for name in names}
    where = {"ALLOWED_HOSTS": "shopsync.example", "PUBLIC_URL": "https://shopsync.example"}
    servers = {name: local[name] for name in ("DATABASE_URL", "REDIS_URL")}
    return {**os.environ, **servers, **throw_away, **where, "SHOPSYNC_ENV": "production", "DEBUG": ""}


def run_checks(state: Path) -> int:
    """Run each command on production settings and return the first exit code that is not 0."""
    ran_before = embedded.EmbeddedServers(state).pids()
    try:
        environment = production_environment(local_environment(state))
        for command in COMMANDS:
            say(f"SHOPSYNC_ENV=production manage.py {' '.join(command)}")
            done = subprocess.run([sys.executable, "manage.py", *command], cwd=CHECKOUT, env=environment, check=False)
            if done.returncode:
                return done.returncode
        return 0
    finally:
        if not ran_before:
            _stop_servers(state)


def _stop_servers(state: Path) -> None:
    """Stop the servers that the checks needed, unless a demo or run has begun to use them."""
    with suppress(BusyError), only_one(state):
        embedded.stop(state)
