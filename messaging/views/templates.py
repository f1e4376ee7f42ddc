"""The API's templates: written in versions, archived, and previewed for a contact."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from django.http import Http404
from django.utils import timezone
from django_filters import BooleanFilter, CharFilter, ChoiceFilter
from django_filters.rest_framework import FilterSet
from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import BaseSerializer
from rest_framework.viewsets import ReadOnlyModelViewSet

from messaging.actions.templates import (
    TemplateArchived,
    TemplateExists,
    archive_template,
    make_template,
    save_template,
)
from messaging.models import Contact, Template, TemplateVersion
from messaging.models.contacts import Channel
from messaging.queries import preview_of
from messaging.rendering import TemplateError
from messaging.serializers.templates import (
    DraftChange,
    DraftInput,
    PreviewRow,
    TemplateDetail,
    TemplateInput,
    TemplatePreviewInput,
    TemplateRow,
    draft_from,
)
from shopsync.auth import ReadOrAct, actor_of
from shopsync.serializers import Nothing, StrictQuery, read
from shopsync.views import KEY, answer_once, declare_problem, read_key

READS = frozenset({"list", "retrieve"})


declare_problem(TemplateError, status=400, slug="template-error", title="The template can't be used")
declare_problem(TemplateExists, status=400, slug="template-exists", title="There is one already")
declare_problem(TemplateArchived, status=409, slug="template-archived", title="It is archived")


class TemplateFilters(FilterSet):
    """Filters of templates."""

    name = CharFilter()
    channel = ChoiceFilter(choices=Channel.choices)
    is_archived = BooleanFilter(field_name="archived_at", lookup_expr="isnull", exclude=True)


class Templates(StrictQuery, ReadOrAct, ReadOnlyModelViewSet[Template]):
    """Texts under names; in the detail with their versions."""

    reads = READS
    queryset = Template.objects.none()
    filterset_class = TemplateFilters

    def get_queryset(self) -> QuerySet[Template]:
        """Read the tenant's templates."""
        return Template.objects.prefetch_related("versions") if self.detail else Template.objects.all()

    def get_serializer_class(self) -> type[BaseSerializer[Any]]:
        """Show versions in the detail only."""
        return TemplateDetail if self.detail else TemplateRow

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Find the template before the body is looked at: what is another tenant's is not there at all."""
        super().initial(request, *args, **kwargs)
        is_write = bool(self.action) and self.action not in READS
        if is_write and "pk" in kwargs and not Template.objects.filter(pk=kwargs["pk"]).exists():
            raise Http404

    @extend_schema(request=TemplateInput, responses={201: TemplateDetail}, parameters=[KEY], summary="Make a template")
    def create(self, request: Request) -> Response:
        """Make a template and its first version; 400 names the field that can't be used, as a name that is taken."""
        return answer_once(request, lambda: self._create(request))

    def _create(self, request: Request) -> Response:
        given = read(TemplateInput, request)
        who = {"name": given["name"], "channel": given["channel"], "actor": actor_of(request)}
        made = make_template(draft=draft_from(given), **who)
        return self._answer(made.template_id, code=status.HTTP_201_CREATED)

    @extend_schema(request=DraftInput, responses=TemplateDetail, summary="Write the next version, in full")
    def update(self, request: Request, pk: int) -> Response:
        """Write the next version; what is left out is at its default. The same as the newest makes none."""
        save_template(template_id=pk, draft=draft_from(read(DraftInput, request)), actor=actor_of(request))
        return self._answer(pk)

    @extend_schema(request=DraftChange, responses=TemplateDetail, summary="Write the next version, from the newest")
    def partial_update(self, request: Request, pk: int) -> Response:
        """Write the next version; what is left out is as in the newest one."""
        draft = draft_from(read(DraftChange, request), newest=_version_of(pk, None))
        save_template(template_id=pk, draft=draft, actor=actor_of(request))
        return self._answer(pk)

    @extend_schema(request=None, responses=TemplateDetail, parameters=[KEY], summary="Archive")
    def archive(self, request: Request, pk: int) -> Response:
        """Offer a template no more; what uses one of its versions goes on with it."""
        read(Nothing, request)
        return answer_once(request, lambda: self._archive(request, pk))

    def _archive(self, request: Request, pk: int) -> Response:
        archive_template(template_id=pk, actor=actor_of(request), now=timezone.now())
        return self._answer(pk)

    @extend_schema(
        request=TemplatePreviewInput, responses=PreviewRow, parameters=[KEY], summary="Preview for a contact"
    )
    def preview(self, request: Request, pk: int) -> Response:
        """Render a version for a contact: its text, how it is encoded and charged, and what is missing.

        It is rendered anew each time, under the same key too: a person's values are not kept with the key.
        """
        read_key(request)
        given = read(TemplatePreviewInput, request)
        contact = Contact.objects.filter(pk=given["contact_id"]).first()
        if contact is None:
            raise ValidationError({"contact_id": ["No such contact."]})
        return Response(PreviewRow(preview_of(version=_version_of(pk, given.get("version")), contact=contact)).data)

    def _answer(self, pk: int, *, code: int = 200) -> Response:
        template = Template.objects.prefetch_related("versions").get(pk=pk)
        return Response(TemplateDetail(template).data, status=code)


def _version_of(template_id: int, number: int | None) -> TemplateVersion:
    """Find a version by its number, or the newest.

    Raises: ValidationError.
    """
    versions = TemplateVersion.objects.select_related("template").filter(template_id=template_id)
    version = (versions if number is None else versions.filter(number=number)).order_by("-number").first()
    if version is None:
        raise ValidationError({"version": ["No such version."]})
    return version
