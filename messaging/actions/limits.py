"""How many requests are made at most: three levels, read anew every second, so that an edit holds within two."""

from __future__ import annotations

import time

from config.infra.ratelimit import Level
from messaging.models import SendingPolicy, SendLimit
from shopsync.models import Connection

DEFAULTS = {SendLimit.Level.ACCOUNT: 100, SendLimit.Level.TENANT: 50, SendLimit.Level.GLOBAL: 200}
READ_EVERY_SECONDS = 1.0
DEFAULT_BATCH = 500

_read_at = float("-inf")
_limits: dict[tuple[str, str], int] = {}


def levels_of(connection: Connection) -> list[Level]:
    """Return the levels that a request through a connection counts on: its account, its tenant, everybody."""
    account = f"{connection.service}:{connection.account_id}"
    subjects = {
        SendLimit.Level.ACCOUNT: account,
        SendLimit.Level.TENANT: str(connection.tenant_id),
        SendLimit.Level.GLOBAL: "",
    }
    limits = _read()
    return [
        Level(
            f"{level}:{subject}".rstrip(":"), limits.get((level, subject)) or limits.get((level, "")) or DEFAULTS[level]
        )
        for level, subject in subjects.items()
    ]


def per_second(tenant_id: int) -> int:
    """Return how many requests a second a tenant may make at most, whatever account it uses."""
    limits = _read()
    level = SendLimit.Level.TENANT
    own = limits.get((level, str(tenant_id))) or limits.get((level, "")) or DEFAULTS[level]
    everybody = limits.get((SendLimit.Level.GLOBAL, "")) or DEFAULTS[SendLimit.Level.GLOBAL]
    return min(own, everybody)


def batch_size() -> int:
    """Return how many recipients the tenant in scope puts into one call."""
    return SendingPolicy.objects.values_list("batch_size", flat=True).first() or DEFAULT_BATCH


def forget_limits() -> None:
    """Read the limits anew at the next request of this process."""
    global _read_at
    _read_at = float("-inf")


def _read() -> dict[tuple[str, str], int]:
    global _read_at, _limits
    if time.monotonic() - _read_at >= READ_EVERY_SECONDS:
        rows = SendLimit.objects.values_list("level", "subject", "requests_per_second")
        _limits = {(level, subject): limit for level, subject, limit in rows}
        _read_at = time.monotonic()
    return _limits
