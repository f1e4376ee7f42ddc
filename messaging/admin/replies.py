"""Replies for operators: what waits for a decision, and what is nobody's yet."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from unfold.decorators import display
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from messaging.actions.reviews import InvalidReply, ReplyError, assign_reply, decide_reply, find_assignee
from messaging.models import InboundMessage
from shopsync.admin.base import actor_of
from shopsync.admin.forms import ActingAdmin, KeyedForm, Page, row_action
from shopsync.models import Tenant, User


class DecideForm(KeyedForm):
    """What a reply asks for, as a person reads it."""

    decision = forms.ChoiceField(choices=InboundMessage.Decision.choices, widget=UnfoldAdminSelectWidget)


class AssignForm(KeyedForm):
    """Whose a reply is."""

    tenant = forms.CharField(
        max_length=255, widget=UnfoldAdminTextInputWidget, help_text="its domain, e.g. first-shop.myshopify.com"
    )


class UnroutedFilter(admin.SimpleListFilter):
    """Replies that are nobody's yet, or somebody's."""

    title = "whose"
    parameter_name = "whose"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Offer both."""
        return [("nobody", "nobody's yet"), ("routed", "routed")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Choose by what routed it."""
        if self.value() == "nobody":
            return queryset.filter(routed_by="")
        return queryset.exclude(routed_by="") if self.value() == "routed" else queryset


@admin.register(InboundMessage)
class InboundMessageAdmin(ActingAdmin):
    """Replies; near misses are decided on here, and unrouted ones are given to a tenant."""

    refusals = (ReplyError,)
    list_display = ("id", "received_at", "address", "recipient", "asks", "short_text", "whose", "waits", "effect")
    list_filter = ("review", UnroutedFilter, "kind")
    search_fields = ("=address", "=recipient")
    search_help_text = "who wrote, or the number written to, in full"
    actions_detail = ("decide", "assign")
    readonly_fields = ("asks", "waits")
    fields = ("address", "recipient", "text", ("asks", "keyword"), "contact", "routed_by", "waits",
              ("decision", "decided_by", "decided_at"), ("effect", "effective_at"), "possibly_sent", "note",
              "provider_id", "sent_at", "received_at", "tenant")  # fmt: skip

    def get_fields(self, request: HttpRequest, obj: Model | None = None) -> Sequence[Any]:
        """Show them in this order."""
        return self.fields

    @display(
        description="asks for",
        label={"optout": "danger", "optin": "success", "help": "info", "review": "warning"},
    )
    def asks(self, reply: InboundMessage) -> str:
        """Say in one word what it asks for."""
        return reply.kind

    @display(description="text")
    def short_text(self, reply: InboundMessage) -> str:
        """Show how it begins."""
        return reply.text if len(reply.text) <= 80 else f"{reply.text[:79]}…"

    @display(description="routed by", label={"nobody's yet": "warning"})
    def whose(self, reply: InboundMessage) -> str:
        """Say what says whose it is."""
        return reply.routed_by or "nobody's yet"

    @display(description="review", label={"open": "warning", "done": "success"})
    def waits(self, reply: InboundMessage) -> str:
        """Say whether a person has to look at it."""
        return reply.review

    def offered(self, row: InboundMessage) -> Collection[str]:
        """Offer a decision where one is open, and a tenant where nobody knows whose it is."""
        decide = ("decide",) if row.review == InboundMessage.Review.OPEN else ()
        return decide if row.routed_by else (*decide, "assign")

    @row_action("Decide", path="decide", icon="gavel")
    def decide(self, request: HttpRequest, reply: InboundMessage) -> HttpResponse:
        """Ask what the reply asks for, then do it."""
        form, actor, now = DecideForm(request.POST), actor_of(request), timezone.now()
        page = Page(
            title="What does the reply ask for?",
            sentences=(f"“{reply.text[:300]}”", "Opt out does what STOP does, opt in what START does."),
            button="Decide",
            done="Decided.",
            form=form,
            run=lambda: decide_reply(reply_id=reply.pk, decision=form.cleaned_data["decision"], actor=actor, now=now),
        )
        return self.ask(request, reply, page)

    @row_action("Assign", path="assign", icon="forward")
    def assign(self, request: HttpRequest, reply: InboundMessage) -> HttpResponse:
        """Ask whose an unrouted reply is, then let it do what it asks for there."""
        own = {"tenant": Tenant.objects.values_list("shop_domain", flat=True).get(pk=reply.tenant_id)}
        form = AssignForm(request.POST, initial=own)
        page = Page(
            title="Whose is this reply?",
            sentences=(
                f"{reply.address} wrote to {reply.recipient or 'a number that was not told'}.",
                "It becomes the tenant's, and does there what it asks for. This can't be undone.",
            ),
            button="Assign",
            done="Assigned.",
            form=form,
            run=lambda: _assign(request, reply, form.cleaned_data["tenant"]),
        )
        return self.ask(request, reply, page)


def _assign(request: HttpRequest, reply: InboundMessage, shop_domain: str) -> InboundMessage:
    """Assign to a tenant that the person acts for; a superuser acts for all.

    Raises: InvalidReply, ReplyError.
    """
    assert isinstance(request.user, User)  # nobody else comes this far
    tenant = find_assignee(shop_domain=shop_domain, person=request.user)
    if tenant is None:
        raise InvalidReply("tenant", "There is no tenant of this domain that you act for.")
    return assign_reply(reply_id=reply.pk, tenant_id=tenant.pk, actor=actor_of(request), now=timezone.now())
