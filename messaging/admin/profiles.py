"""Forms of contacts: what somebody is known by and as, and what they agreed to; each takes what the API takes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django import forms
from django.utils import timezone
from rest_framework.exceptions import ValidationError
from unfold.widgets import (
    UnfoldAdminSelectWidget,
    UnfoldAdminSplitDateTimeWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
)

from config.infra import tenancy
from messaging.actions.profiles import KINDS, PLAIN, IdentityTaken
from messaging.imports import MAX_TAG, MAX_TAGS
from messaging.models import ConsentEntry, Contact, ContactIdentity
from messaging.models.contacts import Channel
from messaging.senders import PLACES
from messaging.serializers.contacts import AttributesField, ConsentInput, ContactInput
from messaging.views.contacts import address_for
from shopsync.admin.forms import KeyedForm, StorableJSONField
from shopsync.models import Tenant

ADDED = ("whatsapp", "shopify_id", "external_id")  # identities without a field of their own on a contact
LEVELS = ("unknown", "single_opt_in", "confirmed_opt_in")
_TEXT = UnfoldAdminTextInputWidget


def _sentences(told: Any) -> list[str]:
    """List what a serializer says is wrong with a field, however deep within it."""
    parts = told.values() if isinstance(told, dict) else told if isinstance(told, list) else ()
    return [sentence for part in parts for sentence in _sentences(part)] if parts else [str(told)]


class ContactForm(forms.ModelForm):  # type: ignore[type-arg]  # generic in the stubs alone
    """What a person here may say of a contact."""

    country = forms.ChoiceField(
        choices=[("", "–"), *((code, code) for code in PLACES)], required=False, widget=UnfoldAdminSelectWidget
    )
    whatsapp = forms.CharField(
        required=False, max_length=40, widget=_TEXT, help_text="a number of its own; else the phone serves"
    )
    shopify_id = forms.CharField(required=False, max_length=18, widget=_TEXT, help_text="of the customer in Shopify")
    external_id = forms.CharField(required=False, max_length=320, widget=_TEXT, help_text="in a system of your own")
    tags = forms.CharField(required=False, widget=_TEXT, help_text="parted by commas")
    attributes = StorableJSONField(required=False, widget=UnfoldAdminTextareaWidget)
    timezone = forms.CharField(required=False, max_length=64, widget=_TEXT, help_text="e.g. Europe/Athens")

    class Meta:
        model = Contact
        fields = (*PLAIN, "tags", "attributes")

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

    def clean(self) -> dict[str, Any]:
        """Read what was changed as the API does, and refuse what somebody else is known by."""
        values = super().clean() or {}
        country = values.get("country") or Tenant.objects.get(pk=tenancy.current_tenant_id()).country
        given = {name: values[name] for name in self.names_changed() if name in values}
        shape = ContactInput(data=given, context={"country": country})
        if not shape.is_valid():
            for name, told in shape.errors.items():
                self.add_error(name if name in self.fields else None, _sentences(told))
            return values
        values.update(shape.validated_data)
        for name, taken in self._taken(shape.validated_data):
            self.add_error(name, str(taken))
        if self.instance.pk is None and not self.errors and not any(values.get(name) for name in KINDS):
            self.add_error("email", f"Give at least one of {', '.join(KINDS)}: by nothing else is a contact known.")
        return values

    def _taken(self, values: dict[str, Any]) -> Iterator[tuple[str, IdentityTaken]]:
        for name, kind in KINDS.items():
            rows = ContactIdentity.objects.filter(kind=kind, value=str(values.get(name) or ""))
            owner = rows.exclude(contact_id=self.instance.pk).values_list("contact_id", flat=True).first()
            if owner is not None:
                yield name, IdentityTaken(name, owner)

    def names_changed(self) -> list[str]:
        """Name the fields that were sent with another value; what was not sent stays as it is."""
        sent = (
            name
            for name in self.changed_data
            if not self.fields[name].widget.value_omitted_from_data(self.data, self.files, self.add_prefix(name))
        )
        return list(sent)


class ConsentForm(KeyedForm):
    """What a person said about a channel, and how."""

    channel = forms.ChoiceField(choices=Channel.choices, widget=UnfoldAdminSelectWidget)
    state = forms.ChoiceField(
        choices=[
            (ConsentEntry.State.SUBSCRIBED.value, "subscribe: they agreed"),
            (ConsentEntry.State.UNSUBSCRIBED.value, "unsubscribe: they want no more"),
        ],
        widget=UnfoldAdminSelectWidget,
    )
    source = forms.CharField(max_length=30, widget=_TEXT, help_text="where it was said, e.g. till, phone, letter")
    text_shown = forms.CharField(
        required=False,
        max_length=5000,
        widget=UnfoldAdminTextareaWidget,
        help_text="the words that they agreed to, as they were shown or read to them; needed to subscribe",
    )
    address = forms.CharField(
        required=False, max_length=320, widget=_TEXT, help_text="where they are reached; empty: the contact's own"
    )
    opt_in_level = forms.ChoiceField(choices=[(one, one) for one in LEVELS], widget=UnfoldAdminSelectWidget)
    stated_at = forms.SplitDateTimeField(
        required=False, widget=UnfoldAdminSplitDateTimeWidget(), help_text="when it was said; empty: now"
    )

    def __init__(self, data: Any, *, contact: Contact) -> None:
        super().__init__(data)
        self.contact = contact

    def clean(self) -> dict[str, Any]:
        """Read it as the API does."""
        values = super().clean() or {}
        if self.errors:
            return values
        shape = ConsentInput(data=self.given(), context={"now": timezone.now()})
        try:
            shape.is_valid(raise_exception=True)
            values["address"] = address_for(self.contact, values["channel"], values["address"])
        except ValidationError as error:
            for name, told in dict(error.detail).items():  # type: ignore[arg-type]  # a serializer's are by field
                self.add_error(name if name in self.fields else None, _sentences(told))
        return values
