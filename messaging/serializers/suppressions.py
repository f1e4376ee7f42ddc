"""What the API shows and takes of suppressions."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from messaging.models.contacts import Channel
from shopsync.serializers import Input

MOST_ADDRESSES = 10_000


class SuppressionRow(serializers.Serializer[Any]):
    """An address that is not written to on a channel, or was."""

    id = serializers.IntegerField(read_only=True)
    channel = serializers.CharField(read_only=True)
    address = serializers.CharField(read_only=True, help_text="empty once the person was erased; it still holds")
    reason = serializers.CharField(read_only=True, help_text="stop, unsubscribed, bounce, complaint, manual or import")
    source = serializers.CharField(read_only=True)  # type: ignore[assignment]  # DRF's metaclass moves fields away
    actor = serializers.CharField(read_only=True)
    created_at = serializers.DateTimeField(read_only=True)
    lifted_at = serializers.DateTimeField(read_only=True, allow_null=True)
    lifted_by = serializers.CharField(read_only=True)
    lifted_why = serializers.CharField(read_only=True)


class SuppressionInput(Input):
    """Addresses to write to no more."""

    channel = serializers.ChoiceField(choices=Channel.choices)
    addresses = serializers.ListField(
        child=serializers.CharField(max_length=320), min_length=1, max_length=MOST_ADDRESSES
    )
    reason = serializers.ChoiceField(choices=("manual", "import"), required=False, default="manual")
    source = serializers.CharField(  # type: ignore[assignment]  # DRF's metaclass moves fields away
        max_length=120, required=False, allow_blank=True, default=""
    )


class SuppressedRow(serializers.Serializer[Any]):
    """What became of them."""

    suppressed = serializers.IntegerField(read_only=True, help_text="addresses that were not suppressed before")
    invalid = serializers.ListField(
        child=serializers.CharField(), read_only=True, help_text="what is no address on this channel; at most 100"
    )


class LiftInput(Input):
    """Why an address is to be written to again."""

    reason = serializers.CharField(max_length=200, help_text="e.g. asked for it by phone on 28 November")
