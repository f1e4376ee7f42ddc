"""How a tenant sends, for its owners; and what providers are asked at most, for superusers."""

from __future__ import annotations

from typing import Any, ClassVar

from django import forms
from django.contrib import admin, messages
from django.db import models
from django.db.models import Case, OuterRef, Subquery, When
from django.db.models.functions import Cast
from django.http import HttpRequest
from django.utils import timezone
from unfold.decorators import display
from unfold.widgets import UnfoldAdminTextInputWidget

from audit.actions import record
from config.infra import tenancy
from messaging.actions.frequencies import count_earlier
from messaging.actions.limits import LimitError, subject_of
from messaging.models import Price, QuietHours, SendingPolicy, SendLimit, SendQueue
from shopsync.admin.base import RacedAdmin, TenantForm, TenantModelAdmin, actor_of
from shopsync.models import Tenant


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


class HoursForm(TenantForm):
    """The hours of a place; the rest of the day is quiet."""

    class Meta:
        model = QuietHours
        fields = ("country", "region", "starts_at", "ends_at")
        labels: ClassVar = {"starts_at": "May be sent from", "ends_at": "May be sent until"}
        help_texts: ClassVar = {
            "starts_at": "local time of the recipient, e.g. 08:00",
            "ends_at": "local time of the recipient, e.g. 21:00; the same as from: at any time of day; "
            "earlier than from: over midnight, so that people are written to at night",
        }


@admin.register(QuietHours)
class QuietHoursAdmin(TenantModelAdmin):
    """The hours of the day in which campaigns may be sent; outside them it is quiet."""

    form = HoursForm
    may_add = True
    settings_fields = ("country", "region", "starts_at", "ends_at")
    list_display = ("country", "region", "may_be_sent")
    fields = (*settings_fields, "tenant")

    @display(description="may be sent (local time of the recipient)", ordering="starts_at")
    def may_be_sent(self, hours: QuietHours) -> str:
        """Say from when until when."""
        if hours.starts_at == hours.ends_at:
            return "at any time"
        return f"{hours.starts_at:%H:%M} to {hours.ends_at:%H:%M}{' over midnight' if hours.spans_midnight else ''}"

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Save the hours, and warn of those at night."""
        super().save_model(request, obj, form, change)
        if obj.spans_midnight:
            sentence = (
                f"These hours span midnight: campaigns may be sent from {obj.starts_at:%H:%M}, through the night, "
                f"until {obj.ends_at:%H:%M}. If the quiet hours were meant, exchange the two."
            )
            self.message_user(request, sentence, messages.WARNING)

    def has_delete_permission(self, request: HttpRequest, obj: models.Model | None = None) -> bool:
        """Without a row the default holds."""
        return self.has_configure_permission(request)


@admin.register(SendQueue)
class SendQueueAdmin(TenantModelAdmin):
    """What is sent through a connection, and what it waits for."""

    list_display = ("channel", "connection", "blocker", "blocked_until", "served_at")
    list_select_related = ("connection",)
    fields = ("channel", "connection", "blocker", "blocked_until", "served_at", "turn", "deficit", "tenant")


class HouseAdmin(RacedAdmin):
    """Rows of the installation: superusers' alone; what is done to them is the system's to remember, no tenant's."""

    def has_module_permission(self, request: HttpRequest) -> bool:
        """Superusers see them."""
        return bool(request.user.is_superuser)

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Save a row, and record that it was."""
        obj.updated_at = timezone.now()
        super().save_model(request, obj, form, change)
        self._note(request, obj, "updated" if change else "created", fields=sorted(form.changed_data))

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        """Take a row away, and record that it was."""
        self._note(request, obj, "deleted")
        super().delete_model(request, obj)

    def delete_queryset(self, request: HttpRequest, queryset: Any) -> None:
        """Take the chosen ones away, one by one."""
        for row in queryset.order_by("pk"):
            self.delete_model(request, row)

    def _note(self, request: HttpRequest, row: Any, verb: str, **data: Any) -> None:
        noun = str(self.opts.verbose_name).replace(" ", "_").lower()
        with tenancy.no_scope():
            record(name=f"{noun}.{verb}", subject=f"{noun}:{row.pk}", actor=actor_of(request), data=data)


class SendLimitForm(forms.ModelForm):  # type: ignore[type-arg]  # generic in the stubs alone
    """A limit, of somebody there is."""

    subject = forms.CharField(
        max_length=255,
        required=False,
        widget=UnfoldAdminTextInputWidget,
        help_text="level tenant: the shop's domain, or the tenant's id; account: SERVICE:ACCOUNT of a connection; "
        "empty: all of the level that have no limit of their own, and with the level global the whole installation",
    )

    class Meta:
        model = SendLimit
        fields = ("level", "subject", "requests_per_second")

    def clean(self) -> dict[str, Any]:
        """Refuse a subject that there is not; one that was kept before may be gone by now."""
        values = super().clean() or {}
        if {"level", "subject"} & set(self.changed_data) and not self.errors:
            try:
                values["subject"] = subject_of(level=values["level"], given=values["subject"])
            except LimitError as error:
                self.add_error(error.field, str(error))
        return values


@admin.register(SendLimit)
class SendLimitAdmin(HouseAdmin):
    """How many requests a second providers are asked at most; in force within two seconds."""

    form = SendLimitForm
    list_display = ("level", "subject", "shop", "requests_per_second", "updated_at")
    fields = ("level", "subject", "requests_per_second")

    @display(description="shop")
    def shop(self, limit: Any) -> str:
        """Name the tenant whose limit it is."""
        return limit.shop_domain or ""

    def get_queryset(self, request: HttpRequest) -> Any:
        """Read the shop's domain along."""
        named = Tenant.objects.annotate(subject=Cast("pk", models.CharField())).filter(subject=OuterRef("subject"))
        domain = Subquery(named.values("shop_domain")[:1])
        level = SendLimit.Level.TENANT
        return super().get_queryset(request).annotate(shop_domain=Case(When(level=level, then=domain)))


@admin.register(Price)
class PriceAdmin(HouseAdmin):
    """What a part costs, by country."""

    list_display = ("channel", "country", "amount", "updated_at")
    list_filter = ("channel",)
    search_fields = ("=country",)
    fields = ("channel", "country", "amount")
