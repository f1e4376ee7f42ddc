"""What the API shows of thresholds, and takes to set them."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from inventory.serializers.stock import MOST_UNITS
from shopsync.serializers import IdField, Input

_LOW = "low at this many units or fewer that can be promised"
_RECOVERED = "low until there are this many again; more than low_at"


class ThresholdRow(serializers.Serializer[Any]):
    """When a variant is low, and whether it is."""

    id = serializers.IntegerField(read_only=True)
    variant_id = serializers.IntegerField(read_only=True)
    sku = serializers.CharField(read_only=True, source="variant.sku")
    location_id = serializers.IntegerField(
        read_only=True, allow_null=True, help_text="null: the sum over the active locations"
    )
    low_at = serializers.IntegerField(read_only=True, help_text=_LOW)
    recovered_at = serializers.IntegerField(read_only=True, help_text=_RECOVERED)
    is_low = serializers.BooleanField(read_only=True, help_text="as of the last look, every minute")
    changed_at = serializers.DateTimeField(read_only=True, allow_null=True, help_text="when it became low, or not")
    created_at = serializers.DateTimeField(read_only=True)


class ThresholdInput(Input):
    """A threshold to make."""

    variant_id = IdField()
    location_id = IdField(
        required=False, allow_null=True, default=None, help_text="left out: the sum over the active locations"
    )
    low_at = serializers.IntegerField(min_value=0, max_value=MOST_UNITS, help_text=_LOW)
    recovered_at = serializers.IntegerField(min_value=1, max_value=MOST_UNITS, help_text=_RECOVERED)


class ThresholdChange(Input):
    """New marks; what is left out stays."""

    low_at = serializers.IntegerField(min_value=0, max_value=MOST_UNITS, required=False, help_text=_LOW)
    recovered_at = serializers.IntegerField(min_value=1, max_value=MOST_UNITS, required=False, help_text=_RECOVERED)
