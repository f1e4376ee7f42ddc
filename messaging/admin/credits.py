"""Credits for operators: the ledger, and what may be spent; the house tops up."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from unfold.decorators import display
from unfold.widgets import UnfoldAdminTextInputWidget

from messaging.actions.credits import CreditError, adjust, save_policy, top_up
from messaging.models import CreditAccount, CreditEntry, CreditPolicy, CreditTransaction
from messaging.senders import wrong_with_countries
from shopsync.admin.base import ReadOnlyInline, TenantModelAdmin, actor_of
from shopsync.admin.forms import ActingAdmin, KeyedForm, Page, PlainDecimalField, row_action


class TopUpForm(KeyedForm):
    """How many credits were paid for."""

    amount = PlainDecimalField(max_digits=16, decimal_places=4, widget=UnfoldAdminTextInputWidget)
    note = forms.CharField(max_length=300, required=False, widget=UnfoldAdminTextInputWidget)


@admin.register(CreditAccount)
class CreditAccountAdmin(ActingAdmin):
    """How a tenant's credits stand. Superusers add what was paid for, and correct."""

    refusals = (CreditError,)
    list_display = ("kind", "balance")
    fields = ("kind", "balance", "tenant")
    actions_detail = ("add_credits", "correct")

    def has_sell_permission(self, request: HttpRequest, obj: object = None) -> bool:
        """Credits are the house's to sell."""
        return bool(request.user.is_superuser)

    @row_action("Top up", path="top-up", icon="add_card", permission="sell")
    def add_credits(self, request: HttpRequest, account: CreditAccount) -> HttpResponse:
        """Add what was paid for."""
        form = TopUpForm(request.POST)

        def run() -> None:
            given = form.given()
            key = f"top-up:{form.cleaned_data['key']}"
            top_up(amount=given["amount"], key=key, actor=actor_of(request), note=given["note"])

        sentences = ("Whatever waits for credits goes on by itself.",)
        page = Page(title="Top up", sentences=sentences, button="Top up", done="Topped up.", form=form, run=run)
        return self.ask(request, account, page)

    @row_action("Correct", path="correct", icon="edit", permission="sell")
    def correct(self, request: HttpRequest, account: CreditAccount) -> HttpResponse:
        """Correct what is available, up or down, with the reason."""
        form = TopUpForm(request.POST)

        def run() -> None:
            given = form.given()
            key = f"adjust:{form.cleaned_data['key']}"
            adjust(amount=given["amount"], key=key, actor=actor_of(request), note=given["note"])

        sentences = ("Say why in the note; an amount below zero takes credits away.",)
        page = Page(title="Correct", sentences=sentences, button="Correct", done="Corrected.", form=form, run=run)
        return self.ask(request, account, page)


class EntryInline(ReadOnlyInline):
    """What the accounts gained."""

    model = CreditEntry
    fields = ("account", "amount", "balance_after")


@admin.register(CreditTransaction)
class CreditTransactionAdmin(TenantModelAdmin):
    """The ledger: every movement of credits."""

    list_display = ("id", "kind", "moved", "reference", "actor", "note", "created_at")
    list_filter = ("kind",)
    search_fields = ("=reference", "=key")
    search_help_text = "what it was for (campaign:12, attempt:7), or its key, in full"
    inlines = (EntryInline,)

    @display(description="credits")
    def moved(self, transaction: CreditTransaction) -> str:
        """Say how many credits moved."""
        return str(max(entry.amount for entry in transaction.entries.all()))

    def get_queryset(self, request: HttpRequest) -> Any:
        """Read the entries along."""
        return super().get_queryset(request).prefetch_related("entries")


class CountriesField(forms.CharField):
    """Codes of countries, parted by blanks or commas; a list of them once it is read."""

    def prepare_value(self, value: Any) -> Any:
        """Write a list as one line."""
        return ", ".join(map(str, value)) if isinstance(value, list) else value

    def to_python(self, value: Any) -> Any:
        """Read the codes, in either case.

        Raises: ValidationError.
        """
        codes = sorted(set((super().to_python(value) or "").replace(",", " ").upper().split()))
        if sentence := wrong_with_countries(codes):
            raise forms.ValidationError(sentence)
        return codes


class CreditPolicyForm(forms.ModelForm):  # type: ignore[type-arg]
    """What may be spent, and where."""

    countries = CountriesField(
        required=False,
        widget=UnfoldAdminTextInputWidget,
        help_text="ISO 3166-1 codes that messages may go to, e.g. GR, CY; empty: everywhere",
    )

    class Meta:
        model = CreditPolicy
        fields = ("daily_cap", "low_balance_at", "countries")


@admin.register(CreditPolicy)
class CreditPolicyAdmin(TenantModelAdmin):
    """What a tenant lets itself spend."""

    form = CreditPolicyForm
    may_add = True
    settings_fields = ("daily_cap", "low_balance_at", "countries")
    list_display = ("daily_cap", "low_balance_at", "countries", "updated_at")
    fields = (*settings_fields, "updated_at", "tenant")

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Set it as the API does."""
        values = {name: form.cleaned_data[name] for name in (form.changed_data if change else self.settings_fields)}
        obj.pk = save_policy(**values, actor=actor_of(request)).pk
