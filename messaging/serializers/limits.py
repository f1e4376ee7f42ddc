"""What the API shows of what sending is held to: prices, limits towards providers, and what queues wait for."""

from __future__ import annotations

from typing import Any

from django.utils import timezone
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from messaging.models import Flow, SendQueue
from messaging.queries.flows import blocker_of, flows_of


class PriceRow(serializers.Serializer[Any]):
    """What a part (of an SMS) or a message costs in one country."""

    country = serializers.CharField(read_only=True, help_text="ISO 3166-1")
    amount = serializers.DecimalField(18, 4, read_only=True, help_text="credits")


class TariffRow(serializers.Serializer[Any]):
    """What a channel costs the tenant."""

    channel = serializers.CharField(read_only=True)
    is_charged = serializers.BooleanField(read_only=True, help_text="false: messages of this channel cost nothing")
    elsewhere = serializers.DecimalField(
        18,
        4,
        read_only=True,
        allow_null=True,
        help_text="credits where no price is named; null on a charged channel: such countries are not written to",
    )
    countries = serializers.ListField(
        child=serializers.CharField(), read_only=True, help_text="that the tenant writes to; empty: all"
    )
    prices = PriceRow(many=True, read_only=True)


class LimitRow(serializers.Serializer[Any]):
    """A limit that the tenant's requests count on."""

    level = serializers.CharField(read_only=True, help_text="account, tenant or global (of the installation)")
    subject = serializers.CharField(read_only=True, help_text="whose it is: SERVICE:ACCOUNT, a tenant's id; or empty")
    requests_per_second = serializers.IntegerField(read_only=True)


class ConnectionLimits(serializers.Serializer[Any]):
    """The limits of what is sent through one connection: a request counts on each of them."""

    connection_id = serializers.IntegerField(read_only=True)
    service = serializers.CharField(read_only=True)
    requests_per_second = serializers.IntegerField(read_only=True, help_text="the lowest of them")
    limits = LimitRow(many=True, read_only=True)


class LimitsRow(serializers.Serializer[Any]):
    """How fast the tenant sends at most; a sender's own limit is at /api/v1/senders."""

    requests_per_second = serializers.IntegerField(read_only=True, help_text="of the tenant, whatever it sends through")
    batch_size = serializers.IntegerField(read_only=True, help_text="recipients of one request")
    connections = ConnectionLimits(many=True, read_only=True)


class WaitingRow(serializers.Serializer[Any]):
    """What something that stops and goes as one waits for."""

    blocker = serializers.SerializerMethodField(help_text="e.g. no_connection, quiet_hours; empty: nothing")
    blocked_until = serializers.DateTimeField(
        read_only=True, allow_null=True, help_text="when it is tried again; null with a blocker: once that is lifted"
    )
    waiting_since = serializers.DateTimeField(
        read_only=True, allow_null=True, help_text="when the message that waits longest was due; null: none is due"
    )

    def get_blocker(self, holder: Flow | SendQueue) -> str:
        """Name it while it holds."""
        return blocker_of(holder)


class FlowRow(WaitingRow):
    """A part of a queue: a campaign's recipients of the same hours, or single messages."""

    campaign_id = serializers.IntegerField(read_only=True, allow_null=True, help_text="null: single messages")
    zones = serializers.CharField(read_only=True, help_text="time zones that must all be in their hours")


class QueueRow(WaitingRow):
    """What is sent on a channel through one connection, and what all of it waits for."""

    id = serializers.IntegerField(read_only=True)
    channel = serializers.CharField(read_only=True)
    connection_id = serializers.IntegerField(read_only=True, allow_null=True, help_text="null: the channel's own")
    served_at = serializers.DateTimeField(read_only=True, help_text="when it last had its turn")


class QueueDetail(QueueRow):
    """A queue with its flows that have not ended."""

    flows = serializers.SerializerMethodField(help_text="at most 100, the oldest first")

    @extend_schema_field(FlowRow(many=True))
    def get_flows(self, queue: SendQueue) -> Any:
        """Show what each part of it waits for."""
        return FlowRow(flows_of(queue.pk, now=timezone.now()), many=True).data
