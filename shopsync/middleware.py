"""The tenant of a request: none at first; the admin's is the operator's choice, the API's is its credential's."""

from __future__ import annotations

from collections.abc import Callable
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from django.http import HttpRequest, HttpResponseBadRequest, HttpResponseBase
from django.shortcuts import redirect
from django.urls import reverse
from django.utils import timezone
from django.utils.http import urlencode

from config.infra import tenancy
from shopsync.queries import admin_scope

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
        if "%00" in request.META.get("QUERY_STRING", ""):  # Django's list filters hand it to PostgreSQL, which can't
            return HttpResponseBadRequest("The address holds a NUL character; take it out.", content_type="text/plain")
        scope = admin_scope(user=request.user, chosen=request.session.get("tenant"))
        request.admin_scope = scope  # type: ignore[attr-defined]  # read by shopsync.admin
        if scope.tenant_id is not None:
            with tenancy.tenant_scope(scope.tenant_id), timezone.override(_zone(scope.timezone)):
                return self.get_response(request)
        if scope.is_all:
            with tenancy.all_tenants(reason="an administrator chose all tenants in the admin, which was recorded"):
                return self.get_response(request)
        if _needs_scope(request.path):
            return redirect(f"{reverse('admin:shopsync_switch_tenant')}?{urlencode({'next': request.path})}")
        return self.get_response(request)


def _zone(name: str) -> ZoneInfo:
    """Find a zone; UTC for a name that is none, so that its page can still be opened and mended."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return ZoneInfo("UTC")


# Pages without tenant data: with no tenant open they are shown, and every other page asks for one first.
_FREE = (
    "login/", "logout/", "jsi18n/", "password_change/", "search/", "autocomplete/", "tenant", "shopsync/user/",
    "shopsync/tenant/", "shopsync/membership/", "shopsync/refuseddelivery/", "django_celery_beat/",
)  # fmt: skip


def _needs_scope(path: str) -> bool:
    page = path.removeprefix("/admin/")
    return bool(page) and not page.startswith(_FREE)
