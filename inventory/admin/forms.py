"""What operators fill in to move stock."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django import forms
from unfold.widgets import (
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextInputWidget,
    UnfoldBooleanWidget,
)

from inventory.actions.stock import REASONS, TooFew
from inventory.models import Location, Variant
from inventory.serializers.stock import MOST_UNITS
from shopsync.admin.forms import KeyedForm, PlainIntegerField

Choices = Sequence[tuple[Any, str]]


def units_field(**options: Any) -> forms.IntegerField:
    """Ask for a number of units."""
    limits = {"min_value": 1, "max_value": MOST_UNITS, "widget": UnfoldAdminIntegerFieldWidget}
    return PlainIntegerField(**{**limits, **options})


def choice_field(**options: Any) -> forms.TypedChoiceField:
    """Ask for one row by its id."""
    return forms.TypedChoiceField(coerce=int, widget=UnfoldAdminSelectWidget, **options)


def offer(field: forms.Field, choices: Choices) -> None:
    """Offer these; where there are several, none of them is chosen beforehand."""
    empty = [("", "choose one")] if len(choices) != 1 else []
    field.choices = [*empty, *choices]  # type: ignore[attr-defined]  # of a choice field


def reference_field() -> forms.CharField:
    """Ask what the movement goes back to."""
    text = "e.g. the delivery note; it stands in the ledger"
    return forms.CharField(max_length=120, required=False, help_text=text, widget=UnfoldAdminTextInputWidget)


def locations_to_choose(*, without: int = 0) -> Choices:
    """List the locations of the tenant in scope."""
    rows = Location.objects.exclude(pk=without).order_by("priority", "pk")
    return [(row.pk, str(row) if row.is_active else f"{row} (closed)") for row in rows]


class ReceiveForm(KeyedForm):
    """Units that arrived."""

    quantity = units_field()
    from_incoming = forms.BooleanField(
        required=False, help_text="they were on their way: incoming loses them", widget=UnfoldBooleanWidget
    )
    reference = reference_field()


class ReceiveNewForm(ReceiveForm):
    """Units of a variant that arrived at any location, also at one that never had any."""

    variant_id = choice_field(label="Variant")
    location_id = choice_field(label="Location")
    field_order = ("variant_id", "location_id", "quantity", "from_incoming", "reference")

    def __init__(self, data: Any, *, variants: Sequence[Variant]) -> None:
        super().__init__(data)
        named = [(v.pk, " · ".join(part for part in (v.sku, v.title) if part) or str(v)) for v in variants]
        offer(self.fields["variant_id"], named)
        offer(self.fields["location_id"], locations_to_choose())


class ExpectForm(KeyedForm):
    """Units on their way."""

    delta = units_field(label="Change", min_value=-MOST_UNITS, help_text="units more; below 0: fewer")
    reference = reference_field()

    def clean_delta(self) -> int:
        """Refuse no change."""
        delta: int = self.cleaned_data["delta"]
        if delta == 0:
            raise forms.ValidationError("Change it by something other than 0.")
        return delta


class AdjustForm(ExpectForm):
    """A correction of the count."""

    reason = forms.ChoiceField(
        choices=[(reason, reason.replace("_", " ")) for reason in REASONS], widget=UnfoldAdminSelectWidget
    )
    field_order = ("delta", "reason", "reference")


class TransferForm(KeyedForm):
    """Units that move to another location."""

    to_location_id = choice_field(label="To")
    quantity = units_field()
    reference = reference_field()

    def __init__(self, data: Any, *, source_id: int) -> None:
        super().__init__(data)
        offer(self.fields["to_location_id"], locations_to_choose(without=source_id))

    def refuse(self, error: Exception) -> None:
        """Show that there are too few beside the number that was asked for."""
        self.add_error("quantity", str(error)) if isinstance(error, TooFew) else super().refuse(error)
