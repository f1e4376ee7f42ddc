"""What the API shows of credits, and takes to say what may be spent."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from messaging.senders import wrong_with_countries
from shopsync.serializers import Input, PatternField


class BalanceRow(serializers.Serializer[Any]):
    """How credits stand."""

    available = serializers.DecimalField(18, 4, read_only=True)
    held = serializers.DecimalField(18, 4, read_only=True, help_text="set aside for messages that are on their way")
    spent = serializers.DecimalField(18, 4, read_only=True)
    left_today = serializers.DecimalField(18, 4, read_only=True, allow_null=True, help_text="null: no cap")


class PolicyRow(serializers.Serializer[Any]):
    """What may be spent."""

    daily_cap = serializers.DecimalField(18, 4, read_only=True, allow_null=True)
    low_balance_at = serializers.DecimalField(18, 4, read_only=True, allow_null=True)
    countries = serializers.ListField(child=serializers.CharField(), read_only=True)


class PolicyInput(Input):
    """What may be spent from now on."""

    daily_cap = serializers.DecimalField(18, 4, min_value=0, allow_null=True, default=None, help_text="null: no cap")
    low_balance_at = serializers.DecimalField(
        18, 4, min_value=0, allow_null=True, default=None, help_text="an alert is raised at or below it; null: never"
    )
    countries = serializers.ListField(
        child=PatternField(r"^[A-Z]{2}\Z", says="Give an ISO 3166-1 code in capital letters, e.g. GR."),
        max_length=250,
        default=list,
        help_text="ISO 3166-1 codes that messages may go to; empty: everywhere",
    )

    def validate_countries(self, value: list[str]) -> list[str]:
        """Refuse a code that is no country's: a typing error would keep messages from everybody.

        Raises: ValidationError.
        """
        if sentence := wrong_with_countries(value):
            raise serializers.ValidationError(sentence)
        return value


class EntryRow(serializers.Serializer[Any]):
    """What one account gained."""

    account = serializers.CharField(source="account.kind", read_only=True)
    amount = serializers.DecimalField(18, 4, read_only=True)
    balance_after = serializers.DecimalField(18, 4, read_only=True)


class TransactionRow(serializers.Serializer[Any]):
    """A movement of credits."""

    id = serializers.IntegerField(read_only=True)
    kind = serializers.CharField(read_only=True)
    reference = serializers.CharField(read_only=True)
    actor = serializers.CharField(read_only=True)
    note = serializers.CharField(read_only=True)
    entries = EntryRow(many=True, read_only=True)
    created_at = serializers.DateTimeField(read_only=True)
