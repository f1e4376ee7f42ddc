"""What operators fill in to move orders."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from typing import Any

from django import forms
from unfold.widgets import (
    UnfoldAdminDecimalFieldWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
    UnfoldBooleanWidget,
)

from inventory.admin.forms import units_field
from orders.actions.moves import CANCEL_REASONS
from orders.actions.refunds import Back
from orders.models import Order, OrderLine, Payment, RefundLine
from shopsync.admin.forms import KeyedForm, PlainDecimalField
from shopsync.money import coarseness_of, format_amount, unit_of

LINES_SHOWN = 200  # two fields each: Django takes 1,000 fields of a page
_RESTOCK = (
    (RefundLine.RestockType.NO_RESTOCK, "not back to the stock"),
    (RefundLine.RestockType.CANCEL, "not sent: back to the stock"),
    (RefundLine.RestockType.RETURN, "sent and returned: back to the stock"),
)
_RESTOCK_HELP = "else they count as lost: they are no longer on the shelf"


class HoldForm(KeyedForm):
    """Why an order is to wait."""

    reason = forms.CharField(max_length=200, widget=UnfoldAdminTextInputWidget)


class CancelForm(KeyedForm):
    """Why an order is cancelled, and where its units go."""

    reason = forms.ChoiceField(choices=[(word, word) for word in CANCEL_REASONS], widget=UnfoldAdminSelectWidget)
    restock = forms.BooleanField(
        label="Put the units back", initial=True, required=False, help_text=_RESTOCK_HELP, widget=UnfoldBooleanWidget
    )


class CaptureForm(KeyedForm):
    """Which authorisation is captured, where an order has several."""

    def __init__(self, data: Any, *, payments: Iterable[Payment]) -> None:
        super().__init__(data)
        choices = [
            (payment.pk, f"{payment}: {format_amount(payment.amount, payment.currency)} {payment.currency}")
            for payment in payments
        ]
        if len(choices) > 1:
            self.fields["payment_id"] = forms.TypedChoiceField(
                label="Payment", choices=choices, coerce=int, widget=UnfoldAdminSelectWidget
            )

    def payment_id(self) -> int | None:
        """Return the one that was chosen; None where there is nothing to choose."""
        chosen: int | None = self.cleaned_data.get("payment_id")
        return chosen


class UnitsForm(KeyedForm):
    """Units of an order's lines. Every line is taken, so that a page fits however the order moved since it was opened;
    asked for is only what has units left."""

    def __init__(self, data: Any, *, lines: Sequence[OrderLine], left: dict[int, int]) -> None:
        super().__init__(data)
        self.lines = list(lines)
        self.unshown: set[str] = set()
        shown = [line.pk for line in lines if left[line.pk]][:LINES_SHOWN]
        for line in lines:
            names = self.add_line(line, left[line.pk])
            self.unshown |= set() if line.pk in shown else set(names)
        self.order_fields([*(name for name in self.fields if name.startswith(("line_", "to_"))), *self.fields])

    def add_line(self, line: OrderLine, left: int) -> list[str]:
        """Add the fields of a line; return their names."""
        label = " ".join(part for part in (line.title, line.variant_title, line.sku and f"({line.sku})") if part)
        self.fields[f"line_{line.pk}"] = units_field(
            label=label or f"Line {line.pk}", min_value=0, initial=0, required=False, help_text=f"{left} left"
        )
        return [f"line_{line.pk}"]

    def __iter__(self) -> Iterator[forms.BoundField]:
        """Show the fields of lines that have something left, and the others."""
        return (self[name] for name in self.fields if name not in self.unshown)

    def units(self) -> dict[int, int]:
        """Return the units by line id, of the lines of which some were asked for."""
        found = {line.pk: self.cleaned_data.get(f"line_{line.pk}") for line in self.lines}
        return {line_id: units for line_id, units in found.items() if units}


class CancelLinesForm(UnitsForm):
    """Units to take off an order."""

    restock = forms.BooleanField(
        label="Put the units back", initial=True, required=False, help_text=_RESTOCK_HELP, widget=UnfoldBooleanWidget
    )

    def clean(self) -> dict[str, Any]:
        """Ask for something to cancel."""
        if not self.errors and not self.units():
            raise forms.ValidationError("Name units of one line or more.")
        return self.cleaned_data


class RefundOrderForm(UnitsForm):
    """Units and money to give back."""

    amount = PlainDecimalField(
        max_digits=16, decimal_places=4, min_value=0, required=False, widget=UnfoldAdminDecimalFieldWidget,
        help_text="empty: what the units cost",
    )  # fmt: skip
    note = forms.CharField(max_length=2000, required=False, widget=UnfoldAdminTextInputWidget)

    def __init__(self, data: Any, *, order: Order, lines: Sequence[OrderLine], left: dict[int, int]) -> None:
        super().__init__(data, lines=lines, left=left)
        self.currency = order.currency
        self.fields["amount"].label = f"Amount in {order.currency}"

    def add_line(self, line: OrderLine, left: int) -> list[str]:
        """Add the units, and where they go."""
        names = super().add_line(line, left)
        self.fields[f"to_{line.pk}"] = forms.ChoiceField(
            label="These units go", choices=_RESTOCK, required=False, widget=UnfoldAdminSelectWidget
        )
        return [*names, f"to_{line.pk}"]

    def clean_amount(self) -> Decimal | None:
        """Refuse an amount that is finer than its currency can be paid in."""
        amount: Decimal | None = self.cleaned_data["amount"]
        if amount is not None and amount % unit_of(self.currency):
            raise forms.ValidationError(coarseness_of(self.currency))
        return amount

    def clean(self) -> dict[str, Any]:
        """Ask for something to refund."""
        if not self.errors and not self.units() and not self.cleaned_data.get("amount"):
            raise forms.ValidationError("Name units, an amount above 0, or both.")
        return self.cleaned_data

    def backs(self) -> list[Back]:
        """Return the units as the action takes them."""
        given = self.cleaned_data
        return [
            Back(line_id, units, given[f"to_{line_id}"] or RefundLine.RestockType.NO_RESTOCK)
            for line_id, units in self.units().items()
        ]


class NoteForm(KeyedForm):
    """Our own tags and note."""

    staff_tags = forms.CharField(
        label="Tags", required=False, widget=UnfoldAdminTextareaWidget(attrs={"rows": 4}), help_text="one a line"
    )
    staff_note = forms.CharField(label="Note", max_length=5000, required=False, widget=UnfoldAdminTextareaWidget)

    def clean_staff_tags(self) -> list[str]:
        """Read the tags: once each, no more and no longer than the API takes."""
        tags = list(
            dict.fromkeys(line.strip() for line in self.cleaned_data["staff_tags"].splitlines() if line.strip())
        )
        if len(tags) > 100 or any(len(tag) > 100 for tag in tags):
            raise forms.ValidationError("At most 100 tags, each of at most 100 characters.")
        return tags

    def clean_staff_note(self) -> str:
        """End lines as everything else here does."""
        return str(self.cleaned_data["staff_note"]).replace("\r\n", "\n")
