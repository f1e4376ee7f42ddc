"""Campaigns for operators: written, reported on, launched, paused, cancelled; and what each waits for."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db import transaction
from django.db.models import Model, Q, QuerySet, Sum
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.safestring import SafeString
from unfold.decorators import display
from unfold.widgets import UnfoldAdminIntegerFieldWidget, UnfoldAdminSplitDateTimeWidget

from messaging.actions import campaigns
from messaging.actions.campaigns import CampaignError, InvalidCampaign, Plan
from messaging.actions.previews import ask_for_report, send_test
from messaging.admin.progress import (
    ENDED,
    clicks_table,
    progress_bar,
    report_table,
    skipped_table,
    states_table,
)
from messaging.models import Campaign, TemplateVersion
from messaging.queries import waits_for
from shopsync.admin.base import TenantForm, actor_of, in_zone
from shopsync.admin.forms import ActingAdmin, KeyedForm, Page, PlainIntegerField, row_action
from shopsync.sites import scope_of

STATE_COLOURS = {"sending": "info", "done": "success", "paused": "warning", "scheduled": "info", "cancelled": "danger"}
OFFERED = {  # what can be done with a campaign, by where it stands; nothing once it has its end
    Campaign.Status.DRAFT: ("report_before", "send_one", "launch"),
    Campaign.Status.SCHEDULED: ("pause", "cancel"),
    Campaign.Status.SENDING: ("pause", "cancel"),
    Campaign.Status.PAUSED: ("resume", "cancel"),
}
_PLAN = (
    "name",
    "channel",
    "segment",
    "template_version",
    "sender",
    "is_local_time",
    "expires_at",
    "holdout_percent",
    "keeps_quiet_hours",
)


class LaunchForm(KeyedForm):
    """When it is to be sent."""

    scheduled_at = forms.SplitDateTimeField(
        required=False, widget=UnfoldAdminSplitDateTimeWidget(), help_text="empty: now"
    )

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.fields["scheduled_at"].help_text = in_zone("empty: now")


class TestForm(KeyedForm):
    """To whom it is sent as a test."""

    contact_id = PlainIntegerField(
        min_value=1, widget=UnfoldAdminIntegerFieldWidget, help_text="the id that the contacts' list and page show"
    )


class CampaignForm(TenantForm):
    """What a campaign is to be."""

    def clean(self) -> dict[str, Any]:
        """Refuse what does not fit in the words of the API, beside its field."""
        values = super().clean() or {}
        if not self.errors:
            try:
                campaigns.check_plan(_plan(values))
            except InvalidCampaign as error:
                named = error.field.removesuffix("_id")
                self.add_error(named if named in self.fields else None, str(error))
        return values


@admin.register(Campaign)
class CampaignAdmin(ActingAdmin):
    """Messages to many."""

    form = CampaignForm
    refusals = (CampaignError,)
    may_add = True
    settings_fields = _PLAN
    list_display = ("name", "channel", "state", "bar", "blocker", "scheduled_at", "finished_at")
    list_filter = ("status", "channel")
    search_fields = ("name",)
    list_select_related = ("segment",)
    readonly_fields = ("state", "waits", "progress", "skipped", "clicks", "report")
    actions_detail = ("report_before", "send_one", "launch", "pause", "resume", "cancel")
    fields = (
        ("state", "waits"),
        "progress",
        "skipped",
        "clicks",
        "report",
        *_PLAN,
        ("scheduled_at", "frozen_at", "finished_at"),
        ("created_at", "tenant"),
    )

    @display(description="status", ordering="status", label=STATE_COLOURS)
    def state(self, campaign: Campaign) -> str:
        """Say where it stands."""
        return campaign.status

    @display(description="waits for")
    def waits(self, campaign: Campaign) -> str:
        """Say what it waits for."""
        return (waits_for(campaign) if campaign.pk else "") or "nothing"

    def offered(self, row: Campaign) -> Collection[str]:
        """Offer what its state allows."""
        return OFFERED.get(Campaign.Status(row.status), ())

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **options: Any) -> Any:
        """Offer templates by their names, the newest versions first; archived ones are offered no more."""
        field = super().formfield_for_foreignkey(db_field, request, **options)
        if db_field.name == "template_version" and field is not None:
            versions = TemplateVersion.objects.filter(template__archived_at__isnull=True).select_related("template")
            field.queryset = versions.order_by("template__name", "-number")
            field.label_from_instance = _label_of
        return field

    def get_queryset(self, request: HttpRequest) -> QuerySet[Campaign]:
        """Add up how many messages there are, and how many have their end."""
        through = Sum("tallies__messages", filter=Q(tallies__state__in=ENDED))
        rows: QuerySet[Campaign] = super().get_queryset(request)
        return rows.annotate(total=Sum("tallies__messages"), through=through)

    @display(description="progress")
    def bar(self, campaign: Any) -> SafeString | str:
        """Show how many are through."""
        return progress_bar(campaign.through or 0, campaign.total or 0) if campaign.frozen_at else "–"

    @display(description="messages")
    def progress(self, campaign: Campaign) -> SafeString | str:
        """Show a bar, and how many messages are in each state."""
        return states_table(campaign) if campaign.frozen_at else "not launched"

    @display(description="skipped, by reason")
    def skipped(self, campaign: Campaign) -> SafeString | str:
        """Show why some got nothing."""
        return skipped_table(campaign)

    @display(description="clicks")
    def clicks(self, campaign: Campaign) -> SafeString | str:
        """Show who followed its links, programs apart."""
        return clicks_table(campaign) if campaign.frozen_at else "–"

    @display(description="report before the launch")
    def report(self, campaign: Campaign) -> SafeString | str:
        """Show the last report asked for."""
        return report_table(campaign)

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """A draft may be written anew, by operators and owners of one tenant."""
        is_draft = obj is None or (isinstance(obj, Campaign) and obj.status == Campaign.Status.DRAFT)
        return is_draft and self.has_add_permission(request)

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Operators and owners write campaigns."""
        return self.has_act_permission(request) and scope_of(request).tenant_id is not None

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """A draft may be deleted by whoever may write it."""
        return self.has_change_permission(request, obj)

    def delete_model(self, request: HttpRequest, obj: Campaign) -> None:
        """Delete it as the API does."""
        try:
            with transaction.atomic():  # a refusal ends this savepoint, not the page's transaction
                campaigns.delete_campaign(campaign_id=obj.pk, actor=actor_of(request))
        except CampaignError as error:
            self.message_user(request, str(error), messages.ERROR)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Campaign]) -> None:
        """Delete the chosen drafts."""
        for campaign in queryset.order_by("pk"):
            self.delete_model(request, campaign)

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Write it as the API does."""
        plan = _plan(form.cleaned_data)
        saved = campaigns.save_campaign(campaign_id=obj.pk if change else None, plan=plan, actor=actor_of(request))
        obj.pk = saved.pk

    @row_action("Report before the launch", path="report", icon="fact_check")
    def report_before(self, request: HttpRequest, campaign: Campaign) -> HttpResponse:
        """Ask how many get it, at what cost, and what is in the way."""
        form = LaunchForm(request.POST)
        page = Page(
            title="Report before the launch",
            sentences=("Everybody's message is written, in memory, to count parts and cost. Nothing is sent.",),
            button="Report",
            done="The report is on the campaign's page, or will be in a while.",
            form=form,
            run=lambda: ask_for_report(campaign_id=campaign.pk, at=form.given()["scheduled_at"], now=timezone.now()),
        )
        return self.ask(request, campaign, page)

    @row_action("Send a test", path="test", icon="send")
    def send_one(self, request: HttpRequest, campaign: Campaign) -> HttpResponse:
        """Send what one contact would get."""
        form = TestForm(request.POST)
        page = Page(
            title="Send a test",
            sentences=("The contact gets what the campaign would send them. It is charged.",),
            button="Send",
            done="The test is on its way.",
            form=form,
            run=lambda: send_test(
                campaign=campaign,
                contact_id=form.given()["contact_id"],
                actor=actor_of(request),
                now=timezone.now(),
            ),
        )
        return self.ask(request, campaign, page)

    @row_action("Launch", path="launch", icon="rocket_launch")
    def launch(self, request: HttpRequest, campaign: Campaign) -> HttpResponse:
        """Let it be sent."""
        form = LaunchForm(request.POST)
        page = Page(
            title=f"Launch {campaign.name}",
            sentences=("Its recipients are fixed when it begins. It can be paused and cancelled at any moment.",),
            button="Launch",
            done="The campaign is launched.",
            form=form,
            run=lambda: campaigns.schedule_campaign(
                campaign_id=campaign.pk,
                at=form.given()["scheduled_at"],
                actor=actor_of(request),
                now=timezone.now(),
            ),
        )
        return self.ask(request, campaign, page)

    @row_action("Pause", path="pause", icon="pause")
    def pause(self, request: HttpRequest, campaign: Campaign) -> HttpResponse:
        """Stop it until it is resumed."""
        sentence = "Nothing more is begun; what is being called goes out."
        run = lambda: campaigns.pause_campaign(campaign_id=campaign.pk, actor=actor_of(request))  # noqa: E731
        return self.ask(request, campaign, _page(request, "Pause", sentence, "The campaign is paused.", run))

    @row_action("Resume", path="resume", icon="play_arrow")
    def resume(self, request: HttpRequest, campaign: Campaign) -> HttpResponse:
        """Let it go on."""
        run = lambda: campaigns.resume_campaign(  # noqa: E731
            campaign_id=campaign.pk, actor=actor_of(request), now=timezone.now()
        )
        sentence = "It goes on where it stood."
        return self.ask(request, campaign, _page(request, "Resume", sentence, "The campaign goes on.", run))

    @row_action("Cancel", path="cancel", icon="cancel")
    def cancel(self, request: HttpRequest, campaign: Campaign) -> HttpResponse:
        """End it for good."""
        run = lambda: campaigns.cancel_campaign(campaign_id=campaign.pk, actor=actor_of(request))  # noqa: E731
        sentence = "What is not called yet never is, and its credits are given back. This can't be undone."
        return self.ask(request, campaign, _page(request, "Cancel", sentence, "The campaign is cancelled.", run))


def _label_of(version: TemplateVersion) -> str:
    return f"{version.template.name} v{version.number} ({version.template.channel})"


def _plan(values: dict[str, Any]) -> Plan:
    rows = ("segment", "template_version", "sender")
    told = {name: values[name] for name in _PLAN if name not in rows}
    told |= {f"{name}_id": values[name].pk if values[name] is not None else None for name in rows}
    return Plan(**told)


def _page(request: HttpRequest, title: str, sentence: str, done: str, run: Any) -> Page:
    form = KeyedForm(request.POST)
    return Page(title=title, sentences=(sentence,), button=title, done=done, form=form, run=run)
