"""Reads about tenants, the inbox and the schedules that span models."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from config.infra import tenancy
from config.infra.breaker import Listing, Snapshot
from shopsync.models import Connection, Membership, ScheduleWatch, Tenant, User

_TENANTS_OWN = "tenant:"  # how a breaker names a service that a tenant has without a Connection
_LONGEST_ID = 18  # digits that fit into a bigint


@dataclass(frozen=True, slots=True)
class AdminScope:
    """Whose data an operator looks at: one tenant's, all tenants', or nothing yet."""

    tenant_id: int | None = None
    is_all: bool = False
    role: Literal["owner", "operator", "viewer", ""] = ""
    timezone: str = "UTC"  # of the one tenant


def admin_scope(*, user: User, chosen: object) -> AdminScope:
    """Decide an operator's scope from the choice kept in the session ("all" or a tenant's id).

    A choice that is no longer theirs falls back to their first membership; a superuser without a choice has none.
    """
    if user.is_superuser:
        if chosen == "all":
            return AdminScope(is_all=True, role="owner")
        if not isinstance(chosen, int):
            return AdminScope(role="owner")
        zone = Tenant.objects.filter(pk=chosen).values_list("timezone", flat=True).first()
        return AdminScope(tenant_id=chosen, role="owner", timezone=zone or "UTC")
    scopes = {
        one.tenant_id: AdminScope(tenant_id=one.tenant_id, role=_role(one.role), timezone=one.tenant.timezone)
        for one in user.memberships.select_related("tenant")
    }
    if isinstance(chosen, int) and chosen in scopes:
        return scopes[chosen]
    return next(iter(scopes.values()), AdminScope())


def _role(value: str) -> Literal["owner", "operator", "viewer", ""]:
    return Membership.Role(value).value  # type: ignore[return-value]  # the enum's values are these literals


def find_connection(*, service: str, token: str) -> Connection | None:
    """Find the active connection that a call-back address names; None when the token is nobody's."""
    with tenancy.all_tenants(reason="a call-back names its tenant by its connection's token"):
        return Connection.objects.filter(service=service, token=token, is_active=True).first()


@dataclass(frozen=True, slots=True)
class BreakerOwner:
    """Whose breaker it is; no tenant: the system's own, which belong to nobody."""

    name: str
    tenant: Tenant | None


@dataclass(frozen=True, slots=True)
class OwnedBreaker:
    """A breaker in trouble, and whose it is."""

    breaker: Snapshot
    owner: BreakerOwner


def breakers_in_scope(listing: Listing) -> list[OwnedBreaker]:
    """Choose the breakers of the tenant in scope, or all with all tenants in scope; what is not closed comes first."""
    owners = _owners_in_scope(one.connection for one in listing.breakers)
    chosen = [OwnedBreaker(one, owners[one.connection]) for one in listing.breakers if one.connection in owners]
    return sorted(chosen, key=lambda row: row.breaker.state == "closed")


def tenant_of_breaker(connection: str) -> int | None:
    """Return the id of the tenant whose breaker this is; None for the system's own, and for a connection that is
    gone."""
    with tenancy.all_tenants(reason="a breaker names its tenant by its connection"):
        owner = _owners_in_scope([connection])[connection]
    return owner.tenant.pk if owner.tenant else None


def _owners_in_scope(connections: Iterable[str]) -> dict[str, BreakerOwner]:
    """Find the owners by what a breaker calls its connection (see Breaker); what is nobody's needs all tenants."""
    names = list(connections)
    of_all = tenancy.sees_all_tenants()
    owners = {name: BreakerOwner(name, None) for name in names} if of_all else {}
    rows = Connection.objects.filter(pk__in=_ids(names)).select_related("tenant")
    owners |= {str(row.pk): BreakerOwner(str(row), row.tenant) for row in rows}
    tenant_ids = _ids(name.removeprefix(_TENANTS_OWN) for name in names if name.startswith(_TENANTS_OWN))
    if not of_all:
        tenant_ids &= {tenancy.current_tenant_id()}
    for tenant in Tenant.objects.filter(pk__in=tenant_ids):
        owners[f"{_TENANTS_OWN}{tenant.pk}"] = BreakerOwner("the tenant's own", tenant)
    return owners


def _ids(names: Iterable[str]) -> set[int]:
    return {int(name) for name in names if name.isascii() and name.isdigit() and len(name) <= _LONGEST_ID}


@dataclass(frozen=True, slots=True)
class ScheduleState:
    """How one schedule is doing; `state` is off, withdrawn, waiting, ok, missed or failed."""

    name: str
    state: str
    last_finished_at: datetime | None
    next_due_at: datetime | None
    last_outcome: str


def schedule_states(*, now: datetime) -> list[ScheduleState]:
    """Tell how each schedule is doing, worked out from its stamps alone: nobody else has to be alive for it."""
    watches = ScheduleWatch.objects.select_related("schedule__interval", "schedule__crontab")
    return [
        ScheduleState(
            name=watch.schedule.name,
            state=watch.state(now),
            last_finished_at=watch.last_finished_at,
            next_due_at=watch.next_due_at(),
            last_outcome=watch.last_outcome,
        )
        for watch in watches.order_by("schedule__name")
    ]
