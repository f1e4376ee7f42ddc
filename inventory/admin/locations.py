"""Locations: everybody sees them; owners say which goes first, where each lies, and whether stock is taken from it."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.http import HttpRequest
from unfold.decorators import display

from inventory.actions.locations import CHANGEABLE, change_location
from inventory.models import Location
from inventory.rules import find_faults
from shopsync.admin.base import TenantModelAdmin, actor_of


class _LocationForm(forms.ModelForm):  # type: ignore[type-arg]
    class Meta:
        model = Location
        fields = CHANGEABLE

    def clean(self) -> dict[str, Any]:
        """Refuse what is no place, field by field."""
        given: dict[str, Any] = super().clean() or {}
        place = {name: given.get(name) for name in ("latitude", "longitude")}
        faults = find_faults(country=given.get("country") or "", **place)
        for name in sorted(set(faults) & set(self.fields) - set(self.errors)):
            self.add_error(name, faults[name])
        return given


@admin.register(Location)
class LocationAdmin(TenantModelAdmin):
    """Where stock lies. `name` is Shopify's."""

    form = _LocationForm
    list_display = ("place", "shopify_id", "country", "latitude", "longitude", "priority", "is_active")
    list_filter = ("is_active", "country")
    search_fields = ("name", "own_name", "=shopify_id")
    ordering = ("priority", "id")
    settings_fields = CHANGEABLE
    fieldsets = (
        (None, {"fields": (("name", "own_name"), "shopify_id", "is_active")}),
        (
            "Which goes first",
            {
                "fields": ("country", ("latitude", "longitude"), "priority"),
                "description": "The nearest first: by distance where the buyer's place is known too, then the buyer's "
                "country, then the smaller priority.",
            },
        ),
        ("Row", {"fields": ("created_at", "tenant")}),
    )

    @display(description="location", ordering="name")
    def place(self, location: Location) -> str:
        """Name it."""
        return str(location)

    def save_model(self, request: HttpRequest, obj: Location, form: Any, change: bool) -> None:
        """Let the action write what was changed, with its entry in the trail."""
        changed = set(form.changed_data)
        if changed & {"latitude", "longitude"}:
            changed |= {"latitude", "longitude"}  # checked together, so written together
        values = {name: form.cleaned_data[name] for name in changed & set(CHANGEABLE)}
        change_location(location_id=obj.pk, values=values, actor=actor_of(request))
