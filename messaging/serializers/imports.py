"""What the API shows and takes of imports."""

from __future__ import annotations

import json
from typing import Any

from django.core.files.uploadedfile import UploadedFile
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from messaging.actions.imports import Options
from messaging.models import ContactImport
from messaging.models.contacts import Channel
from messaging.senders import PLACES
from messaging.tables import DELIMITERS, ENCODINGS
from shopsync.serializers import IdField, Input

MAPPING_BYTES = 50_000


class ImportRow(serializers.Serializer[Any]):
    """An import, and how far it is."""

    id = serializers.IntegerField(read_only=True)
    state = serializers.CharField(
        read_only=True, help_text="waiting, reading, merging, finished; buried or quarantined when it failed"
    )
    file_name = serializers.CharField(read_only=True)
    file_bytes = serializers.IntegerField(read_only=True)
    encoding = serializers.CharField(read_only=True)
    delimiter = serializers.CharField(read_only=True, trim_whitespace=False)
    columns = serializers.SerializerMethodField(help_text="each column, and what it is taken as; empty: left out")
    duplicates = serializers.CharField(read_only=True)
    segment_id = serializers.IntegerField(read_only=True, allow_null=True)
    consent_channels = serializers.ListField(child=serializers.CharField(), read_only=True)
    read_count = serializers.IntegerField(read_only=True, help_text="rows read so far")
    done_count = serializers.IntegerField(read_only=True, help_text="rows dealt with so far")
    created_count = serializers.IntegerField(read_only=True, help_text="rows that made a contact")
    merged_count = serializers.IntegerField(read_only=True, help_text="rows of people who were known")
    skipped_count = serializers.IntegerField(read_only=True, help_text="rows of people who were known, left alone")
    error_count = serializers.IntegerField(read_only=True, help_text="rows that were not taken")
    note_count = serializers.IntegerField(read_only=True, help_text="rows that were taken, but for something")
    last_error = serializers.CharField(read_only=True)
    created_at = serializers.DateTimeField(read_only=True)
    finished_at = serializers.DateTimeField(read_only=True, allow_null=True)

    @extend_schema_field({"type": "object", "additionalProperties": {"type": "string"}})
    def get_columns(self, made: ContactImport) -> dict[str, str]:
        """Pair the names with what they are taken as."""
        return dict(zip(made.header, made.columns, strict=True))


@extend_schema_field(
    {"type": "string", "description": "JSON: what columns are taken as", "example": '{"Points": "attributes.points"}'}
)
class MappingField(serializers.Field):  # type: ignore[type-arg]  # its generics are of no use here
    """A mapping from columns' names to what they are taken as, as JSON text."""

    def to_internal_value(self, data: Any) -> dict[str, str]:
        """Read it.

        Raises: ValidationError.
        """
        sentence = 'Send JSON of names and targets, e.g. {"Points": "attributes.points", "Junk": ""}.'
        try:
            found = json.loads(data) if isinstance(data, str) and len(data) <= MAPPING_BYTES else None
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
            raise serializers.ValidationError(sentence)
        texts = [*found, *found.values()]
        if any(character == "\0" or "\ud800" <= character <= "\udfff" for text in texts for character in text):
            raise serializers.ValidationError(sentence)
        return found

    def to_representation(self, value: Any) -> str:
        """Write it; it is only ever read."""
        return json.dumps(value)


class ImportInput(Input):
    """A CSV file (multipart), and how to take it. The consent_* are the proof without which no consent is imported."""

    file = serializers.FileField(help_text="CSV with a line of column names, at most 512 MB")
    encoding = serializers.ChoiceField(choices=ENCODINGS, required=False, default="auto")
    delimiter = serializers.ChoiceField(choices=DELIMITERS, required=False, allow_null=True, default=None)
    mapping = MappingField(required=False, default=dict)
    duplicates = serializers.ChoiceField(
        choices=ContactImport.Duplicates.choices, required=False, default=ContactImport.Duplicates.MERGE.value
    )
    country = serializers.ChoiceField(
        choices=PLACES, required=False, allow_blank=True, default="", help_text="for phones; empty: the tenant's"
    )
    segment_id = IdField(required=False, allow_null=True, default=None, help_text="a list to fill")
    consent_channels = serializers.MultipleChoiceField(
        choices=Channel.choices, required=False, default=set, help_text="channels that everybody in the file agreed to"
    )
    consent_source = serializers.CharField(max_length=200, required=False, allow_blank=True, default="")
    consent_text = serializers.CharField(max_length=5000, required=False, allow_blank=True, default="")
    consent_at = serializers.DateTimeField(required=False, allow_null=True, default=None)
    opt_in_level = serializers.ChoiceField(
        choices=("single_opt_in", "confirmed_opt_in", "unknown"), required=False, default="unknown"
    )

    def upload(self) -> UploadedFile[Any]:
        """Return the file."""
        found: UploadedFile[Any] = self.validated_data["file"]
        return found

    def to_options(self) -> Options:
        """Return the rest."""
        given = {name: value for name, value in self.validated_data.items() if name != "file"}
        given["consent_channels"] = tuple(sorted(given["consent_channels"]))
        return Options(**given, file_name=str(self.upload().name or ""))
