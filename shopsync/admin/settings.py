"""A tenant's settings: itself, its API keys, its connections. Secrets go in and never come out."""

from __future__ import annotations

from typing import Any

from django import forms
from django.conf import settings
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import reverse
from unfold.decorators import action, display
from unfold.widgets import UnfoldAdminPasswordWidget, UnfoldAdminTextInputWidget

from audit.actions import record
from shopsync.actions.tenants import create_api_key, wrong_with_connection
from shopsync.admin.base import TenantForm, TenantModelAdmin, actor_of
from shopsync.models import ApiKey, Connection, Tenant
from shopsync.sites import scope_of


@admin.register(Tenant)
class TenantAdmin(TenantModelAdmin):
    """The tenant that is open (all of them for a superuser); its tokens are Shopify's and shown nowhere."""

    list_display = ("shop_domain", "name", "status", "currency", "country", "stock_authority", "is_connected")
    list_filter = ("status",)
    search_fields = ("shop_domain", "name")
    settings_fields = ("name", "timezone", "country", "push_holds")
    fields = (
        "shop_domain", "name", "status", "currency", "timezone", "country", "stock_authority", "push_holds",
        "is_connected", "installed_at", "uninstalled_at", "created_at",
    )  # fmt: skip
    readonly_fields = ("is_connected",)

    def has_view_permission(self, request: HttpRequest, obj: object = None) -> bool:
        """Superusers see them with any scope."""
        return bool(request.user.is_superuser) or super().has_view_permission(request)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Tenant]:
        """Show the tenant that is open; all of them to a superuser."""
        rows: QuerySet[Tenant] = super().get_queryset(request)
        return rows if request.user.is_superuser else rows.filter(pk=scope_of(request).tenant_id or 0)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Owners change the tenant that is open, and no other."""
        is_open = obj is None or obj.pk == scope_of(request).tenant_id
        return is_open and super().has_change_permission(request)

    @display(description="has Shopify's token", boolean=True)
    def is_connected(self, tenant: Tenant) -> bool:
        """Say whether there is a token, not which."""
        return bool(tenant.access_token)


class _KeyForm(forms.Form):
    name = forms.CharField(max_length=100, widget=UnfoldAdminTextInputWidget, help_text="which system will use it")


@admin.register(ApiKey)
class ApiKeyAdmin(TenantModelAdmin):
    """Keys of merchants' systems."""

    list_display = ("name", "prefix", "is_active", "created_at")
    list_filter = ("is_active",)
    settings_fields = ("name", "is_active")
    fields = ("name", "prefix", "is_active", "created_at")
    actions_list = ("make_key",)

    @action(description="Make a key", url_path="make", permissions=["configure"], icon="add")
    def make_key(self, request: HttpRequest) -> HttpResponse:
        """Ask for a name, make a key, and show its secret this once."""
        back = reverse("admin:shopsync_apikey_changelist")
        form = _KeyForm(request.POST or None)
        if request.method == "POST" and form.is_valid():
            made = create_api_key(name=form.cleaned_data["name"], actor=actor_of(request))
            sentences = ["Copy the key now: it is stored as a hash and can't be shown again."]
            return self.confirm(request, "The new key", sentences=sentences, shown_once=made.secret, back=back)
        return self.confirm(request, "Make an API key", form=form, button="Make the key", back=back)


class _HttpsURLField(forms.URLField):
    def __init__(self, **options: Any) -> None:
        super().__init__(assume_scheme="https", **options)


class _ConnectionForm(TenantForm):
    """What a service of ours can use; secrets as fields of their own that start empty: empty leaves what is stored."""

    new_api_key = forms.CharField(required=False, widget=UnfoldAdminPasswordWidget, label="API key")
    new_signing_secret = forms.CharField(required=False, widget=UnfoldAdminPasswordWidget, label="Signing secret")

    class Meta:
        model = Connection
        fields = ("service", "name", "base_url", "account_id", "sender", "postal_address", "is_active")
        field_classes = {"base_url": _HttpsURLField}
        help_texts = {
            "service": f"one of {', '.join(sorted(settings.CONNECTION_SERVICES))}; segment is for a write key",
            "base_url": "empty: the service's own address",
            "account_id": (
                "of email: postmark, or postmark:STREAM; of mitto: the traffic account of the Messaging API, or"
                " classic:NAME for the classic SMS API"
            ),
        }

    def clean(self) -> dict[str, Any]:
        """Refuse what can't be of use, beside its field; a row that is there may be switched off whatever it says."""
        values = super().clean() or {}
        columns = {name: value for name, value in values.items() if not name.startswith("new_")}
        is_kept = self.instance.pk is not None and not values.get("is_active")
        if not is_kept and not self.errors:
            for name, sentence in wrong_with_connection(Connection(**columns)).items():
                self.add_error(name if name in self.fields else None, sentence)
        return values


@admin.register(Connection)
class ConnectionAdmin(TenantModelAdmin):
    """Accounts with outside services."""

    form = _ConnectionForm
    may_add = True
    list_display = ("service", "name", "sender", "is_active", "has_key")
    list_filter = ("is_active",)
    settings_fields = (
        "service", "name", "base_url", "account_id", "sender", "postal_address", "is_active",
        "new_api_key", "new_signing_secret",
    )  # fmt: skip
    fieldsets = (
        (None, {"fields": ("service", "name", "base_url", "account_id", "sender", "postal_address", "is_active")}),
        ("Secrets", {"fields": ("new_api_key", "new_signing_secret"), "description": "Empty keeps what is stored."}),
    )
    actions_detail = ("show_address",)

    @display(description="has a key", boolean=True)
    def has_key(self, connection: Connection) -> bool:
        """Say whether there is a key, not which."""
        return bool(connection.api_key)

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """Show secrets' fields to whoever may fill them."""
        found = super().get_fieldsets(request, obj)
        return found if self.has_configure_permission(request) else found[:1]

    def changed_columns(self, form: Any) -> list[str]:
        """Name the encrypted columns by their own names."""
        return [name.removeprefix("new_") for name in form.changed_data]

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Take over the secrets that were typed in."""
        for name in ("api_key", "signing_secret"):
            if typed := form.cleaned_data.get(f"new_{name}"):
                setattr(obj, name, typed)
        super().save_model(request, obj, form, change)
        if obj.is_active and not obj.api_key and obj.service != "segment":
            self.message_user(request, "It has no API key yet: the service will refuse it.", messages.WARNING)

    @action(description="Show the call-back address", url_path="address", permissions=["configure"], icon="link")
    def show_address(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Ask, then show the address that the service calls: whoever knows it can speak for the service."""
        row = self.get_object(request, object_id)
        if row is None:
            raise Http404
        back = reverse("admin:shopsync_connection_change", args=[row.pk])
        if request.method != "POST":
            sentence = "Whoever knows the address can send reports in the service's name. Showing it is recorded."
            return self.confirm(request, "Show the call-back address?", sentences=[sentence], button="Show", back=back)
        record(name="connection.address_shown", subject=f"connection:{row.pk}", actor=actor_of(request))
        path = "mitto/dlr" if row.service == "mitto" else row.service
        address = f"{settings.PUBLIC_URL}/webhooks/{path}/{row.token}"
        sentences = ["Give it to the service as the address of its call-backs."]
        if row.service == "mitto":
            sentences.append("It is for delivery reports; for replies, write inbound in place of dlr.")
        return self.confirm(request, "The call-back address", sentences=sentences, shown_once=address, back=back)
