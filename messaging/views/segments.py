"""The API's segments: kept, counted, looked at; lists filled and emptied, by ids and by files."""

from __future__ import annotations

from typing import Any

from django.core.files.uploadedfile import UploadedFile
from django.db.models import QuerySet
from django.http import Http404
from django_filters import CharFilter, ChoiceFilter
from django_filters.rest_framework import FilterSet
from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.parsers import BaseParser, MultiPartParser
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import ReadOnlyModelViewSet

from config.infra import tenancy
from messaging.actions import segments
from messaging.models import Contact, Segment
from messaging.queries import find_contacts
from messaging.segments import SegmentError, compile_segment
from messaging.serializers.contacts import ContactRow
from messaging.serializers.segments import (
    CountRow,
    MembersInput,
    MembersRow,
    PreviewInput,
    SegmentChange,
    SegmentInput,
    SegmentRow,
    UploadInput,
)
from messaging.tables import TableError, choose_encoding, read_header, read_rows, unguard
from messaging.views.contacts import shown_contacts
from messaging.views.imports import digest_upload
from shopsync.auth import ReadOrAct, actor_of
from shopsync.models import Tenant
from shopsync.serializers import StrictQuery, read
from shopsync.views import KEY, answer_once, declare_problem

READS = frozenset({"list", "retrieve", "count", "sample"})
UPLOAD_BYTES = 5 * 2**20
SHOWN = 100


def _named(error: SegmentError) -> dict[str, object]:
    """Name the field: its name, or else its description, within which the sentence names the place."""
    field, _, sentence = str(error).partition(": ")
    return {"errors": {"name": [sentence]} if field == "name" else {"definition": [str(error)]}}


declare_problem(segments.SegmentRefused, status=409, slug="segment-refused", title="Not as the segment stands")
declare_problem(SegmentError, status=400, slug="invalid-segment", title="This is no segment", members=_named)


class SegmentFilters(FilterSet):
    """Filters of segments."""

    name = CharFilter()
    kind = ChoiceFilter(choices=Segment.Kind.choices)


