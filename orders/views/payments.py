"""The API's payments: what gateways tell of them, refunds through them, and what differs from the orders."""

from __future__ import annotations

import uuid
from typing import Any

from django.db.models import QuerySet
from django.utils import timezone
from django_filters import BooleanFilter, CharFilter, ChoiceFilter, IsoDateTimeFilter
from django_filters.rest_framework import FilterSet
from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.exceptions import ValidationError
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import BaseSerializer
from rest_framework.viewsets import ReadOnlyModelViewSet

from orders.actions.dues import ORDER_REFUND
from orders.actions.gateway_refunds import InvalidRefund, NotRefundable, RefundKeyReused, request_refund
from orders.actions.reconciliation import MismatchClosed, accept_mismatch
from orders.models import Payment, PaymentMismatch
from orders.serializers.payments import (
    AcceptInput,
    GatewayRefundInput,
    GatewayRefundRow,
    MismatchRow,
    PaymentDetail,
    PaymentRow,
)
from shopsync.auth import MayAct, actor_of
from shopsync.serializers import WholeNumberFilter
from shopsync.views import KEY, answer_once, declare_problem, named, read_key

declare_problem(InvalidRefund, status=400, slug="invalid-refund", title="Invalid refund")
declare_problem(
    NotRefundable,
    status=409,
    slug="not-refundable",
    title="Not that much is left",
    members=lambda error: {**named(error), "available": error.available},
)
declare_problem(MismatchClosed, status=409, slug="mismatch-closed", title="It no longer differs")
declare_problem(RefundKeyReused, status=409, slug="idempotency-key-reused", title="Idempotency key used before")


class PaymentFilters(FilterSet):
    """Filters of payments."""

    order_id = WholeNumberFilter()
    status = ChoiceFilter(choices=Payment.Status.choices)
    provider_id = CharFilter()
    currency = CharFilter()
    created_after = IsoDateTimeFilter(field_name="created_at", lookup_expr="gte")
    created_before = IsoDateTimeFilter(field_name="created_at", lookup_expr="lt")


class Payments(ReadOnlyModelViewSet[Payment]):
    """Payments; in the detail with their refunds and disputes."""

    queryset = Payment.objects.none()
    filterset_class = PaymentFilters

    def get_queryset(self) -> QuerySet[Payment]:
        """Read the tenant's payments."""
        return Payment.objects.prefetch_related("refunds", "disputes") if self.detail else Payment.objects.all()

    def get_serializer_class(self) -> type[BaseSerializer[Any]]:
        """Show refunds and disputes in the detail only."""
        return PaymentDetail if self.action == "retrieve" else PaymentRow

    def get_permissions(self) -> list[BasePermission]:
        """Everybody of the tenant reads; to give money back is an act."""
        return [MayAct()] if self.action == "refund" else super().get_permissions()  # type: ignore[return-value]

    @extend_schema(
        request=GatewayRefundInput,
        responses={201: GatewayRefundRow},
        parameters=[KEY],
        summary="Refund through the gateway",
    )
    def refund(self, request: Request, pk: int) -> Response:
        """Queue a refund; 409 says how much is left. The same key answers with the same refund, as it stands now."""
        self.get_object()
        given = GatewayRefundInput(data=request.data)
        given.is_valid(raise_exception=True)
        key = read_key(request) or f"none-{uuid.uuid4()}"
        if key.startswith(ORDER_REFUND):
            raise ValidationError({"Idempotency-Key": [f"Keys that begin with {ORDER_REFUND} are ours; send another."]})
        made, _ = request_refund(request=given.to_request(pk), idempotency_key=key, actor=actor_of(request))
        return Response(GatewayRefundRow(made).data, status=status.HTTP_201_CREATED)


class MismatchFilters(FilterSet):
    """Filters of mismatches."""

    kind = ChoiceFilter(choices=PaymentMismatch.Kind.choices)
    subject = CharFilter()
    is_open = BooleanFilter(field_name="closed_at", lookup_expr="isnull")
    is_accepted = BooleanFilter(field_name="accepted_at", lookup_expr="isnull", exclude=True)


class Mismatches(ReadOnlyModelViewSet[PaymentMismatch]):
    """What the nightly comparison found to differ; closed once it no longer does, accepted once it is explained."""

    queryset = PaymentMismatch.objects.none()
    serializer_class = MismatchRow
    filterset_class = MismatchFilters

    def get_queryset(self) -> QuerySet[PaymentMismatch]:
        """Read the tenant's mismatches."""
        return PaymentMismatch.objects.all()

    def get_permissions(self) -> list[BasePermission]:
        """Everybody of the tenant reads; to accept a difference is an act."""
        return [MayAct()] if self.action == "accept" else super().get_permissions()  # type: ignore[return-value]

    @extend_schema(request=AcceptInput, responses={200: MismatchRow}, parameters=[KEY], summary="Explain a difference")
    def accept(self, request: Request, pk: int) -> Response:
        """Note why it is all right as it stands: it stays listed, and raises no alert unless it changes."""
        self.get_object()
        return answer_once(request, lambda: self._accept(request, pk))

    def _accept(self, request: Request, pk: int) -> Response:
        given = AcceptInput(data=request.data)
        given.is_valid(raise_exception=True)
        note = given.validated_data["note"]
        done = accept_mismatch(mismatch_id=pk, note=note, actor=actor_of(request), now=timezone.now())
        return Response(MismatchRow(done).data)
