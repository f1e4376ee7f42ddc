"""The admin site: unfold's, with the tenant switcher, the breakers, a sidebar of our own, and the scope in sight."""

from __future__ import annotations

import math
from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.http import url_has_allowed_host_and_scheme
from unfold.sites import UnfoldAdminSite

from config.infra.breaker import Snapshot, list_breakers
from config.infra.services import find_service
from shopsync.actions.breakers import reset_breaker
from shopsync.actions.tenants import note_all_tenants_opened, note_tenant_opened
from shopsync.models import Membership, Tenant
from shopsync.queries import AdminScope, OwnedBreaker, breakers_in_scope

# group -> its models as (icon, app_label, model_name)
_SIDEBAR: dict[str, list[tuple[str, str, str]]] = {
    "Inbox": [("inbox", "shopsync", "webhookevent"), ("block", "shopsync", "refuseddelivery")],
    "Shop": [
        ("receipt_long", "orders", "order"),
        ("payments", "orders", "payment"),
        ("undo", "orders", "gatewayrefund"),
        ("gavel", "orders", "dispute"),
        ("difference", "orders", "paymentmismatch"),
        ("local_shipping", "orders", "shipment"),
        ("sell", "inventory", "product"),
        ("inventory_2", "inventory", "stocklevel"),
        ("low_priority", "inventory", "stockthreshold"),
        ("swap_vert", "inventory", "stockmovement"),
        ("bookmark", "inventory", "reservation"),
        ("sync_alt", "inventory", "holdpush"),
        ("warehouse", "inventory", "location"),
    ],
    "Messaging": [
        ("person", "messaging", "contact"),
        ("campaign", "messaging", "campaign"),
        ("group_work", "messaging", "segment"),
        ("upload_file", "messaging", "contactimport"),
        ("dynamic_form", "messaging", "signupform"),
        ("fact_check", "messaging", "consententry"),
        ("block", "messaging", "suppression"),
        ("sms", "messaging", "message"),
        ("reply", "messaging", "inboundmessage"),
        ("description", "messaging", "template"),
        ("bolt", "messaging", "automation"),
        ("savings", "messaging", "creditaccount"),
        ("receipt", "messaging", "credittransaction"),
        ("low_priority", "messaging", "sendqueue"),
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
        ("hourglass_top", "orders", "orderwatch"),
        ("call_made", "messaging", "sender"),
        ("bedtime", "messaging", "quiethours"),
        ("tune", "messaging", "sendingpolicy"),
        ("price_check", "messaging", "creditpolicy"),
        ("speed", "messaging", "sendlimit"),
        ("euro", "messaging", "price"),
        ("key", "shopsync", "apikey"),
        ("badge", "shopsync", "membership"),
        ("group", "shopsync", "user"),
    ],
}
# group -> pages without a model, as (icon, title, name of the URL)
_PAGES = {"Operations": [("electric_bolt", "Breakers", "admin:shopsync_breakers")]}
_BREAKERS_SHOWN = 200


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
        if items:  # whoever sees no row of a group sees none of its other pages
            items += [{"title": name, "icon": icon, "link": reverse(url)} for icon, name, url in _PAGES.get(title, ())]
        groups.append({"title": title, "separator": True, "items": items})
    return [group for group in groups if group["items"]]


class ShopsyncSite(UnfoldAdminSite):
    """Unfold's site with the page on which an operator chooses whose data they look at, and the breakers."""

    def extra_urls(self) -> list[URLPattern]:
        """Add the switcher and the breakers."""
        reset = "breakers/<str:service>/<path:connection>/reset"
        return [
            path("tenant", self.admin_view(self.switch_tenant), name="shopsync_switch_tenant"),
            path("breakers", self.admin_view(self.breakers), name="shopsync_breakers"),
            path(reset, self.admin_view(self.reset_breaker), name="shopsync_reset_breaker"),
        ]

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

    def breakers(self, request: HttpRequest) -> HttpResponse:
        """Show the breakers in trouble of the scope, and what happens meanwhile."""
        listing = list_breakers()
        rows = breakers_in_scope(listing)
        may_act = scope_of(request).role in {"operator", "owner"}
        context = {
            **self.each_context(request),
            "title": "Breakers",
            "is_shared": listing.is_shared,
            "left_off": max(len(rows) - _BREAKERS_SHOWN, 0),
            "table": {
                "headers": ["service", "connection", "tenant", "state", "failures", "probe", "meanwhile", ""],
                "rows": [_cells(row, may_act=may_act) for row in rows[:_BREAKERS_SHOWN]],
            },
        }
        return TemplateResponse(request, "shopsync/admin/breakers.html", context)

    def reset_breaker(self, request: HttpRequest, service: str, connection: str) -> HttpResponse:
        """Ask, then close a breaker of the scope; both are for operators and owners."""
        if scope_of(request).role not in {"operator", "owner"}:
            raise PermissionDenied
        back = reverse("admin:shopsync_breakers")
        rows = {(row.breaker.service, row.breaker.connection): row for row in breakers_in_scope(list_breakers())}
        row = rows.get((service, connection))
        if row is None:
            messages.info(request, "No such breaker is in trouble here; perhaps it closed meanwhile.")
            return HttpResponseRedirect(back)
        if request.method == "POST":
            self._reset(request, row)
            return HttpResponseRedirect(back)
        sentences = [
            f"Calls to {service} for {row.owner.name} pass again at once.",
            f"The breaker opens again when the service still fails: after {find_service(service).opens_after}.",
        ]
        page = {"title": "Close this breaker?", "sentences": sentences, "button": "Close it", "back": back}
        context = {**self.each_context(request), **page}
        return TemplateResponse(request, "shopsync/admin/confirm.html", context)

    def _reset(self, request: HttpRequest, row: OwnedBreaker) -> None:
        service, connection = row.breaker.service, row.breaker.connection
        tenant_id = row.owner.tenant.pk if row.owner.tenant else None
        actor = f"user:{request.user.pk}"
        if reset_breaker(service=service, connection=connection, tenant_id=tenant_id, actor=actor):
            messages.success(request, f"Closed: the breaker of {service} for {row.owner.name}.")
        else:
            messages.warning(request, "Redis is away: closed in this process only; each of the others keeps its own.")


def _cells(row: OwnedBreaker, *, may_act: bool) -> list[str]:
    """Put one breaker into words."""
    one, tenant = row.breaker, row.owner.tenant
    reset = reverse("admin:shopsync_reset_breaker", args=[one.service, one.connection])
    link = format_html('<a class="text-primary-600 dark:text-primary-500" href="{}">Reset</a>', reset)
    return [
        one.service,
        row.owner.name,
        f"{tenant.name} ({tenant.shop_domain})" if tenant else "",
        one.state,
        str(one.failures),
        _probe(one),
        find_service(one.service).meanwhile if one.state != "closed" else "Calls pass.",
        link if may_act else "",
    ]


def _probe(breaker: Snapshot) -> str:
    """Say when the service is asked again."""
    if breaker.state == "closed":
        return ""
    return f"in {math.ceil(breaker.probe_in_seconds)} s" if breaker.probe_in_seconds else "the next call"


def _safe_next(request: HttpRequest, wanted: str) -> str:
    """Return where to go on to: a page of this admin, or its index."""
    index = reverse("admin:index")
    is_ours = wanted.startswith(index) and url_has_allowed_host_and_scheme(wanted, {request.get_host()})
    return wanted if is_ours and "\\" not in wanted else index
