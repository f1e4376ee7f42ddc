"""What the API shows of campaigns, and takes to write and launch them."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from messaging.models import Campaign
from messaging.models.contacts import Channel
from messaging.queries import tally_of, waits_for
from messaging.queries.clicks import clicks_by_link, clicks_of
from shopsync.serializers import IdField, Input


class StateCount(serializers.Serializer[Any]):
    """Messages in one state."""

    messages = serializers.IntegerField(read_only=True)
    parts = serializers.IntegerField(read_only=True, help_text="SMS parts; one a message on other channels")
    cost = serializers.DecimalField(18, 4, read_only=True, help_text="credits that are held for them, or were paid")


class ProgressRow(serializers.Serializer[Any]):
    """Where a campaign's messages stand: the sums are what the rows are, at any moment."""

    total = serializers.IntegerField(read_only=True)
    states = serializers.DictField(
        child=StateCount(),
        read_only=True,
        help_text="waiting (to be prepared), queued, calling, sent, delivered, failed, skipped, unknown, unknown_final",
    )
    skipped = serializers.DictField(child=serializers.IntegerField(), read_only=True, help_text="by reason")


class ClicksRow(serializers.Serializer[Any]):
    """Who followed links; programs (scanners, previews) are counted apart."""

    people = serializers.IntegerField(read_only=True, help_text="contacts whose links were followed, each once")
    clicks = serializers.IntegerField(read_only=True, help_text="theirs")
    bots = serializers.IntegerField(read_only=True, help_text="clicks of programs")


class LinkRow(ClicksRow):
    """Who followed the links to one address."""

    url = serializers.CharField(read_only=True)


class CampaignClicks(ClicksRow):
    """Who followed a campaign's links."""

    links = LinkRow(many=True, read_only=True, help_text="by address, the twenty that most people followed")


class CampaignRow(serializers.Serializer[Any]):
    """A campaign."""

    id = serializers.IntegerField(read_only=True)
    name = serializers.CharField(read_only=True)
    channel = serializers.CharField(read_only=True)
    segment_id = serializers.IntegerField(read_only=True)
    template_version_id = serializers.IntegerField(read_only=True)
    sender_id = serializers.IntegerField(read_only=True, allow_null=True)
    status = serializers.CharField(read_only=True, help_text="draft, scheduled, sending, paused, done or cancelled")
    blocker = serializers.CharField(
        read_only=True, help_text="what stops the campaign as a whole, e.g. no_credits; see waits_for of the detail"
    )
    scheduled_at = serializers.DateTimeField(read_only=True, allow_null=True)
    is_local_time = serializers.BooleanField(read_only=True)
    expires_at = serializers.DateTimeField(read_only=True, allow_null=True)
    holdout_percent = serializers.DecimalField(5, 2, read_only=True)
    keeps_quiet_hours = serializers.BooleanField(read_only=True)
    preflight = serializers.JSONField(
        read_only=True,
        allow_null=True,
        help_text="the last report asked for; while its status is `asked`, `part` of `of` parts are done; "
        "`warnings` says in sentences what a person has to do something about",
    )
    frozen_at = serializers.DateTimeField(read_only=True, allow_null=True)
    finished_at = serializers.DateTimeField(read_only=True, allow_null=True)
    created_at = serializers.DateTimeField(read_only=True)


class CampaignDetail(CampaignRow):
    """A campaign with its progress, and who followed its links."""

    waits_for = serializers.SerializerMethodField(
        help_text="its blocker, else its_time, or what all that it has to send waits for; empty: nothing"
    )
    progress = serializers.SerializerMethodField()
    clicks = serializers.SerializerMethodField()

    def get_waits_for(self, campaign: Campaign) -> str:
        """Look at what it has to send."""
        return waits_for(campaign)

    @extend_schema_field(ProgressRow)
    def get_progress(self, campaign: Campaign) -> Any:
        """Add up where its messages stand."""
        return ProgressRow(tally_of(campaign.pk)).data

    @extend_schema_field(CampaignClicks)
    def get_clicks(self, campaign: Campaign) -> Any:
        """Count who followed its links."""
        told = {**ClicksRow(clicks_of(campaign.pk)).data, "links": clicks_by_link(campaign.pk)}
        return CampaignClicks(told).data


class CampaignInput(Input):
    """A campaign to write."""

    name = serializers.CharField(max_length=100)
    channel = serializers.ChoiceField(choices=Channel.choices)
    segment_id = IdField()
    template_version_id = IdField()
    sender_id = IdField(allow_null=True, default=None, help_text="null: the connection's own sender")
    is_local_time = serializers.BooleanField(
        default=False, help_text="each recipient gets it when their clocks show the hour that the tenant's show then"
    )
    expires_at = serializers.DateTimeField(allow_null=True, default=None)
    holdout_percent = serializers.DecimalField(
        5, 2, min_value=Decimal(0), max_value=Decimal(90), default=Decimal(0), help_text="who gets nothing, to compare"
    )
    keeps_quiet_hours = serializers.BooleanField(default=True)


class PreflightInput(Input):
    """When a campaign that is reported on is to be launched."""

    scheduled_at = serializers.DateTimeField(
        allow_null=True, default=None, help_text="null: now; the hours in which may be sent are reckoned from it"
    )


class LaunchInput(Input):
    """When a campaign is to be sent."""

    scheduled_at = serializers.DateTimeField(allow_null=True, default=None, help_text="null: now")


class TestSendInput(Input):
    """To whom a campaign is sent as a test."""

    contact_id = IdField()
