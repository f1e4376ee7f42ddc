"""The tenant of a request: none at first; the admin's is the operator's choice, the API's is its credential's."""

from __future__ import annotations

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect
from django.urls import reverse

from config.infra import tenancy
from shopsync.queries import AdminScope, admin_scope

GetResponse = Callable[[HttpRequest], HttpResponseBase]


class TenantScopeMiddleware:
    """Start every request with no tenant in scope, and leave none behind."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Wrap the request in an empty scope."""
        with tenancy.no_scope():
            return self.get_response(request)


class AdminTenantMiddleware:
    """Give an admin page the scope that its operator chose; ask for a choice where there is none."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Enter the chosen scope for pages under /admin/."""
        if not request.path.startswith("/admin/") or not request.user.is_authenticated or not request.user.is_staff:
            return self.get_response(request)
        scope = admin_scope(user=request.user, chosen=request.session.get("tenant"))
        request.admin_scope = scope  # type: ignore[attr-defined]  # read by shopsync.admin
        if scope.tenant_id is not None:
            with tenancy.tenant_scope(scope.tenant_id):
                return self._rendered(request)
        if scope.is_all:
            with tenancy.all_tenants(reason="an administrator chose all tenants in the admin, which was recorded"):
                return self._rendered(request)
        if _needs_scope(request, scope):
            return redirect(f"{reverse('admin:shopsync_switch_tenant')}?next={request.path}")
        return self._rendered(request)

    def _rendered(self, request: HttpRequest) -> HttpResponseBase:
        response = self.get_response(request)
        assert isinstance(response, HttpResponse) or response.streaming
        return response


def _needs_scope(request: HttpRequest, scope: AdminScope) -> bool:
    free = ("switch_tenant", "logout", "login", "jsi18n", "password_change", "shopsync/tenant/", "shopsync/user/")
    path = request.path.removeprefix("/admin/")
    return bool(path) and not any(part in path for part in free)
