"""What the API shows of messages."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers


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
