"""What the API shows and takes of segments."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from shopsync.serializers import IdField, Input, PatternField

MOST_IDS = 10_000
_EXAMPLE = {"all": [{"field": "contact.country", "op": "is", "value": "GR"}]}


@extend_schema_field({"type": "object", "additionalProperties": True, "example": _EXAMPLE})
class DefinitionField(serializers.Field):  # type: ignore[type-arg]  # its generics are of no use here
    """A description of an audience; what is wrong with it is said by the compiler."""

    def to_internal_value(self, data: Any) -> Any:
        """Take it as it is."""
        return data

    def to_representation(self, value: Any) -> Any:
        """Show it as it is."""
        return value


class SegmentRow(serializers.Serializer[Any]):
    """An audience under a name."""

    id = serializers.IntegerField(read_only=True)
    name = serializers.CharField(read_only=True)
    kind = serializers.CharField(read_only=True, help_text="dynamic (described) or static (a list)")
    definition = DefinitionField(read_only=True)
    created_at = serializers.DateTimeField(read_only=True)
    updated_at = serializers.DateTimeField(read_only=True)


class SegmentInput(Input):
    """A segment: with a definition it is whoever answers to it; without one it is a list."""

    name = serializers.CharField(max_length=100)
    definition = DefinitionField(required=False, allow_null=True, default=None)


class SegmentChange(Input):
    """What of a segment is to change."""

    name = serializers.CharField(max_length=100, required=False)
    definition = DefinitionField(required=False)


class PreviewInput(Input):
    """A description to try out."""

    definition = DefinitionField()


class CountRow(serializers.Serializer[Any]):
    """How many contacts there are in a segment now."""

    count = serializers.IntegerField(read_only=True)


class IdentitiesField(serializers.ListField):
    """What contacts are known by; a phone is written with its prefix, or it could be taken for an id."""

    child = PatternField(
        r"^(\+.*|.*@.*)\Z",
        says="Give an e-mail address, or a phone with + and its prefix, e.g. +306912345678.",
        max_length=320,
        help_text="an e-mail address, or a phone with + and its prefix",
    )

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"max_length": MOST_IDS, "required": False, "default": list, **options})


class MemberRow(serializers.Serializer[Any]):
    """A contact on a list."""

    id = serializers.IntegerField(read_only=True, help_text="of this place on the list, not of the contact")
    contact_id = serializers.IntegerField(read_only=True)
    first_name = serializers.CharField(source="contact.first_name", read_only=True)
    last_name = serializers.CharField(source="contact.last_name", read_only=True)
    email = serializers.CharField(source="contact.email", read_only=True)
    phone = serializers.CharField(source="contact.phone", read_only=True)
    added_at = serializers.DateTimeField(source="created_at", read_only=True)


class MembersInput(Input):
    """Contacts to put on a list, and to take off it: by id, or by an e-mail address or phone that they are known by."""

    add = serializers.ListField(child=IdField(), max_length=MOST_IDS, required=False, default=list)
    remove = serializers.ListField(child=IdField(), max_length=MOST_IDS, required=False, default=list)
    add_identities = IdentitiesField()
    remove_identities = IdentitiesField()


class MembersRow(serializers.Serializer[Any]):
    """What a change of a list did."""

    added = serializers.IntegerField(read_only=True, help_text="contacts that were not on it")
    removed = serializers.IntegerField(read_only=True, help_text="contacts that were on it")
    unknown = serializers.ListField(
        child=serializers.CharField(),
        read_only=True,
        help_text="what is no contact; of a file at most 100 lines",
    )


class UploadInput(Input):
    """A file of one contact a line: an id, an e-mail address, or a phone."""

    file = serializers.FileField(help_text="text, UTF-8, at most 5 MB; only the first column of a CSV is read")
    remove = serializers.BooleanField(required=False, default=False, help_text="take them off the list instead")
