"""Thresholds for owners and operators: when a variant is low."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from unfold.decorators import display
from unfold.widgets import UnfoldAdminIntegerFieldWidget, UnfoldAdminTextInputWidget

from inventory.actions.thresholds import change_threshold, make_threshold, remove_threshold
from inventory.models import StockThreshold, Variant
from inventory.serializers.stock import MOST_UNITS
from shopsync.admin.base import TenantModelAdmin, actor_of
from shopsync.admin.forms import PlainIntegerField
from shopsync.sites import scope_of


class ThresholdForm(forms.ModelForm):  # type: ignore[type-arg]
    """A threshold; a new one finds its variant by what people know it by."""

    sku = forms.CharField(
        max_length=300, widget=UnfoldAdminTextInputWidget, label="SKU", help_text="in full; or the variant's id"
    )
    low_at = PlainIntegerField(min_value=0, max_value=MOST_UNITS, widget=UnfoldAdminIntegerFieldWidget)
    recovered_at = PlainIntegerField(min_value=1, max_value=MOST_UNITS, widget=UnfoldAdminIntegerFieldWidget)

    class Meta:
        model = StockThreshold
        fields = ("low_at", "recovered_at")  # the admin adds the location, whose choices need a tenant in scope

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        if self.instance.pk is not None:  # it keeps its variant
            del self.fields["sku"]

    def clean_sku(self) -> str:
        """Find the one variant that is meant.

        Raises: ValidationError when there is none, or more than one.
        """
        typed = str(self.cleaned_data["sku"])
        found = list(Variant.objects.filter(sku=typed, removed_at__isnull=True).order_by("pk")[:2])
        if not found and typed.isascii() and typed.isdigit() and len(typed) <= 18:
            found = list(Variant.objects.filter(pk=int(typed)))
        if len(found) != 1:
            sentence = "Several variants have this SKU: give the variant's id." if found else "No variant has this SKU."
            raise forms.ValidationError(sentence)
        self.instance.variant = found[0]
        return typed

    def clean(self) -> dict[str, Any]:
        """Refuse a second threshold in words; the constraint would refuse it in its own."""
        values = super().clean() or {}
        if self.instance.pk is None and self.instance.variant_id and "location" in values:
            same = StockThreshold.objects.filter(variant_id=self.instance.variant_id, location=values["location"])
            if same.exists():
                raise forms.ValidationError("There is a threshold of this variant and location: change that one.")
        return values


@admin.register(StockThreshold)
class StockThresholdAdmin(TenantModelAdmin):
    """When a variant is low: operators' to say, and owners'."""

    form = ThresholdForm
    may_add = True
    list_display = ("id", "variant", "place", "low_at", "recovered_at", "state", "changed_at")
    list_display_links = ("id", "variant")
    list_select_related = ("variant", "location")
    list_filter = ("is_low",)
    search_fields = ("=variant__sku",)
    search_help_text = "SKU, in full"
    settings_fields = ("sku", "location", "low_at", "recovered_at")

    def has_configure_permission(self, request: HttpRequest, obj: object = None) -> bool:
        """Operators set thresholds as owners do, of one tenant at a time."""
        return self.has_act_permission(request) and scope_of(request).tenant_id is not None

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """A threshold may be taken away; the trail keeps what it was."""
        return self.has_configure_permission(request)

    def get_fields(self, request: HttpRequest, obj: Model | None = None) -> Sequence[str]:
        """Ask for the variant of a new one; of another show it, and how it stands."""
        if obj is None:
            return self.settings_fields
        return ("variant", "location", "low_at", "recovered_at", "is_low", "changed_at", "created_at")

    def get_readonly_fields(self, request: HttpRequest, obj: Model | None = None) -> Sequence[str]:
        """Lock what a threshold is about once it is made."""
        return () if obj is None else ("variant", "location", "is_low", "changed_at", "created_at")

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Make or change it as the API does."""
        marks = {"low_at": obj.low_at, "recovered_at": obj.recovered_at, "actor": actor_of(request)}
        if change:
            change_threshold(threshold_id=obj.pk, **marks)
        else:
            obj.pk = make_threshold(variant_id=obj.variant_id, location_id=obj.location_id, **marks).pk

    def delete_model(self, request: HttpRequest, obj: StockThreshold) -> None:
        """Take it away as the API does."""
        remove_threshold(threshold_id=obj.pk, actor=actor_of(request))

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[StockThreshold]) -> None:
        """Take the chosen ones away."""
        for threshold_id in sorted(queryset.values_list("pk", flat=True)):
            remove_threshold(threshold_id=threshold_id, actor=actor_of(request))

    @display(description="location", ordering="location")
    def place(self, threshold: StockThreshold) -> str:
        """Say where."""
        return str(threshold.location) if threshold.location else "all active ones"

    @display(description="state", ordering="is_low", label={"low": "danger", "enough": "success"})
    def state(self, threshold: StockThreshold) -> str:
        """Say whether it is low."""
        return "low" if threshold.is_low else "enough"
