"""What the API shows of levels and their ledger, and what it takes to move them."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from inventory.actions.stock import REASONS
from inventory.rules import COUNTRIES
from shopsync.serializers import IdField, Input, ShopifyIdField

MOST_UNITS = 1_000_000_000


class StockRow(serializers.Serializer[Any]):
    """A level: how many of an item there are at a location, by state; null is not tracked, or not known."""

    id = serializers.IntegerField(read_only=True)
    item_shopify_id = ShopifyIdField(source="item.shopify_id")
    variant_ids = serializers.SerializerMethodField(help_text="the variants that this stock is sold as")
    location_id = serializers.IntegerField(read_only=True)
    location = serializers.CharField(read_only=True, source="location.shown_name")
    location_shopify_id = ShopifyIdField(source="location.shopify_id")
    available = serializers.IntegerField(read_only=True, allow_null=True)
    held = serializers.IntegerField(read_only=True, help_text="our own reservations")
    sellable = serializers.IntegerField(
        read_only=True, allow_null=True, help_text="available less held; below 0 is a shortfall"
    )
    on_hand = serializers.IntegerField(read_only=True, allow_null=True)
    committed = serializers.IntegerField(read_only=True, allow_null=True)
    incoming = serializers.IntegerField(read_only=True, allow_null=True)
    reserved = serializers.IntegerField(read_only=True, allow_null=True)
    damaged = serializers.IntegerField(read_only=True, allow_null=True)
    safety_stock = serializers.IntegerField(read_only=True, allow_null=True)
    quality_control = serializers.IntegerField(read_only=True, allow_null=True)
    mirrored_available = serializers.IntegerField(
        read_only=True, allow_null=True, help_text="what Shopify last said is available"
    )
    updated_at = serializers.DateTimeField(read_only=True)

    def get_variant_ids(self, level: Any) -> list[int]:
        """List the variants that are counted by this item."""
        return [variant.pk for variant in level.item.variants.all()]


class MovementRow(serializers.Serializer[Any]):
    """One change of one state of a level; before and after are null where it was untracked."""

    id = serializers.IntegerField(read_only=True)
    level_id = serializers.IntegerField(read_only=True)
    sequence = serializers.IntegerField(read_only=True)
    state = serializers.CharField(read_only=True)
    delta = serializers.IntegerField(read_only=True)
    before = serializers.IntegerField(read_only=True, allow_null=True)
    after = serializers.IntegerField(read_only=True, allow_null=True)
    reason = serializers.CharField(read_only=True)
    reference = serializers.CharField(read_only=True)
    actor = serializers.CharField(read_only=True)
    created_at = serializers.DateTimeField(read_only=True)


class LocationRow(serializers.Serializer[Any]):
    """A place where stock lies."""

    id = serializers.IntegerField(read_only=True)
    shopify_id = ShopifyIdField()
    name = serializers.CharField(read_only=True, source="shown_name", help_text="Shopify's; else own_name")
    own_name = serializers.CharField(read_only=True)
    country = serializers.CharField(read_only=True)
    latitude = serializers.FloatField(read_only=True, allow_null=True)
    longitude = serializers.FloatField(read_only=True, allow_null=True)
    priority = serializers.IntegerField(read_only=True)
    is_active = serializers.BooleanField(read_only=True)


class LocationInput(Input):
    """What owners say of a location; Shopify's name of it is changed in Shopify."""

    own_name = serializers.CharField(
        max_length=300, allow_blank=True, required=False, help_text="shown while Shopify gives no name"
    )
    country = serializers.ChoiceField(
        choices=COUNTRIES, allow_blank=True, required=False, help_text="ISO 3166-1, e.g. CA"
    )
    latitude = serializers.FloatField(
        min_value=-90, max_value=90, allow_null=True, required=False, help_text="degrees north"
    )
    longitude = serializers.FloatField(
        min_value=-180, max_value=180, allow_null=True, required=False, help_text="degrees east"
    )
    priority = serializers.IntegerField(
        min_value=0, max_value=32_767, required=False, help_text="where nearness says nothing, the smaller goes first"
    )
    is_active = serializers.BooleanField(
        required=False, help_text="false: nothing more is reserved here; what is held stays"
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Ask for something to change."""
        if not attrs:
            raise serializers.ValidationError({"priority": ["Name one field or more to change."]})
        return attrs


def refuse_zero(delta: int) -> int:
    """Refuse a change that is none."""
    if delta == 0:
        raise serializers.ValidationError("Change it by something other than 0.")
    return delta


class Receive(Input):
    """Units that arrived."""

    variant_id = IdField()
    location_id = IdField()
    quantity = serializers.IntegerField(min_value=1, max_value=MOST_UNITS)
    from_incoming = serializers.BooleanField(default=False, help_text="they were on their way: incoming loses them")
    reference = serializers.CharField(max_length=120, required=False, default="", allow_blank=True)


class Expect(Input):
    """Units on their way."""

    variant_id = IdField()
    location_id = IdField()
    delta = serializers.IntegerField(
        min_value=-MOST_UNITS, max_value=MOST_UNITS, help_text="units more on their way; below 0: fewer"
    )
    reference = serializers.CharField(max_length=120, required=False, default="", allow_blank=True)

    def validate_delta(self, value: int) -> int:
        """Refuse no change."""
        return refuse_zero(value)


class Adjust(Input):
    """A correction of the count."""

    variant_id = IdField()
    location_id = IdField()
    delta = serializers.IntegerField(
        min_value=-MOST_UNITS, max_value=MOST_UNITS, help_text="units more; below 0: fewer"
    )
    reason = serializers.ChoiceField(choices=REASONS)
    reference = serializers.CharField(max_length=120, required=False, default="", allow_blank=True)

    def validate_delta(self, value: int) -> int:
        """Refuse no change."""
        return refuse_zero(value)


class Transfer(Input):
    """Units that move from one location to another."""

    variant_id = IdField()
    from_location_id = IdField()
    to_location_id = IdField()
    quantity = serializers.IntegerField(min_value=1, max_value=MOST_UNITS)
    reference = serializers.CharField(max_length=120, required=False, default="", allow_blank=True)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Refuse a move to where the units are."""
        if attrs["from_location_id"] == attrs["to_location_id"]:
            raise serializers.ValidationError({"to_location_id": ["Name another location than from_location_id."]})
        return attrs
