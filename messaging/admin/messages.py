"""Messages and their reports for operators."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from unfold.decorators import display

from config.infra.work import Status
from messaging.actions.messages import MessageError, resend_unknown, settle_unknown
from messaging.models import DeliveryReport, Message
from messaging.queries.messages import STATES, in_state
from shopsync.admin.base import ByIdFilter, ReadOnlyInline, actor_of
from shopsync.admin.forms import ActingAdmin, KeyedForm, Page, row_action


class ReportInline(ReadOnlyInline):
    """What the provider said."""

    model = DeliveryReport
    fields = ("status", "raw_status", "error", "reported_at", "created_at")


class CampaignFilter(ByIdFilter):
    """Messages of one campaign."""

    title = "campaign"
    parameter_name = "campaign"
    column = "campaign_id"


class StateFilter(admin.SimpleListFilter):
    """Messages by where they stand, in the words of the list."""

    title, parameter_name = "state", "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Offer each."""
        return [(one, one.replace("_", " ")) for one in STATES]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Choose one."""
        return in_state(queryset, self.value() or "") if self.value() in STATES else queryset


class ReasonFilter(admin.SimpleListFilter):
    """Messages that were skipped or failed for one reason: led to by a campaign's page, shown once it is chosen."""

    title, parameter_name = "reason", "reason"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Offer what is chosen, if something is: there are as many as providers have words."""
        chosen = self.value()
        return [(chosen, chosen[:40])] if chosen else []

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Choose by the word; what no text column can hold has no rows."""
        chosen = self.value() or ""
        if not chosen:
            return queryset
        return queryset.none() if "\x00" in chosen else queryset.filter(reason=chosen)


@admin.register(Message)
class MessageAdmin(ActingAdmin):
    """Messages and where each stands; what is unknown is decided on here."""

    refusals = (MessageError,)
    list_display = ("id", "channel", "address", "where", "reason", "waits", "attempts", "created_at")
    list_filter = (StateFilter, "outcome", "status", "channel", ReasonFilter, CampaignFilter)
    list_select_related = ("campaign", "flow__queue")
    actions_detail = ("resend", "was_sent", "was_not_sent")
    search_fields = ("=address", "=provider_id", "=trigger")
    search_help_text = "address, provider's id or trigger (order:123), in full"
    readonly_fields = ("where", "waits")
    fields = ("where", "waits", "contact", "campaign", "channel", "purpose", "address", "sender", "text",
              ("parts", "price", "credit"), "outcome", "status", "reason", "last_error",
              "attempts", "attempt", "automation_version", "trigger", "connection", "provider_id", "reference",
              "due_at", "started_at", "sent_at", "delivered_at", "finished_at", "created_at")  # fmt: skip
    inlines = (ReportInline,)

    @display(
        description="state",
        label={"delivered": "success", "sent": "info", "unknown": "warning", "failed": "danger", "buried": "danger"},
    )
    def where(self, message: Message) -> str:
        """Say in one word where it stands."""
        return message.state

    @display(description="waits for")
    def waits(self, message: Message) -> str:
        """Name what it waits for."""
        return message.waits_for

    def offered(self, row: Message) -> Collection[str]:
        """Offer what is for unknown ones of unknown ones alone."""
        return self.actions_detail if row.status == Status.UNKNOWN else ()

    @row_action("Send again", path="resend", icon="replay")
    def resend(self, request: HttpRequest, message: Message) -> HttpResponse:
        """Send an unknown one again."""
        page = Page(
            title="Send again",
            sentences=("Nobody knows whether it was sent: the recipient may get it twice.",),
            button="Send again",
            done="It is queued again.",
            form=KeyedForm(request.POST),
            run=lambda: resend_unknown(message_id=message.pk, actor=actor_of(request)),
        )
        return self.ask(request, message, page)

    @row_action("It was sent", path="was-sent", icon="done")
    def was_sent(self, request: HttpRequest, message: Message) -> HttpResponse:
        """Say that the provider has sent it."""
        return self._settle(request, message, was_sent=True)

    @row_action("It was not sent", path="was-not-sent", icon="close")
    def was_not_sent(self, request: HttpRequest, message: Message) -> HttpResponse:
        """Say that the provider never had it."""
        return self._settle(request, message, was_sent=False)

    def _settle(self, request: HttpRequest, message: Message, *, was_sent: bool) -> HttpResponse:
        words = "was sent, and is paid for" if was_sent else "was not sent, and its credits are given back"
        page = Page(
            title="What became of it",
            sentences=(f"You have it from the provider that the message {words}.",),
            button="It was sent" if was_sent else "It was not sent",
            done="Noted.",
            form=KeyedForm(request.POST),
            run=lambda: settle_unknown(
                message_id=message.pk, was_sent=was_sent, actor=actor_of(request), now=timezone.now()
            ),
        )
        return self.ask(request, message, page)
