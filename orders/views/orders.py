"""The API's orders."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from functools import partial
from typing import Any

from django.db.models import Prefetch, Q, QuerySet
from django.http import Http404
from django.utils import timezone
from django_filters import BooleanFilter, CharFilter, ChoiceFilter, IsoDateTimeFilter
from django_filters.rest_framework import FilterSet
from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import BaseSerializer
from rest_framework.viewsets import ReadOnlyModelViewSet

from audit.serializers import AuditEventRow
from orders.actions import moves
from orders.actions.authorisations import CaptureKeyReused, InvalidCapture, request_capture
from orders.actions.placing import CurrencyMismatch, UnknownReservation, place_order
from orders.actions.refunds import AmountTooFine, refund_order
from orders.actions.sent_stock import note_counted
from orders.models import Order, OrderLine, OrderWatch
from orders.money import FaultyAmount
from orders.queries import flags_of, only_overdue, timeline_of
from orders.rules import IllegalMove
from orders.serializers.orders import OrderDetail, OrderRow
from orders.serializers.payments import CaptureInput, CaptureRow
from orders.serializers.writes import CancelInput, HoldInput, NoteInput, PlaceOrder, RefundInput
from shopsync.auth import ReadOrAct, actor_of
from shopsync.identity import normalise_email
from shopsync.serializers import WholeNumberFilter, read
from shopsync.views import KEY, answer_once, declare_problem, read_key

READS = frozenset({"list", "retrieve", "timeline"})


def _nested(error: FaultyAmount) -> dict[str, object]:
    """Name the field as a serializer does: `lines.1.tax_amount` is the second line's."""
    errors: Any = [str(error)]
    for part in reversed(error.field.split(".")):
        errors = [{}] * int(part) + [errors] if part.isdecimal() else {part: errors}
    return {"errors": errors}


declare_problem(moves.OrderError, status=409, slug="order-conflict", title="The order can't be moved")
declare_problem(moves.ShopifysOrder, status=409, slug="shopifys-order", title="Shopify's order")
declare_problem(moves.UnknownLine, status=400, slug="unknown-lines", title="Unknown lines")
declare_problem(UnknownReservation, status=400, slug="unknown-reservation", title="Unknown reservation")
declare_problem(CurrencyMismatch, status=400, slug="currency-mismatch", title="Another currency")
declare_problem(InvalidCapture, status=400, slug="invalid-capture", title="Invalid capture")
declare_problem(CaptureKeyReused, status=409, slug="idempotency-key-reused", title="Idempotency key used before")
declare_problem(FaultyAmount, status=400, slug="faulty-amount", title="An amount does not fit", members=_nested)
declare_problem(AmountTooFine, status=400, slug="amount-too-fine", title="Too many decimals")
declare_problem(
    IllegalMove,
    status=409,
    slug="illegal-move",
    title="The order can't go there from here",
    members=lambda error: {
        "table": error.table,
        "source": error.source,
        "target": error.target,
        "allowed": error.allowed,
    },
)


class OrderFilters(FilterSet):
    """Filters of orders."""

    shopify_id = WholeNumberFilter()
    customer_shopify_id = WholeNumberFilter()
    name = CharFilter()
    email = CharFilter(method="of_email")
    phone = CharFilter(help_text="E.164, e.g. +15145550123")
    financial_status = CharFilter()
    fulfillment_status = CharFilter()
    is_cancelled = BooleanFilter(field_name="cancelled_at", lookup_expr="isnull", exclude=True)
    source = CharFilter()
    stock_state = CharFilter()
    is_held = BooleanFilter(field_name="held_at", lookup_expr="isnull", exclude=True)
    tag = CharFilter(method="of_tag", help_text="one of the order's tags, Shopify's or our own")
    q = CharFilter(method="of_anything", help_text="name, e-mail, phone, SKU or Shopify id, in full")
    overdue = ChoiceFilter(
        choices=OrderWatch.Kind.choices, method="of_overdue", help_text="what the alert of the tenant's watch counts"
    )
    placed_after = IsoDateTimeFilter(field_name="placed_at", lookup_expr="gte")
    placed_before = IsoDateTimeFilter(field_name="placed_at", lookup_expr="lt")

    def of_email(self, rows: QuerySet[Order], name: str, value: str) -> QuerySet[Order]:
        """Compare addresses in the form they are stored in."""
        return rows.filter(email=normalise_email(value) or value)

    def of_overdue(self, rows: QuerySet[Order], name: str, value: str) -> QuerySet[Order]:
        """Choose what waits longer than the tenant's watch of this kind allows."""
        return only_overdue(rows, kind=value, now=timezone.now())

    def of_tag(self, rows: QuerySet[Order], name: str, value: str) -> QuerySet[Order]:
        """Find orders by a tag."""
        return rows.filter(Q(tags__contains=[value]) | Q(staff_tags__contains=[value]))

    def of_anything(self, rows: QuerySet[Order], name: str, value: str) -> QuerySet[Order]:
        """Search by whatever people have at hand."""
        found = Q(name=value) | Q(email=normalise_email(value) or value) | Q(phone=value)
        found |= Q(pk__in=OrderLine.objects.filter(sku=value).values("order_id"))
        if value.isascii() and value.isdigit() and len(value) <= 18:
            found |= Q(shopify_id=int(value))
        return rows.filter(found)


