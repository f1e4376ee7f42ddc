"""The API's order watches: how long a tenant's orders may wait before somebody is told."""

from __future__ import annotations

from django.db.models import QuerySet
from django_filters import ChoiceFilter
from django_filters.rest_framework import FilterSet
from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import ReadOnlyModelViewSet

from orders.actions.watches import WatchExists, change_watch, make_watch, remove_watch
from orders.models import OrderWatch
from orders.serializers.watches import WatchChange, WatchInput, WatchRow
from shopsync.auth import ReadOrAct, actor_of
from shopsync.serializers import read
from shopsync.views import KEY, answer_once, declare_problem

declare_problem(WatchExists, status=400, slug="watch-exists", title="There is one already")


class WatchFilters(FilterSet):
    """Filters of watches."""

    kind = ChoiceFilter(choices=OrderWatch.Kind.choices)


class Watches(ReadOrAct, ReadOnlyModelViewSet[OrderWatch]):
    """How long orders may wait."""

    queryset = OrderWatch.objects.none()
    serializer_class = WatchRow
    filterset_class = WatchFilters

    def get_queryset(self) -> QuerySet[OrderWatch]:
        """Read the tenant's watches."""
        return OrderWatch.objects.all()

    @extend_schema(request=WatchInput, responses={201: WatchRow}, parameters=[KEY], summary="Watch orders")
    def create(self, request: Request) -> Response:
        """Say how long orders may wait; one watch of each kind."""
        return answer_once(request, lambda: self._create(request))

    def _create(self, request: Request) -> Response:
        given = read(WatchInput, request)
        made = make_watch(kind=given["kind"], hours=given["hours"], actor=actor_of(request))
        return Response(WatchRow(made).data, status=status.HTTP_201_CREATED)

    @extend_schema(request=WatchChange, responses=WatchRow, summary="Change the hours")
    def partial_update(self, request: Request, pk: int) -> Response:
        """Change how long orders may wait."""
        self.get_object()
        changed = change_watch(watch_id=pk, hours=read(WatchChange, request)["hours"], actor=actor_of(request))
        return Response(WatchRow(changed).data)

    @extend_schema(responses={204: None}, summary="Watch no longer, and close the alert")
    def destroy(self, request: Request, pk: int) -> Response:
        """Take a watch away."""
        self.get_object()
        remove_watch(watch_id=pk, actor=actor_of(request))
        return Response(status=status.HTTP_204_NO_CONTENT)
