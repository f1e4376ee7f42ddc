"""Suppressions for operators: listed, added, lifted with a reason."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import Model
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from unfold.decorators import display
from unfold.widgets import UnfoldAdminTextInputWidget

from config.infra import tenancy
from messaging.actions.suppressions import NotSuppressed, lift_by_hand, normalise_address, suppress, suppressed_of
from messaging.models import Suppression
from shopsync.admin.base import actor_of
from shopsync.admin.forms import ActingAdmin, KeyedForm, Page, row_action
from shopsync.models import Tenant
from shopsync.sites import scope_of


class LiftForm(KeyedForm):
    """Why an address is to be written to again."""

    reason = forms.CharField(max_length=200, widget=UnfoldAdminTextInputWidget, help_text="e.g. asked for it by phone")


class SuppressionForm(forms.ModelForm):  # type: ignore[type-arg]
    """An address to write to no more."""

    class Meta:
        model = Suppression
        fields = ("channel", "address", "source")

    def clean(self) -> dict[str, Any]:
        """Write the address as contacts have it, and refuse one that is suppressed already."""
        values = super().clean() or {}
        channel, given = values.get("channel"), values.get("address", "")
        if not channel:
            return values
        country = Tenant.objects.get(pk=tenancy.current_tenant_id()).country
        address = normalise_address(channel, given, country=country)
        if not address:
            self.add_error("address", f"This is no address for {channel}.")
        elif suppressed_of(channel, [address]):
            self.add_error("address", "It is suppressed already.")
        values["address"] = address
        return values


@admin.register(Suppression)
class SuppressionAdmin(ActingAdmin):
    """Addresses that are not written to."""

    form = SuppressionForm
    refusals = (NotSuppressed,)
    may_add = True
    list_display = ("id", "channel", "address", "reason", "state", "source", "actor", "created_at")
    list_filter = ("channel", "reason", ("lifted_at", admin.EmptyFieldListFilter))
    search_fields = ("=address", "=source")
    search_help_text = "address, as contacts have it, in full"
    settings_fields = ("channel", "address", "source")
    actions_detail = ("lift",)

    def has_configure_permission(self, request: HttpRequest, obj: object = None) -> bool:
        """Operators suppress as owners do, of one tenant at a time."""
        return self.has_act_permission(request) and scope_of(request).tenant_id is not None

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """A suppression is lifted, never changed."""
        return False

    def get_fields(self, request: HttpRequest, obj: Model | None = None) -> Sequence[str]:
        """Ask for the address of a new one; of another show all but its key."""
        shown = (
            "channel",
            "address",
            "reason",
            "source",
            "actor",
            "created_at",
            "lifted_at",
            "lifted_by",
            "lifted_why",
        )
        return self.settings_fields if obj is None else shown

    def get_readonly_fields(self, request: HttpRequest, obj: Model | None = None) -> Sequence[str]:
        """Lock what a new one has not."""
        return () if obj is None else self.get_fields(request, obj)

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Suppress as the API does."""
        suppress(
            channel=obj.channel, addresses=[obj.address], reason="manual", source=obj.source, actor=actor_of(request)
        )
        obj.pk = Suppression.objects.filter(channel=obj.channel, address=obj.address).latest("pk").pk

    @row_action("Lift", path="lift", icon="undo")
    def lift(self, request: HttpRequest, row: Suppression) -> HttpResponse:
        """Ask why, then let the address be written to again."""
        form = LiftForm(request.POST)
        actor, now = actor_of(request), timezone.now()
        page = Page(
            title=f"Write to {row.address or 'this address'} again?",
            sentences=(
                f"It was suppressed on {row.created_at:%Y-%m-%d}: {row.get_reason_display()}.",
                "Without consent nothing is sent all the same.",
            ),
            button="Lift",
            done="Lifted: the address may be written to again.",
            form=form,
            run=lambda: lift_by_hand(suppression_id=row.pk, why=form.cleaned_data["reason"], actor=actor, now=now),
        )
        return self.ask(request, row, page)

    @display(description="state", label={"suppressed": "danger", "lifted": "success"})
    def state(self, row: Suppression) -> str:
        """Say whether it holds."""
        return "lifted" if row.lifted_at else "suppressed"
