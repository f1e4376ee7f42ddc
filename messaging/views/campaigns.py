"""The API's campaigns: written, reported on, tried out, launched, paused, resumed, cancelled."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.db.models import QuerySet
from django.utils import timezone
from django_filters import ChoiceFilter
from django_filters.rest_framework import FilterSet
from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import BaseSerializer
from rest_framework.viewsets import ReadOnlyModelViewSet

from messaging.actions import campaigns
from messaging.actions.campaigns import CampaignError, InvalidCampaign, Plan
from messaging.actions.previews import ask_for_report, send_test
from messaging.models import Campaign
from messaging.models.contacts import Channel
from messaging.serializers.campaigns import (
    CampaignDetail,
    CampaignInput,
    CampaignRow,
    LaunchInput,
    PreflightInput,
    TestSendInput,
)
from messaging.serializers.messages import MessageRow
from shopsync.auth import ReadOrAct, actor_of
from shopsync.serializers import Nothing, StrictQuery, read
from shopsync.views import KEY, answer_once, declare_problem

declare_problem(CampaignError, status=409, slug="campaign-refused", title="Not as the campaign stands")
declare_problem(InvalidCampaign, status=400, slug="invalid-campaign", title="It does not fit")


class CampaignFilters(FilterSet):
    """Filters of campaigns."""

    status = ChoiceFilter(choices=Campaign.Status.choices)
    channel = ChoiceFilter(choices=Channel.choices)


class Campaigns(StrictQuery, ReadOrAct, ReadOnlyModelViewSet[Campaign]):
    """Messages to many; the detail shows where they stand."""

    queryset = Campaign.objects.none()
    filterset_class = CampaignFilters

    def get_queryset(self) -> QuerySet[Campaign]:
        """Read the tenant's campaigns."""
        return Campaign.objects.all()

    def get_serializer_class(self) -> type[BaseSerializer[Any]]:
        """Add up messages in the detail only."""
        return CampaignRow if self.action == "list" else CampaignDetail

    @extend_schema(request=CampaignInput, responses={201: CampaignDetail}, parameters=[KEY], summary="Write a draft")
    def create(self, request: Request) -> Response:
        """Write a draft; nothing is sent. 400 names the field that does not fit."""
        return answer_once(request, lambda: self._save(request, None))

    @extend_schema(request=CampaignInput, responses=CampaignDetail, summary="Write a draft anew")
    def update(self, request: Request, pk: int) -> Response:
        """Replace what a draft says. 400 names the field that does not fit, 409 says why it is a draft no more."""
        self.get_object()
        return self._save(request, pk)

    def _save(self, request: Request, campaign_id: int | None) -> Response:
        plan = Plan(**read(CampaignInput, request))
        saved = campaigns.save_campaign(campaign_id=campaign_id, plan=plan, actor=actor_of(request))
        code = status.HTTP_201_CREATED if campaign_id is None else status.HTTP_200_OK
        return Response(self._shown(saved.pk), status=code)

    @extend_schema(responses={204: None}, summary="Delete a draft")
    def destroy(self, request: Request, pk: int) -> Response:
        """Delete a draft; what was launched once is cancelled instead, and stays."""
        self.get_object()
        campaigns.delete_campaign(campaign_id=pk, actor=actor_of(request))
        return Response(status=status.HTTP_204_NO_CONTENT)

    @extend_schema(
        request=PreflightInput, responses=CampaignDetail, parameters=[KEY], summary="Report before the launch"
    )
    def preflight(self, request: Request, pk: int) -> Response:
        """Ask how many get it, who does not and why, its parts, cost and time, and what is in the way of it.

        A large one is reported on by and by. 400 for a time that is past, 409 for what is no draft.
        """
        self.get_object()
        at = read(PreflightInput, request)["scheduled_at"]
        return answer_once(request, lambda: self._asked(pk, at))

    def _asked(self, pk: int, at: datetime | None) -> Response:
        ask_for_report(campaign_id=pk, at=at, now=timezone.now())
        return Response(self._shown(pk))

    @extend_schema(request=TestSendInput, responses={201: MessageRow}, parameters=[KEY], summary="Send a test")
    def test_send(self, request: Request, pk: int) -> Response:
        """Send what a contact would get to that contact alone; it is charged, and counts in no campaign.

        400 says why the contact would get nothing.
        """
        campaign = self.get_object()
        given = read(TestSendInput, request)

        def run() -> Response:
            sent = send_test(
                campaign=campaign, contact_id=given["contact_id"], actor=actor_of(request), now=timezone.now()
            )
            return Response(MessageRow(sent).data, status=status.HTTP_201_CREATED)

        return answer_once(request, run)

    @extend_schema(request=LaunchInput, responses=CampaignDetail, parameters=[KEY], summary="Launch, now or later")
    def launch(self, request: Request, pk: int) -> Response:
        """Let a draft be sent. 400 for a time that does not fit; 409 for what is no draft, or has to be changed."""
        self.get_object()
        at = read(LaunchInput, request)["scheduled_at"]
        return self._move(
            request,
            pk,
            lambda actor: campaigns.schedule_campaign(campaign_id=pk, at=at, actor=actor, now=timezone.now()),
        )

    @extend_schema(request=None, responses=CampaignDetail, parameters=[KEY], summary="Pause")
    def pause(self, request: Request, pk: int) -> Response:
        """Stop until it is resumed; what is being called goes out."""
        self.get_object()
        read(Nothing, request)
        return self._move(request, pk, lambda actor: campaigns.pause_campaign(campaign_id=pk, actor=actor))

    @extend_schema(request=None, responses=CampaignDetail, parameters=[KEY], summary="Resume")
    def resume(self, request: Request, pk: int) -> Response:
        """Go on where it was paused."""
        self.get_object()
        read(Nothing, request)
        return self._move(
            request, pk, lambda actor: campaigns.resume_campaign(campaign_id=pk, actor=actor, now=timezone.now())
        )

    @extend_schema(request=None, responses=CampaignDetail, parameters=[KEY], summary="Cancel for good")
    def cancel(self, request: Request, pk: int) -> Response:
        """End it: what is not called yet never is, and its credits are given back."""
        self.get_object()
        read(Nothing, request)
        return self._move(request, pk, lambda actor: campaigns.cancel_campaign(campaign_id=pk, actor=actor))

    def _move(self, request: Request, pk: int, move: Any) -> Response:
        def run() -> Response:
            move(actor_of(request))
            return Response(self._shown(pk))

        return answer_once(request, run)

    def _shown(self, pk: int) -> Any:
        return CampaignDetail(Campaign.objects.get(pk=pk)).data