class Segments(StrictQuery, ReadOrAct, ReadOnlyModelViewSet[Segment]):
    """Audiences: described, or listed."""

    reads = READS
    queryset = Segment.objects.none()
    serializer_class = SegmentRow
    filterset_class = SegmentFilters

    def get_queryset(self) -> QuerySet[Segment]:
        """Read the tenant's segments."""
        return Segment.objects.all()

    def get_parsers(self) -> list[BaseParser]:
        """Take files where there is one to take."""
        is_upload = self.action_map.get("post") == "upload" if self.action_map else False
        return [MultiPartParser()] if is_upload else super().get_parsers()

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Find the segment before the body is looked at: what is another tenant's is not there at all."""
        super().initial(request, *args, **kwargs)
        if self.action and "pk" in kwargs and not Segment.objects.filter(pk=kwargs["pk"]).exists():
            raise Http404

    @extend_schema(request=SegmentInput, responses={201: SegmentRow}, parameters=[KEY], summary="Make a segment")
    def create(self, request: Request) -> Response:
        """Make a segment: described by its `definition`, or, without one, a list."""
        return answer_once(request, lambda: self._create(request))

    def _create(self, request: Request) -> Response:
        given = read(SegmentInput, request)
        made = segments.save_segment(
            segment_id=None, name=given["name"], definition=given["definition"], actor=actor_of(request)
        )
        return Response(SegmentRow(made).data, status=status.HTTP_201_CREATED)

    @extend_schema(request=SegmentChange, responses=SegmentRow, summary="Change a segment")
    def partial_update(self, request: Request, pk: int) -> Response:
        """Change its name, its description, or both; a list stays a list."""
        segment = self.get_object()
        given = read(SegmentChange, request)
        known = segment.definition if segment.kind == Segment.Kind.DYNAMIC else None
        made = segments.save_segment(
            segment_id=pk,
            name=given.get("name", segment.name),
            definition=given.get("definition", known),
            actor=actor_of(request),
        )
        return Response(SegmentRow(made).data)

    @extend_schema(responses={204: None}, summary="Take a segment away")
    def destroy(self, request: Request, pk: int) -> Response:
        """Take it away; its contacts stay. 409 names what needs it still."""
        segments.delete_segment(segment_id=pk, actor=actor_of(request))
        return Response(status=status.HTTP_204_NO_CONTENT)

    @extend_schema(responses=CountRow, summary="How many contacts it has now")
    def count(self, request: Request, pk: int) -> Response:
        """Count its contacts."""
        return Response({"count": segments.count_contacts(segments.compiled(self.get_object()))})

    @extend_schema(responses=ContactRow(many=True), filters=False, summary="Twenty of its contacts, the newest first")
    def sample(self, request: Request, pk: int) -> Response:
        """Show some of its contacts."""
        return _show(segments.sample_contacts(segments.compiled(self.get_object())))

    @extend_schema(request=PreviewInput, responses=CountRow, parameters=[KEY], summary="Count by a description")
    def preview(self, request: Request) -> Response:
        """Count whom a description would find, and keep nothing."""
        return answer_once(request, lambda: self._preview(request))

    def _preview(self, request: Request) -> Response:
        query = compile_segment(read(PreviewInput, request)["definition"])
        return Response({"count": segments.count_contacts(query)})

    @extend_schema(request=MembersInput, responses=MembersRow, parameters=[KEY], summary="Fill and empty a list")
    def members(self, request: Request, pk: int) -> Response:
        """Put contacts on a list, and take others off it, by their ids. 409 for a segment that is described."""
        return answer_once(request, lambda: self._members(request, pk))

    def _members(self, request: Request, pk: int) -> Response:
        given, actor = read(MembersInput, request), actor_of(request)
        added = segments.add_members(segment_id=pk, contact_ids=given["add"], actor=actor) if given["add"] else 0
        removed = 0
        if given["remove"]:
            removed = segments.remove_members(segment_id=pk, contact_ids=given["remove"], actor=actor)
        ids = {*given["add"], *given["remove"]}
        known = set(Contact.objects.filter(pk__in=ids).values_list("pk", flat=True))
        unknown = [str(pk) for pk in sorted(ids - known)]
        return Response({"added": added, "removed": removed, "unknown": unknown})

    @extend_schema(
        request={"multipart/form-data": UploadInput}, responses=MembersRow, parameters=[KEY],
        summary="Fill or empty a list by a file",
    )  # fmt: skip
    def upload(self, request: Request, pk: int) -> Response:
        """Put the known contacts of a file on a list, or take them off. To make contacts of a file, import it."""
        given = UploadInput(data=request.data)
        given.is_valid(raise_exception=True)
        return answer_once(request, lambda: self._upload(request, pk, given), digest=digest_upload(request))

    def _upload(self, request: Request, pk: int, given: UploadInput) -> Response:
        country = Tenant.objects.get(pk=tenancy.current_tenant_id()).country
        ids, unknown = find_contacts(_first_cells(given.validated_data["file"]), country=country)
        change = segments.remove_members if given.validated_data["remove"] else segments.add_members
        count = change(segment_id=pk, contact_ids=ids, actor=actor_of(request))
        word = "removed" if given.validated_data["remove"] else "added"
        return Response({"added": 0, "removed": 0, word: count, "unknown": unknown[:SHOWN]})


def _first_cells(upload: UploadedFile[Any]) -> list[str]:
    """Read the first cell of each line; a line of names, as of an export, is nobody and is told as unknown.

    Raises: TableError.
    """
    if (upload.size or 0) > UPLOAD_BYTES:
        raise TableError("file: it is over 5 MB; import it, with segment_id")
    upload.seek(0)
    body = upload.read()
    encoding = choose_encoding(body[:4], "auto")
    try:
        body.decode(encoding)
    except UnicodeDecodeError as error:
        raise TableError("file: it is not UTF-8; save it as UTF-8") from error
    delimiter, _ = read_header(body[: 2**16], encoding=encoding)
    rows = read_rows([body], encoding=encoding, delimiter=delimiter)
    cells = (unguard(row.cells[0]).strip() for row in rows if not row.problem)
    return [cell for cell in dict.fromkeys(cells) if cell]


def _show(found: list[Contact]) -> Response:
    rows = shown_contacts().filter(pk__in=[contact.pk for contact in found]).order_by("-pk")
    return Response(ContactRow(rows, many=True).data)
