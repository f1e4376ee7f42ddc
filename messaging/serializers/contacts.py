"""What the API shows of contacts."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from messaging.imports import MAX_ATTRIBUTE, MAX_ATTRIBUTE_NAME, MAX_ATTRIBUTES, MAX_TAG, MAX_TAGS, is_timezone
from messaging.models import ConsentEntry
from messaging.models.contacts import Channel
from messaging.senders import PLACES
from shopsync.identity import normalise_email, normalise_phone
from shopsync.serializers import Input, PatternField

_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


class IdentityRow(serializers.Serializer[Any]):
    """One identifier of a contact."""

    kind = serializers.CharField(read_only=True)
    value = serializers.CharField(read_only=True)


class ConsentRow(serializers.Serializer[Any]):
    """What a contact last said about one channel."""

    channel = serializers.CharField(read_only=True)
    state = serializers.CharField(read_only=True)
    address = serializers.CharField(read_only=True)
    source = serializers.CharField(source="entry.source", read_only=True)  # type: ignore[assignment]  # DRF moves fields
    opt_in_level = serializers.CharField(source="entry.opt_in_level", read_only=True)
    stated_at = serializers.DateTimeField(source="entry.stated_at", read_only=True, allow_null=True)
    lapsed_at = serializers.DateTimeField(
        read_only=True,
        allow_null=True,
        help_text="since when the contact has another address than the one agreed to; no marketing goes to either",
    )


class ConsentEntryRow(serializers.Serializer[Any]):
    """A statement in the ledger."""

    channel = serializers.CharField(read_only=True)
    state = serializers.CharField(read_only=True)
    address = serializers.CharField(read_only=True)
    source = serializers.CharField(read_only=True)  # type: ignore[assignment]  # DRF's metaclass moves fields away
    opt_in_level = serializers.CharField(read_only=True)
    stated_at = serializers.DateTimeField(read_only=True, allow_null=True)

    id = serializers.IntegerField(read_only=True)
    text_shown = serializers.CharField(read_only=True, help_text="what the person agreed to, word by word")
    proof = serializers.DictField(read_only=True)
    created_at = serializers.DateTimeField(read_only=True)


@extend_schema_field({"type": "object", "additionalProperties": True, "example": {"size": 42, "vip": True}})
class AttributesField(serializers.Field):  # type: ignore[type-arg]  # its generics are of no use here
    """The merchant's own facts by name: texts, numbers, true or false; null takes one away."""

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        """Read them.

        Raises: ValidationError naming the first that can't be.
        """
        if not isinstance(data, dict) or len(data) > MAX_ATTRIBUTES:
            raise serializers.ValidationError(f"Send an object of at most {MAX_ATTRIBUTES} names and values.")
        for name, value in data.items():
            if not name.isprintable() or not 0 < len(name) <= MAX_ATTRIBUTE_NAME:
                raise serializers.ValidationError(f"A name has 1 to {MAX_ATTRIBUTE_NAME} characters that can be seen.")
            if name.endswith(" ") and value is not None:  # no name of a column does, so an export could not be read
                raise serializers.ValidationError(f"The name {name!r} ends with a blank: leave it out.")
            if not _is_attribute(value):
                sentence = f"{name}: a text of at most {MAX_ATTRIBUTE} characters, a number, true, false or null."
                raise serializers.ValidationError(sentence)
        return data

    def to_representation(self, value: Mapping[str, Any]) -> dict[str, Any]:
        """Show them."""
        return dict(value)


def _is_attribute(value: object) -> bool:
    if isinstance(value, str):
        return len(value) <= MAX_ATTRIBUTE and not _UNSTORABLE.search(value)
    if isinstance(value, int | float):
        return abs(value) < 10**15  # NaN and infinity are not
    return value is None


class ContactRow(serializers.Serializer[Any]):
    """A person, what they are known by, and what they agreed to."""

    id = serializers.IntegerField(read_only=True)
    first_name = serializers.CharField(read_only=True)
    last_name = serializers.CharField(read_only=True)
    email = serializers.CharField(read_only=True)
    phone = serializers.CharField(read_only=True)
    country = serializers.CharField(read_only=True)
    region = serializers.CharField(read_only=True)
    locale = serializers.CharField(read_only=True)
    timezone = serializers.CharField(read_only=True, help_text="IANA name; empty when not known")
    lifecycle = serializers.CharField(read_only=True, help_text="lead, subscriber or customer; it goes forward alone")
    attributes = AttributesField(read_only=True)
    tags = serializers.ListField(child=serializers.CharField(), read_only=True)
    identities = IdentityRow(many=True, read_only=True)
    consents = ConsentRow(
        source="consent_states", many=True, read_only=True, help_text="the current one of each channel"
    )
    created_at = serializers.DateTimeField(read_only=True)
    updated_at = serializers.DateTimeField(read_only=True)


