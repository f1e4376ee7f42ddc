"""Whose turn it is to send: what can be blocked as one, and the queues that take turns.

A queue is what a tenant sends through one connection; queues take turns (deficit round robin). A flow is a part of a
queue that stops and goes as one: one campaign's recipients whose hours of the day are the same, or a tenant's single
messages. A blocker of a million messages is a word on one of these rows.
"""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from messaging.models.campaigns import Campaign
from messaging.models.contacts import Channel
from shopsync.models import Connection, TenantModel


class SendQueue(TenantModel):
    """What a tenant sends on a channel through one connection (null: the channel's own)."""

    channel = models.CharField(max_length=10, choices=Channel)
    connection = models.ForeignKey(Connection, null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    deficit = models.IntegerField(default=0, db_default=0, help_text="recipients it may still send in its turn")
    turn = models.BigIntegerField(default=0, db_default=0, help_text="the lowest goes next")
    blocker = models.CharField(max_length=60, blank=True, default="")
    blocked_until = models.DateTimeField(null=True, blank=True)
    served_at = models.DateTimeField(db_default=Now(), help_text="when a call was last begun")

    class Meta(TenantModel.Meta):
        ordering = ("tenant_id", "id")
        constraints = (
            models.UniqueConstraint(
                fields=("tenant", "channel", "connection"), name="sendqueue_is_one_per_connection", nulls_distinct=False
            ),
        )

    def __str__(self) -> str:
        return f"{self.channel} through {self.connection_id or 'its own'}"


class Flow(TenantModel):
    """A part of a queue that stops and goes as one; `blocked_until` null with a blocker: until somebody lifts it."""

    queue = models.ForeignKey(SendQueue, on_delete=models.CASCADE, related_name="flows", db_index=False)
    campaign = models.ForeignKey(Campaign, null=True, blank=True, on_delete=models.CASCADE, related_name="flows")
    priority = models.SmallIntegerField(help_text="0: single messages, 1: campaigns")
    zones = models.TextField(blank=True, default="", help_text="time zones that all must be in their hours, by comma")
    starts_at = models.TimeField(null=True, blank=True)
    ends_at = models.TimeField(null=True, blank=True)
    blocker = models.CharField(max_length=60, blank=True, default="")
    blocked_until = models.DateTimeField(null=True, blank=True)

    class Meta(TenantModel.Meta):
        ordering = ("queue_id", "priority", "id")
        constraints = (
            models.UniqueConstraint(
                fields=("queue", "campaign", "zones", "starts_at", "ends_at"),
                name="flow_is_one_per_hours",
                nulls_distinct=False,
            ),
            models.CheckConstraint(name="flow_priority_is_0_or_1", condition=Q(priority__in=(0, 1))),
        )
        indexes = (
            models.Index(fields=("queue", "priority", "id"), name="flow_open", condition=~Q(blocker="finished")),
        )

    def __str__(self) -> str:
        return f"campaign {self.campaign_id}" if self.campaign_id else "single messages"
