"""The API's contacts."""

from __future__ import annotations

from django.db.models import Prefetch, QuerySet
from django_filters import CharFilter
from django_filters.rest_framework import FilterSet
from rest_framework.viewsets import ReadOnlyModelViewSet

from messaging.models import ConsentEntry, Contact
from messaging.serializers.contacts import ContactRow
from shopsync.identity import normalise_email
from shopsync.serializers import WholeNumberFilter


class ContactFilters(FilterSet):
    """Filters of contacts."""

    email = CharFilter(method="of_email")
    phone = CharFilter(help_text="E.164, e.g. +15145550123")
    shopify_id = WholeNumberFilter(method="of_customer", help_text="the Shopify customer's id")

    def of_email(self, rows: QuerySet[Contact], name: str, value: str) -> QuerySet[Contact]:
        """Find a contact by any address it is known by."""
        return rows.filter(identities__kind="email", identities__value=normalise_email(value) or value)

    def of_customer(self, rows: QuerySet[Contact], name: str, value: str) -> QuerySet[Contact]:
        """Find the contact of a Shopify customer."""
        return rows.filter(identities__kind="shopify_customer", identities__value=str(int(value)))


class Contacts(ReadOnlyModelViewSet[Contact]):
    """People, what they are known by, and what they agreed to."""

    queryset = Contact.objects.none()
    serializer_class = ContactRow
    filterset_class = ContactFilters

    def get_queryset(self) -> QuerySet[Contact]:
        """Read the tenant's contacts, their identities and consents in two more queries."""
        consents = ConsentEntry.objects.order_by("contact_id", "channel", "source_version")
        return Contact.objects.prefetch_related("identities", Prefetch("consents", consents))
