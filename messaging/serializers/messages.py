"""What the API shows of messages."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from messaging.models import Message
from messaging.models.contacts import Channel
from messaging.rendering import MAX_TEXT
from shopsync.serializers import IdField, Input

# A confirmation goes to a suppressed address: it is only ever written as the answer to an opt-out.
PURPOSES = [choice for choice in Message.Purpose.choices if choice[0] != Message.Purpose.CONFIRMATION]


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
    campaign_id = serializers.IntegerField(read_only=True, allow_null=True)
    automation_version_id = serializers.IntegerField(read_only=True, allow_null=True)
    trigger = serializers.CharField(read_only=True)
    channel = serializers.CharField(read_only=True)
    address = serializers.CharField(read_only=True)
    sender = serializers.CharField(read_only=True, help_text="who it is from; empty: the connection's own")
    text = serializers.CharField(read_only=True)
    state = serializers.CharField(
        read_only=True,
        help_text="waiting (to be prepared), queued, calling, sent, delivered, failed, skipped, buried; "
        "unknown: perhaps sent, nobody knows; unknown_final: nobody will know",
    )
    reason = serializers.CharField(read_only=True, help_text="why it was skipped or failed")
    blocker = serializers.CharField(source="waits_for", read_only=True, help_text="what a queued one waits for")
    parts = serializers.IntegerField(read_only=True, help_text="of an SMS")
    price = serializers.DecimalField(18, 4, read_only=True, help_text="credits")
    attempts = serializers.IntegerField(read_only=True)
    provider_id = serializers.CharField(read_only=True)
    reference = serializers.UUIDField(read_only=True)
    created_at = serializers.DateTimeField(read_only=True)
    sent_at = serializers.DateTimeField(read_only=True, allow_null=True)
    delivered_at = serializers.DateTimeField(read_only=True, allow_null=True)


class MessageInput(Input):
    """A message to one contact."""

    contact_id = IdField()
    channel = serializers.ChoiceField(choices=Channel.choices, default=Channel.SMS.value)
    text = serializers.CharField(
        max_length=MAX_TEXT, default="", allow_blank=True, help_text="or a template_version_id, which an e-mail needs"
    )
    template_version_id = IdField(allow_null=True, default=None)
    purpose = serializers.ChoiceField(
        choices=PURPOSES,
        default=Message.Purpose.MARKETING.value,
        help_text="marketing is sent with consent only; transactional to whoever is not suppressed",
    )
    sender = serializers.CharField(
        max_length=320,
        default="",
        allow_blank=True,
        help_text="one of /api/v1/senders by its `value`, of the same channel; empty: the connection's own",
    )


class SettleInput(Input):
    """What became of an unknown message."""

    was_sent = serializers.BooleanField()


class MessageDetail(MessageRow):
    """A message with its delivery reports."""

    reports = ReportRow(many=True, read_only=True)
