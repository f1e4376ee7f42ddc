"""The API's alerts: what needs a person, and who looks after it."""

from __future__ import annotations

from django.db.models import QuerySet
from django_filters import BooleanFilter, CharFilter, ChoiceFilter
from django_filters.rest_framework import FilterSet
from drf_spectacular.utils import extend_schema
from rest_framework.exceptions import APIException
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import ReadOnlyModelViewSet

from shopsync.actions.alerts import acknowledge_alerts
from shopsync.auth import MayAct, actor_of
from shopsync.models import Alert
from shopsync.serializers import AlertRow
from shopsync.views.idempotency import KEY, answer_once


class AlreadyClosed(APIException):
    """Nothing is wrong any more, so there is nothing to look after."""

    status_code = 409
    default_detail = "The alert is closed already; if it is raised again, that is another alert."


class AlertFilters(FilterSet):
    """Filters of alerts."""

    kind = CharFilter()
    subject = CharFilter()
    severity = ChoiceFilter(choices=Alert.Severity.choices)
    is_open = BooleanFilter(field_name="closed_at", lookup_expr="isnull")


class Alerts(ReadOnlyModelViewSet[Alert]):
    """What is wrong, or was; newest first."""

    queryset = Alert.objects.none()
    serializer_class = AlertRow
    filterset_class = AlertFilters

    def get_queryset(self) -> QuerySet[Alert]:
        """Read the tenant's alerts."""
        return Alert.objects.all()

    def get_permissions(self) -> list[BasePermission]:
        """Everybody of the tenant reads; to acknowledge is an act."""
        return [MayAct()] if self.action == "acknowledge" else super().get_permissions()  # type: ignore[return-value]

    @extend_schema(
        request=None, responses=AlertRow, parameters=[KEY], summary="Acknowledge: say that somebody looks after it"
    )
    def acknowledge(self, request: Request, pk: int) -> Response:
        """Note who looks after the alert; whoever came first stays.

        Raises: AlreadyClosed.
        """
        return answer_once(request, lambda: self._acknowledge(request))

    def _acknowledge(self, request: Request) -> Response:
        alert = self.get_object()
        if not alert.is_open:
            raise AlreadyClosed
        acknowledge_alerts(rows=Alert.objects.filter(pk=alert.pk), actor=actor_of(request))
        return Response(AlertRow(Alert.objects.get(pk=alert.pk)).data)
