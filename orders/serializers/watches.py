"""What the API shows of order watches, and takes to set them."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from orders.models import OrderWatch
from orders.models.watches import MOST_HOURS
from shopsync.serializers import Input

_HOURS = "how long an order may wait before the alert counts it"


class WatchRow(serializers.Serializer[Any]):
    """How long orders may wait."""

    id = serializers.IntegerField(read_only=True)
    kind = serializers.CharField(read_only=True, help_text="unpaid or unfulfilled; its alert is orders.KIND")
    hours = serializers.IntegerField(read_only=True, help_text=_HOURS)
    created_at = serializers.DateTimeField(read_only=True)


class WatchInput(Input):
    """A watch to make."""

    kind = serializers.ChoiceField(choices=OrderWatch.Kind.choices)
    hours = serializers.IntegerField(min_value=1, max_value=MOST_HOURS, help_text=_HOURS)


class WatchChange(Input):
    """Other hours."""

    hours = serializers.IntegerField(min_value=1, max_value=MOST_HOURS, help_text=_HOURS)
