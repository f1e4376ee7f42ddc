"""Imports for operators: a file is uploaded, its progress watched, its problems downloaded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import Model
from django.http import HttpRequest, HttpResponseBase
from unfold.decorators import display
from unfold.widgets import (
    UnfoldAdminFileFieldWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminSplitDateTimeWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
)

from messaging.actions.exports import export_problems
from messaging.actions.imports import Options, check_import, start_import
from messaging.admin.profiles import LEVELS
from messaging.models import ContactImport, Segment
from messaging.models.contacts import Channel
from messaging.senders import PLACES
from messaging.tables import ENCODINGS, TableError
from messaging.views.contacts import csv_answer
from shopsync.admin.base import TenantModelAdmin, actor_of, in_zone
from shopsync.admin.forms import StorableJSONField, row_action
from shopsync.sites import scope_of

GIVEN = ("file", "encoding", "delimiter", "mapping", "duplicates", "country", "segment", "consent_channels",
         "consent_source", "consent_text", "consent_at", "opt_in_level")  # fmt: skip
PARTED_BY = {"": "", "comma": ",", "semicolon": ";", "tab": "\t"}  # words, since a browser may trim a tab
COLOURS = {"finished": "success", "reading": "info", "merging": "info", "waiting": "info", "buried": "danger",
           "quarantined": "danger", "unknown": "warning"}  # fmt: skip


class ImportForm(forms.ModelForm):  # type: ignore[type-arg]
    """A file, and how to take it."""

    file = forms.FileField(widget=UnfoldAdminFileFieldWidget, help_text="CSV with a line of column names")
    encoding = forms.ChoiceField(choices=[(one, one) for one in ENCODINGS], widget=UnfoldAdminSelectWidget)
    delimiter = forms.ChoiceField(
        choices=[("", "found by itself"), *((word, word) for word in PARTED_BY if word)],
        required=False,
        widget=UnfoldAdminSelectWidget,
        help_text="what parts the columns",
    )
    country = forms.ChoiceField(
        choices=[("", "the tenant's"), *((code, code) for code in PLACES)],
        required=False,
        widget=UnfoldAdminSelectWidget,
        help_text="where phones without a prefix are, in rows that name no country",
    )
    mapping = StorableJSONField(
        required=False,
        widget=UnfoldAdminTextareaWidget,
        help_text='where a column\'s name does not say it: {"Points": "attributes.points", "Junk": ""}',
    )
    consent_channels = forms.MultipleChoiceField(
        choices=Channel.choices, required=False, widget=forms.CheckboxSelectMultiple,
        help_text="that everybody in the file agreed to; with its proof below",
    )  # fmt: skip
    consent_source = forms.CharField(max_length=200, required=False, widget=UnfoldAdminTextInputWidget)
    consent_text = forms.CharField(max_length=5000, required=False, widget=UnfoldAdminTextareaWidget)
    consent_at = forms.SplitDateTimeField(required=False, widget=UnfoldAdminSplitDateTimeWidget)
    opt_in_level = forms.ChoiceField(
        choices=[(one, one) for one in LEVELS], required=False, widget=UnfoldAdminSelectWidget
    )

    class Meta:
        model = ContactImport
        fields = ("duplicates",)  # the admin adds the list, whose choices need a tenant in scope

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        if "consent_at" in self.fields:
            self.fields["consent_at"].help_text = in_zone("when it was said")

    def clean_delimiter(self) -> str:
        """Read the word."""
        return PARTED_BY[self.cleaned_data["delimiter"]]

    def clean_mapping(self) -> dict[str, str]:
        """Accept names and targets."""
        mapping = self.cleaned_data["mapping"] or {}
        if not isinstance(mapping, dict) or not all(isinstance(value, str) for value in mapping.values()):
            raise forms.ValidationError("Give names of columns and what they are taken as.")
        return mapping

    def clean(self) -> dict[str, Any]:
        """Look at the file, and say why it can't be imported as it is asked."""
        values = super().clean() or {}
        if not self.errors and values.get("file") is not None:
            try:
                check_import(pieces=values["file"].chunks(), options=self.to_options())
            except TableError as error:
                raise forms.ValidationError(str(error)) from error
        return values

    def to_options(self) -> Options:
        """Return what was chosen."""
        given = self.cleaned_data
        segment = given.get("segment")
        return Options(
            file_name=given["file"].name or "",
            encoding=given["encoding"],
            delimiter=given["delimiter"] or None,
            country=given["country"],
            mapping=given["mapping"],
            duplicates=given["duplicates"],
            segment_id=segment.pk if segment else None,
            consent_channels=tuple(given["consent_channels"]),
            consent_source=given["consent_source"],
            consent_text=given["consent_text"],
            consent_at=given["consent_at"],
            opt_in_level=given["opt_in_level"] or LEVELS[0],
        )


