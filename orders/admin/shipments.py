"""Our own parcels for operators: where each is, its label, its calls to the carrier; buy, hand over, give up."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from django import forms
from django.contrib import admin, messages
from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.urls import reverse
from django.utils import timezone
from unfold.decorators import display
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from orders.actions.labels import UnknownRate, buy_label, fetch_label_again, void_shipment
from orders.actions.shipments import NotNow, Tracking, mark_shipped
from orders.models import Shipment, ShipmentCall, ShipmentLine, TrackingEvent
from orders.queries import open_label
from shopsync.admin.base import STATUS_COLOURS, ReadOnlyInline, TenantModelAdmin, actor_of
from shopsync.admin.forms import row_action
from shopsync.money import format_amount

_COLOURS = {"created": "info", "labelled": "info", "shipped": "info", "delivered": "success", "returned": "warning"}


class ShipmentLineInline(ReadOnlyInline):
    """What is in the parcel."""

    model = ShipmentLine
    fields = ("line", "quantity")


class TrackingInline(ReadOnlyInline):
    """What the carrier said of it."""

    model = TrackingEvent
    fields = ("happened_at", "status", "detail", "message")


class CallInline(ReadOnlyInline):
    """What was asked of the carrier."""

    model = ShipmentCall
    fields = ("kind", "status", "blocker", "attempts", "outcome", "last_error", "created_at", "finished_at")


class _BuyForm(forms.Form):
    rate_id = forms.ChoiceField(label="Rate", widget=UnfoldAdminSelectWidget)

    def __init__(self, data: object, *, rates: Sequence[dict[str, str]]) -> None:
        super().__init__(data)  # type: ignore[arg-type]  # a request's POST, or nothing
        named = [(r["id"], f"{r['company']} {r['service']}: {r['amount']} {r['currency']}") for r in rates]
        self.fields["rate_id"].choices = named  # type: ignore[attr-defined]  # of a ChoiceField


class _HandOverForm(forms.Form):
    company = forms.CharField(max_length=100, widget=UnfoldAdminTextInputWidget)
    number = forms.RegexField(
        r"^[\x20-\x7e]{1,100}\Z",
        label="Tracking number",
        widget=UnfoldAdminTextInputWidget,
        error_messages={"invalid": "Give 1 to 100 characters of ASCII."},
    )


@admin.register(Shipment)
class ShipmentAdmin(TenantModelAdmin):
    """Parcels of ours; Shopify's own are in their orders."""

    list_display = (
        "id",
        "order",
        "state",
        "company",
        "tracking_number",
        "tracking_status",
        "void_status",
        "created_at",
    )
    list_display_links = ("id",)
    list_select_related = ("order",)
    list_filter = ("status", "void_status")
    search_fields = ("=tracking_number", "=reference", "=remote_id")
    search_help_text = "tracking number, reference or the carrier's id, in full"
    inlines = (ShipmentLineInline, TrackingInline, CallInline)
    readonly_fields = ("cost", "has_label")
    fields = (("order", "status", "void_status"), ("company", "service", "cost"), ("tracking_number", "tracking_url"),
              ("tracking_status", "tracking_detail", "tracked_at"), "has_label", ("reference", "remote_id"),
              ("created_at", "labelled_at", "shipped_at"), "tenant")  # fmt: skip
    actions_detail = ("buy", "hand_over", "void", "download_label", "fetch_again")

    @display(description="status", ordering="status", label=_COLOURS)
    def state(self, shipment: Shipment) -> str:
        """Say where it stands."""
        return shipment.status

    @display(description="cost")
    def cost(self, shipment: Shipment) -> str:
        """Write what the label cost."""
        currency = shipment.cost_currency
        return f"{format_amount(shipment.cost_amount, currency)} {currency}" if currency else "no label was bought"

    @display(description="label", boolean=True)
    def has_label(self, shipment: Shipment) -> bool:
        """Say whether its file is here."""
        return bool(shipment.label_file)

    @row_action("Buy the label", path="buy", icon="sell")
    def buy(self, request: HttpRequest, shipment: Shipment) -> HttpResponse:
        """Ask at which rate, then buy."""
        form = _BuyForm(request.POST or None, rates=shipment.rates)
        if request.method == "POST" and form.is_valid():
            chosen, actor = form.cleaned_data["rate_id"], actor_of(request)
            act = lambda: buy_label(shipment_id=shipment.pk, rate_id=chosen, actor=actor)  # noqa: E731
            return self._do(request, shipment, act, "The label is being bought.")
        sentences = ["The carrier takes money for it. It is bought once, however often this is asked for."]
        if not shipment.rates:
            sentences = ["There are no rates yet; ask for them by POST /api/v1/shipments/ID/rates."]
        return self._ask(request, shipment, "Buy the label?", sentences=sentences, form=form, button="Buy")

    @row_action("Hand over", path="hand-over", icon="local_shipping")
    def hand_over(self, request: HttpRequest, shipment: Shipment) -> HttpResponse:
        """Ask for the number where we bought no label, then note that the parcel has left."""
        form = None if shipment.labelled_at else _HandOverForm(request.POST or None)
        if request.method == "POST" and (form is None or form.is_valid()):
            tracking = Tracking(form.cleaned_data["company"], form.cleaned_data["number"]) if form else None
            actor, now = actor_of(request), timezone.now()
            act = lambda: mark_shipped(shipment_id=shipment.pk, tracking=tracking, actor=actor, now=now)  # noqa: E731
            return self._do(request, shipment, act, "The parcel is on its way.")
        sentences = ["Its units count as sent from now on, and leave the stock where it is counted here."]
        return self._ask(request, shipment, "Hand the parcel over?", sentences=sentences, form=form, button="Hand over")

    @row_action("Give up", path="void", icon="block")
    def void(self, request: HttpRequest, shipment: Shipment) -> HttpResponse:
        """Ask, then give the parcel up."""
        if request.method == "POST":
            actor = actor_of(request)
            act = lambda: void_shipment(shipment_id=shipment.pk, actor=actor)  # noqa: E731
            return self._do(request, shipment, act, "The parcel is being given up.")
        sentences = ["Its units can go into another parcel. For a label the carrier is asked for its refund, and may "
                     "take weeks to decide; until then the units stay here."]  # fmt: skip
        return self._ask(request, shipment, "Give the parcel up?", sentences=sentences, button="Give up")

    @row_action("Download the label", path="label", icon="download", permission="view")
    def download_label(self, request: HttpRequest, shipment: Shipment) -> HttpResponseBase:
        """Send the label's file."""
        try:
            return open_label(shipment)
        except NotNow as error:
            self.message_user(request, str(error), messages.WARNING)
            return self._back(shipment)

    @row_action("Fetch the label again", path="fetch", icon="refresh")
    def fetch_again(self, request: HttpRequest, shipment: Shipment) -> HttpResponse:
        """Ask, then fetch the label's file once more."""
        if request.method == "POST":
            actor = actor_of(request)
            act = lambda: fetch_label_again(shipment_id=shipment.pk, actor=actor)  # noqa: E731
            return self._do(request, shipment, act, "The label is being fetched.")
        sentences = ["The label that was bought is fetched from the carrier again; nothing is bought."]
        return self._ask(request, shipment, "Fetch the label again?", sentences=sentences, button="Fetch")

    def _back(self, shipment: Shipment) -> HttpResponseRedirect:
        return HttpResponseRedirect(reverse("admin:orders_shipment_change", args=[shipment.pk]))

    def _ask(self, request: HttpRequest, shipment: Shipment, title: str, **context: object) -> HttpResponse:
        return self.confirm(request, title, back=self._back(shipment).url, **context)

    def _do(
        self, request: HttpRequest, shipment: Shipment, act: Callable[[], object], sentence: str
    ) -> HttpResponseRedirect:
        try:
            act()
            self.message_user(request, sentence, messages.SUCCESS)
        except (NotNow, UnknownRate) as error:
            self.message_user(request, str(error), messages.WARNING)
        return self._back(shipment)


@admin.register(ShipmentCall)
class ShipmentCallAdmin(TenantModelAdmin):
    """Calls to carriers, to look into from the dead letters."""

    list_display = ("id", "shipment", "kind", "call_status", "blocker", "attempts", "outcome", "created_at")
    list_select_related = ("shipment",)
    list_filter = ("status", "kind")
    fields = ("shipment", "kind", "rate_id", "status", "blocker", "attempts", "outcome", "last_error", "due_at",
              "started_at", "finished_at", "created_at", "tenant")  # fmt: skip

    @display(description="status", ordering="status", label=STATUS_COLOURS)
    def call_status(self, call: ShipmentCall) -> str:
        """Say where it stands."""
        return call.status
