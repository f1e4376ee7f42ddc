"""What the API shows of replies, and takes of decisions about them."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from messaging.models import InboundMessage
from shopsync.serializers import Input


class ReplyRow(serializers.Serializer[Any]):
    """A reply, what it asks for, and what became of it."""

    id = serializers.IntegerField(read_only=True)
    address = serializers.CharField(read_only=True, help_text="who wrote; E.164")
    recipient = serializers.CharField(read_only=True, help_text="the number that was written to")
    text = serializers.CharField(read_only=True)
    kind = serializers.CharField(read_only=True, help_text="optout, optin, help, review or conversation")
    keyword = serializers.CharField(read_only=True, help_text="the one that was found, or nearly")
    contact_id = serializers.IntegerField(read_only=True, allow_null=True)
    routed_by = serializers.CharField(read_only=True, help_text="number, conversation, operator; empty: unrouted")
    review = serializers.CharField(read_only=True, help_text="open: a person decides; done; empty: nothing to decide")
    decision = serializers.CharField(read_only=True, help_text="optout, optin or nothing")
    decided_by = serializers.CharField(read_only=True)
    decided_at = serializers.DateTimeField(read_only=True, allow_null=True)
    effect = serializers.CharField(read_only=True, help_text="what it did: optout, optin, help or nothing")
    possibly_sent = serializers.IntegerField(
        read_only=True, help_text="messages to this address that were being called, or were sent, after it was received"
    )
    note = serializers.CharField(read_only=True)
    sent_at = serializers.DateTimeField(read_only=True, allow_null=True, help_text="as the provider says it")
    received_at = serializers.DateTimeField(read_only=True)


class AssignInput(Input):
    """Whose an unrouted reply is."""

    tenant = serializers.CharField(
        max_length=255,
        required=False,
        default="",
        allow_blank=True,
        help_text="its domain; empty: the tenant of the key or token. By token: a tenant that the person acts for",
    )


class AssignedRow(serializers.Serializer[Any]):
    """Whose a reply has become; what it did there is for that tenant's own to read."""

    id = serializers.IntegerField(read_only=True)
    tenant = serializers.CharField(read_only=True, help_text="its domain")


class DecideInput(Input):
    """What a reply asks for, as a person reads it."""

    decision = serializers.ChoiceField(
        choices=InboundMessage.Decision.choices, help_text="optout acts as STOP, optin as START"
    )
