"""Messages and their reports for operators."""

from __future__ import annotations

from django.contrib import admin
from unfold.decorators import display

from messaging.models import DeliveryReport, Message
from shopsync.admin.base import ReadOnlyInline, TenantModelAdmin


class ReportInline(ReadOnlyInline):
    """What the provider said."""

    model = DeliveryReport
    fields = ("status", "raw_status", "error", "reported_at", "created_at")


@admin.register(Message)
class MessageAdmin(TenantModelAdmin):
    """Messages and where each stands. Unknown ones are sent again from the dead letters only, after a warning."""

    list_display = ("id", "channel", "address", "where", "reason", "blocker", "attempts", "created_at")
    list_filter = ("outcome", "status", "channel")
    search_fields = ("=address", "=provider_id", "=trigger")
    search_help_text = "address, provider's id or trigger (order:123), in full"
    readonly_fields = ("where",)
    fields = ("where", "contact", "channel", "address", "text", "outcome", "status", "reason", "blocker", "last_error",
              "attempts", "attempt", "automation_version", "trigger", "connection", "provider_id", "reference",
              "due_at", "started_at", "sent_at", "delivered_at", "finished_at", "created_at")  # fmt: skip
    inlines = (ReportInline,)

    @display(
        description="state",
        label={"delivered": "success", "sent": "info", "unknown": "warning", "failed": "danger", "buried": "danger"},
    )
    def where(self, message: Message) -> str:
        """Say in one word where it stands."""
        return message.state
