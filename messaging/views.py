"""The providers' call-backs, and the API's contacts and messages."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.db.models import Prefetch, QuerySet
from django.http import HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST
from django_filters import CharFilter, ChoiceFilter, IsoDateTimeFilter
from django_filters.rest_framework import FilterSet
from rest_framework.serializers import BaseSerializer
from rest_framework.viewsets import ReadOnlyModelViewSet

from config.infra.work import Status
from messaging.models import ConsentEntry, Contact, Message
from messaging.models.contacts import Channel
from messaging.serializers import ContactRow, MessageDetail, MessageRow
from shopsync.actions.inbox import Incoming, store_delivery
from shopsync.identity import normalise_email
from shopsync.models import Connection, RefusedDelivery
from shopsync.queries import find_connection
from shopsync.serializers import WholeNumberFilter
from shopsync.views import answer, read_body, refuse, storing
from shopsync.webhooks import body_digest


@csrf_exempt
@require_POST
def receive_mitto_report(request: HttpRequest, token: str) -> HttpResponse:
    """Take Mitto's delivery reports: Mitto does not sign, so the address's token names and proves the connection.

    202 stored or already known; 404 unknown token; 413 over 5 MB; 503 only when PostgreSQL can't store.
    """
    body = read_body(request)
    if body is None:
        return refuse(413, "the body is over 5 MB", source="mitto", reason=RefusedDelivery.Reason.TOO_LARGE)
    return storing("mitto", lambda: _store(token, body))


def _store(token: str, body: bytes) -> HttpResponse:
    connection: Connection | None = find_connection(service="mitto", token=token)
    if connection is None:
        sentence = "this address belongs to no connection"
        return refuse(404, sentence, source="mitto", reason=RefusedDelivery.Reason.UNKNOWN_TOKEN)
    digest = body_digest(settings.DIGEST_KEY, body)
    store_delivery(
        Incoming(
            source="mitto",
            topic="dlr",
            webhook_id=digest,  # Mitto gives no id: the same bytes are the same report
            body=body,
            digest=digest,
            tenant_id=connection.tenant_id,
            connection_id=connection.pk,
        )
    )
    return answer(202, "stored")


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


class MessageFilters(FilterSet):
    """Filters of messages."""

    status = ChoiceFilter(choices=Status.choices)
    outcome = ChoiceFilter(choices=Message.Outcome.choices)
    channel = ChoiceFilter(choices=Channel.choices)
    contact_id = WholeNumberFilter()
    address = CharFilter()
    created_after = IsoDateTimeFilter(field_name="created_at", lookup_expr="gte")
    created_before = IsoDateTimeFilter(field_name="created_at", lookup_expr="lt")


class Messages(ReadOnlyModelViewSet[Message]):
    """Messages and where each stands; in the detail with its delivery reports."""

    queryset = Message.objects.none()
    filterset_class = MessageFilters

    def get_queryset(self) -> QuerySet[Message]:
        """Read the tenant's messages."""
        return Message.objects.prefetch_related("reports") if self.detail else Message.objects.all()

    def get_serializer_class(self) -> type[BaseSerializer[Any]]:
        """Show reports in the detail only."""
        return MessageDetail if self.action == "retrieve" else MessageRow
