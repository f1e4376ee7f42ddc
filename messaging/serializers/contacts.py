"""What the API shows of contacts."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from messaging.models import ConsentEntry, Contact


class IdentityRow(serializers.Serializer[Any]):
    """One identifier of a contact."""

    kind = serializers.CharField(read_only=True)
    value = serializers.CharField(read_only=True)


class ConsentRow(serializers.Serializer[Any]):
    """What a contact last said about one channel."""

    channel = serializers.CharField(read_only=True)
    state = serializers.CharField(read_only=True)
    address = serializers.CharField(read_only=True)
    source = serializers.CharField(read_only=True)  # type: ignore[assignment]  # DRF's metaclass moves fields away
    opt_in_level = serializers.CharField(read_only=True)
    stated_at = serializers.DateTimeField(read_only=True, allow_null=True)


class ContactRow(serializers.Serializer[Any]):
    """A person, what they are known by, and what they agreed to."""

    id = serializers.IntegerField(read_only=True)
    first_name = serializers.CharField(read_only=True)
    last_name = serializers.CharField(read_only=True)
    email = serializers.CharField(read_only=True)
    phone = serializers.CharField(read_only=True)
    country = serializers.CharField(read_only=True)
    locale = serializers.CharField(read_only=True)
    identities = IdentityRow(many=True, read_only=True)
    consents = serializers.SerializerMethodField(help_text="the current one of each channel")
    created_at = serializers.DateTimeField(read_only=True)
    updated_at = serializers.DateTimeField(read_only=True)

    @extend_schema_field(ConsentRow(many=True))
    def get_consents(self, contact: Contact) -> list[Any]:
        """Pick the newest statement of each channel from those prefetched, oldest first."""
        newest: dict[str, ConsentEntry] = {entry.channel: entry for entry in contact.consents.all()}
        return list(ConsentRow(list(newest.values()), many=True).data)
