"""The API's thresholds: when a variant is low."""

from __future__ import annotations

from django.db.models import QuerySet
from django_filters import BooleanFilter, CharFilter
from django_filters.rest_framework import FilterSet
from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import ReadOnlyModelViewSet

from inventory.actions import thresholds
from inventory.models import StockThreshold
from inventory.serializers.thresholds import ThresholdChange, ThresholdInput, ThresholdRow
from shopsync.auth import ReadOrAct, actor_of
from shopsync.serializers import WholeNumberFilter, read
from shopsync.views import KEY, answer_once, declare_problem

declare_problem(thresholds.NoBand, status=400, slug="no-band", title="No room between the marks")
declare_problem(thresholds.ThresholdExists, status=400, slug="threshold-exists", title="There is one already")


class ThresholdFilters(FilterSet):
    """Filters of thresholds."""

    variant_id = WholeNumberFilter()
    sku = CharFilter(field_name="variant__sku")
    location_id = WholeNumberFilter()
    is_low = BooleanFilter()


class Thresholds(ReadOrAct, ReadOnlyModelViewSet[StockThreshold]):
    """When a variant is low, and whether it is."""

    queryset = StockThreshold.objects.none()
    serializer_class = ThresholdRow
    filterset_class = ThresholdFilters

    def get_queryset(self) -> QuerySet[StockThreshold]:
        """Read the tenant's thresholds."""
        return StockThreshold.objects.select_related("variant")

    @extend_schema(request=ThresholdInput, responses={201: ThresholdRow}, parameters=[KEY], summary="Make a threshold")
    def create(self, request: Request) -> Response:
        """Say when a variant is low, at a location or over all active ones."""
        return answer_once(request, lambda: self._create(request))

    def _create(self, request: Request) -> Response:
        given = read(ThresholdInput, request)
        made = thresholds.make_threshold(
            variant_id=given["variant_id"],
            location_id=given["location_id"],
            low_at=given["low_at"],
            recovered_at=given["recovered_at"],
            actor=actor_of(request),
        )
        return self._answer(made.pk, code=status.HTTP_201_CREATED)

    @extend_schema(request=ThresholdChange, responses=ThresholdRow, summary="Change its marks")
    def partial_update(self, request: Request, pk: int) -> Response:
        """Change the marks; what is low stays so until it reaches the new recovered_at."""
        self.get_object()
        given = read(ThresholdChange, request)
        thresholds.change_threshold(
            threshold_id=pk,
            low_at=given.get("low_at"),
            recovered_at=given.get("recovered_at"),
            actor=actor_of(request),
        )
        return self._answer(pk)

    @extend_schema(responses={204: None}, summary="Take it away, and close its alert")
    def destroy(self, request: Request, pk: int) -> Response:
        """Take a threshold away."""
        self.get_object()
        thresholds.remove_threshold(threshold_id=pk, actor=actor_of(request))
        return Response(status=status.HTTP_204_NO_CONTENT)

    def _answer(self, pk: int, *, code: int = status.HTTP_200_OK) -> Response:
        return Response(ThresholdRow(self.get_queryset().get(pk=pk)).data, status=code)
