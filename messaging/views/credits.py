"""The API's credits: how they stand, the ledger, and what may be spent. Credits are topped up in the admin alone."""

from __future__ import annotations

from django.db.models import Prefetch, QuerySet
from django.utils import timezone
from django_filters import CharFilter, ChoiceFilter
from django_filters.rest_framework import FilterSet
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView
from rest_framework.viewsets import ReadOnlyModelViewSet

from messaging.actions.credits import left_today, read_balance, save_policy
from messaging.models import CreditEntry, CreditPolicy, CreditTransaction
from messaging.serializers.credits import BalanceRow, PolicyInput, PolicyRow, TransactionRow
from shopsync.auth import HasTenant, MayConfigure, actor_of
from shopsync.serializers import StrictQuery


class Balance(StrictQuery, APIView):
    """How the tenant's credits stand."""

    permission_classes = (HasTenant,)

    @extend_schema(responses=BalanceRow, summary="How credits stand")
    def get(self, request: Request) -> Response:
        """Read what is available, held and spent, and what the day's cap leaves."""
        balance = read_balance()
        left = left_today(balance.held, now=timezone.now())
        told = {"available": balance.available, "held": balance.held, "spent": balance.spent, "left_today": left}
        return Response(BalanceRow(told).data)


class Policy(StrictQuery, APIView):
    """What a tenant lets itself spend."""

    permission_classes = (MayConfigure,)

    @extend_schema(responses=PolicyRow, summary="What may be spent")
    def get(self, request: Request) -> Response:
        """Read the policy; without one there is no cap, no warning, and every country is written to."""
        return Response(PolicyRow(CreditPolicy.objects.first() or CreditPolicy()).data)

    @extend_schema(request=PolicyInput, responses=PolicyRow, summary="Say what may be spent")
    def put(self, request: Request) -> Response:
        """Change what is given of the day's cap, when to warn, and the countries that are written to."""
        given = PolicyInput(data=request.data, partial=True)
        given.is_valid(raise_exception=True)
        return Response(PolicyRow(save_policy(**given.validated_data, actor=actor_of(request))).data)


class TransactionFilters(FilterSet):
    """Filters of the ledger."""

    kind = ChoiceFilter(choices=CreditTransaction.Kind.choices)
    reference = CharFilter(help_text="what it was for, e.g. campaign:12")


class Transactions(StrictQuery, ReadOnlyModelViewSet[CreditTransaction]):
    """The ledger: each transaction's entries add up to zero."""

    queryset = CreditTransaction.objects.none()
    serializer_class = TransactionRow
    filterset_class = TransactionFilters

    def get_queryset(self) -> QuerySet[CreditTransaction]:
        """Read the tenant's ledger, its entries in one more query."""
        entries = CreditEntry.objects.select_related("account").order_by("pk")
        return CreditTransaction.objects.prefetch_related(Prefetch("entries", entries))
