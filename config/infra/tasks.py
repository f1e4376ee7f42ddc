"""Task bases: a task works for one tenant (TenantTask) or for the system (SystemTask); there is no third kind."""

from __future__ import annotations

from typing import Any

from celery import Task

from config.infra import tenancy

REQUEST = "config.infra.broker:Request"  # notes what the broker missed


class TenantRequiredError(TypeError):
    """A TenantTask was called without a tenant."""


class SystemTask(Task):  # type: ignore[type-arg]  # celery-types' Task is generic, celery's is not
    """A drain or a sweep: starts with no tenant in scope and opens each row's own."""

    abstract = True
    ignore_result = True
    Request = REQUEST

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run outside any tenant."""
        with tenancy.no_scope():
            return super().__call__(*args, **kwargs)


class TenantTask(Task):  # type: ignore[type-arg]
    """A task on one tenant's data; refuses to run without `tenant_id`."""

    abstract = True
    ignore_result = True
    Request = REQUEST

    def __call__(self, *args: Any, tenant_id: int | None = None, **kwargs: Any) -> Any:
        """Run inside the tenant's scope.

        Raises: TenantRequiredError.
        """
        if not isinstance(tenant_id, int) or isinstance(tenant_id, bool):
            raise TenantRequiredError(f"{self.name} needs tenant_id=<the tenant's id>")
        with tenancy.no_scope(), tenancy.tenant_scope(tenant_id):
            return super().__call__(*args, tenant_id=tenant_id, **kwargs)
