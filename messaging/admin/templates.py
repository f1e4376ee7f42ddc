"""Templates for operators: written in versions, previewed for a contact, archived."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from unfold.decorators import action, display
from unfold.widgets import (
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
    UnfoldBooleanWidget,
)

from messaging.actions.templates import (
    Draft,
    TemplateArchived,
    TemplateExists,
    archive_template,
    draft_of,
    make_template,
    save_template,
)
from messaging.models import Contact, Template, TemplateVersion
from messaging.models.contacts import Channel
from messaging.queries import Preview, preview_of
from messaging.rendering import MAX_HTML_TEMPLATE, MAX_TEMPLATE, TemplateError
from shopsync.admin.base import ReadOnlyInline, actor_of
from shopsync.admin.forms import ActingAdmin, KeyedForm, Page, StorableJSONField, row_action

_DEFAULTS = 'what stands for a value that a recipient has not, by name: {"contact.first_name": "there"}'
_NAMES = (
    "Liquid. There are contact.first_name, last_name, email, phone, country, locale, tags and attributes.NAME; "
    "tenant.name, campaign.name and unsubscribe_url."
)


class DraftForm(KeyedForm):
    """A version as it is written."""

    subject = forms.CharField(max_length=300, required=False, widget=UnfoldAdminTextInputWidget, help_text="of e-mails")
    body = forms.CharField(
        max_length=MAX_HTML_TEMPLATE, strip=False, widget=UnfoldAdminTextareaWidget({"rows": 16}), help_text=_NAMES
    )
    text = forms.CharField(
        max_length=MAX_TEMPLATE,
        required=False,
        strip=False,
        widget=UnfoldAdminTextareaWidget({"rows": 4}),
        help_text="an e-mail's text; empty: it is made from the HTML",
    )
    defaults = StorableJSONField(required=False, widget=UnfoldAdminTextareaWidget({"rows": 3}), help_text=_DEFAULTS)
    encodes_smartly = forms.BooleanField(
        required=False, widget=UnfoldBooleanWidget, help_text="SMS: write what looks alike in GSM-7, if it then fits"
    )
    shortens_links = forms.BooleanField(
        required=False, widget=UnfoldBooleanWidget, help_text="links become short ones, whose clicks are counted"
    )

    def clean_body(self) -> str:
        """Write line breaks as everywhere else: a form sends two characters for one, and an SMS pays for both."""
        return str(self.cleaned_data["body"]).replace("\r\n", "\n")

    def clean_text(self) -> str:
        """Write line breaks as everywhere else."""
        return str(self.cleaned_data["text"]).replace("\r\n", "\n")

    def clean_defaults(self) -> dict[str, str]:
        """Ask for texts by name."""
        given = self.cleaned_data["defaults"] or {}
        if not isinstance(given, dict) or not all(isinstance(value, str) for value in given.values()):
            raise forms.ValidationError('Give texts by name, e.g. {"contact.first_name": "there"}.')
        return given

    def draft(self) -> Draft:
        """Return it as the actions take it."""
        return Draft(**{name: self.cleaned_data[name] for name in Draft.__slots__})


class TemplateForm(DraftForm):
    """A template to make, with its first version."""

    name = forms.CharField(max_length=100, widget=UnfoldAdminTextInputWidget)
    channel = forms.ChoiceField(choices=Channel.choices, widget=UnfoldAdminSelectWidget)
    field_order = ("name", "channel")


class VersionInline(ReadOnlyInline):
    """A template's versions, newest first."""

    model = TemplateVersion
    fields = ("number", "subject", "body", "defaults", "encodes_smartly", "shortens_links", "created_at")


