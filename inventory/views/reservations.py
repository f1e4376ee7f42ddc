"""The API's reservations: made, extended, committed and released; the door to all-or-nothing promises."""

from __future__ import annotations

import uuid
from collections.abc import Callable

from django.db.models import Prefetch, QuerySet
from django.http import Http404
from django.utils import timezone
from django_filters import CharFilter, ChoiceFilter
from django_filters.rest_framework import FilterSet
from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.request import Request as ApiRequest
from rest_framework.response import Response
from rest_framework.viewsets import ReadOnlyModelViewSet

from inventory.actions import reservations
from inventory.models import Reservation, ReservationLine
from inventory.serializers.reservations import ReservationRow, ReserveInput
from shopsync.auth import ReadOrAct, actor_of
from shopsync.views import KEY, answer_once, declare_problem, read_key


def _shortages(error: reservations.InsufficientStock) -> dict[str, object]:
    return {
        "shortages": [
            {"variant_id": s.variant_id, "requested": s.requested, "available": s.available, "short": s.short}
            for s in error.shortages
        ]
    }


declare_problem(
    reservations.InsufficientStock,
    status=409,
    slug="insufficient-stock",
    title="Not enough stock",
    members=_shortages,
)
declare_problem(
    reservations.UnknownVariants,
    status=400,
    slug="unknown-variants",
    title="Unknown variants",
    members=lambda error: {"errors": {"lines": [f"No variant {variant_id}." for variant_id in error.ids]}},
)
declare_problem(
    reservations.IdempotencyConflict, status=409, slug="idempotency-key-reused", title="Idempotency key used before"
)
declare_problem(
    reservations.ReservationEnded,
    status=409,
    slug="reservation-ended",
    title="The reservation has ended",
    members=lambda error: {"reservation_status": error.status},
)
declare_problem(
    reservations.OrdersReservation, status=409, slug="orders-reservation", title="The reservation is an order's"
)
declare_problem(
    reservations.AlreadyExtended, status=409, slug="already-extended", title="The reservation was extended before"
)


class ReservationFilters(FilterSet):
    """Filters of reservations."""

    status = ChoiceFilter(choices=Reservation.Status.choices)
    reference = CharFilter()


class Reservations(ReadOrAct, ReadOnlyModelViewSet[Reservation]):
    """Units promised to a buyer for a while."""

    queryset = Reservation.objects.none()
    serializer_class = ReservationRow
    filterset_class = ReservationFilters

    def get_queryset(self) -> QuerySet[Reservation]:
        """Read the tenant's reservations, their lines in one more query."""
        lines = ReservationLine.objects.select_related("variant", "level").order_by("pk")
        return Reservation.objects.prefetch_related(Prefetch("lines", lines))

    @extend_schema(request=ReserveInput, responses={201: ReservationRow}, parameters=[KEY], summary="Reserve")
    def create(self, request: ApiRequest) -> Response:
        """Promise all lines or none; 409 names each line that is short and by how much."""
        given = ReserveInput(data=request.data)
        given.is_valid(raise_exception=True)
        key = read_key(request) or f"none-{uuid.uuid4()}"
        made, _ = reservations.reserve(
            request=given.to_request(), idempotency_key=key, actor=actor_of(request), now=timezone.now()
        )
        return self._answer(made.pk, code=status.HTTP_201_CREATED)

    @extend_schema(
        request=None, responses=ReservationRow, parameters=[KEY], summary="Extend, once, by the default time from now"
    )
    def extend(self, request: ApiRequest, pk: int) -> Response:
        """Give an active reservation more time."""
        return answer_once(request, lambda: self._move(reservations.extend, request, pk))

    @extend_schema(request=None, responses=ReservationRow, parameters=[KEY], summary="Commit: the units are sold")
    def commit(self, request: ApiRequest, pk: int) -> Response:
        """Turn a promise into a sale; where Shopify counts, call this once the order is in Shopify."""
        return answer_once(request, lambda: self._move(reservations.commit, request, pk))

    def _move(self, move: Callable[..., object], request: ApiRequest, pk: int) -> Response:
        self.get_object()
        move(reservation_id=pk, actor=actor_of(request), now=timezone.now())
        return self._answer(pk)

    @extend_schema(responses={204: None}, summary="Release: give the units back")
    def destroy(self, request: ApiRequest, pk: int) -> Response:
        """End a promise without a sale; one that has expired or was released stays as it is."""
        self.get_object()
        reservations.release(reservation_id=pk, actor=actor_of(request), now=timezone.now())
        return Response(status=status.HTTP_204_NO_CONTENT)

    def _answer(self, pk: int, *, code: int = status.HTTP_200_OK) -> Response:
        row = self.get_queryset().filter(pk=pk).first()
        if row is None:
            raise Http404
        return Response(ReservationRow(row).data, status=code)
