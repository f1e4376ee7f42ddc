"""What the API shows and takes of the settings of sending."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from messaging.models.contacts import Channel
from messaging.models.policies import LARGEST_BATCH
from shopsync.serializers import IdField, Input


class SenderRow(serializers.Serializer[Any]):
    """Who messages are from."""

    id = serializers.IntegerField(read_only=True)
    channel = serializers.CharField(read_only=True)
    value = serializers.CharField(read_only=True)
    country = serializers.CharField(read_only=True)
    is_two_way = serializers.BooleanField(read_only=True)
    connection_id = serializers.IntegerField(read_only=True, allow_null=True)
    short_link_domain = serializers.CharField(read_only=True)
    recipients_per_second = serializers.IntegerField(read_only=True, allow_null=True)
    is_active = serializers.BooleanField(read_only=True)
    created_at = serializers.DateTimeField(read_only=True)


class SenderInput(Input):
    """A sender, as the provider has registered it."""

    channel = serializers.ChoiceField(choices=Channel.choices)
    value = serializers.CharField(
        max_length=320, help_text="a number with its prefix, a short number, a name, or an e-mail address"
    )
    country = serializers.CharField(
        max_length=2, allow_blank=True, required=False, help_text="ISO 3166-1: written to from it alone; empty: any"
    )
    is_two_way = serializers.BooleanField(required=False, help_text="replies to it reach us")
    connection_id = IdField(allow_null=True, required=False, help_text="null: the channel's own")
    short_link_domain = serializers.CharField(
        max_length=100, allow_blank=True, required=False, help_text="e.g. https://go.example.com; empty: ours"
    )
    recipients_per_second = serializers.IntegerField(
        min_value=1, max_value=100_000, allow_null=True, required=False, help_text="null: no limit of its own"
    )
    is_active = serializers.BooleanField(required=False)


@extend_schema_field({"type": "string", "pattern": "^([01][0-9]|2[0-3]):[0-5][0-9]$", "example": "08:00"})
class ClockField(serializers.TimeField):
    """What clocks show: hours and minutes."""

    def __init__(self, **options: Any) -> None:
        super().__init__(format="%H:%M", input_formats=["%H:%M"], **options)


class HoursRow(serializers.Serializer[Any]):
    """The hours of a country or a state in which may be sent, of the recipient's clocks; the rest is quiet."""

    id = serializers.IntegerField(read_only=True)
    country = serializers.CharField(read_only=True)
    region = serializers.CharField(read_only=True)
    starts_at = ClockField(read_only=True, help_text="may be sent from, local time of the recipient")
    ends_at = ClockField(read_only=True, help_text="may be sent until, local time of the recipient")
    spans_midnight = serializers.BooleanField(
        read_only=True, help_text="may be sent through the night: perhaps the quiet hours were given by mistake"
    )


class HoursInput(Input):
    """The hours in which campaigns may be sent, of the recipient's clocks; the same twice: at any time."""

    country = serializers.CharField(
        max_length=2, allow_blank=True, required=False, help_text="ISO 3166-1; empty: wherever no other row speaks of"
    )
    region = serializers.CharField(
        max_length=10, allow_blank=True, required=False, help_text="ISO 3166-2 behind the hyphen, e.g. FL"
    )
    starts_at = ClockField(help_text="may be sent from, local time of the recipient, e.g. 08:00")
    ends_at = ClockField(
        help_text="may be sent until, local time of the recipient, e.g. 21:00; before starts_at: through the night"
    )


class SendingRow(serializers.Serializer[Any]):
    """How the tenant sends."""

    batch_size = serializers.IntegerField(read_only=True)
    cap_messages = serializers.IntegerField(read_only=True, allow_null=True)
    cap_hours = serializers.IntegerField(read_only=True)
    reply_languages = serializers.ListField(child=serializers.CharField(), read_only=True)
    stop_answer = serializers.CharField(read_only=True)
    help_answer = serializers.CharField(read_only=True)


class SendingInput(Input):
    """How the tenant sends; what is left out stays."""

    batch_size = serializers.IntegerField(
        min_value=1, max_value=LARGEST_BATCH, required=False, help_text="recipients of one call of the provider"
    )
    cap_messages = serializers.IntegerField(
        min_value=1,
        max_value=100,
        allow_null=True,
        required=False,
        help_text="of campaigns to an address; null: no cap",
    )
    cap_hours = serializers.IntegerField(min_value=1, max_value=8784, required=False, help_text="in any so many hours")
    reply_languages = serializers.ListField(
        child=serializers.CharField(max_length=2), max_length=50, required=False, help_text="understood beside English"
    )
    stop_answer = serializers.CharField(max_length=480, allow_blank=True, required=False)
    help_answer = serializers.CharField(max_length=480, allow_blank=True, required=False)
