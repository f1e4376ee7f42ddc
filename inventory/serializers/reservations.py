"""What the API takes to reserve, and shows of reservations."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from rest_framework import serializers

from inventory.actions.reservations import DEFAULT_TTL, LONGEST_TTL, MAX_LINES, Request, Wanted
from inventory.rules import COUNTRIES, Destination, find_faults
from inventory.serializers.stock import MOST_UNITS
from shopsync.serializers import IdField, Input


class WantedLine(Input):
    """Units of one variant."""

    variant_id = IdField()
    quantity = serializers.IntegerField(min_value=1, max_value=MOST_UNITS)


class DestinationInput(Input):
    """Where the goods go: it decides which location is nearest."""

    country = serializers.ChoiceField(choices=COUNTRIES, required=False, default="", help_text="ISO 3166-1, e.g. CA")
    latitude = serializers.FloatField(min_value=-90, max_value=90, required=False, allow_null=True, default=None)
    longitude = serializers.FloatField(min_value=-180, max_value=180, required=False, allow_null=True, default=None)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Take both coordinates, or neither."""
        if faults := find_faults(**attrs):
            raise serializers.ValidationError({name: [sentence] for name, sentence in faults.items()})
        return attrs

    def to_destination(self) -> Destination:
        """Return it as the rules take it."""
        return Destination(**self.validated_data)


class ReserveInput(Input):
    """What to reserve: all of it or nothing. A variant that is named twice is summed."""

    lines = WantedLine(many=True, allow_empty=False, max_length=MAX_LINES)  # type: ignore[call-arg]  # of its list
    ttl_seconds = serializers.IntegerField(
        min_value=1, max_value=int(LONGEST_TTL.total_seconds()), default=int(DEFAULT_TTL.total_seconds())
    )
    destination = DestinationInput(required=False)
    allow_split = serializers.BooleanField(default=True, help_text="may the lines come from several locations?")
    reference = serializers.CharField(max_length=160, required=False, default="", allow_blank=True)

    def to_request(self) -> Request:
        """Return it as the action takes it."""
        given = self.validated_data
        return Request(
            lines=tuple(Wanted(line["variant_id"], line["quantity"]) for line in given["lines"]),
            ttl=timedelta(seconds=given["ttl_seconds"]),
            destination=Destination(**given.get("destination", {})),
            allow_split=given["allow_split"],
            reference=given["reference"],
        )


class ReservationLineRow(serializers.Serializer[Any]):
    """Units of one variant, from one location."""

    variant_id = serializers.IntegerField(read_only=True)
    sku = serializers.CharField(read_only=True, source="variant.sku")
    location_id = serializers.IntegerField(read_only=True, source="level.location_id")
    quantity = serializers.IntegerField(read_only=True)
    held = serializers.IntegerField(read_only=True, help_text="units that weigh on our own level")
    pushed = serializers.IntegerField(read_only=True, help_text="units set aside in Shopify")


class ReservationRow(serializers.Serializer[Any]):
    """A reservation and its lines."""

    id = serializers.IntegerField(read_only=True)
    status = serializers.CharField(read_only=True, help_text="active, committed, released or expired")
    reference = serializers.CharField(read_only=True)
    created_at = serializers.DateTimeField(read_only=True)
    expires_at = serializers.DateTimeField(read_only=True)
    extended_at = serializers.DateTimeField(read_only=True, allow_null=True)
    ended_at = serializers.DateTimeField(read_only=True, allow_null=True)
    lines = ReservationLineRow(many=True, read_only=True)
