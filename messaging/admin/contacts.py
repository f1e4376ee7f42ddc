"""Contacts, and the ledger of what they agreed to, for operators."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.contrib import admin, messages
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.utils import timezone
from unfold.decorators import action, display

from messaging.actions.consent import ConsentError, state_consent
from messaging.actions.exports import ExportRefused, export_contacts
from messaging.actions.profiles import PLAIN, change_contact, create_contact
from messaging.admin.profiles import ADDED, ConsentForm, ContactForm
from messaging.models import ConsentEntry, ConsentState, Contact, ContactIdentity
from messaging.views.contacts import csv_answer
from shopsync.admin.base import ByIdFilter, ReadOnlyInline, TenantModelAdmin, actor_of
from shopsync.admin.forms import ActingAdmin, Page, row_action
from shopsync.sites import scope_of

STATE_COLOURS = {"subscribed": "success", "unsubscribed": "danger", "pending": "warning"}


class IdentityInline(ReadOnlyInline):
    """What a contact is known by."""

    model = ContactIdentity
    fields = ("kind", "value", "created_at")


class StateInline(ReadOnlyInline):
    """What holds on each channel."""

    model = ConsentState
    verbose_name_plural = "consent as it stands"
    fields = ("channel", "state", "address", "lapsed_at")


class ConsentInline(ReadOnlyInline):
    """What a contact agreed to, newest first."""

    model = ConsentEntry
    fields = ("channel", "state", "address", "source", "opt_in_level", "stated_at")


@admin.register(Contact)
class ContactAdmin(ActingAdmin):
    """People: operators add and change them, and state what they agreed to."""

    form = ContactForm
    refusals = (ConsentError,)
    may_add = True
    list_display = ("id", "__str__", "email", "phone", "country", "lifecycle", "created_at")
    list_display_links = ("id", "__str__")
    list_filter = ("lifecycle",)
    search_fields = ("=identities__value", "last_name")
    search_help_text = "e-mail, phone or Shopify id in full, or a part of the last name"
    settings_fields = (*PLAIN, *ADDED, "tags", "attributes")
    fields = ("id", ("first_name", "last_name"), ("email", "phone"), ADDED, ("country", "region", "locale"), "timezone",
              "lifecycle", "tags", "attributes", ("created_at", "updated_at"))  # fmt: skip
    inlines = (IdentityInline, StateInline, ConsentInline)
    actions = ("export",)
    actions_detail = ("state_consent",)

    def has_configure_permission(self, request: HttpRequest, obj: object = None) -> bool:
        """Operators change contacts as owners do, of one tenant at a time."""
        return self.has_act_permission(request) and scope_of(request).tenant_id is not None

    def get_fields(self, request: HttpRequest, obj: Model | None = None) -> Sequence[Any]:
        """Ask for more identities only whoever may add some."""
        return [one for one in self.fields if one != ADDED or self.has_change_permission(request, obj)]

    def get_inlines(self, request: HttpRequest, obj: Any) -> list[Any]:
        """Show what hangs on a contact once there is one."""
        return list(self.inlines) if obj is not None else []

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Make or change it as the API does; a name that is left out of the attributes is taken away."""
        values = {name: form.cleaned_data[name] for name in form.names_changed()}
        actor, now = actor_of(request), timezone.now()
        if not change:
            obj.pk = create_contact(values=values, actor=actor, now=now).pk
        elif values:
            if "attributes" in values:
                before = Contact.objects.get(pk=obj.pk).attributes
                values["attributes"] = {**dict.fromkeys(before), **values["attributes"]}
            change_contact(contact_id=obj.pk, values=values, actor=actor, now=now)

    @row_action("State consent", path="consent", icon="fact_check")
    def state_consent(self, request: HttpRequest, contact: Contact) -> HttpResponse:
        """Ask what somebody said about a channel, and add it to the ledger."""
        form = ConsentForm(request.POST, contact=contact)

        def run() -> None:
            values, now = form.given(), timezone.now()
            stated_at = values.pop("stated_at") or now
            state_consent(contact=contact, stated_at=stated_at, actor=actor_of(request), **values)

        page = Page(
            title=f"What did {contact} say?",
            sentences=(
                "It is added to the ledger, with who wrote it down. What was stated later stays the state.",
                "An address that is suppressed is not written to all the same.",
            ),
            button="State it",
            done="It is in the ledger.",
            form=form,
            run=run,
        )
        return self.ask(request, contact, page)

    @action(description="Export as CSV", permissions=["configure"])
    def export(self, request: HttpRequest, queryset: QuerySet[Contact]) -> HttpResponseBase | None:
        """Send the chosen contacts, or all that the filters leave, as the API's export does."""
        ids = list(queryset.order_by("pk").values_list("pk", flat=True).distinct())
        try:
            lines = export_contacts(contact_ids=ids, actor=actor_of(request))
        except ExportRefused as error:
            self.message_user(request, str(error), messages.ERROR)
            return None
        return csv_answer(lines, name="contacts.csv")


class OfContact(ByIdFilter):
    """Statements of one contact."""

    title, parameter_name, column = "contact", "contact", "contact_id"


@admin.register(ConsentEntry)
class ConsentEntryAdmin(TenantModelAdmin):
    """The ledger of consent: read-only, newest first."""

    list_display = (
        "id",
        "contact_id",
        "channel",
        "said",
        "address",
        "source",
        "opt_in_level",
        "stated_at",
        "created_at",
    )
    list_filter = ("channel", "state", OfContact)
    search_fields = ("=address", "=source")
    search_help_text = "address, or source (import:7, form:3, shopify), in full"
    ordering = ("-id",)
    fields = ("contact", ("channel", "state", "opt_in_level"), "address", "source", "text_shown", "proof",
              ("stated_at", "created_at"), "source_version")  # fmt: skip

    @display(description="state", ordering="state", label=STATE_COLOURS)
    def said(self, entry: ConsentEntry) -> str:
        """Say what was stated."""
        return entry.state

    def get_readonly_fields(self, request: HttpRequest, obj: Model | None = None) -> Sequence[str]:
        """Lock all of it."""
        return [field.name for field in self.opts.fields]
