"""How a tenant sends, for its owners; and what providers are asked at most, for superusers."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db import models
from django.http import HttpRequest
from unfold.admin import ModelAdmin

from config.infra import tenancy
from messaging.actions.frequencies import count_earlier
from messaging.models import Price, QuietHours, SendingPolicy, SendLimit, SendQueue
from shopsync.admin.base import TenantModelAdmin


@admin.register(SendingPolicy)
class SendingPolicyAdmin(TenantModelAdmin):
    """How many recipients a call has, how often an address is written to, and how replies are read and answered."""

    may_add = True
    settings_fields = ("batch_size", "cap_messages", "cap_hours", "reply_languages", "stop_answer", "help_answer")
    list_display = ("batch_size", "cap_messages", "cap_hours", "updated_at")
    fields = (*settings_fields, "updated_at", "tenant")

    def save_model(self, request: HttpRequest, obj: SendingPolicy, form: Any, change: bool) -> None:
        """Count what was sent already towards a cap that is set now."""
        with tenancy.tenant_scope(obj.tenant_id or tenancy.current_tenant_id()):
            count_earlier(obj)
        super().save_model(request, obj, form, change)


@admin.register(QuietHours)
class QuietHoursAdmin(TenantModelAdmin):
    """The hours of the day in which campaigns may be sent."""

    may_add = True
    settings_fields = ("country", "region", "starts_at", "ends_at")
    list_display = ("country", "region", "starts_at", "ends_at")
    fields = (*settings_fields, "tenant")

    def has_delete_permission(self, request: HttpRequest, obj: models.Model | None = None) -> bool:
        """Without a row the default holds."""
        return self.has_configure_permission(request)


@admin.register(SendQueue)
class SendQueueAdmin(TenantModelAdmin):
    """What is sent through a connection, and what it waits for."""

    list_display = ("channel", "connection", "blocker", "blocked_until", "served_at")
    list_select_related = ("connection",)
    fields = ("channel", "connection", "blocker", "blocked_until", "served_at", "turn", "deficit", "tenant")


class HouseAdmin(ModelAdmin):
    """Rows of the installation: superusers' alone."""

    def has_module_permission(self, request: HttpRequest) -> bool:
        """Superusers see them."""
        return bool(request.user.is_superuser)


@admin.register(SendLimit)
class SendLimitAdmin(HouseAdmin):
    """How many requests a second providers are asked at most; in force within two seconds."""

    list_display = ("level", "subject", "requests_per_second", "updated_at")
    fields = ("level", "subject", "requests_per_second")


@admin.register(Price)
class PriceAdmin(HouseAdmin):
    """What a part costs, by country."""

    list_display = ("channel", "country", "amount", "updated_at")
    list_filter = ("channel",)
    search_fields = ("=country",)
    fields = ("channel", "country", "amount")
