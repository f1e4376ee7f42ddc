"""The API's parcels: packed, labelled, handed over, given up; and the label's file, for the tenant alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from django.db.models import Prefetch, QuerySet
from django.http import FileResponse
from django.utils import timezone
from django_filters import CharFilter, ChoiceFilter
from django_filters.rest_framework import FilterSet
from drf_spectacular.utils import OpenApiTypes, extend_schema
from rest_framework import status
from rest_framework.permissions import BasePermission
from rest_framework.renderers import BaseRenderer, JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import BaseSerializer
from rest_framework.viewsets import ReadOnlyModelViewSet

from orders.actions import labels, shipments
from orders.models import Shipment, ShipmentCall, ShipmentLine, TrackingEvent
from orders.queries import open_label
from orders.serializers.shipments import (
    BuyInput,
    RatesInput,
    ShipmentDetail,
    ShipmentInput,
    ShipmentRow,
    TrackingInput,
)
from shopsync.auth import MayAct, actor_of
from shopsync.serializers import Input, WholeNumberFilter
from shopsync.views import KEY, answer_once, declare_problem

Shape = TypeVar("Shape", bound=Input)

declare_problem(
    shipments.UnknownOrder,
    status=400,
    slug="unknown-order",
    title="Unknown order",
    members=lambda error: {"errors": {"order_id": [str(error)]}},
)
declare_problem(
    shipments.UnknownLines,
    status=400,
    slug="unknown-lines",
    title="Unknown lines",
    members=lambda error: {"errors": {"lines": [str(error)]}},
)
declare_problem(
    shipments.TooManyUnits,
    status=409,
    slug="too-many-units",
    title="More than is left to send",
    members=lambda error: {
        "lines": [{"line_id": e.line_id, "requested": e.requested, "open": e.open} for e in error.excesses]
    },
)
declare_problem(shipments.NotNow, status=409, slug="shipment-not-ready", title="Not as the shipment stands")
declare_problem(labels.NoCarrier, status=409, slug="no-carrier", title="No carrier is connected")
declare_problem(labels.MissingField, status=400, slug="missing-field", title="Something is missing")
declare_problem(
    labels.UnknownRate,
    status=400,
    slug="unknown-rate",
    title="Unknown rate",
    members=lambda error: {"errors": {"rate_id": [str(error)]}},
)


class ShipmentFilters(FilterSet):
    """Filters of parcels."""

    order_id = WholeNumberFilter()
    status = ChoiceFilter(choices=Shipment.Status.choices)
    tracking_number = CharFilter()


class AnyType(JSONRenderer):
    """Answers whatever type is asked for: a label is what it is, and a refusal is JSON."""

    media_type = "*/*"


class Shipments(ReadOnlyModelViewSet[Shipment]):
    """Our own parcels. Shopify's are in their orders, as `fulfillments`."""

    queryset = Shipment.objects.none()
    filterset_class = ShipmentFilters

    def get_queryset(self) -> QuerySet[Shipment]:
        """Read the tenant's parcels; rates, calls and tracking in the detail only."""
        lines = Prefetch("lines", ShipmentLine.objects.select_related("line").order_by("pk"))
        rows = Shipment.objects.prefetch_related(lines)
        if not self.detail:
            return rows
        calls = Prefetch("calls", ShipmentCall.objects.order_by("pk"))
        return rows.prefetch_related(calls, Prefetch("tracking", TrackingEvent.objects.order_by("happened_at", "pk")))

    def get_serializer_class(self) -> type[BaseSerializer[Any]]:
        """Show rates, calls and tracking in the detail only."""
        return ShipmentRow if self.action == "list" else ShipmentDetail

    def get_permissions(self) -> list[BasePermission]:
        """Everybody of the tenant reads; the rest is an act."""
        reading = {"list", "retrieve", "label"}
        return super().get_permissions() if self.action in reading else [MayAct()]  # type: ignore[return-value]

    def get_renderers(self) -> list[BaseRenderer]:
        """Let a label be asked for as whatever it is."""
        return [AnyType()] if self.action == "label" else super().get_renderers()

    @extend_schema(request=ShipmentInput, responses={201: ShipmentDetail}, parameters=[KEY], summary="Pack units")
    def create(self, request: Request) -> Response:
        """Put units of an order into a parcel; 409 names each line of which fewer are left to send."""
        return answer_once(request, lambda: self._create(request))

    def _create(self, request: Request) -> Response:
        given = _read(ShipmentInput, request)
        made = shipments.ship_lines(
            order_id=given.validated_data["order_id"], lines=given.units(), actor=actor_of(request)
        )
        return self._show(made.pk, code=status.HTTP_201_CREATED)

    @extend_schema(request=RatesInput, responses={202: ShipmentDetail}, parameters=[KEY], summary="Ask for rates")
    def rates(self, request: Request, pk: int) -> Response:
        """Ask the carrier what the parcel would cost; the offers appear in `rates`."""
        return self._act(request, pk, lambda: self._ask_rates(request, pk))

    def _ask_rates(self, request: Request, pk: int) -> None:
        given = _read(RatesInput, request).validated_data
        labels.request_rates(
            shipment_id=pk,
            from_address=dict(given["from_address"]),
            to_address=dict(given.get("to_address", {})),
            parcel=dict(given["parcel"]),
            actor=actor_of(request),
        )

    @extend_schema(request=BuyInput, responses={202: ShipmentDetail}, parameters=[KEY], summary="Buy the label")
    def buy(self, request: Request, pk: int) -> Response:
        """Buy the label at one of the rates, once; the purchase is under way until `status` is `labelled`."""
        return self._act(request, pk, lambda: self._buy(request, pk))

    def _buy(self, request: Request, pk: int) -> None:
        given = _read(BuyInput, request).validated_data
        labels.buy_label(shipment_id=pk, rate_id=given["rate_id"], actor=actor_of(request))

    @extend_schema(request=None, responses={202: ShipmentDetail}, parameters=[KEY], summary="Give the parcel up")
    def void(self, request: Request, pk: int) -> Response:
        """Give the parcel up; for a label the carrier is asked for its refund, and decides later."""
        actor = actor_of(request)
        return self._act(request, pk, lambda: labels.void_shipment(shipment_id=pk, actor=actor))

    @extend_schema(request=TrackingInput, responses={200: ShipmentDetail}, parameters=[KEY], summary="Hand it over")
    def tracking(self, request: Request, pk: int) -> Response:
        """Note that the parcel was handed over, with its tracking number where we did not buy its label."""
        return self._act(request, pk, lambda: self._hand_over(request, pk), code=status.HTTP_200_OK)

    def _hand_over(self, request: Request, pk: int) -> None:
        tracking = _read(TrackingInput, request).to_tracking()
        shipments.mark_shipped(shipment_id=pk, tracking=tracking, actor=actor_of(request), now=timezone.now())

    @extend_schema(
        responses={(200, "application/pdf"): OpenApiTypes.BINARY, (200, "image/png"): OpenApiTypes.BINARY},
        summary="Fetch the label",
    )
    def label(self, request: Request, pk: int) -> FileResponse:
        """Send the label's file; 409 while there is none."""
        return open_label(self.get_object())

    def _act(
        self, request: Request, pk: int, act: Callable[[], object], *, code: int = status.HTTP_202_ACCEPTED
    ) -> Response:
        self.get_object()

        def run() -> Response:
            act()
            return self._show(pk, code=code)

        return answer_once(request, run)

    def _show(self, pk: int, *, code: int) -> Response:
        return Response(ShipmentDetail(self.get_queryset().get(pk=pk)).data, status=code)


def _read(shape: type[Shape], request: Request) -> Shape:
    given = shape(data=request.data)
    given.is_valid(raise_exception=True)
    return given
