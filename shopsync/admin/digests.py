"""E-mail digests in the admin: who gets them (an owner's to say), and what became of each."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.postgres.forms import SimpleArrayField
from unfold.decorators import display
from unfold.widgets import UnfoldAdminTextInputWidget

from shopsync.admin.base import STATUS_COLOURS, TenantModelAdmin, pre
from shopsync.models import Digest, DigestPlan


class _PlanForm(forms.ModelForm):  # type: ignore[type-arg]
    recipients = SimpleArrayField(
        forms.EmailField(),
        min_length=1,
        max_length=20,
        widget=UnfoldAdminTextInputWidget,
        help_text="addresses, separated by commas",
    )

    class Meta:
        model = DigestPlan
        fields = ("recipients", "daily_hour", "has_hourly_critical", "is_active")

    def clean(self) -> dict[str, Any]:
        """Refuse a second plan in words; the constraint would refuse it in its own."""
        if self.instance.pk is None and DigestPlan.objects.exists():
            raise forms.ValidationError("There is a plan already: change that one.")
        return super().clean() or {}


@admin.register(DigestPlan)
class DigestPlanAdmin(TenantModelAdmin):
    """To whom alerts are mailed, and when; one plan per tenant."""

    form = _PlanForm
    may_add = True
    list_display = ("__str__", "daily_hour", "has_hourly_critical", "is_active")
    settings_fields = ("recipients", "daily_hour", "has_hourly_critical", "is_active")
    fields = ("recipients", "daily_hour", "has_hourly_critical", "is_active")


@admin.register(Digest)
class DigestAdmin(TenantModelAdmin):
    """Digests and where each stands; what went wrong is sent again from the dead letters, after a warning."""

    list_display = ("id", "slot", "alert_count", "state", "blocker", "attempts", "created_at", "finished_at")
    list_display_links = ("id", "slot")
    list_filter = ("status",)
    search_fields = ("=slot",)
    fields = ("slot", "recipients", "subject", "words", "alert_count", "status", "blocker", "last_error", "attempts",
              "due_at", "started_at", "finished_at", "created_at")  # fmt: skip
    readonly_fields = ("words",)

    @display(description="status", ordering="status", label=STATUS_COLOURS)
    def state(self, digest: Digest) -> str:
        """Say where it stands."""
        return digest.status

    @display(description="text")
    def words(self, digest: Digest) -> Any:
        """Show the e-mail as it was written."""
        return pre(digest.text)
