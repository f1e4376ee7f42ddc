"""The tenant in scope: whose rows this piece of work may see. It fails closed: no scope, no query.

    with tenant_scope(tenant_id): ...                 # one tenant's rows
    with all_tenants(reason="expire leases"): ...     # every tenant's rows; tests/test_architecture.py lists every use

The scope lives in a context variable, so it follows a request, a task or a thread of work and never leaks into the
next.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, TypeVar

from django.db import models

from config.infra.turns import Turns

M = TypeVar("M", bound=models.Model)


class TenancyError(RuntimeError):
    """Work on tenant data was asked for without the right tenant in scope."""


class NoTenantInScopeError(TenancyError):
    """Tenant data was queried or written with no tenant in scope."""


class CrossTenantWriteError(TenancyError):
    """A row of another tenant than the one in scope was about to be written."""


@dataclass(frozen=True, slots=True)
class _AllTenants:
    reason: str


_scope: ContextVar[int | _AllTenants | None] = ContextVar("tenant_scope", default=None)


@contextmanager
def tenant_scope(tenant_id: int) -> Iterator[None]:
    """Work on the rows of one tenant."""
    token = _scope.set(tenant_id)
    try:
        yield
    finally:
        _scope.reset(token)


@contextmanager
def all_tenants(*, reason: str) -> Iterator[None]:
    """Work on the rows of every tenant; `reason` says why, for the reader and for the test that lists the uses."""
    if not reason:
        raise ValueError("all_tenants() needs a reason")
    token = _scope.set(_AllTenants(reason))
    try:
        yield
    finally:
        _scope.reset(token)


def for_each(tenant_ids: Iterable[int], work: Callable[[], int]) -> int:
    """Do the same for several tenants, each in its own scope, and add up; one that fails keeps no other from its turn.

    Raises: ExceptionGroup of what failed, after the last.
    """
    total, turns = 0, Turns("tenant")
    for tenant_id in tenant_ids:
        with turns.turn(tenant_id), tenant_scope(tenant_id):
            total += work()
    turns.end(f"{len(turns.failures)} tenants failed, the others had their turn")
    return total


@contextmanager
def no_scope() -> Iterator[None]:
    """Start with no tenant, and leave none behind: what a request or a task is wrapped in."""
    token = _scope.set(None)
    try:
        yield
    finally:
        _scope.reset(token)


def enter(tenant_id: int) -> None:
    """Set the tenant for the rest of the surrounding `no_scope()`: for authentication, which finds it midway."""
    _scope.set(tenant_id)


def current_tenant_id() -> int:
    """Return the one tenant in scope.

    Raises: NoTenantInScopeError when there is none, or all of them.
    """
    scope = _scope.get()
    if isinstance(scope, int):
        return scope
    raise NoTenantInScopeError("no single tenant is in scope: wrap this in tenant_scope(tenant_id)")


def tenant_id_or_none() -> int | None:
    """Return the one tenant in scope, or None (no scope, or all tenants)."""
    scope = _scope.get()
    return scope if isinstance(scope, int) else None


def sees_all_tenants() -> bool:
    """Is this work over all tenants?"""
    return isinstance(_scope.get(), _AllTenants)


class TenantQuerySet(models.QuerySet[M]):
    """A queryset whose bulk writes check the tenant, as `save()` does."""

    def bulk_create(self, objs: Iterable[M], *args: Any, **kwargs: Any) -> list[M]:
        """Insert many rows of the tenant in scope.

        Raises: CrossTenantWriteError for a row of another tenant.
        """
        rows = list(objs)
        for row in rows:
            claim_for_scope(row)
        return super().bulk_create(rows, *args, **kwargs)


class TenantManager(models.Manager[M]):
    """The only door to tenant data: filters by the tenant in scope, and refuses without one."""

    def get_queryset(self) -> models.QuerySet[M]:
        """Return the rows in scope.

        Raises: NoTenantInScopeError.
        """
        scope = _scope.get()
        if scope is None:
            raise NoTenantInScopeError(
                f"{self.model.__name__} was queried with no tenant in scope: wrap this in tenant_scope(tenant_id), "
                "or in all_tenants(reason=...) where reaching over tenants is the point"
            )
        rows = TenantQuerySet[M](self.model, using=self._db)
        return rows if isinstance(scope, _AllTenants) else rows.filter(tenant_id=scope)

    def none(self) -> models.QuerySet[M]:
        """Return no rows, which needs no scope: how an API view names its model at class level."""
        return TenantQuerySet[M](self.model, using=self._db).none()


def claim_for_scope(row: models.Model) -> None:
    """Give the row the tenant in scope, or refuse one that belongs to another.

    Raises: CrossTenantWriteError, NoTenantInScopeError.
    """
    if sees_all_tenants():
        if row.tenant_id is None:  # type: ignore[attr-defined]  # every tenant model has the column
            raise NoTenantInScopeError(f"{type(row).__name__} has no tenant, and all of them are in scope")
        return
    tenant_id = current_tenant_id()
    if row.tenant_id is None:  # type: ignore[attr-defined]
        row.tenant_id = tenant_id  # type: ignore[attr-defined]
    elif row.tenant_id != tenant_id:  # type: ignore[attr-defined]
        raise CrossTenantWriteError(f"{type(row).__name__} of another tenant can't be written in this scope")
