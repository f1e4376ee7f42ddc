"""The trail, its outbox, and the dead letters of every queue. Registered here: audit lies below the admin's base."""

from __future__ import annotations

from collections.abc import Iterable

from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import NoReverseMatch, reverse
from django.utils.html import format_html
from unfold.decorators import action, display

from audit.models import AuditEvent, DeadLetter, EventDelivery
from config.infra import work
from shopsync.actions.dead_letters import may_have_happened, replay_dead_letters
from shopsync.admin.base import STATUS_COLOURS, ReadOnlyInline, TenantModelAdmin, actor_of


class EventDeliveryInline(ReadOnlyInline):
    """To whom an event went."""

    model = EventDelivery
    fields = ("subscriber", "status", "attempts", "last_error", "finished_at")


@admin.register(AuditEvent)
class AuditEventAdmin(TenantModelAdmin):
    """What happened; append-only by trigger."""

    list_display = ("id", "name", "subject", "actor", "created_at")
    list_display_links = ("id", "name")
    search_fields = ("=name", "=subject", "=actor")
    search_help_text = "name (order.paid), subject (order:123) or actor, in full"
    fields = ("name", "subject", "actor", "data", "once_key", "created_at", "tenant_id")
    inlines = (EventDeliveryInline,)

    def get_readonly_fields(self, request: HttpRequest, obj: object = None) -> tuple[str, ...]:
        """Lock all of it."""
        return self.fields


@admin.register(EventDelivery)
class EventDeliveryAdmin(TenantModelAdmin):
    """Events on their way to their subscribers."""

    list_display = ("id", "event", "subscriber", "state", "attempts", "created_at")
    list_select_related = ("event",)
    list_filter = ("status",)
    search_fields = ("=lane",)
    fields = ("event", "subscriber", "status", "attempts", "blocker", "last_error", "lane", "due_at", "started_at",
              "finished_at", "created_at")  # fmt: skip

    @display(description="status", ordering="status", label=STATUS_COLOURS)
    def state(self, row: EventDelivery) -> str:
        """Say where it stands."""
        return row.status


class LetterStatusFilter(admin.SimpleListFilter):
    """What kind of dead letter."""

    title = "status"
    parameter_name = "status"

    def lookups(self, request: HttpRequest, model_admin: object) -> list[tuple[str, str]]:
        """List the three, without a scan of every queue."""
        kinds = (work.Status.BURIED, work.Status.UNKNOWN, work.Status.QUARANTINED)
        return [(kind.value, str(kind.label)) for kind in kinds]

    def queryset(self, request: HttpRequest, queryset: QuerySet[DeadLetter]) -> QuerySet[DeadLetter]:
        """Choose by status."""
        return queryset.filter(status=self.value()) if self.value() else queryset


class QueueFilter(admin.SimpleListFilter):
    """Of which queue."""

    title = "queue"
    parameter_name = "queue"

    def lookups(self, request: HttpRequest, model_admin: object) -> list[tuple[str, str]]:
        """List the queues there are."""
        return [(model.queue.name, model.queue.name) for model in work.queues()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[DeadLetter]) -> QuerySet[DeadLetter]:
        """Choose by queue."""
        return queryset.filter(queue=self.value()) if self.value() else queryset


@admin.register(DeadLetter)
class DeadLetterAdmin(TenantModelAdmin):
    """Every row that was given up, waits for a person, or can't be worked on; of every queue."""

    list_display = ("key", "state", "lane", "attempts", "error", "created_at", "row")
    list_filter = (LetterStatusFilter, QueueFilter)
    search_fields = ("=key", "=lane")
    fields = ("queue", "status", "lane", "attempts", "last_error", "started_at", "created_at", "row")
    readonly_fields = ("row",)
    actions = ("replay_selected",)
    actions_detail = ("replay_one",)

    @display(description="status", ordering="status", label=STATUS_COLOURS)
    def state(self, letter: DeadLetter) -> str:
        """Say where it stands."""
        return letter.status

    @display(description="error")
    def error(self, letter: DeadLetter) -> str:
        """Show the error's beginning."""
        return letter.last_error[:80]

    @display(description="row")
    def row(self, letter: DeadLetter) -> str:
        """Link to the row itself."""
        options = work.find_queue(letter.queue)._meta
        try:
            link = reverse(f"admin:{options.app_label}_{options.model_name}_change", args=[letter.row_id])
        except NoReverseMatch:
            return letter.key
        name = f"{options.verbose_name} {letter.row_id}"
        return format_html('<a class="text-primary-600 dark:text-primary-500" href="{}">{}</a>', link, name)

    @action(description="Replay the selected dead letters", permissions=["act"])
    def replay_selected(self, request: HttpRequest, queryset: QuerySet[DeadLetter]) -> HttpResponse | None:
        """Replay; what may have been sent only after a page that says so."""
        letters = list(queryset)
        is_confirmed = "is_confirmed" in request.POST
        risky = [letter for letter in letters if may_have_happened(letter)]
        if risky and not is_confirmed:
            hidden = [("action", "replay_selected"), ("is_confirmed", "1")]
            hidden += [("_selected_action", letter.key) for letter in letters]
            return self._warn(request, risky, hidden=hidden, back=reverse("admin:audit_deadletter_changelist"))
        self._replay(request, letters, is_confirmed=is_confirmed)
        return None

    @action(description="Replay", url_path="replay", permissions=["act"], icon="replay")
    def replay_one(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Ask, then replay one."""
        letter = self.get_object(request, unquote(object_id))
        if letter is None:
            raise Http404
        back = reverse("admin:audit_deadletter_changelist")
        is_risky = may_have_happened(letter)
        if request.method == "POST" and (not is_risky or "is_confirmed" in request.POST):
            self._replay(request, [letter], is_confirmed=is_risky)
            return HttpResponseRedirect(back)
        if is_risky:
            return self._warn(request, [letter], hidden=[("is_confirmed", "1")], back=back)
        sentences = [f"{letter.key} will be worked on again, with fresh attempts."]
        return self.confirm(request, "Replay this dead letter?", sentences=sentences, button="Replay", back=back)

    def _warn(
        self, request: HttpRequest, risky: list[DeadLetter], *, hidden: list[tuple[str, str]], back: str
    ) -> HttpResponse:
        sentences = [
            f"{len(risky)} of them may have been sent already: the call was made, and no answer came back.",
            "Sent again, these people may get the same message twice, and it is paid for twice. A delivery report may "
            "still settle it; the provider's own log says whether it was sent.",
        ]
        words = {"sentences": sentences, "hidden": hidden, "back": back, "button": "Send again all the same"}
        return self.confirm(request, "Send again what may have been sent?", **words)

    def _replay(self, request: HttpRequest, letters: Iterable[DeadLetter], *, is_confirmed: bool) -> None:
        outcome = replay_dead_letters(letters=letters, actor=actor_of(request), is_confirmed=is_confirmed)
        self.message_user(request, f"Ready again: {outcome.replayed}.", messages.SUCCESS)
        if outcome.not_replayed:
            why = "they have moved on, or have no payload, or are in the inbox under another id"
            self.message_user(request, f"Left as they are: {outcome.not_replayed}; {why}.", messages.WARNING)
