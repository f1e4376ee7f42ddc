"""The API's messages."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from django.utils import timezone
from django_filters import CharFilter, ChoiceFilter, IsoDateTimeFilter
from django_filters.rest_framework import FilterSet
from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import BaseSerializer
from rest_framework.viewsets import ReadOnlyModelViewSet

from config.infra.work import Status
from messaging.actions.messages import Draft, InvalidMessage, MessageError, resend_unknown, send_single, settle_unknown
from messaging.models import Message
from messaging.models.contacts import Channel
from messaging.queries.messages import STATES, in_state
from messaging.serializers.messages import MessageDetail, MessageInput, MessageRow, SettleInput
from shopsync.auth import ReadOrAct, actor_of
from shopsync.serializers import Nothing, StrictQuery, WholeNumberFilter, read
from shopsync.views import KEY, answer_once, declare_problem


class MessageFilters(FilterSet):
    """Filters of messages."""

    status = ChoiceFilter(choices=Status.choices)
    outcome = ChoiceFilter(choices=Message.Outcome.choices)
    state = ChoiceFilter(choices=[(one, one) for one in STATES], method="of_state", help_text="as messages show it")
    reason = CharFilter(help_text="why it was skipped or failed, e.g. no_consent")
    channel = ChoiceFilter(choices=Channel.choices)
    contact_id = WholeNumberFilter()
    campaign_id = WholeNumberFilter()
    address = CharFilter()
    created_after = IsoDateTimeFilter(field_name="created_at", lookup_expr="gte")
    created_before = IsoDateTimeFilter(field_name="created_at", lookup_expr="lt")

    def of_state(self, rows: QuerySet[Message], name: str, value: str) -> QuerySet[Message]:
        """Choose where they stand."""
        return in_state(rows, value)


declare_problem(MessageError, status=409, slug="message-refused", title="Not as the message stands")
declare_problem(InvalidMessage, status=400, slug="invalid-message", title="This is no message")


class Messages(StrictQuery, ReadOrAct, ReadOnlyModelViewSet[Message]):
    """Messages and where each stands; in the detail with its delivery reports."""

    queryset = Message.objects.none()
    filterset_class = MessageFilters

    def get_queryset(self) -> QuerySet[Message]:
        """Read the tenant's messages."""
        rows = Message.objects.select_related("campaign", "flow__queue")
        return rows.prefetch_related("reports") if self.detail else rows

    def get_serializer_class(self) -> type[BaseSerializer[Any]]:
        """Show reports in the detail only."""
        return MessageRow if self.action == "list" else MessageDetail

    @extend_schema(request=MessageInput, responses={201: MessageRow}, parameters=[KEY], summary="Send a message")
    def create(self, request: Request) -> Response:
        """Send one message to one contact; it waits for nothing but credits and the limits of the provider.

        400 names the field that does not fit.
        """
        draft = Draft(**read(MessageInput, request))

        def run() -> Response:
            sent = send_single(draft=draft, actor=actor_of(request))
            return Response(MessageRow(sent).data, status=status.HTTP_201_CREATED)

        return answer_once(request, run)

    @extend_schema(request=None, responses=MessageRow, parameters=[KEY], summary="Send an unknown one again")
    def resend(self, request: Request, pk: int) -> Response:
        """Send a message again that nobody knows the fate of: the recipient may get it twice. 409 for any other."""
        self.get_object()
        read(Nothing, request)
        return answer_once(
            request, lambda: Response(MessageRow(resend_unknown(message_id=pk, actor=actor_of(request))).data)
        )

    @extend_schema(request=SettleInput, responses=MessageRow, parameters=[KEY], summary="Say what became of it")
    def settle(self, request: Request, pk: int) -> Response:
        """Say of an unknown message whether it was sent, as the provider told you. 409 for any other."""
        self.get_object()
        was_sent = read(SettleInput, request)["was_sent"]

        def run() -> Response:
            settled = settle_unknown(message_id=pk, was_sent=was_sent, actor=actor_of(request), now=timezone.now())
            return Response(MessageRow(settled).data)

        return answer_once(request, run)
