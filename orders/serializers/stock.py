"""What it takes to hand over the count of the stock, and what is told of it."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from shopsync.models import Tenant
from shopsync.serializers import Input


class HandOverInput(Input):
    """Who is to count from now on."""

    to = serializers.ChoiceField(choices=Tenant.StockAuthority.values, help_text="shopify, or shopsync: we count")


class HandedOverRow(serializers.Serializer[Any]):
    """What the hand-over did."""

    stock_authority = serializers.CharField(read_only=True, source="authority")
    levels = serializers.IntegerField(read_only=True, help_text="how many are counted by them now")
    held_units = serializers.IntegerField(
        read_only=True, help_text="of orders of ours, held beside Shopify's count from now on"
    )
