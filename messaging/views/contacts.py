"""The API's contacts, what they agreed to, and their export."""

from __future__ import annotations

from typing import Any, ClassVar

from django.db.models import Prefetch, QuerySet
from django.http import Http404, StreamingHttpResponse
from django.utils import timezone
from django_filters import CharFilter, ChoiceFilter
from django_filters.rest_framework import FilterSet
from drf_spectacular.utils import OpenApiParameter, OpenApiTypes, extend_schema
from rest_framework import status
from rest_framework.exceptions import ValidationError
from rest_framework.renderers import BaseRenderer, JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView
from rest_framework.viewsets import ReadOnlyModelViewSet

from config.infra import tenancy
from messaging.actions import profiles
from messaging.actions.consent import state_consent
from messaging.actions.exports import ExportRefused, export_contacts
from messaging.actions.suppressions import normalise_address
from messaging.models import ConsentEntry, ConsentState, Contact, Segment
from messaging.serializers.contacts import ConsentEntryRow, ConsentInput, ContactInput, ContactRow
from shopsync.auth import MayAct, ReadOrAct, actor_of
from shopsync.identity import normalise_email
from shopsync.models import Tenant
from shopsync.serializers import PAGE, StrictQuery, WholeNumberFilter
from shopsync.views import KEY, answer_once, declare_problem, named

READS = frozenset({"list", "retrieve", "consents"})


declare_problem(ExportRefused, status=409, slug="export-refused", title="Too much for one file")
declare_problem(profiles.ProfileError, status=400, slug="invalid-contact", title="Not a contact")
declare_problem(
    profiles.IdentityTaken,
    status=400,
    slug="identity-taken",
    title="Somebody else is known by it",
    members=lambda error: {"contact_id": error.contact_id, **named(error)},
)


class ContactFilters(FilterSet):
    """Filters of contacts."""

    email = CharFilter(method="of_email")
    phone = CharFilter(help_text="E.164, e.g. +15145550123")
    shopify_id = WholeNumberFilter(method="of_customer", help_text="the Shopify customer's id")
    external_id = CharFilter(method="of_external", help_text="the id in a system of the merchant's")
    tag = CharFilter(method="of_tag")
    lifecycle = ChoiceFilter(choices=Contact.Lifecycle.choices)

    def of_email(self, rows: QuerySet[Contact], name: str, value: str) -> QuerySet[Contact]:
        """Find a contact by any address it is known by."""
        return rows.filter(identities__kind="email", identities__value=normalise_email(value) or value)

    def of_customer(self, rows: QuerySet[Contact], name: str, value: str) -> QuerySet[Contact]:
        """Find the contact of a Shopify customer."""
        return rows.filter(identities__kind="shopify_customer", identities__value=str(int(value)))

    def of_external(self, rows: QuerySet[Contact], name: str, value: str) -> QuerySet[Contact]:
        """Find a contact by an id of the merchant's."""
        return rows.filter(identities__kind="external", identities__value=value)

    def of_tag(self, rows: QuerySet[Contact], name: str, value: str) -> QuerySet[Contact]:
        """Find contacts by a tag."""
        return rows.filter(tags__contains=[value])


def shown_contacts() -> QuerySet[Contact]:
    """Read contacts as ContactRow shows them."""
    states = ConsentState.objects.select_related("entry")
    return Contact.objects.prefetch_related("identities", Prefetch("consent_states", states))


