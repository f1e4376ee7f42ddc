"""The API's imports of contacts."""

from __future__ import annotations

import hashlib

from django.core.files.uploadedfile import UploadedFile
from django.db.models import QuerySet
from django.http import QueryDict, StreamingHttpResponse
from django_filters import ChoiceFilter
from django_filters.rest_framework import FilterSet
from drf_spectacular.utils import OpenApiTypes, extend_schema
from rest_framework import status
from rest_framework.parsers import MultiPartParser
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import ReadOnlyModelViewSet

from config.infra.work import Status
from messaging.actions.exports import export_problems
from messaging.actions.imports import start_import
from messaging.models import ContactImport
from messaging.serializers.imports import ImportInput, ImportRow
from messaging.tables import TableError
from messaging.views.contacts import AnyType, csv_answer
from shopsync.auth import ReadOrAct, actor_of
from shopsync.serializers import StrictQuery
from shopsync.views import KEY, answer_once, declare_problem


def _named(error: TableError) -> dict[str, object]:
    """Name the field that the sentence begins with."""
    field, _, sentence = str(error).partition(": ")
    return {"errors": {field: [sentence or str(error)]}}


declare_problem(TableError, status=400, slug="unreadable-table", title="The file can't be imported", members=_named)


def digest_upload(request: Request) -> str:
    """Name what was sent as a form: its fields, and what is in its files."""
    digest, fields = hashlib.sha256(), request.data
    assert isinstance(fields, QueryDict)  # as the parser of forms leaves it
    for name, value in sorted(fields.lists()):
        for one in value:
            digest.update(f"|{name}|".encode())
            pieces = one.chunks() if isinstance(one, UploadedFile) else [str(one).encode("utf-8", "replace")]
            for piece in pieces:
                digest.update(piece)
    return digest.hexdigest()


class ImportFilters(FilterSet):
    """Filters of imports."""

    status = ChoiceFilter(choices=Status.choices)
    phase = ChoiceFilter(choices=ContactImport.Phase.choices)


class Imports(StrictQuery, ReadOrAct, ReadOnlyModelViewSet[ContactImport]):
    """CSV files of contacts on their way in."""

    queryset = ContactImport.objects.none()
    serializer_class = ImportRow
    filterset_class = ImportFilters
    parser_classes = (MultiPartParser,)

    def get_queryset(self) -> QuerySet[ContactImport]:
        """Read the tenant's imports."""
        return ContactImport.objects.all()

    def get_renderers(self) -> list[BaseRenderer]:
        """Let the file of problems be asked for as whatever it is."""
        return [AnyType()] if self.action == "problems" else super().get_renderers()

    @extend_schema(
        request={"multipart/form-data": ImportInput},
        responses={202: ImportRow},
        parameters=[KEY],
        summary="Import contacts from a CSV file",
    )
    def create(self, request: Request) -> Response:
        """Take a file in; its rows are worked on by and by, and GET shows how far. 400 says why it can't be."""
        given = ImportInput(data=request.data)
        given.is_valid(raise_exception=True)
        return answer_once(request, lambda: self._create(request, given), digest=digest_upload(request))

    def _create(self, request: Request, given: ImportInput) -> Response:
        upload = given.upload()
        made = start_import(pieces=upload.chunks(), options=given.to_options(), actor=actor_of(request))
        row = self.get_queryset().get(pk=made.pk)
        return Response(ImportRow(row).data, status=status.HTTP_202_ACCEPTED)

    @extend_schema(
        responses={(200, "text/csv"): OpenApiTypes.STR}, summary="The rows with problems, as CSV to be mended"
    )
    def problems(self, request: Request, pk: int) -> StreamingHttpResponse:
        """Send the rows that were not taken, or not wholly: line, problem, and the cells as they came."""
        made = self.get_object()
        return csv_answer(export_problems(source=made), name=f"import-{made.pk}-problems.csv")
