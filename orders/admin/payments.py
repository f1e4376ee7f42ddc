"""Payments for operators: what gateways told of them, refunds, disputes, and what differs from the orders."""

from __future__ import annotations

from django import forms
from django.contrib import admin, messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils import timezone
from unfold.decorators import display
from unfold.widgets import UnfoldAdminTextInputWidget

from orders.actions.gateway_refunds import RefundError, RefundRequest, refundable_amount, request_refund
from orders.actions.reconciliation import MismatchClosed, accept_mismatch
from orders.models import Dispute, GatewayRefund, Payment, PaymentMismatch
from shopsync.admin.base import ReadOnlyInline, TenantModelAdmin, actor_of
from shopsync.admin.forms import ActingAdmin, KeyedForm, Page, PlainDecimalField, row_action
from shopsync.money import format_amount

_COLOURS = {"paid": "success", "authorized": "info", "processing": "info", "failed": "warning", "disputed": "danger",
            "charged_back": "danger", "expired": "warning", "succeeded": "success", "pending": "info",
            "requested": "info"}  # fmt: skip


class RefundForm(KeyedForm):
    """How much to give back."""

    amount = PlainDecimalField(max_digits=20, decimal_places=4, widget=UnfoldAdminTextInputWidget)


class RefundInline(ReadOnlyInline):
    """Money given back."""

    model = GatewayRefund
    fields = ("provider_id", "status", "amount", "currency", "reason", "failure_reason", "actor", "created_at")


class DisputeInline(ReadOnlyInline):
    """Buyers who ask their bank."""

    model = Dispute
    fields = ("provider_id", "status", "amount", "currency", "reason", "evidence_due_at")


@admin.register(Payment)
class PaymentAdmin(TenantModelAdmin):
    """Payments, read-only; operators give them back."""

    list_display = ("provider_id", "state", "sum", "captured", "refunded", "order_key", "expires_at", "last_event_at")
    list_filter = ("status", "is_contradicted", ("order", admin.EmptyFieldListFilter))
    search_fields = ("=provider_id", "=order_key")
    search_help_text = "the gateway's id, or how it names its order (name:#1001), in full"
    inlines = (RefundInline, DisputeInline)
    actions_detail = ("give_back",)
    fields = (("provider_id", "gateway", "status", "is_contradicted"), ("amount", "amount_captured", "amount_refunded",
              "currency"), ("order", "order_key"), "last_error", ("expires_at", "last_event_at"), "connection",
              ("created_at", "updated_at"), "tenant")  # fmt: skip

    @display(description="status", ordering="status", label=_COLOURS)
    def state(self, payment: Payment) -> str:
        """Say where it stands."""
        return payment.status

    @display(description="amount", ordering="amount")
    def sum(self, payment: Payment) -> str:
        """Write the amount with its currency."""
        return f"{format_amount(payment.amount, payment.currency)} {payment.currency}"

    @display(description="captured", ordering="amount_captured")
    def captured(self, payment: Payment) -> str:
        """Write what was taken."""
        return format_amount(payment.amount_captured, payment.currency)

    @display(description="refunded", ordering="amount_refunded")
    def refunded(self, payment: Payment) -> str:
        """Write what was given back."""
        return format_amount(payment.amount_refunded, payment.currency)

    @row_action("Refund", path="refund", icon="undo")
    def give_back(self, request: HttpRequest, payment: Payment) -> HttpResponse:
        """Ask how much, then queue the refund."""
        back = reverse("admin:orders_payment_change", args=[payment.pk])
        left = format_amount(refundable_amount(payment=payment), payment.currency)
        form = RefundForm(request.POST or None, initial={"amount": left})
        if request.method == "POST" and form.is_valid() and self._refund(request, payment, form):
            return HttpResponseRedirect(back)
        sentences = [f"{payment} has {left} {payment.currency} left. The money goes back the way it came; "
                     "it can't be called back."]  # fmt: skip
        return self.confirm(request, "Give money back?", sentences=sentences, button="Refund", back=back, form=form)

    def _refund(self, request: HttpRequest, payment: Payment, form: RefundForm) -> bool:
        """Queue it; say why not on the page."""
        given = form.cleaned_data
        asked = RefundRequest(payment_id=payment.pk, amount=given["amount"], currency=payment.currency)
        try:
            request_refund(request=asked, idempotency_key=given["key"], actor=actor_of(request))
        except RefundError as error:
            form.add_error("amount", str(error))
            return False
        self.message_user(request, "The refund is on its way to the gateway.", messages.SUCCESS)
        return True


@admin.register(GatewayRefund)
class GatewayRefundAdmin(TenantModelAdmin):
    """Refunds through gateways."""

    list_display = ("id", "provider_id", "state", "sum", "reason", "failure_reason", "is_ours", "created_at")
    list_filter = ("status", "is_ours")
    search_fields = ("=provider_id",)
    search_help_text = "the gateway's id, in full"

    @display(description="status", ordering="status", label=_COLOURS)
    def state(self, refund: GatewayRefund) -> str:
        """Say where it stands."""
        return refund.status

    @display(description="amount", ordering="amount")
    def sum(self, refund: GatewayRefund) -> str:
        """Write the amount with its currency."""
        return f"{format_amount(refund.amount, refund.currency)} {refund.currency}"


@admin.register(Dispute)
class DisputeAdmin(TenantModelAdmin):
    """Disputes; evidence is sent at the gateway."""

    list_display = ("provider_id", "status", "amount", "currency", "reason", "evidence_due_at", "created_at")
    list_filter = ("status",)
    search_fields = ("=provider_id",)
    search_help_text = "the gateway's id, in full"


class AcceptForm(KeyedForm):
    """Why a difference is all right."""

    note = forms.CharField(max_length=500, widget=UnfoldAdminTextInputWidget)


@admin.register(PaymentMismatch)
class PaymentMismatchAdmin(ActingAdmin):
    """What differs between payments and orders; the nightly comparison opens and closes it, a person explains it."""

    refusals = (MismatchClosed,)
    list_display = ("id", "kind", "subject", "detail", "is_still_so", "note", "found_at", "last_seen_at")
    list_filter = ("kind", ("closed_at", admin.EmptyFieldListFilter), ("accepted_at", admin.EmptyFieldListFilter))
    search_fields = ("=subject",)
    search_help_text = "order:12 or payment:34, in full"
    actions_detail = ("accept",)

    @display(description="open", boolean=True)
    def is_still_so(self, mismatch: PaymentMismatch) -> bool:
        """Say whether it still differs."""
        return mismatch.is_open

    @row_action("Explain", path="accept", icon="task_alt")
    def accept(self, request: HttpRequest, mismatch: PaymentMismatch) -> HttpResponse:
        """Ask why it is all right, and note it."""
        form, actor = AcceptForm(request.POST), actor_of(request)

        def run() -> object:
            note = form.cleaned_data["note"]
            return accept_mismatch(mismatch_id=mismatch.pk, note=note, actor=actor, now=timezone.now())

        sentences = (mismatch.detail, "It stays listed, and raises no alert unless it changes.")
        page = Page(
            title="All right as it stands?", sentences=sentences, button="Explain", done="Noted.", form=form, run=run
        )
        return self.ask(request, mismatch, page)
