"""Payments: what a gateway said (events), what follows (payments, refunds, disputes), and our calls through it."""

from __future__ import annotations

import uuid

from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now

from config.infra.work import Queue, WorkRow
from orders.models.orders import Money, Order
from shopsync.models import Connection, TenantModel

_ISO_4217 = r"^[A-Z]{3}$"


class Payment(TenantModel):
    """What a buyer pays through a gateway: follows from the set of its events, whatever their order.

    `order_key` is how its metadata names the order (`id:12`, `shopify:450789469`, `name:#1001`); the order itself may
    come later.
    """

    class Status(models.TextChoices):
        REQUIRES_PAYMENT = "requires_payment"
        PROCESSING = "processing"
        FAILED = "failed"
        AUTHORIZED = "authorized"
        EXPIRED = "expired"
        CANCELED = "canceled"
        PAID = "paid"
        PARTIALLY_REFUNDED = "partially_refunded"
        REFUNDED = "refunded"
        DISPUTED = "disputed"
        CHARGED_BACK = "charged_back"

    connection = models.ForeignKey(Connection, on_delete=models.PROTECT, related_name="+")
    gateway = models.CharField(max_length=20, default="stripe")
    provider_id = models.CharField(max_length=120, help_text="the payment intent, or the charge where there is none")
    order = models.ForeignKey(Order, null=True, blank=True, on_delete=models.SET_NULL, related_name="payments")
    order_key = models.CharField(max_length=200, blank=True, default="", help_text="how it names its order")
    status = models.CharField(max_length=20, choices=Status)
    currency = models.CharField(max_length=3)
    amount = Money()
    amount_captured = Money()
    amount_refunded = Money()
    expires_at = models.DateTimeField(null=True, blank=True, help_text="when an authorisation ends by itself")
    last_error = models.CharField(max_length=300, blank=True, default="")
    is_contradicted = models.BooleanField(default=False, help_text="its events can't all be true: the gateway is asked")
    last_event_at = models.DateTimeField(help_text="the gateway's time of its newest event")
    created_at = models.DateTimeField(db_default=Now())
    updated_at = models.DateTimeField(db_default=Now())

    class Meta(TenantModel.Meta):
        ordering = ("-id",)
        constraints = (
            models.UniqueConstraint(
                fields=("tenant", "connection", "provider_id"), name="payment_is_one_per_connection_and_provider_id"
            ),
            models.CheckConstraint(
                name="payment_status_is_known",
                condition=Q(
                    status__in=(
                        *("requires_payment", "processing", "failed", "authorized", "expired", "canceled", "paid"),
                        *("partially_refunded", "refunded", "disputed", "charged_back"),
                    )
                ),
            ),
            models.CheckConstraint(name="payment_currency_is_iso_4217", condition=Q(currency__regex=_ISO_4217)),
            models.CheckConstraint(
                name="payment_amounts_are_not_negative",
                condition=Q(amount__gte=0, amount_captured__gte=0, amount_refunded__gte=0),
            ),
            models.CheckConstraint(
                name="payment_refunds_no_more_than_captured", condition=Q(amount_refunded__lte=F("amount_captured"))
            ),
        )
        indexes = (
            models.Index(fields=("tenant_id", "-id"), name="payment_newest"),
            models.Index(fields=("tenant_id", "order_key"), name="payment_waits_for_order", condition=Q(order=None)),
            models.Index(fields=("expires_at",), name="payment_to_expire", condition=Q(status="authorized")),
        )

    def __str__(self) -> str:
        return self.provider_id


class PaymentEvent(TenantModel):
    """One thing that a gateway said, once: by a webhook, by the answer to a call, or when it was asked."""

    class Kind(models.TextChoices):
        INTENT = "intent"
        CHARGE = "charge"
        REFUND = "refund"
        DISPUTE = "dispute"

    connection = models.ForeignKey(Connection, on_delete=models.PROTECT, related_name="+")
    event_id = models.CharField(max_length=160, help_text="the gateway's, or our own for an answer")
    payment_provider_id = models.CharField(max_length=120, help_text="the payment that it is about")
    kind = models.CharField(max_length=7, choices=Kind)
    subject_id = models.CharField(max_length=120, help_text="the object that it tells of")
    topic = models.CharField(max_length=100)
    happened_at = models.DateTimeField()
    values = models.JSONField(default=dict)
    created_at = models.DateTimeField(db_default=Now())

    class Meta(TenantModel.Meta):
        ordering = ("payment_provider_id", "happened_at", "id")
        constraints = (
            models.UniqueConstraint(fields=("connection", "event_id"), name="paymentevent_is_taken_once"),
            models.CheckConstraint(
                name="paymentevent_kind_is_known", condition=Q(kind__in=("intent", "charge", "refund", "dispute"))
            ),
        )
        indexes = (
            models.Index(fields=("connection", "payment_provider_id"), name="paymentevent_of_payment"),
            models.Index(fields=("connection", "subject_id"), name="paymentevent_of_subject"),
        )

    def __str__(self) -> str:
        return f"{self.topic} {self.subject_id}"


