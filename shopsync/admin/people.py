"""People and what each may do where."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group
from django.db.models import QuerySet
from django.http import HttpRequest
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

from audit.actions import record
from config.infra import tenancy
from shopsync.admin.base import TenantModelAdmin, actor_of
from shopsync.models import Membership, User
from shopsync.sites import scope_of

_PERSON = ("username", "first_name", "last_name", "email", "last_login", "date_joined")

admin.site.unregister(Group)  # rights come from memberships, so that a group can't give them past the tenants


@admin.register(User)
class UserAdmin(DjangoUserAdmin, TenantModelAdmin):  # type: ignore[type-arg, misc]  # both are typed in part
    """People. Superusers manage them; others see who else is a member of their tenant."""

    form, add_form, change_password_form = UserChangeForm, UserCreationForm, AdminPasswordChangeForm
    list_display = ("username", "email", "first_name", "last_name", "is_active", "is_superuser")
    list_filter = ("is_active",)
    filter_horizontal = ()
    readonly_fields = ("last_login", "date_joined")
    fieldsets = (
        (None, {"fields": ("username", "password")}),
        ("Person", {"fields": _PERSON[1:]}),
        ("Access", {"fields": ("is_active", "is_staff", "is_superuser")}),
    )

    def has_view_permission(self, request: HttpRequest, obj: object = None) -> bool:
        """Superusers see everybody, without a tenant open too."""
        return bool(request.user.is_superuser) or super().has_view_permission(request)

    def has_add_permission(self, request: HttpRequest) -> bool:
        """A person may be of several tenants, so none of these owns them."""
        return bool(request.user.is_superuser)

    def has_change_permission(self, request: HttpRequest, obj: object = None) -> bool:
        """Only superusers: another tenant's owner must not set a password."""
        return bool(request.user.is_superuser)

    def get_queryset(self, request: HttpRequest) -> QuerySet[User]:
        """Show the members of the tenant that is open."""
        rows: QuerySet[User] = super().get_queryset(request)
        if request.user.is_superuser:
            return rows
        return rows.filter(memberships__tenant_id=scope_of(request).tenant_id or 0)

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """Keep the password's hash to those who may change it."""
        if request.user.is_superuser:
            return super().get_fieldsets(request, obj)
        return ((None, {"fields": _PERSON}),)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """Lock what Django keeps itself."""
        return self.readonly_fields

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Save as Django does: a new password is no column of the form's."""
        obj.save()


@admin.register(Membership)
class MembershipAdmin(TenantModelAdmin):
    """Who may do what in the tenant that is open: owners change roles, superusers add people."""

    list_display = ("user", "tenant", "role")
    list_select_related = ("user", "tenant")
    list_filter = ("role",)
    settings_fields = ("role",)
    autocomplete_fields = ("user",)

    def has_view_permission(self, request: HttpRequest, obj: object = None) -> bool:
        """Superusers see them with any scope."""
        return bool(request.user.is_superuser) or super().has_view_permission(request)

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Adding chooses among all people, so it is for superusers."""
        return bool(request.user.is_superuser)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Owners let people go, but not themselves."""
        if obj is not None and obj.user_id == request.user.pk:
            return bool(request.user.is_superuser)
        return bool(request.user.is_superuser) or self.has_configure_permission(request)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Membership]:
        """Show the members of the tenant that is open; all of them to a superuser without one."""
        rows: QuerySet[Membership] = super().get_queryset(request)
        tenant_id = scope_of(request).tenant_id
        if tenant_id is None and request.user.is_superuser:
            return rows
        return rows.filter(tenant_id=tenant_id or 0)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """A membership that exists changes its role only."""
        return () if obj is None else ("user", "tenant")

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        """People are let go one by one, each recorded."""
        found: dict[str, Any] = super().get_actions(request)
        found.pop("delete_selected", None)
        return found

    def delete_model(self, request: HttpRequest, obj: Membership) -> None:
        """Remove a member and record it."""
        with tenancy.tenant_scope(obj.tenant_id):
            record(name="membership.deleted", subject=f"user:{obj.user_id}", actor=actor_of(request))
        obj.delete()
