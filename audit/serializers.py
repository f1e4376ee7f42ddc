"""What the API shows of the trail."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers


class AuditEventRow(serializers.Serializer[Any]):
    """One event of the trail."""

    id = serializers.IntegerField(read_only=True)
    name = serializers.CharField(read_only=True)
    subject = serializers.CharField(read_only=True)
    actor = serializers.CharField(read_only=True)
    data = serializers.DictField(read_only=True)  # type: ignore[assignment]  # DRF's metaclass moves fields away
    created_at = serializers.DateTimeField(read_only=True)
