"""The API's stock: levels, their ledger, locations; receive, adjust and transfer where we count."""

from __future__ import annotations

from django.db.models import Prefetch, QuerySet
from django_filters import BooleanFilter, CharFilter, ChoiceFilter
from django_filters.rest_framework import FilterSet
from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import ReadOnlyModelViewSet

from inventory.actions import stock
from inventory.actions.locations import LocationError, change_location
from inventory.actions.stock import Spot
from inventory.models import STATES, Location, StockLevel, StockMovement, Variant
from inventory.serializers.stock import (
    Adjust,
    Expect,
    LocationInput,
    LocationRow,
    MovementRow,
    Receive,
    StockRow,
    Transfer,
)
from shopsync.auth import MayConfigure, ReadOrAct, actor_of
from shopsync.serializers import WholeNumberFilter, read
from shopsync.views import KEY, answer_once, declare_problem

declare_problem(stock.ShopifyCounts, status=409, slug="shopify-counts", title="Shopify counts this stock")
declare_problem(stock.NotStocked, status=400, slug="not-stocked", title="Nothing is counted there")
declare_problem(
    stock.TooFew,
    status=409,
    slug="too-few",
    title="Fewer are free to move",
    members=lambda error: {"asked": error.asked, "sellable": error.sellable},
)


class StockFilters(FilterSet):
    """Filters of levels."""

    variant_id = WholeNumberFilter(field_name="item__variants", distinct=True)
    sku = CharFilter(field_name="item__variants__sku", distinct=True)
    location_id = WholeNumberFilter()


class Stock(ReadOrAct, ReadOnlyModelViewSet[StockLevel]):
    """How many there are, by item and location."""

    queryset = StockLevel.objects.none()
    serializer_class = StockRow
    filterset_class = StockFilters

    def get_queryset(self) -> QuerySet[StockLevel]:
        """Read the tenant's levels, with what they are sold as."""
        variants = Prefetch("item__variants", Variant.objects.order_by("pk"))
        return StockLevel.objects.select_related("item", "location").prefetch_related(variants)

    @extend_schema(request=Receive, responses={201: StockRow}, parameters=[KEY], summary="Receive units")
    def receive(self, request: Request) -> Response:
        """Add units that arrived."""
        return answer_once(request, lambda: self._receive(request))

    def _receive(self, request: Request) -> Response:
        given = read(Receive, request)
        level = stock.receive_stock(
            spot=Spot(given["variant_id"], given["location_id"]),
            quantity=given["quantity"],
            reference=given["reference"],
            from_incoming=given["from_incoming"],
            actor=actor_of(request),
        )
        return self._answer(level)

    @extend_schema(request=Expect, responses={201: StockRow}, parameters=[KEY], summary="Expect units")
    def expect(self, request: Request) -> Response:
        """Say that units are on their way, or are not any more."""
        return answer_once(request, lambda: self._expect(request))

    def _expect(self, request: Request) -> Response:
        given = read(Expect, request)
        spot = Spot(given["variant_id"], given["location_id"])
        actor = actor_of(request)
        level = stock.expect_stock(spot=spot, delta=given["delta"], reference=given["reference"], actor=actor)
        return self._answer(level)

    @extend_schema(request=Adjust, responses={201: StockRow}, parameters=[KEY], summary="Adjust the count")
    def adjust(self, request: Request) -> Response:
        """Correct the count by some units, with a reason."""
        return answer_once(request, lambda: self._adjust(request))

    def _adjust(self, request: Request) -> Response:
        given = read(Adjust, request)
        level = stock.adjust_stock(
            spot=Spot(given["variant_id"], given["location_id"]),
            delta=given["delta"],
            reason=given["reason"],
            reference=given["reference"],
            actor=actor_of(request),
        )
        return self._answer(level)

    @extend_schema(request=Transfer, responses={201: StockRow}, parameters=[KEY], summary="Transfer between locations")
    def transfer(self, request: Request) -> Response:
        """Move units to another location, and show the level that has them now."""
        return answer_once(request, lambda: self._transfer(request))

    def _transfer(self, request: Request) -> Response:
        given = read(Transfer, request)
        _, level = stock.transfer_stock(
            source=Spot(given["variant_id"], given["from_location_id"]),
            target=Spot(given["variant_id"], given["to_location_id"]),
            quantity=given["quantity"],
            reference=given["reference"],
            actor=actor_of(request),
        )
        return self._answer(level)

    def _answer(self, level: StockLevel) -> Response:
        row = self.get_queryset().get(pk=level.pk)
        return Response(StockRow(row).data, status=status.HTTP_201_CREATED)


class MovementFilters(FilterSet):
    """Filters of the ledger."""

    level_id = WholeNumberFilter()
    state = ChoiceFilter(choices=[(state, state) for state in STATES])
    reason = CharFilter()
    reference = CharFilter()


class Movements(ReadOnlyModelViewSet[StockMovement]):
    """The ledger: every change of every level, newest first."""

    queryset = StockMovement.objects.none()
    serializer_class = MovementRow
    filterset_class = MovementFilters

    def get_queryset(self) -> QuerySet[StockMovement]:
        """Read the tenant's movements."""
        return StockMovement.objects.all()


class LocationFilters(FilterSet):
    """Filters of locations."""

    shopify_id = WholeNumberFilter()
    is_active = BooleanFilter()


declare_problem(
    LocationError,
    status=400,
    slug="invalid-location",
    title="Not a place",
    members=lambda error: {"errors": {name: [sentence] for name, sentence in error.errors.items()}},
)


class Locations(ReadOrAct, ReadOnlyModelViewSet[Location]):
    """Where stock lies."""

    acting = MayConfigure
    queryset = Location.objects.none()
    serializer_class = LocationRow
    filterset_class = LocationFilters

    def get_queryset(self) -> QuerySet[Location]:
        """Read the tenant's locations."""
        return Location.objects.all()

    @extend_schema(request=LocationInput, responses=LocationRow, summary="Change a location's settings")
    def partial_update(self, request: Request, pk: int) -> Response:
        """Change its own name, country, coordinates, priority, and whether stock is taken from it."""
        self.get_object()
        location = change_location(location_id=pk, values=read(LocationInput, request), actor=actor_of(request))
        return Response(LocationRow(location).data)
