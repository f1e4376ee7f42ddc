"""Contacts for operators."""

from __future__ import annotations

from django.contrib import admin

from messaging.models import ConsentEntry, Contact, ContactIdentity
from shopsync.admin.base import ReadOnlyInline, TenantModelAdmin


class IdentityInline(ReadOnlyInline):
    """What a contact is known by."""

    model = ContactIdentity
    fields = ("kind", "value", "created_at")


class ConsentInline(ReadOnlyInline):
    """What a contact agreed to, newest first."""

    model = ConsentEntry
    fields = ("channel", "state", "address", "source", "opt_in_level", "stated_at")


@admin.register(Contact)
class ContactAdmin(TenantModelAdmin):
    """People."""

    list_display = ("__str__", "email", "phone", "country", "created_at")
    search_fields = ("=identities__value", "last_name")
    search_help_text = "e-mail, phone or Shopify id in full, or a part of the last name"
    inlines = (IdentityInline, ConsentInline)