@admin.register(Template)
class TemplateAdmin(ActingAdmin):
    """Texts under names. A change is a new version; what was launched keeps the one it had."""

    refusals = (TemplateError, TemplateExists, TemplateArchived)
    list_display = ("name", "channel", "is_offered", "created_at")
    list_filter = ("channel", ("archived_at", admin.EmptyFieldListFilter))
    search_fields = ("name",)
    fields = ("name", "channel", "archived_at", "created_at")
    inlines = (VersionInline,)
    actions_list = ("make",)
    actions_detail = ("write", "preview", "archive")

    @display(description="is offered", boolean=True)
    def is_offered(self, template: Template) -> bool:
        """Say whether it can be chosen: it is not archived."""
        return template.archived_at is None

    @action(description="Make a template", url_path="make", permissions=["act"], icon="add")
    def make(self, request: HttpRequest) -> HttpResponse:
        """Ask for a name and a first version."""
        form = TemplateForm(request.POST, initial={"encodes_smartly": True, "shortens_links": True, "defaults": {}})
        title, back = "Make a template", reverse("admin:messaging_template_changelist")
        page = Page(
            title=title, sentences=(), button="Make it", done="Made.", form=form, run=lambda: _make(form, request)
        )
        return self.ask_at(request, back, page)

    @row_action("Write the next version", path="write", icon="edit")
    def write(self, request: HttpRequest, template: Template) -> HttpResponse:
        """Show the newest version to write the next one from."""
        newest = template.versions.order_by("-number").first()
        before = {name: getattr(draft_of(newest), name) for name in Draft.__slots__} if newest else {}
        form = DraftForm(request.POST, initial=before)
        page = Page(
            title=f"Write the next version of {template.name}",
            sentences=("What was launched keeps its version. The same as before makes no new one.",),
            button="Save as a new version",
            done="Saved.",
            form=form,
            run=lambda: save_template(template_id=template.pk, draft=form.draft(), actor=actor_of(request)),
        )
        return self.ask(request, template, page)

    @row_action("Archive", path="archive", icon="archive")
    def archive(self, request: HttpRequest, template: Template) -> HttpResponse:
        """Ask, then offer it no more."""
        page = Page(
            title=f"Archive {template.name}?",
            sentences=("It is offered no more. What uses one of its versions goes on with it.",),
            button="Archive",
            done="Archived.",
            form=KeyedForm(request.POST),
            run=lambda: archive_template(template_id=template.pk, actor=actor_of(request), now=timezone.now()),
        )
        return self.ask(request, template, page)

    @row_action("Preview", path="preview", icon="visibility")
    def preview(self, request: HttpRequest, template: Template) -> HttpResponse:
        """Show what a contact would get of the newest version."""
        given = request.GET.get("contact", "").strip()
        contact = _contact_of(given)
        newest = template.versions.select_related("template").order_by("-number").first()
        shown: Preview | None = None
        if newest is not None and contact is not None:
            shown = preview_of(version=newest, contact=contact)
        elif given:
            messages.error(request, "No such contact: give its number, e-mail or phone.")
        context: dict[str, Any] = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": f"Preview of {template.name}",
            "back": reverse("admin:messaging_template_change", args=[template.pk]),
            "template": template,
            "version": newest,
            "given": given,
            "contact": contact,
            "preview": shown,
        }
        return TemplateResponse(request, "messaging/admin/preview.html", context)

    def ask_at(self, request: HttpRequest, back: str, page: Page) -> HttpResponse:
        """Show a page that belongs to no row; once it is sent, do what it says, once, and go back to the list."""
        if request.method == "POST" and page.form.is_valid():
            refusal = self._run(request, page)
            if refusal is None:
                return HttpResponseRedirect(back)
            page.form.refuse(refusal)
        return self.confirm(request, page.title, back=back, button=page.button, form=page.form)


def _make(form: TemplateForm, request: HttpRequest) -> TemplateVersion:
    given = form.cleaned_data
    return make_template(name=given["name"], channel=given["channel"], draft=form.draft(), actor=actor_of(request))


def _contact_of(given: str) -> Contact | None:
    """Find a contact by its number, e-mail or phone."""
    if not given or "\x00" in given:
        return None
    if given.isascii() and given.isdigit() and len(given) <= 18:
        return Contact.objects.filter(pk=int(given)).first()
    return Contact.objects.filter(identities__kind__in=("email", "phone"), identities__value=given.lower()).first()
