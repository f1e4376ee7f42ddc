"""The API's replies: what people answer to messages, and what is decided about it."""

from __future__ import annotations

from django.db.models import QuerySet
from django.utils import timezone
from django_filters import BooleanFilter, CharFilter, ChoiceFilter, IsoDateTimeFilter
from django_filters.rest_framework import FilterSet
from drf_spectacular.utils import extend_schema
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import ReadOnlyModelViewSet

from config.infra import tenancy
from messaging.actions.reviews import InvalidReply, ReplyError, assign_reply, decide_reply, find_assignee
from messaging.models import InboundMessage
from messaging.serializers.replies import AssignedRow, AssignInput, DecideInput, ReplyRow
from shopsync.auth import ReadOrAct, actor_of
from shopsync.models import Tenant, User
from shopsync.serializers import StrictQuery, WholeNumberFilter, read
from shopsync.views import KEY, answer_once, declare_problem

declare_problem(ReplyError, status=409, slug="reply-refused", title="Not as the reply stands")
declare_problem(InvalidReply, status=400, slug="invalid-decision", title="This is no decision")


class ReplyFilters(FilterSet):
    """Filters of replies."""

    kind = ChoiceFilter(choices=InboundMessage.Kind.choices)
    review = ChoiceFilter(choices=InboundMessage.Review.choices)
    address = CharFilter(help_text="who wrote; E.164")
    contact_id = WholeNumberFilter()
    is_unrouted = BooleanFilter(method="choose_unrouted")
    received_after = IsoDateTimeFilter(field_name="received_at", lookup_expr="gte")
    received_before = IsoDateTimeFilter(field_name="received_at", lookup_expr="lt")

    def choose_unrouted(self, rows: QuerySet[InboundMessage], name: str, value: bool) -> QuerySet[InboundMessage]:
        """Choose what is nobody's, or what is somebody's."""
        return rows.filter(routed_by="") if value else rows.exclude(routed_by="")


class Replies(StrictQuery, ReadOrAct, ReadOnlyModelViewSet[InboundMessage]):
    """What people reply by SMS, what it asks for, and what became of it."""

    queryset = InboundMessage.objects.none()
    serializer_class = ReplyRow
    filterset_class = ReplyFilters

    def get_queryset(self) -> QuerySet[InboundMessage]:
        """Read the tenant's replies."""
        return InboundMessage.objects.all()

    @extend_schema(request=DecideInput, responses=ReplyRow, parameters=[KEY], summary="Decide what a reply asks for")
    def decide(self, request: Request, pk: int) -> Response:
        """Decide about a reply whose review is open: opt out (as STOP does), opt in (as START does), or nothing."""
        self.get_object()
        decision = read(DecideInput, request)["decision"]

        def run() -> Response:
            decided = decide_reply(reply_id=pk, decision=decision, actor=actor_of(request), now=timezone.now())
            return Response(ReplyRow(decided).data)

        return answer_once(request, run)

    @extend_schema(request=AssignInput, responses=AssignedRow, parameters=[KEY], summary="Say whose a reply is")
    def assign(self, request: Request, pk: int) -> Response:
        """Give an unrouted reply that arrived here to its tenant, where it does what it asks for, for good."""

        def run() -> Response:
            self.get_object()  # asked here: whoever repeats the request finds it gone to another tenant
            tenant = _assignee(request, read(AssignInput, request)["tenant"])
            assign_reply(reply_id=pk, tenant_id=tenant.pk, actor=actor_of(request), now=timezone.now())
            return Response(AssignedRow({"id": pk, "tenant": tenant.shop_domain}).data)

        return answer_once(request, run)


def _assignee(request: Request, shop_domain: str) -> Tenant:
    """Find whom to assign to: a key acts for its own tenant alone, a person for those that they act for in the admin.

    Raises: ValidationError.
    """
    own = Tenant.objects.get(pk=tenancy.current_tenant_id())
    if shop_domain.strip().lower() in {"", own.shop_domain}:
        return own
    caller: object = request.user
    found = find_assignee(shop_domain=shop_domain, person=caller) if isinstance(caller, User) else None
    if found is None:
        raise ValidationError({"tenant": ["There is no tenant of this domain that you act for."]})
    return found
