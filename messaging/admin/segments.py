"""Segments for operators: described in JSON, counted, looked at; lists filled, emptied, and shown member by member."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db import transaction
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.decorators import action, display
from unfold.widgets import UnfoldAdminFileFieldWidget, UnfoldAdminTextareaWidget

from messaging.actions.segments import (
    change_members,
    check_definition,
    check_list,
    compiled,
    count_contacts,
    delete_segment,
    find_named,
    sample_contacts,
    save_segment,
    uses_of,
)
from messaging.models import Segment, SegmentMember
from messaging.segments import SegmentError
from messaging.tables import TableError
from messaging.views.segments import SHOWN, cells_of
from shopsync.admin.base import ByIdFilter, TenantModelAdmin, actor_of
from shopsync.admin.forms import ActingAdmin, KeyedForm, Page, StorableJSONField, row_action
from shopsync.sites import scope_of

_SPLIT = re.compile(r"[\n,;]")
_EXAMPLE = '{"all": [{"field": "contact.country", "op": "is", "value": "GR"}]}'


class SegmentForm(forms.ModelForm):  # type: ignore[type-arg]
    """A segment: with a description, or a list."""

    definition = StorableJSONField(
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


class MembersForm(KeyedForm):
    """Contacts of a list, by what each is known by."""

    people = forms.CharField(
        required=False,
        max_length=1_000_000,
        widget=UnfoldAdminTextareaWidget,
        help_text="e-mail addresses, phones (with + and the country's prefix) or ids of contacts, one a line",
    )
    file = forms.FileField(
        required=False, widget=UnfoldAdminFileFieldWidget, help_text="or a CSV file, whose first column has them"
    )

    def clean(self) -> dict[str, Any]:
        """Read who is meant, from the text and from the file."""
        values = super().clean() or {}
        upload, names = values.pop("file", None), _SPLIT.split(values.pop("people", ""))
        if upload is not None:
            try:
                names += cells_of(upload)
            except TableError as error:
                self.add_error("file", str(error).removeprefix("file: "))
        values["names"] = [name for name in dict.fromkeys(part.strip() for part in names) if name]
        if not self.errors and not values["names"]:
            raise forms.ValidationError("Write somebody down, or choose a file.")
        return values


@admin.register(Segment)
class SegmentAdmin(ActingAdmin):
    """Audiences: operators' to keep, and owners'."""

    form = SegmentForm
    refusals = (SegmentError,)
    may_add = True
    list_display = ("name", "kind", "created_at", "updated_at")
    list_filter = ("kind",)
    search_fields = ("name",)
    settings_fields = ("name", "definition")
    actions_detail = ("look", "members", "fill", "empty")

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

    def offered(self, row: Segment) -> Collection[str]:
        """Offer members of lists alone."""
        return self.actions_detail if row.kind == Segment.Kind.STATIC else ("look",)

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Keep it as the API does."""
        definition = form.cleaned_data.get("definition")
        pk = obj.pk if change else None
        obj.pk = save_segment(segment_id=pk, name=obj.name, definition=definition, actor=actor_of(request)).pk

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """Say how many members go with each list, and what keeps a segment from being taken away."""
        segments = list(objs)
        shown = [f"{segment.name} ({segment.members.count()} members)" for segment in segments]
        counts = {self.opts.verbose_name_plural: len(segments)}
        return shown, counts, set(), [f"{one.name} is used by {use}" for one in segments for use in uses_of(one)]

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

    @row_action("Members", path="members", icon="list", permission="view")
    def members(self, request: HttpRequest, segment: Segment) -> HttpResponse:
        """Lead to who is on a list."""
        if segment.kind != Segment.Kind.STATIC:
            self.message_user(request, "It is described: only a list has members; count and sample it.", messages.INFO)
            return HttpResponseRedirect(reverse("admin:messaging_segment_change", args=[segment.pk]))
        return HttpResponseRedirect(f"{reverse('admin:messaging_segmentmember_changelist')}?segment={segment.pk}")

    @row_action("Add members", path="fill", icon="group_add")
    def fill(self, request: HttpRequest, segment: Segment) -> HttpResponse:
        """Put contacts on a list."""
        return self._change(request, segment, side="add", title=f"Add to {segment.name}")

    @row_action("Remove members", path="empty", icon="group_remove")
    def empty(self, request: HttpRequest, segment: Segment) -> HttpResponse:
        """Take contacts off a list."""
        return self._change(request, segment, side="remove", title=f"Take off {segment.name}")

    def _change(self, request: HttpRequest, segment: Segment, *, side: str, title: str) -> HttpResponse:
        form = MembersForm(request.POST, files=request.FILES)

        def run() -> None:
            check_list(segment)
            ids, unknown = find_named(form.cleaned_data["names"])
            sides = {side: ids}
            change = change_members(segment_id=segment.pk, actor=actor_of(request), **sides)
            self.message_user(request, f"{change.added} added, {change.removed} taken off.")
            if unknown:
                more = f" and {len(unknown) - SHOWN} more" if len(unknown) > SHOWN else ""
                told = f"Nobody is known by {', '.join(unknown[:SHOWN])}{more}."
                self.message_user(request, told, messages.WARNING)

        page = Page(
            title=title,
            sentences=("Contacts that are known already; to make contacts of a file, import it with this list.",),
            button="Add" if side == "add" else "Take off",
            done="The list was changed.",
            form=form,
            run=run,
        )
        return self.ask(request, segment, page)


class OfSegment(ByIdFilter):
    """Members of one list."""

    title, parameter_name, column = "list", "segment", "segment_id"


@admin.register(SegmentMember)
class SegmentMemberAdmin(TenantModelAdmin):
    """Who is on a list; reached from the list's page."""

    list_display = ("person", "email", "phone", "segment", "created_at")
    list_display_links = ("created_at",)
    list_filter = (OfSegment,)
    list_select_related = ("contact", "segment")
    search_fields = ("=contact__identities__value",)
    search_help_text = "e-mail or phone of a contact, in full"
    fields = ("segment", "contact", "created_at")
    actions = ("take_off",)

    def has_configure_permission(self, request: HttpRequest, obj: object = None) -> bool:
        """Operators take contacts off as owners do, of one tenant at a time."""
        return self.has_act_permission(request) and scope_of(request).tenant_id is not None

    @display(description="contact")
    def person(self, member: SegmentMember) -> SafeString:
        """Lead to the contact."""
        url = reverse("admin:messaging_contact_change", args=[member.contact_id])
        return format_html('<a class="text-primary-600 dark:text-primary-500" href="{}">{}</a>', url, member.contact)

    @display(description="e-mail")
    def email(self, member: SegmentMember) -> str:
        """Show where mail reaches them."""
        return member.contact.email

    @display(description="phone")
    def phone(self, member: SegmentMember) -> str:
        """Show where they are called."""
        return member.contact.phone

    @action(description="Take off the list", permissions=["configure"])
    def take_off(self, request: HttpRequest, queryset: QuerySet[SegmentMember]) -> None:
        """Take the chosen ones off their lists."""
        chosen: dict[int, list[int]] = {}
        for segment_id, contact_id in queryset.order_by("segment_id").values_list("segment_id", "contact_id"):
            chosen.setdefault(segment_id, []).append(contact_id)
        changes = [
            change_members(segment_id=segment_id, remove=ids, actor=actor_of(request))
            for segment_id, ids in chosen.items()
        ]
        self.message_user(request, f"{sum(change.removed for change in changes)} taken off.")
