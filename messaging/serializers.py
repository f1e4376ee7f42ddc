"""What the API shows of contacts and messages."""

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


class ReportRow(serializers.Serializer[Any]):
    """What the provider said of a message."""

    status = serializers.CharField(read_only=True)
    raw_status = serializers.CharField(read_only=True)
    error = serializers.CharField(read_only=True)
    reported_at = serializers.DateTimeField(read_only=True, allow_null=True)


class MessageRow(serializers.Serializer[Any]):
    """A message and where it stands."""

    id = serializers.IntegerField(read_only=True)
    contact_id = serializers.IntegerField(read_only=True)
    automation_version_id = serializers.IntegerField(read_only=True, allow_null=True)
    trigger = serializers.CharField(read_only=True)
    channel = serializers.CharField(read_only=True)
    address = serializers.CharField(read_only=True)
    text = serializers.CharField(read_only=True)
    state = serializers.CharField(
        read_only=True,
        help_text="queued, calling, sent, delivered, failed, skipped, buried; unknown: perhaps sent, nobody knows",
    )
    reason = serializers.CharField(read_only=True, help_text="why it was skipped or failed")
    blocker = serializers.CharField(read_only=True, help_text="what a queued one waits for")
    attempts = serializers.IntegerField(read_only=True)
    provider_id = serializers.CharField(read_only=True)
    reference = serializers.UUIDField(read_only=True)
    created_at = serializers.DateTimeField(read_only=True)
    sent_at = serializers.DateTimeField(read_only=True, allow_null=True)
    delivered_at = serializers.DateTimeField(read_only=True, allow_null=True)


class MessageDetail(MessageRow):
    """A message with its delivery reports."""

    reports = ReportRow(many=True, read_only=True)
