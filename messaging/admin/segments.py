"""Segments for operators: described in JSON, counted, looked at."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db import transaction
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from unfold.widgets import UnfoldAdminTextareaWidget

from messaging.actions.segments import (
    check_definition,
    compiled,
    count_contacts,
    delete_segment,
    named_by,
    sample_contacts,
    save_segment,
)
from messaging.models import Segment
from messaging.segments import SegmentError
from shopsync.admin.base import TenantModelAdmin, actor_of
from shopsync.admin.forms import row_action
from shopsync.sites import scope_of

_EXAMPLE = '{"all": [{"field": "contact.country", "op": "is", "value": "GR"}]}'


class SegmentForm(forms.ModelForm):  # type: ignore[type-arg]
    """A segment: with a description, or a list."""

    definition = forms.JSONField(
        required=False, widget=UnfoldAdminTextareaWidget, help_text=f"e.g. {_EXAMPLE}; empty: a list"
    )

    class Meta:
        model = Segment
        fields = ("name", "definition")

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        if self.instance.pk is not None and self.instance.kind == Segment.Kind.STATIC:
            del self.fields["definition"]

    def clean_name(self) -> str:
        """Refuse a name that is another's; the constraint would refuse it in its own words."""
        name = str(self.cleaned_data["name"]).strip()
        if Segment.objects.filter(name=name).exclude(pk=self.instance.pk).exists():
            raise forms.ValidationError("There is a segment of this name already.")
        return name

    def clean_definition(self) -> Any:
        """Say where a description is none."""
        definition = self.cleaned_data["definition"]
        if definition is None and self.instance.pk is None:
            return None
        try:
            check_definition(definition)
        except SegmentError as error:
            raise forms.ValidationError(str(error)) from error
        return definition


@admin.register(Segment)
class SegmentAdmin(TenantModelAdmin):
    """Audiences: operators' to keep, and owners'."""

    form = SegmentForm
    may_add = True
    list_display = ("name", "kind", "created_at", "updated_at")
    list_filter = ("kind",)
    search_fields = ("name",)
    settings_fields = ("name", "definition")
    actions_detail = ("look",)

    def has_configure_permission(self, request: HttpRequest, obj: object = None) -> bool:
        """Operators keep segments as owners do, of one tenant at a time."""
        return self.has_act_permission(request) and scope_of(request).tenant_id is not None

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """A segment may be taken away; its contacts stay."""
        return self.has_configure_permission(request)

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Sequence[str]:
        """Ask for a description, but not of a list."""
        if obj is None:
            return ("name", "definition")
        described = ("definition",) if obj.kind == Segment.Kind.DYNAMIC else ()
        return ("name", "kind", *described, "created_at", "updated_at")

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Keep it as the API does."""
        definition = form.cleaned_data.get("definition")
        pk = obj.pk if change else None
        obj.pk = save_segment(segment_id=pk, name=obj.name, definition=definition, actor=actor_of(request)).pk

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """Show, as what keeps one from being taken away, the descriptions that name it too."""
        shown, counts, missing, protected = super().get_deleted_objects(objs, request)
        names = [f"Description of the segment {name}" for segment in objs for name in named_by(segment)]
        return shown, counts, missing, [*protected, *names]

    def delete_model(self, request: HttpRequest, obj: Segment) -> None:
        """Take it away as the API does."""
        try:
            with transaction.atomic():  # a refusal ends this savepoint, not the page's transaction
                delete_segment(segment_id=obj.pk, actor=actor_of(request))
        except SegmentError as error:
            self.message_user(request, str(error), messages.ERROR)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Segment]) -> None:
        """Take the chosen ones away."""
        for segment in queryset.order_by("pk"):
            self.delete_model(request, segment)

    @row_action("Count and sample", path="look", icon="groups", permission="view")
    def look(self, request: HttpRequest, segment: Segment) -> HttpResponse:
        """Show how many contacts it has now, and some of them."""
        query = compiled(segment)
        sample = [f"{contact} · {contact.email or contact.phone}" for contact in sample_contacts(query)]
        back = reverse("admin:messaging_segment_change", args=[segment.pk])
        title = f"{segment.name}: {count_contacts(query)} contacts now"
        return self.confirm(request, title, back=back, sentences=sample or ["Nobody is in it."])
