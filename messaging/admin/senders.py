"""Senders for owners: numbers, names and addresses that messages are from."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from config.infra import tenancy
from messaging.actions.campaigns import mind_campaigns_of
from messaging.models import Sender
from shopsync.admin.base import TenantModelAdmin


@admin.register(Sender)
class SenderAdmin(TenantModelAdmin):
    """Who messages are from."""

    may_add = True
    settings_fields = (
        "channel",
        "value",
        "country",
        "is_two_way",
        "connection",
        "short_link_domain",
        "recipients_per_second",
        "is_active",
    )
    list_display = ("value", "channel", "country", "is_two_way", "recipients_per_second", "is_active")
    list_filter = ("channel", "is_active")
    fields = (*settings_fields, "created_at", "tenant")

    def save_model(self, request: HttpRequest, obj: Sender, form: Any, change: bool) -> None:
        """Block the campaigns of a sender that is put away, or let them go."""
        super().save_model(request, obj, form, change)
        with tenancy.tenant_scope(obj.tenant_id):
            mind_campaigns_of(obj)
