"""The API's suppressions: addresses that are not written to."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from django.http import Http404
from django.utils import timezone
from django_filters import BooleanFilter, CharFilter, ChoiceFilter
from django_filters.rest_framework import FilterSet
from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import ReadOnlyModelViewSet

from config.infra import tenancy
from messaging.actions import suppressions
from messaging.models import Suppression
from messaging.models.contacts import Channel
from messaging.serializers.suppressions import LiftInput, SuppressedRow, SuppressionInput, SuppressionRow
from shopsync.auth import ReadOrAct, actor_of
from shopsync.models import Tenant
from shopsync.serializers import StrictQuery, read
from shopsync.views import KEY, answer_once, declare_problem

SHOWN = 100

declare_problem(suppressions.NotSuppressed, status=409, slug="not-suppressed", title="It is not suppressed")


class SuppressionFilters(FilterSet):
    """Filters of suppressions."""

    channel = ChoiceFilter(choices=Channel.choices)
    reason = ChoiceFilter(choices=Suppression.Reason.choices)
    address = CharFilter(help_text="as contacts have it: an e-mail address in lower case, a phone in E.164")
    is_lifted = BooleanFilter(field_name="lifted_at", lookup_expr="isnull", exclude=True)


class Suppressions(StrictQuery, ReadOrAct, ReadOnlyModelViewSet[Suppression]):
    """Addresses that are not written to, and those that were written to again."""

    queryset = Suppression.objects.none()
    serializer_class = SuppressionRow
    filterset_class = SuppressionFilters

    def get_queryset(self) -> QuerySet[Suppression]:
        """Read the tenant's suppressions."""
        return Suppression.objects.all()

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Find the row before the body is looked at: what is another tenant's is not there at all."""
        super().initial(request, *args, **kwargs)
        if self.action and "pk" in kwargs and not Suppression.objects.filter(pk=kwargs["pk"]).exists():
            raise Http404

    @extend_schema(
        request=SuppressionInput, responses={201: SuppressedRow}, parameters=[KEY], summary="Suppress addresses"
    )
    def create(self, request: Request) -> Response:
        """Write to these addresses no more. What is no address is named in `invalid`, and the others are suppressed."""
        return answer_once(request, lambda: self._create(request))

    def _create(self, request: Request) -> Response:
        given = read(SuppressionInput, request)
        country = Tenant.objects.get(pk=tenancy.current_tenant_id()).country
        channel = given["channel"]
        found = {one: suppressions.normalise_address(channel, one, country=country) for one in given["addresses"]}
        count = suppressions.suppress(
            channel=channel,
            addresses=[address for address in found.values() if address],
            reason=given["reason"],
            source=given["source"],
            actor=actor_of(request),
        )
        invalid = [one for one, address in found.items() if not address][:SHOWN]
        return Response({"suppressed": count, "invalid": invalid}, status=status.HTTP_201_CREATED)

    @extend_schema(request=LiftInput, responses=SuppressionRow, parameters=[KEY], summary="Write to an address again")
    def lift(self, request: Request, pk: int) -> Response:
        """Lift a suppression, with the reason why. Consent is another matter: without it nothing is sent."""
        return answer_once(request, lambda: self._lift(request, pk))

    def _lift(self, request: Request, pk: int) -> Response:
        why = read(LiftInput, request)["reason"]
        row = suppressions.lift_by_hand(suppression_id=pk, why=why, actor=actor_of(request), now=timezone.now())
        return Response(SuppressionRow(row).data)
