"""Senders for owners: numbers, names and addresses that messages are from."""

from __future__ import annotations

from django.contrib import admin

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
