"""Automations for operators."""

from __future__ import annotations

from django.contrib import admin

from messaging.models import Automation, AutomationVersion
from shopsync.admin.base import ReadOnlyInline, TenantModelAdmin


class VersionInline(ReadOnlyInline):
    """An automation's published texts."""

    model = AutomationVersion
    fields = ("number", "channel", "template", "created_at")


@admin.register(Automation)
class AutomationAdmin(TenantModelAdmin):
    """When something happens, send something; an owner switches one off and on."""

    list_display = ("name", "trigger_event", "is_active", "created_at")
    list_filter = ("is_active",)
    settings_fields = ("is_active",)
    inlines = (VersionInline,)
