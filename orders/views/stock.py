"""The API's hand-over of the count; levels themselves are inventory's."""

from __future__ import annotations

from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import ViewSet

from orders.actions import handover
from orders.serializers.stock import HandedOverRow, HandOverInput
from shopsync.auth import MayAct, actor_of
from shopsync.serializers import read
from shopsync.views import KEY, answer_once, declare_problem

declare_problem(handover.AlreadyCounting, status=409, slug="already-counting", title="They count already")
declare_problem(
    handover.NotSettled,
    status=409,
    slug="not-settled",
    title="Something is on its way",
    members=lambda error: {"blockers": error.blockers},
)


class HandOver(ViewSet):
    """Who counts the tenant's stock."""

    permission_classes = [MayAct]

    @extend_schema(
        request=HandOverInput, responses={201: HandedOverRow}, parameters=[KEY], summary="Hand the count over"
    )
    def create(self, request: Request) -> Response:
        """Let Shopify, or us, count the stock from now on."""
        return answer_once(request, lambda: self._hand_over(request))

    def _hand_over(self, request: Request) -> Response:
        given = read(HandOverInput, request)
        done = handover.hand_over(to=given["to"], actor=actor_of(request), now=timezone.now())
        return Response(HandedOverRow(done).data, status=status.HTTP_201_CREATED)