class GatewayRefund(TenantModel):
    """Money given back through a gateway: asked for here (with our key), or made elsewhere and reported."""

    class Status(models.TextChoices):
        REQUESTED = "requested"  # ours, and the gateway has not said anything of it yet
        PENDING = "pending"
        SUCCEEDED = "succeeded"
        FAILED = "failed"  # also after it had succeeded: the money came back
        CANCELED = "canceled"

    payment = models.ForeignKey(Payment, on_delete=models.PROTECT, related_name="refunds")
    connection = models.ForeignKey(Connection, on_delete=models.PROTECT, related_name="+")
    provider_id = models.CharField(max_length=120, blank=True, default="")
    key = models.UUIDField(default=uuid.uuid4, help_text="sent along: recognises the refund whatever was answered")
    is_ours = models.BooleanField(default=False)
    idempotency_key = models.CharField(max_length=200, blank=True, default="")
    request_digest = models.CharField(max_length=64, blank=True, default="")
    amount = Money()
    currency = models.CharField(max_length=3)
    reason = models.CharField(max_length=60, blank=True, default="")
    status = models.CharField(max_length=9, choices=Status)
    failure_reason = models.CharField(max_length=300, blank=True, default="")
    actor = models.CharField(max_length=120, blank=True, default="")
    created_at = models.DateTimeField(db_default=Now())
    updated_at = models.DateTimeField(db_default=Now())

    class Meta(TenantModel.Meta):
        ordering = ("-id",)
        constraints = (
            models.UniqueConstraint(
                fields=("connection", "provider_id"),
                name="gatewayrefund_has_its_own_provider_id",
                condition=~Q(provider_id=""),
            ),
            models.UniqueConstraint(fields=("key",), name="gatewayrefund_has_its_own_key"),
            models.UniqueConstraint(
                fields=("tenant", "idempotency_key"),
                name="gatewayrefund_is_requested_once_per_key",
                condition=~Q(idempotency_key=""),
            ),
            models.CheckConstraint(name="gatewayrefund_gives_something_back", condition=Q(amount__gt=0)),
            models.CheckConstraint(name="gatewayrefund_currency_is_iso_4217", condition=Q(currency__regex=_ISO_4217)),
            models.CheckConstraint(
                name="gatewayrefund_status_is_known",
                condition=Q(status__in=("requested", "pending", "succeeded", "failed", "canceled")),
            ),
            models.CheckConstraint(
                name="gatewayrefund_of_others_has_a_provider_id", condition=Q(is_ours=True) | ~Q(provider_id="")
            ),
        )
        indexes = (models.Index(fields=("tenant_id", "-id"), name="gatewayrefund_newest"),)

    def __str__(self) -> str:
        return self.provider_id or str(self.key)


class Dispute(TenantModel):
    """A buyer asks their bank for the money back."""

    payment = models.ForeignKey(Payment, on_delete=models.PROTECT, related_name="disputes")
    connection = models.ForeignKey(Connection, on_delete=models.PROTECT, related_name="+")
    provider_id = models.CharField(max_length=120)
    amount = Money()
    currency = models.CharField(max_length=3)
    reason = models.CharField(max_length=60, blank=True, default="")
    status = models.CharField(max_length=40, help_text="the gateway's own word")
    evidence_due_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(db_default=Now())
    updated_at = models.DateTimeField(db_default=Now())

    class Meta(TenantModel.Meta):
        ordering = ("-id",)
        constraints = (
            models.UniqueConstraint(fields=("connection", "provider_id"), name="dispute_has_its_own_provider_id"),
            models.CheckConstraint(name="dispute_amount_is_not_negative", condition=Q(amount__gte=0)),
            models.CheckConstraint(name="dispute_currency_is_iso_4217", condition=Q(currency__regex=_ISO_4217)),
        )
        indexes = (models.Index(fields=("tenant_id", "-id"), name="dispute_newest"),)

    def __str__(self) -> str:
        return self.provider_id