class Orders(ReadOrAct, ReadOnlyModelViewSet[Order]):
    """Orders; in the detail with their lines, refunds and parcels."""

    reads = READS
    queryset = Order.objects.none()
    filterset_class = OrderFilters

    def get_queryset(self) -> QuerySet[Order]:
        """Read the tenant's orders."""
        if not self.detail:
            return Order.objects.all()
        lines = OrderLine.objects.select_related("commitment").order_by("position", "id")
        return Order.objects.prefetch_related(Prefetch("lines", lines), "refunds__lines", "fulfillments", "shipments")

    def get_serializer_class(self) -> type[BaseSerializer[Any]]:
        """Show lines in the detail only."""
        return OrderDetail if self.detail else OrderRow

    def get_serializer_context(self) -> dict[str, Any]:
        """Add what is odd about the stock of an order's lines."""
        context = dict(super().get_serializer_context())
        if self.detail and "pk" in self.kwargs:
            context["stock_flags"] = flags_of(order_id=self.kwargs["pk"])
        return context

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Find the order before its body is looked at: what is another tenant's is not there at all."""
        super().initial(request, *args, **kwargs)
        is_write = bool(self.action) and self.action not in READS
        if is_write and "pk" in kwargs and not Order.objects.filter(pk=kwargs["pk"]).exists():
            raise Http404

    @extend_schema(request=PlaceOrder, responses={201: OrderDetail}, parameters=[KEY], summary="Place an order")
    def create(self, request: Request) -> Response:
        """Reserve all lines and place the order, or do nothing.

        400 names the field that can't be, also for a variant or reservation that is unknown; 409 each line that is
        short, or why the reservation can't be taken over.
        """
        return answer_once(request, lambda: self._create(request))

    def _create(self, request: Request) -> Response:
        given = PlaceOrder(data=request.data)
        given.is_valid(raise_exception=True)
        order = place_order(new=given.to_order(), actor=actor_of(request), now=timezone.now())
        return self._answer(order.pk, code=status.HTTP_201_CREATED)

    @extend_schema(request=NoteInput, responses=OrderDetail, summary="Change our own tags and note")
    def partial_update(self, request: Request, pk: int) -> Response:
        """Change staff_tags, staff_note, or both."""
        values = read(NoteInput, request)
        return self._move(lambda: moves.note_order(order_id=pk, values=values, actor=actor_of(request)))

    @extend_schema(request=None, responses=OrderDetail, parameters=[KEY], summary="Mark as paid")
    def mark_paid(self, request: Request, pk: int) -> Response:
        """Note that an order of ours is paid in full; its units are sold."""
        return answer_once(request, lambda: self._mark_paid(request, pk))

    def _mark_paid(self, request: Request, pk: int) -> Response:
        return self._move(lambda: moves.mark_paid(order_id=pk, actor=actor_of(request), now=timezone.now()))

    @extend_schema(
        request=None,
        responses=OrderDetail,
        parameters=[KEY],
        summary="Allocate: find stock for a paid order without any",
    )
    def allocate(self, request: Request, pk: int) -> Response:
        """Try again to find the units."""
        move = partial(moves.allocate, order_id=pk, actor=actor_of(request), now=timezone.now())
        return answer_once(request, lambda: self._move(move))

    @extend_schema(request=CancelInput, responses=OrderDetail, parameters=[KEY], summary="Cancel, wholly or partly")
    def cancel(self, request: Request, pk: int) -> Response:
        """Cancel an order of ours, or some units of it that were not sent; 400 for a line that it does not have."""
        return answer_once(request, lambda: self._cancel(request, pk))

    def _cancel(self, request: Request, pk: int) -> Response:
        given = read(CancelInput, request)
        who = {"order_id": pk, "restock": given["restock"], "actor": actor_of(request), "now": timezone.now()}
        if lines := given.get("lines"):
            units = {line["line_id"]: line["quantity"] for line in lines}
            return self._move(lambda: moves.cancel_lines(quantities=units, **who))
        return self._move(lambda: moves.cancel_order(reason=given["reason"], **who))

    @extend_schema(request=RefundInput, responses={201: OrderDetail}, parameters=[KEY], summary="Refund")
    def refund(self, request: Request, pk: int) -> Response:
        """Refund units and money of a paid order of ours; 400 for a line that it does not have."""
        return answer_once(request, lambda: self._refund(request, pk))

    def _refund(self, request: Request, pk: int) -> Response:
        given = RefundInput(data=request.data)
        given.is_valid(raise_exception=True)
        values = given.validated_data
        make = partial(refund_order, order_id=pk, backs=given.to_backs(), amount=values["amount"], note=values["note"])
        return self._move(lambda: make(actor=actor_of(request), now=timezone.now()), pk=pk, code=201)

    @extend_schema(request=CaptureInput, responses={202: CaptureRow}, parameters=[KEY], summary="Capture")
    def capture(self, request: Request, pk: int) -> Response:
        """Queue the capture of an authorisation; the order is paid once the gateway has taken the money.

        The same key answers with the same capture, as it stands now; 409 where nothing waits to be captured.
        """
        given = CaptureInput(data=request.data)
        given.is_valid(raise_exception=True)
        key = read_key(request) or f"none-{uuid.uuid4()}"
        made, _ = request_capture(request=given.to_request(pk), idempotency_key=key, actor=actor_of(request))
        return Response(CaptureRow(made).data, status=status.HTTP_202_ACCEPTED)

    @extend_schema(
        request=HoldInput, responses=OrderDetail, parameters=[KEY], summary="Hold: keep it from being worked on"
    )
    def hold(self, request: Request, pk: int) -> Response:
        """Hold an order, with a reason."""
        reason = read(HoldInput, request)["reason"]
        move = partial(moves.hold_order, order_id=pk, reason=reason, actor=actor_of(request), now=timezone.now())
        return answer_once(request, lambda: self._move(move))

    @extend_schema(request=None, responses=OrderDetail, parameters=[KEY], summary="Unhold: let it go on")
    def unhold(self, request: Request, pk: int) -> Response:
        """Let a held order go on."""
        move = partial(moves.unhold_order, order_id=pk, actor=actor_of(request))
        return answer_once(request, lambda: self._move(move))

    @extend_schema(
        request=None,
        responses=OrderDetail,
        parameters=[KEY],
        summary="Counted: what was sent is off Shopify's count",
    )
    def note_counted(self, request: Request, pk: int) -> Response:
        """Hold what was sent of an order of ours no longer beside Shopify's count, which was corrected for it."""
        move = partial(note_counted, order_id=pk, actor=actor_of(request), now=timezone.now())
        return answer_once(request, lambda: self._move(move))

    @extend_schema(responses=AuditEventRow(many=True), summary="Timeline: what happened to it, newest first")
    def timeline(self, request: Request, pk: int) -> Response:
        """List the events of an order, its reservations, payments, refunds and parcels."""
        events = timeline_of(order=self.get_object())
        page = self.paginate_queryset(events)  # type: ignore[arg-type]  # of events, not of orders
        return self.get_paginated_response(AuditEventRow(page, many=True).data)

    def _move(self, move: Callable[[], object], *, pk: int | None = None, code: int = 200) -> Response:
        try:
            move()
        except Order.DoesNotExist as error:
            raise Http404 from error
        return self._answer(pk or self.kwargs["pk"], code=code)

    def _answer(self, pk: int, *, code: int = 200) -> Response:
        lines = OrderLine.objects.select_related("commitment").order_by("position", "id")
        orders = Order.objects.prefetch_related(Prefetch("lines", lines), "refunds__lines", "fulfillments", "shipments")
        context = {"stock_flags": flags_of(order_id=pk)}
        return Response(OrderDetail(orders.get(pk=pk), context=context).data, status=code)
