"""Reads about tenants, the inbox and the schedules that span models."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from config.infra import tenancy
from shopsync.models import Connection, Membership, ScheduleWatch, User


@dataclass(frozen=True, slots=True)
class AdminScope:
    """Whose data an operator looks at: one tenant's, all tenants', or nothing yet."""

    tenant_id: int | None = None
    is_all: bool = False
    role: Literal["owner", "operator", "viewer", ""] = ""


def admin_scope(*, user: User, chosen: object) -> AdminScope:
    """Decide an operator's scope from the choice kept in the session ("all" or a tenant's id).

    A choice that is no longer theirs falls back to their first membership; a superuser without a choice has none.
    """
    if user.is_superuser:
        if chosen == "all":
            return AdminScope(is_all=True, role="owner")
        return AdminScope(tenant_id=chosen, role="owner") if isinstance(chosen, int) else AdminScope(role="owner")
    roles = {membership.tenant_id: membership.role for membership in user.memberships.all()}
    if isinstance(chosen, int) and chosen in roles:
        return AdminScope(tenant_id=chosen, role=_role(roles[chosen]))
    for tenant_id, role in roles.items():
        return AdminScope(tenant_id=tenant_id, role=_role(role))
    return AdminScope()


def _role(value: str) -> Literal["owner", "operator", "viewer", ""]:
    return Membership.Role(value).value  # type: ignore[return-value]  # the enum's values are these literals


def find_connection(*, service: str, token: str) -> Connection | None:
    """Find the active connection that a call-back address names; None when the token is nobody's."""
    with tenancy.all_tenants(reason="a call-back names its tenant by its connection's token"):
        return Connection.objects.filter(service=service, token=token, is_active=True).first()


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
