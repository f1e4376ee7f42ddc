"""How many requests are made at most: three levels, read anew every second, so that an edit holds within two."""

from __future__ import annotations

import time

from config.infra import tenancy
from config.infra.ratelimit import Level
from messaging.models import SendingPolicy, SendLimit
from messaging.senders import SERVICES
from shopsync.actions.refusals import InvalidInput
from shopsync.models import Connection, Tenant

DEFAULTS = {SendLimit.Level.ACCOUNT: 100, SendLimit.Level.TENANT: 50, SendLimit.Level.GLOBAL: 200}
READ_EVERY_SECONDS = 1.0
DEFAULT_BATCH = 500

NAMED = 10  # that a refusal names

_read_at = float("-inf")
_limits: dict[tuple[str, str], int] = {}


class LimitError(InvalidInput):
    """A limit can't be kept as it is."""


def subject_of(*, level: str, given: str) -> str:
    """Return whom a limit is for, as it is kept: of a tenant its id, which may be given as the shop's domain.

    Raises: LimitError for what there is not.
    """
    given = given.strip()
    if level == SendLimit.Level.TENANT and given:
        return _tenant_of(given)
    if level == SendLimit.Level.ACCOUNT and given:
        return _account_of(given)
    if given:
        raise LimitError("subject", "The global limit is of the whole installation: leave it empty.")
    return ""


def _tenant_of(given: str) -> str:
    is_id = given.isascii() and given.isdigit() and len(given) <= 18
    found = Tenant.objects.filter(**({"pk": int(given)} if is_id else {"shop_domain": given.lower()})).first()
    if found is None:
        raise LimitError("subject", f"There is no tenant {given}: give a shop's domain, or a tenant's id.")
    return str(found.pk)


def _account_of(given: str) -> str:
    with tenancy.all_tenants(reason="a limit may be of any account, whichever tenants use it"):
        rows = Connection.objects.filter(service__in=SERVICES.values()).order_by("service", "account_id")
        known = [f"{service}:{account}" for service, account in rows.values_list("service", "account_id").distinct()]
    if given not in known:
        more = f" and {len(known) - NAMED} more" if len(known) > NAMED else ""
        raise LimitError(
            "subject", f"No connection has the account {given}; there are {', '.join(known[:NAMED])}{more}."
        )
    return given


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