class Contacts(StrictQuery, ReadOrAct, ReadOnlyModelViewSet[Contact]):
    """People, what they are known by, and what they agreed to."""

    reads = READS
    parameters: ClassVar = {"consents": PAGE}
    queryset = Contact.objects.none()
    serializer_class = ContactRow
    filterset_class = ContactFilters

    def get_queryset(self) -> QuerySet[Contact]:
        """Read the tenant's contacts, their identities and consents in two more queries."""
        return shown_contacts()

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Find the contact before the body is looked at: what is another tenant's is not there at all."""
        super().initial(request, *args, **kwargs)
        if self.action and "pk" in kwargs and not Contact.objects.filter(pk=kwargs["pk"]).exists():
            raise Http404

    @extend_schema(request=ContactInput, responses={201: ContactRow}, parameters=[KEY], summary="Make a contact")
    def create(self, request: Request) -> Response:
        """Make a contact; 400 names the one that an identity belongs to already."""
        return answer_once(request, lambda: self._create(request))

    def _create(self, request: Request) -> Response:
        values = self._read(request, Contact())
        made = profiles.create_contact(values=values, actor=actor_of(request), now=timezone.now())
        return self._answer(made.pk, code=status.HTTP_201_CREATED)

    @extend_schema(request=ContactInput, responses=ContactRow, summary="Change a contact")
    def partial_update(self, request: Request, pk: int) -> Response:
        """Change what is given. Identities are added, attributes merged (null takes one away), tags replaced."""
        values = self._read(request, self.get_object())
        profiles.change_contact(contact_id=pk, values=values, actor=actor_of(request), now=timezone.now())
        return self._answer(pk)

    def _read(self, request: Request, contact: Contact) -> dict[str, Any]:
        country = contact.country or Tenant.objects.get(pk=tenancy.current_tenant_id()).country
        given = ContactInput(data=request.data, context={"country": country})
        given.is_valid(raise_exception=True)
        return dict(given.validated_data)

    @extend_schema(responses=ConsentEntryRow(many=True), summary="The ledger of consent, newest entry first")
    def consents(self, request: Request, pk: int) -> Response:
        """List every statement of a contact. The state of a channel is the one that was stated last."""
        page = self.paginate_queryset(ConsentEntry.objects.filter(contact_id=pk))  # type: ignore[arg-type]
        return self.get_paginated_response(ConsentEntryRow(page, many=True).data)

    @extend_schema(
        request=ConsentInput, responses={201: ContactRow}, parameters=[KEY], summary="State what a contact agreed to"
    )
    def state(self, request: Request, pk: int) -> Response:
        """Add a statement to the ledger; what was stated later stays the state."""
        return answer_once(request, lambda: self._state(request, pk))

    def _state(self, request: Request, pk: int) -> Response:
        now = timezone.now()
        given = ConsentInput(data=request.data, context={"now": now})
        given.is_valid(raise_exception=True)
        values = dict(given.validated_data)
        contact = Contact.objects.get(pk=pk)
        address = address_for(contact, values["channel"], values.pop("address"))
        stated_at = values.pop("stated_at") or now
        state_consent(contact=contact, address=address, stated_at=stated_at, actor=actor_of(request), **values)
        return self._answer(pk, code=status.HTTP_201_CREATED)

    def _answer(self, pk: int, *, code: int = status.HTTP_200_OK) -> Response:
        return Response(ContactRow(self.get_queryset().get(pk=pk)).data, status=code)


def address_for(contact: Contact, channel: str, given: str) -> str:
    """Say where a consent is for.

    Raises: ValidationError.
    """
    if not given and contact.address_on(channel):
        return contact.address_on(channel)
    country = contact.country or Tenant.objects.get(pk=contact.tenant_id).country
    found = normalise_address(channel, given, country=country)
    if not found:
        sentence = f"This is no address for {channel}." if given else f"The contact has no address for {channel}."
        raise ValidationError({"address": [sentence]})
    return found


class AnyType(JSONRenderer):
    """Answers whatever type is asked for: a file is what it is, and a refusal is JSON."""

    media_type = "*/*"


class ContactExport(StrictQuery, APIView):
    """Contacts as a CSV file."""

    permission_classes = (MayAct,)
    parameters: ClassVar = {"get": frozenset({"segment_id"})}

    def get_renderers(self) -> list[BaseRenderer]:
        """Let the file be asked for as whatever it is."""
        return [AnyType()]

    @extend_schema(
        parameters=[OpenApiParameter("segment_id", int, description="only the contacts of this segment")],
        responses={(200, "text/csv"): OpenApiTypes.STR},
        summary="Export contacts as CSV",
    )
    def get(self, request: Request) -> StreamingHttpResponse:
        """Send all contacts, or those of a segment, while they are read. A formula is disarmed by an apostrophe."""
        given = request.query_params.get("segment_id", "")
        if given and not (given.isascii() and given.isdigit() and len(given) <= 18):
            raise ValidationError({"segment_id": ["Give the id of a segment."]})
        try:
            lines = export_contacts(segment_id=int(given) if given else None, actor=actor_of(request))
        except Segment.DoesNotExist as error:
            raise Http404 from error
        return csv_answer(lines, name="contacts.csv")


def csv_answer(lines: Any, *, name: str) -> StreamingHttpResponse:
    """Send lines as a file to keep, which no cache keeps."""
    answer = StreamingHttpResponse(lines, content_type="text/csv; charset=utf-8")
    answer["Content-Disposition"] = f'attachment; filename="{name}"'
    answer["Cache-Control"] = "private, no-store"
    return answer
