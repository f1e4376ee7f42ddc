"""The admin site: unfold's, with the tenant switcher, a sidebar in our own order, and the scope in sight."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.http import url_has_allowed_host_and_scheme
from unfold.sites import UnfoldAdminSite

from shopsync.actions.tenants import note_all_tenants_opened, note_tenant_opened
from shopsync.models import Membership, Tenant
from shopsync.queries import AdminScope

# group -> its models as (icon, app_label, model_name)
_SIDEBAR: dict[str, list[tuple[str, str, str]]] = {
    "Inbox": [("inbox", "shopsync", "webhookevent"), ("block", "shopsync", "refuseddelivery")],
    "Shop": [
        ("receipt_long", "orders", "order"),
        ("sell", "inventory", "product"),
        ("inventory_2", "inventory", "stocklevel"),
    ],
    "Messaging": [
        ("person", "messaging", "contact"),
        ("sms", "messaging", "message"),
        ("bolt", "messaging", "automation"),
    ],
    "Operations": [
        ("notifications", "shopsync", "alert"),
        ("report", "audit", "deadletter"),
        ("history", "audit", "auditevent"),
        ("campaign", "audit", "eventdelivery"),
        ("mail", "shopsync", "digest"),
        ("schedule", "django_celery_beat", "periodictask"),
    ],
    "Settings": [
        ("storefront", "shopsync", "tenant"),
        ("hub", "shopsync", "connection"),
        ("outgoing_mail", "shopsync", "digestplan"),
        ("key", "shopsync", "apikey"),
        ("badge", "shopsync", "membership"),
        ("group", "shopsync", "user"),
    ],
}


def scope_of(request: HttpRequest) -> AdminScope:
    """Return the scope that the middleware found; an empty one for whoever is not signed in."""
    found: AdminScope = getattr(request, "admin_scope", AdminScope())
    return found


def scope_name(request: HttpRequest) -> str:
    """Say in words whose data is shown, asking the database once per request."""
    if not hasattr(request, "admin_scope_name"):
        scope = scope_of(request)
        name = "All tenants" if scope.is_all else "No tenant"
        if scope.tenant_id is not None:
            tenants = Tenant.objects.filter(pk=scope.tenant_id).values_list("shop_domain", flat=True)
            name = tenants.first() or name
        request.admin_scope_name = name  # type: ignore[attr-defined]
    return str(request.admin_scope_name)  # type: ignore[attr-defined]


def environment(request: HttpRequest) -> list[str] | None:
    """Show the scope in the header of every page (settings.UNFOLD)."""
    if not request.user.is_authenticated:
        return None
    return [scope_name(request), "danger" if scope_of(request).is_all else "info"]


def dropdown(request: HttpRequest) -> list[dict[str, Any]]:
    """Offer the switcher under the site's name (settings.UNFOLD)."""
    switch = reverse("admin:shopsync_switch_tenant")
    return [
        {"icon": "storefront", "title": scope_name(request), "link": switch},
        {"icon": "swap_horiz", "title": "Switch tenant", "link": switch},
        {"icon": "menu_book", "title": "API docs", "link": reverse("docs")},
    ]


def sidebar(request: HttpRequest) -> list[dict[str, Any]]:
    """List what this person may see here (settings.UNFOLD)."""
    from django.contrib import admin  # the site exists once the apps are ready

    shown = {(model._meta.app_label, model._meta.model_name): one for model, one in admin.site._registry.items()}
    groups = []
    for title, entries in _SIDEBAR.items():
        items = [
            {
                "title": str(shown[app, model].opts.verbose_name_plural).capitalize(),
                "icon": icon,
                "link": reverse(f"admin:{app}_{model}_changelist"),
            }
            for icon, app, model in entries
            if (app, model) in shown and shown[app, model].has_module_permission(request)
        ]
        groups.append({"title": title, "separator": True, "items": items})
    return [group for group in groups if group["items"]]


class ShopsyncSite(UnfoldAdminSite):
    """Unfold's site with the page on which an operator chooses whose data they look at."""

    def extra_urls(self) -> list[URLPattern]:
        """Add the switcher."""
        return [path("tenant", self.admin_view(self.switch_tenant), name="shopsync_switch_tenant")]

    def search(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """Answer unfold's command search with nothing: lists have their own; its cache fits no "all tenants"."""
        return HttpResponse()

    def switch_tenant(self, request: HttpRequest) -> HttpResponse:
        """Show one's tenants; on POST open one of them, or, for superusers, all. What isn't one's own is recorded."""
        if request.method == "POST":
            return self._open(request)
        memberships = {row.tenant_id: row for row in Membership.objects.filter(user=request.user)}  # type: ignore[misc]
        tenants = Tenant.objects.order_by("shop_domain")
        if not request.user.is_superuser:
            tenants = tenants.filter(pk__in=memberships)
        rows = [{"tenant": one, "role": getattr(memberships.get(one.pk), "role", "")} for one in tenants]
        context = {
            **self.each_context(request),
            "title": "Whose data do you want to see?",
            "rows": rows,
            "scope": scope_of(request),
            "next": _safe_next(request, request.GET.get("next", "")),
        }
        return TemplateResponse(request, "shopsync/admin/switch_tenant.html", context)

    def _open(self, request: HttpRequest) -> HttpResponse:
        chosen = request.POST.get("tenant", "")
        actor = f"user:{request.user.pk}"
        if chosen == "all":
            if not request.user.is_superuser:
                raise PermissionDenied
            note_all_tenants_opened(actor=actor)
            request.session["tenant"] = "all"
            return HttpResponseRedirect(_safe_next(request, request.POST.get("next", "")))
        found = Tenant.objects.filter(pk=chosen).first() if chosen.isascii() and chosen.isdigit() else None
        is_member = found is not None and found.memberships.filter(user=request.user).exists()  # type: ignore[misc]
        if found is None or not (is_member or request.user.is_superuser):
            raise PermissionDenied
        if not is_member:
            note_tenant_opened(tenant_id=found.pk, actor=actor)
        request.session["tenant"] = found.pk
        return HttpResponseRedirect(_safe_next(request, request.POST.get("next", "")))


def _safe_next(request: HttpRequest, wanted: str) -> str:
    """Return where to go on to: a page of this admin, or its index."""
    index = reverse("admin:index")
    is_ours = wanted.startswith(index) and url_has_allowed_host_and_scheme(wanted, {request.get_host()})
    return wanted if is_ours and "\\" not in wanted else index
