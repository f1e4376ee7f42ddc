"""The API's settings of sending: read by all of the tenant, changed by owners and by the merchant's own systems."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar

from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django_filters import BooleanFilter, CharFilter, ChoiceFilter
from django_filters.rest_framework import FilterSet
from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView
from rest_framework.viewsets import ReadOnlyModelViewSet

from messaging.actions.policies import remove_hours, save_setting
from messaging.models import QuietHours, Sender, SendingPolicy
from messaging.models.contacts import Channel
from messaging.serializers.policies import HoursInput, HoursRow, SenderInput, SenderRow, SendingInput, SendingRow
from shopsync.auth import MayConfigure, ReadOrAct, actor_of
from shopsync.models import Connection
from shopsync.serializers import StrictQuery, read
from shopsync.views import KEY, answer_once


@contextmanager
def _refused_in_words() -> Iterator[None]:
    """Answer 400, with the sentences by field, for what the model does not take."""
    try:
        yield
    except ValidationError as error:
        told = error.message_dict if hasattr(error, "error_dict") else {"__all__": error.messages}
        renamed = {"__all__": "non_field_errors", "tenant": "non_field_errors", "connection": "connection_id"}
        raise serializers.ValidationError({renamed.get(field, field): said for field, said in told.items()}) from error


def _partly(shape: type[serializers.Serializer[Any]], request: Request) -> Mapping[str, Any]:
    """Read the fields that are given."""
    given = shape(data=request.data, partial=True)
    given.is_valid(raise_exception=True)
    return dict(given.validated_data)


class _Settings(StrictQuery, ReadOrAct, ReadOnlyModelViewSet[Any]):
    """Rows of settings."""

    acting: ClassVar[type[MayConfigure]] = MayConfigure
    serializer_class: Any

    def save(self, row: Any, values: Mapping[str, Any], request: Request) -> Response:
        """Save a row as an owner wants it."""
        code = status.HTTP_201_CREATED if row.pk is None else status.HTTP_200_OK
        with _refused_in_words():
            saved = save_setting(row, values, actor=actor_of(request))
        return Response(self.serializer_class(saved).data, status=code)


class SenderFilters(FilterSet):
    """Filters of senders."""

    channel = ChoiceFilter(choices=Channel.choices)
    value = CharFilter()
    is_active = BooleanFilter()


class Senders(_Settings):
    """Numbers, names and addresses that messages are from."""

    queryset = Sender.objects.none()
    serializer_class = SenderRow
    filterset_class = SenderFilters

    def get_queryset(self) -> QuerySet[Sender]:
        """Read the tenant's senders."""
        return Sender.objects.all()

    @extend_schema(request=SenderInput, responses={201: SenderRow}, parameters=[KEY], summary="Register a sender")
    def create(self, request: Request) -> Response:
        """Register a sender that the provider knows."""
        return answer_once(request, lambda: self.save(Sender(), read(SenderInput, request), request))

    @extend_schema(request=SenderInput, responses=SenderRow, summary="Change a sender")
    def partial_update(self, request: Request, pk: int) -> Response:
        """Change what is given; what was sent from it keeps what it was sent from."""
        return self.save(self.get_object(), _partly(SenderInput, request), request)

    def save(self, row: Sender, values: Mapping[str, Any], request: Request) -> Response:
        """Save a sender; its connection is one of the tenant's."""
        via = values.get("connection_id")
        if via is not None and not Connection.objects.filter(pk=via).exists():
            raise serializers.ValidationError({"connection_id": [f"There is no connection {via}."]})
        return super().save(row, values, request)


class HoursFilters(FilterSet):
    """Filters of hours."""

    country = CharFilter()


class Hours(_Settings):
    """The hours of the day in which campaigns may be sent, by country and state."""

    queryset = QuietHours.objects.none()
    serializer_class = HoursRow
    filterset_class = HoursFilters

    def get_queryset(self) -> QuerySet[QuietHours]:
        """Read the tenant's hours; where no row speaks of a place, 8:00 to 21:00 holds."""
        return QuietHours.objects.all()

    @extend_schema(request=HoursInput, responses={201: HoursRow}, parameters=[KEY], summary="Set hours")
    def create(self, request: Request) -> Response:
        """Set the hours of a country or a state."""
        return answer_once(request, lambda: self.save(QuietHours(), read(HoursInput, request), request))

    @extend_schema(request=HoursInput, responses=HoursRow, summary="Change hours")
    def partial_update(self, request: Request, pk: int) -> Response:
        """Change what is given; who was prepared for other hours is prepared anew as their turn comes."""
        return self.save(self.get_object(), _partly(HoursInput, request), request)

    @extend_schema(responses={204: None}, summary="Take hours away")
    def destroy(self, request: Request, pk: int) -> Response:
        """Take hours away: what holds elsewhere holds there again."""
        remove_hours(self.get_object(), actor=actor_of(request))
        return Response(status=status.HTTP_204_NO_CONTENT)


class Sending(StrictQuery, APIView):
    """Batches, caps, and how replies are read and answered."""

    permission_classes = (MayConfigure,)

    @extend_schema(responses=SendingRow, summary="How the tenant sends")
    def get(self, request: Request) -> Response:
        """Read the policy; without one the defaults hold, which are shown."""
        return Response(SendingRow(SendingPolicy.objects.first() or SendingPolicy()).data)

    @extend_schema(request=SendingInput, responses=SendingRow, summary="Say how the tenant sends")
    def put(self, request: Request) -> Response:
        """Change what is given."""
        row = SendingPolicy.objects.first() or SendingPolicy()
        with _refused_in_words():
            saved = save_setting(row, _partly(SendingInput, request), actor=actor_of(request))
        return Response(SendingRow(saved).data)
