"""What the API shows of payments, and takes to give them back."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from orders.actions.authorisations import CaptureRequest
from orders.actions.gateway_refunds import RefundRequest
from orders.serializers.writes import PlainDecimalField
from shopsync.serializers import IdField, Input, MoneyField, PatternField


class GatewayRefundRow(serializers.Serializer[Any]):
    """Money given back through the gateway."""

    id = serializers.IntegerField(read_only=True)
    provider_id = serializers.CharField(read_only=True, help_text="empty until the gateway has told of it")
    status = serializers.CharField(
        read_only=True, help_text="requested, pending, succeeded, failed (also later), canceled"
    )
    amount = MoneyField()
    currency = serializers.CharField(read_only=True)
    reason = serializers.CharField(read_only=True)
    failure_reason = serializers.CharField(read_only=True)
    is_ours = serializers.BooleanField(read_only=True, help_text="asked for here, or made elsewhere and reported")
    created_at = serializers.DateTimeField(read_only=True)
    updated_at = serializers.DateTimeField(read_only=True)


class DisputeRow(serializers.Serializer[Any]):
    """A buyer asks their bank for the money."""

    id = serializers.IntegerField(read_only=True)
    provider_id = serializers.CharField(read_only=True)
    status = serializers.CharField(read_only=True, help_text="the gateway's own word")
    amount = MoneyField()
    currency = serializers.CharField(read_only=True)
    reason = serializers.CharField(read_only=True)
    evidence_due_at = serializers.DateTimeField(read_only=True, allow_null=True)


class PaymentRow(serializers.Serializer[Any]):
    """A payment, as its gateway tells of it."""

    id = serializers.IntegerField(read_only=True)
    order_id = serializers.IntegerField(read_only=True, allow_null=True)
    order_key = serializers.CharField(read_only=True, help_text="how it names its order, e.g. name:#1001")
    gateway = serializers.CharField(read_only=True)
    provider_id = serializers.CharField(read_only=True)
    status = serializers.CharField(read_only=True)
    currency = serializers.CharField(read_only=True)
    amount = MoneyField()
    amount_captured = MoneyField()
    amount_refunded = MoneyField()
    expires_at = serializers.DateTimeField(read_only=True, allow_null=True, help_text="when an authorisation ends")
    last_error = serializers.CharField(read_only=True)
    is_contradicted = serializers.BooleanField(read_only=True, help_text="the gateway is being asked what is true")
    last_event_at = serializers.DateTimeField(read_only=True)
    created_at = serializers.DateTimeField(read_only=True)
    updated_at = serializers.DateTimeField(read_only=True)


class PaymentDetail(PaymentRow):
    """A payment with its refunds and disputes."""

    refunds = GatewayRefundRow(many=True, read_only=True)
    disputes = DisputeRow(many=True, read_only=True)


class GatewayRefundInput(Input):
    """What to give back."""

    amount = PlainDecimalField(max_digits=20, decimal_places=4, help_text='a string, e.g. "12.50"')
    currency = PatternField(
        r"^[A-Z]{3}\Z",
        says="Give an ISO 4217 code in capital letters, e.g. EUR.",
        help_text="the payment's own, e.g. EUR",
    )
    reason = serializers.ChoiceField(
        choices=["duplicate", "fraudulent", "requested_by_customer"], required=False, default="requested_by_customer"
    )

    def to_request(self, payment_id: int) -> RefundRequest:
        """Return it as the action takes it."""
        return RefundRequest(payment_id=payment_id, **self.validated_data)


class CaptureInput(Input):
    """What to capture of an order's authorisation."""

    amount = PlainDecimalField(
        max_digits=20, decimal_places=4, required=False,
        help_text='a string, e.g. "12.50", in the payment\'s currency; left out: what is due of the order',
    )  # fmt: skip
    payment_id = IdField(required=False, help_text="needed where several payments of the order are authorised")

    def to_request(self, order_id: int) -> CaptureRequest:
        """Return it as the action takes it."""
        return CaptureRequest(order_id=order_id, **self.validated_data)


class CaptureRow(serializers.Serializer[Any]):
    """A capture, and where its call to the gateway stands."""

    id = serializers.IntegerField(read_only=True)
    payment_id = serializers.IntegerField(read_only=True)
    amount = MoneyField(currency="payment.currency")
    currency = serializers.CharField(read_only=True, source="payment.currency")
    status = serializers.CharField(
        read_only=True, help_text="ready, leased, done (see outcome); unknown: its answer was lost, and is asked for"
    )
    blocker = serializers.CharField(read_only=True, help_text="what a ready call waits for")
    outcome = serializers.CharField(read_only=True, help_text="captured, or why it was refused")
    created_at = serializers.DateTimeField(read_only=True)
    finished_at = serializers.DateTimeField(read_only=True, allow_null=True)


class MismatchRow(serializers.Serializer[Any]):
    """What differs between payments and orders."""

    id = serializers.IntegerField(read_only=True)
    kind = serializers.CharField(read_only=True)
    subject = serializers.CharField(read_only=True, help_text="order:12 or payment:34")
    order_id = serializers.IntegerField(read_only=True, allow_null=True)
    payment_id = serializers.IntegerField(read_only=True, allow_null=True)
    detail = serializers.CharField(read_only=True)
    is_open = serializers.BooleanField(read_only=True)
    found_at = serializers.DateTimeField(read_only=True)
    last_seen_at = serializers.DateTimeField(read_only=True)
    closed_at = serializers.DateTimeField(read_only=True, allow_null=True)
    accepted_at = serializers.DateTimeField(read_only=True, allow_null=True)
    accepted_by = serializers.CharField(read_only=True)
    note = serializers.CharField(read_only=True, help_text="why it is all right as it stands")


class AcceptInput(Input):
    """Why a difference is all right."""

    note = serializers.CharField(max_length=500)