class TagField(serializers.CharField):
    """A tag: no comma, which parts tags in files."""

    def __init__(self, **options: Any) -> None:
        super().__init__(max_length=MAX_TAG, **options)

    def to_internal_value(self, data: Any) -> str:
        """Read a tag."""
        tag = super().to_internal_value(data)
        if "," in tag:
            raise serializers.ValidationError("A tag holds no comma; send several tags apart.")
        return tag


class ContactInput(Input):
    """What is known of a person; by at least one of the first five a contact is known. What is left out stays."""

    email = serializers.CharField(max_length=320, required=False, allow_blank=True)
    phone = serializers.CharField(
        max_length=40, required=False, allow_blank=True, help_text="E.164, or as written in `country`"
    )
    whatsapp = serializers.CharField(
        max_length=40, required=False, allow_blank=True, help_text="a number of its own; else `phone` serves"
    )
    shopify_id = PatternField(
        r"^[0-9]{1,18}\Z", says="Give the customer's id at Shopify, in digits.", required=False, allow_blank=True
    )
    external_id = serializers.CharField(max_length=320, required=False, allow_blank=True)
    first_name = serializers.CharField(max_length=200, required=False, allow_blank=True)
    last_name = serializers.CharField(max_length=200, required=False, allow_blank=True)
    country = serializers.ChoiceField(choices=PLACES, required=False, allow_blank=True, help_text="ISO 3166-1")
    region = serializers.CharField(max_length=10, required=False, allow_blank=True)
    locale = serializers.CharField(max_length=20, required=False, allow_blank=True)
    timezone = serializers.CharField(max_length=64, required=False, allow_blank=True, help_text="e.g. Europe/Athens")
    attributes = AttributesField(required=False)
    tags = serializers.ListField(child=TagField(), max_length=MAX_TAGS, required=False)

    def validate_email(self, value: str) -> str:
        """Write an address as it is stored."""
        found = normalise_email(value)
        if value and not found:
            raise serializers.ValidationError("This is no e-mail address.")
        return found

    def validate_timezone(self, value: str) -> str:
        """Accept IANA names."""
        if value and not is_timezone(value):
            raise serializers.ValidationError("Give an IANA name, e.g. Europe/Athens.")
        return value

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Write phones as they are stored, by the country given, else by the one in the context."""
        country = attrs.get("country") or self.context.get("country", "")
        for name in ("phone", "whatsapp"):
            if attrs.get(name):
                attrs[name] = normalise_phone(attrs[name], country)
                if not attrs[name]:
                    sentence = "This is no possible number; write it with + and the country's prefix."
                    raise serializers.ValidationError({name: [sentence]})
        return attrs


class ConsentInput(Input):
    """What a person said about a channel."""

    channel = serializers.ChoiceField(choices=Channel.choices)
    state = serializers.ChoiceField(choices=ConsentEntry.State.choices)
    source = PatternField(  # type: ignore[assignment]  # DRF's metaclass moves fields away
        r"^[A-Za-z0-9_. -]{1,30}\Z",
        says="Give 1 to 30 letters, digits, blanks, dots, hyphens or underscores, e.g. till.",
        required=False,
        default="api",
        help_text="where it was said, e.g. till, phone",
    )
    text_shown = serializers.CharField(
        max_length=5000, required=False, default="", allow_blank=True, help_text="needed to subscribe: the words shown"
    )
    address = serializers.CharField(
        max_length=320, required=False, default="", allow_blank=True, help_text="where; empty: the contact's own"
    )
    opt_in_level = serializers.ChoiceField(
        choices=("single_opt_in", "confirmed_opt_in", "unknown"), required=False, default="unknown"
    )
    proof = AttributesField(required=False, default=dict)
    stated_at = serializers.DateTimeField(required=False, allow_null=True, default=None, help_text="empty: now")

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Ask for the words that somebody agreed to, and for a time that is past."""
        if attrs["state"] in {"subscribed", "pending"} and not attrs["text_shown"].strip():
            raise serializers.ValidationError({"text_shown": ["Send the words that the person agreed to."]})
        if attrs["stated_at"] is not None and attrs["stated_at"] > self.context["now"]:
            raise serializers.ValidationError({"stated_at": ["It is to come; send when it was said."]})
        return attrs
