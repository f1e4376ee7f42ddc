"""Contacts, and the ledger of what they agreed to, for operators."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import Model
from django.http import HttpRequest
from django.utils import timezone
from rest_framework.exceptions import ValidationError
from unfold.decorators import display
from unfold.widgets import UnfoldAdminTextareaWidget, UnfoldAdminTextInputWidget

from messaging.actions.profiles import change_contact
from messaging.imports import MAX_TAG, MAX_TAGS, is_timezone
from messaging.models import ConsentEntry, Contact, ContactIdentity
from messaging.serializers.contacts import AttributesField
from shopsync.admin.base import ByIdFilter, ReadOnlyInline, TenantModelAdmin, actor_of
from shopsync.sites import scope_of

STATE_COLOURS = {"subscribed": "success", "unsubscribed": "danger", "pending": "warning"}
_TEXT = UnfoldAdminTextInputWidget


class IdentityInline(ReadOnlyInline):
    """What a contact is known by."""

    model = ContactIdentity
    fields = ("kind", "value", "created_at")


class ConsentInline(ReadOnlyInline):
    """What a contact agreed to, newest first."""

    model = ConsentEntry
    fields = ("channel", "state", "address", "source", "opt_in_level", "stated_at")


class ContactForm(forms.ModelForm):  # type: ignore[type-arg]
    """What a person here may change of a contact."""

    tags = forms.CharField(required=False, widget=_TEXT, help_text="parted by commas")
    attributes = forms.JSONField(required=False, widget=UnfoldAdminTextareaWidget)
    timezone = forms.CharField(required=False, max_length=64, widget=_TEXT, help_text="e.g. Europe/Athens")

    class Meta:
        model = Contact
        fields = ("tags", "attributes", "timezone")

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.initial["tags"] = ", ".join(self.instance.tags)

    def clean_tags(self) -> list[str]:
        """Read the tags."""
        tags = [tag for tag in (part.strip() for part in self.cleaned_data["tags"].split(",")) if tag]
        if len(tags) > MAX_TAGS or any(len(tag) > MAX_TAG for tag in tags):
            raise forms.ValidationError(f"At most {MAX_TAGS} tags of at most {MAX_TAG} characters.")
        return tags

    def clean_attributes(self) -> dict[str, Any]:
        """Accept what the API accepts."""
        try:
            return AttributesField().to_internal_value(self.cleaned_data["attributes"] or {})
        except ValidationError as error:
            raise forms.ValidationError([str(sentence) for sentence in error.detail]) from error

    def clean_timezone(self) -> str:
        """Accept IANA names."""
        name = str(self.cleaned_data["timezone"])
        if name and not is_timezone(name):
            raise forms.ValidationError("Give an IANA name, e.g. Europe/Athens.")
        return name


@admin.register(Contact)
class ContactAdmin(TenantModelAdmin):
    """People; operators change their tags, attributes and time zone."""

    form = ContactForm
    list_display = ("__str__", "email", "phone", "country", "lifecycle", "created_at")
    list_filter = ("lifecycle",)
    search_fields = ("=identities__value", "last_name")
    search_help_text = "e-mail, phone or Shopify id in full, or a part of the last name"
    settings_fields = ("tags", "attributes", "timezone")
    fields = (("first_name", "last_name"), ("email", "phone"), ("country", "region", "locale"), "lifecycle", "tags",
              "attributes", "timezone", ("created_at", "updated_at"))  # fmt: skip
    inlines = (IdentityInline, ConsentInline)

    def has_configure_permission(self, request: HttpRequest, obj: object = None) -> bool:
        """Operators change contacts as owners do, of one tenant at a time."""
        return self.has_act_permission(request) and scope_of(request).tenant_id is not None

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Change it as the API does; a name that is left out is taken away."""
        values = {name: form.cleaned_data[name] for name in form.changed_data}
        if "attributes" in values:
            before = Contact.objects.get(pk=obj.pk).attributes
            values["attributes"] = {**dict.fromkeys(before), **values["attributes"]}
        if values:
            change_contact(contact_id=obj.pk, values=values, actor=actor_of(request), now=timezone.now())


class OfContact(ByIdFilter):
    """Statements of one contact."""

    title, parameter_name, column = "contact", "contact", "contact_id"


@admin.register(ConsentEntry)
class ConsentEntryAdmin(TenantModelAdmin):
    """The ledger of consent: read-only, newest first."""

    list_display = (
        "id",
        "contact_id",
        "channel",
        "said",
        "address",
        "source",
        "opt_in_level",
        "stated_at",
        "created_at",
    )
    list_filter = ("channel", "state", OfContact)
    search_fields = ("=address", "=source")
    search_help_text = "address, or source (import:7, form:3, shopify), in full"
    ordering = ("-id",)
    fields = ("contact", ("channel", "state", "opt_in_level"), "address", "source", "text_shown", "proof",
              ("stated_at", "created_at"), "source_version")  # fmt: skip

    @display(description="state", ordering="state", label=STATE_COLOURS)
    def said(self, entry: ConsentEntry) -> str:
        """Say what was stated."""
        return entry.state

    def get_readonly_fields(self, request: HttpRequest, obj: Model | None = None) -> Sequence[str]:
        """Lock all of it."""
        return [field.name for field in self.opts.fields]