@admin.register(ContactImport)
class ImportAdmin(TenantModelAdmin):
    """Files of contacts on their way in."""

    form = ImportForm
    may_add = True
    list_display = ("id", "file_name", "where", "progress", "error_count", "note_count", "actor", "created_at")
    list_filter = ("phase", "status")
    settings_fields = GIVEN
    readonly_fields = ("where", "progress", "taken_as")
    actions_detail = ("problems",)

    def has_configure_permission(self, request: HttpRequest, obj: object = None) -> bool:
        """Operators import as owners do, for one tenant at a time."""
        return self.has_act_permission(request) and scope_of(request).tenant_id is not None

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """What was started is watched."""
        return False

    def get_fields(self, request: HttpRequest, obj: Model | None = None) -> Sequence[Any]:
        """Ask for a file; of an import show how far it is."""
        if obj is None:
            return GIVEN
        return ("file_name", "where", "progress", ("created_count", "merged_count", "skipped_count"),
                ("error_count", "note_count"), "last_error", "taken_as", "duplicates", "country", "segment",
                "consent_channels", "consent_source", "consent_text", "consent_at", "opt_in_level", "encoding",
                "delimiter", "actor", "created_at", "finished_at")  # fmt: skip

    def get_readonly_fields(self, request: HttpRequest, obj: Model | None = None) -> Sequence[str]:
        """Lock nothing of a new one."""
        return () if obj is None else super().get_readonly_fields(request, obj)

    def formfield_for_foreignkey(self, db_field: Any, request: Any, **options: Any) -> Any:
        """Offer lists alone."""
        if db_field.name == "segment":
            options["queryset"] = Segment.objects.filter(kind=Segment.Kind.STATIC)
        return super().formfield_for_foreignkey(db_field, request, **options)

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Start it as the API does."""
        pieces = form.cleaned_data["file"].chunks()
        obj.pk = start_import(pieces=pieces, options=form.to_options(), actor=actor_of(request)).pk

    @row_action("Problems as CSV", path="problems", icon="download")
    def problems(self, request: HttpRequest, row: ContactImport) -> HttpResponseBase:
        """Send the rows with problems as a file."""
        return csv_answer(export_problems(source=row), name=f"import-{row.pk}-problems.csv")

    @display(description="state", label=COLOURS)
    def where(self, row: ContactImport) -> str:
        """Say where it stands."""
        return row.state

    @display(description="progress")
    def progress(self, row: ContactImport) -> str:
        """Say how many rows were read and dealt with."""
        if row.phase == ContactImport.Phase.READING:
            return f"{row.read_count} rows read"
        return f"{row.done_count} of {row.read_count} rows"

    @display(description="columns")
    def taken_as(self, row: ContactImport) -> str:
        """Say what each column was taken as."""
        pairs = zip(row.header, row.columns, strict=True)
        return ", ".join(f"{name} → {target or 'left out'}" for name, target in pairs)