class PaymentCall(TenantModel, WorkRow):
    """One call through the gateway: give money back, take or give up an authorisation, or ask how a payment stands."""

    class Kind(models.TextChoices):
        REFUND = "refund"
        CAPTURE = "capture"
        CANCEL = "cancel"
        ASK = "ask"

    queue = Queue(
        name="payments",
        drain_task="orders.tasks.drain_payments",
        celery_queue="maintenance",
        on_expiry="park",
        batch_size=50,
    )

    kind = models.CharField(max_length=7, choices=Kind)
    payment = models.ForeignKey(Payment, on_delete=models.PROTECT, related_name="calls")
    key = models.CharField(max_length=40, blank=True, default="", db_default="", help_text="of a capture or cancel")
    amount = Money(db_default=0, help_text="to capture, in the payment's currency")
    idempotency_key = models.CharField(max_length=200, blank=True, default="", db_default="")
    request_digest = models.CharField(max_length=64, blank=True, default="", db_default="")
    actor = models.CharField(max_length=120, blank=True, default="", db_default="")
    refund = models.OneToOneField(GatewayRefund, null=True, blank=True, on_delete=models.PROTECT, related_name="call")
    outcome = models.CharField(max_length=300, blank=True, default="")

    class Meta(TenantModel.Meta, WorkRow.Meta):
        ordering = ("-id",)
        constraints = (
            *WorkRow.Meta.constraints,
            models.CheckConstraint(
                name="paymentcall_of_a_refund_has_one",
                condition=Q(kind="refund", refund__isnull=False) | (~Q(kind="refund") & Q(refund__isnull=True)),
            ),
            models.CheckConstraint(
                name="paymentcall_captures_something",
                condition=Q(kind="capture", amount__gt=0) | (~Q(kind="capture") & Q(amount=0)),
            ),
            models.CheckConstraint(
                name="paymentcall_that_moves_an_authorisation_has_a_key",
                condition=~Q(kind__in=("capture", "cancel")) | ~Q(key=""),
            ),
            models.UniqueConstraint(
                fields=("tenant", "idempotency_key"),
                name="paymentcall_is_requested_once_per_key",
                condition=~Q(idempotency_key=""),
            ),
            models.UniqueConstraint(fields=("payment",), name="paymentcall_cancels_once", condition=Q(kind="cancel")),
            models.UniqueConstraint(
                fields=("payment",),
                name="paymentcall_captures_once_at_a_time",
                condition=Q(kind="capture", status__in=("ready", "leased", "unknown")),
            ),
            models.UniqueConstraint(
                fields=("payment",),
                name="paymentcall_asks_once_at_a_time",
                condition=Q(kind="ask", status__in=("ready", "leased")),
            ),
        )

    def __str__(self) -> str:
        return f"{self.kind} for {self.payment_id}"


class PaymentMismatch(TenantModel):
    """What the reconciliation found to differ between payments and orders; open until it no longer does."""

    class Kind(models.TextChoices):
        ORDER_WITHOUT_PAYMENT = "order_without_payment"
        PAYMENT_WITHOUT_ORDER = "payment_without_order"
        AMOUNT_DIFFERS = "amount_differs"
        CURRENCY_DIFFERS = "currency_differs"
        REFUNDS_DIFFER = "refunds_differ"

    kind = models.CharField(max_length=24, choices=Kind)
    subject = models.CharField(max_length=60, help_text="order:12 or payment:34")
    order = models.ForeignKey(Order, null=True, blank=True, on_delete=models.SET_NULL, related_name="+")
    payment = models.ForeignKey(Payment, null=True, blank=True, on_delete=models.SET_NULL, related_name="+")
    detail = models.CharField(max_length=300)
    found_at = models.DateTimeField(db_default=Now())
    last_seen_at = models.DateTimeField(db_default=Now())
    closed_at = models.DateTimeField(null=True, blank=True)
    accepted_at = models.DateTimeField(null=True, blank=True, help_text="since when it is explained, as it stands")
    accepted_by = models.CharField(max_length=150, blank=True)
    note = models.CharField(max_length=500, blank=True, help_text="why it is all right as it stands")

    class Meta(TenantModel.Meta):
        ordering = ("-id",)
        verbose_name_plural = "payment mismatches"
        constraints = (
            models.UniqueConstraint(
                fields=("tenant", "kind", "subject"),
                name="paymentmismatch_is_open_once",
                condition=Q(closed_at__isnull=True),
            ),
            models.CheckConstraint(
                name="paymentmismatch_kind_is_known",
                condition=Q(
                    kind__in=(
                        *("order_without_payment", "payment_without_order", "amount_differs"),
                        *("currency_differs", "refunds_differ"),
                    )
                ),
            ),
        )
        indexes = (models.Index(fields=("tenant_id", "-id"), name="paymentmismatch_newest"),)

    def __str__(self) -> str:
        return f"{self.kind} {self.subject}"

    @property
    def is_open(self) -> bool:
        """Does it still differ?"""
        return self.closed_at is None
