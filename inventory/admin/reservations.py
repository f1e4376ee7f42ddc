"""Reservations for operators: what is promised until when, and what of it is set aside in Shopify; release, extend."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import OuterRef, Prefetch, Q, QuerySet, Subquery, Sum
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils import timezone
from unfold.decorators import display

from inventory.actions.reservations import DEFAULT_TTL, ReservationError, extend, release
from inventory.models import HoldPush, Reservation, ReservationLine
from shopsync.admin.base import STATUS_COLOURS, ByIdFilter, ReadOnlyInline, TenantModelAdmin, actor_of
from shopsync.admin.forms import ActingAdmin, KeyedForm, Page, row_action

_COLOURS = {"active": "info", "committed": "success", "released": "warning", "expired": "warning"}


class ReservationLineInline(ReadOnlyInline):
    """What is promised from where."""

    model = ReservationLine
    hide_title = True
    fields = ("variant", "location", "quantity", "held", "pushed", "in_shopify")

    def get_queryset(self, request: HttpRequest) -> QuerySet[ReservationLine]:
        """Fetch what each line shows along."""
        rows: QuerySet[ReservationLine] = super().get_queryset(request)
        pushes = Prefetch("pushes", HoldPush.objects.order_by("pk"))
        return rows.select_related("variant", "level__location").prefetch_related(pushes)

    @display(description="location")
    def location(self, line: ReservationLine) -> str:
        """Say where the units lie."""
        return str(line.level.location)

    @display(description="calls to Shopify")
    def in_shopify(self, line: ReservationLine) -> str:
        """Say how the calls that set the units aside there stand."""
        return ", ".join(f"{push.direction.replace('_', ' ')}: {push.status}" for push in line.pushes.all()) or "none"


class OverdueFilter(admin.SimpleListFilter):
    """Promises whose time is up and that the sweep has not found yet, and those that were extended."""

    title = "time"
    parameter_name = "time"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Offer the kinds."""
        return [("left", "active, time left"), ("overdue", "active, time is up"), ("extended", "was extended")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Reservation]) -> QuerySet[Reservation]:
        """Choose by the clock."""
        now, active = timezone.now(), Q(status=Reservation.Status.ACTIVE)
        chosen = {
            "left": active & Q(expires_at__gt=now),
            "overdue": active & Q(expires_at__lte=now),
            "extended": Q(extended_at__isnull=False),
        }
        return queryset.filter(chosen.get(self.value() or "", Q()))


@admin.register(Reservation)
class ReservationAdmin(ActingAdmin):
    """Promises; operators give them back early, or more time, once."""

    refusals = (ReservationError,)
    list_display = ("id", "state", "reference", "units", "expires_at", "extended_at", "ended_at", "created_at")
    list_display_links = ("id",)
    list_filter = ("status", OverdueFilter)
    search_fields = ("=reference", "=idempotency_key")
    search_help_text = "the caller's reference or idempotency key, in full"
    inlines = (ReservationLineInline,)
    readonly_fields = ("units",)
    fields = (("status", "units"), ("is_of_order", "settles_by"), ("reference", "actor"), "idempotency_key",
              ("created_at", "expires_at"), ("extended_at", "ended_at"), "tenant")  # fmt: skip
    actions_detail = ("extend", "release", "show_pushes")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Reservation]:
        """Count each one's units in the same query."""
        rows: QuerySet[Reservation] = super().get_queryset(request)
        lines = ReservationLine.objects.filter(reservation=OuterRef("pk")).order_by().values("reservation")
        return rows.annotate(unit_count=Subquery(lines.annotate(total=Sum("quantity")).values("total")))

    @display(description="status", ordering="status", label=_COLOURS)
    def state(self, reservation: Reservation) -> str:
        """Say where it stands."""
        return reservation.status

    @display(description="units")
    def units(self, reservation: Any) -> int:
        """Say how many units it promises."""
        return int(reservation.unit_count or 0)

    @row_action("Extend", path="extend", icon="more_time")
    def extend(self, request: HttpRequest, reservation: Reservation) -> HttpResponse:
        """Ask, then give more time, once."""
        minutes, actor = int(DEFAULT_TTL.total_seconds() / 60), actor_of(request)
        page = Page(
            title="Extend this reservation?",
            sentences=(
                f"It then lasts {minutes} minutes from now, or longer if it does already; once is all there is.",
            ),
            button="Extend",
            done="Extended.",
            form=KeyedForm(request.POST),
            run=lambda: extend(reservation_id=reservation.pk, actor=actor, now=timezone.now()),
        )
        return self.ask(request, reservation, page)

    @row_action("Release", path="release", icon="lock_open")
    def release(self, request: HttpRequest, reservation: Reservation) -> HttpResponse:
        """Ask, then give the units back."""
        actor = actor_of(request)
        page = Page(
            title="Release this reservation?",
            sentences=(
                f"Its {self.units(reservation)} units may be promised to others at once; the buyer loses them.",
            ),
            button="Release",
            done="Released: nothing is held by it any more.",
            form=KeyedForm(request.POST),
            run=lambda: release(reservation_id=reservation.pk, actor=actor, now=timezone.now()),
        )
        return self.ask(request, reservation, page)

    @row_action("Calls to Shopify", path="pushes", icon="sync_alt", permission="view")
    def show_pushes(self, request: HttpRequest, reservation: Reservation) -> HttpResponse:
        """Go to the calls that set its units aside in Shopify."""
        return HttpResponseRedirect(f"{reverse('admin:inventory_holdpush_changelist')}?reservation={reservation.pk}")


class ReservationFilter(ByIdFilter):
    """The calls for one reservation."""

    title = "reservation"
    parameter_name = "reservation"
    column = "line__reservation_id"


@admin.register(HoldPush)
class HoldPushAdmin(TenantModelAdmin):
    """Calls that set held units aside in Shopify, or undo it; read-only: the dead letters replay them."""

    list_display = ("id", "reservation", "direction", "quantity", "call_status", "blocker", "attempts", "outcome",
                    "created_at")  # fmt: skip
    list_select_related = ("line",)
    list_filter = (ReservationFilter, "status", "direction")
    readonly_fields = ("reservation",)
    fields = (("reservation", "line"), ("direction", "quantity"), ("from_available", "from_reserved"), ("status",
              "attempts"), "blocker", "outcome", "last_error", ("due_at", "started_at"), ("finished_at", "created_at"),
              "tenant")  # fmt: skip

    @display(description="reservation")
    def reservation(self, push: HoldPush) -> int:
        """Say for which reservation."""
        return int(push.line.reservation_id)

    @display(description="status", ordering="status", label=STATUS_COLOURS)
    def call_status(self, push: HoldPush) -> str:
        """Say where the call stands."""
        return push.status
