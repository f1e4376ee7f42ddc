"""The API's segments: kept, counted, looked at; lists filled and emptied, by ids and by files."""

from __future__ import annotations

from typing import Any, ClassVar

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

from messaging.actions import segments
from messaging.models import Contact, Segment, SegmentMember
from messaging.segments import SegmentError, compile_segment
from messaging.serializers.contacts import ContactRow
from messaging.serializers.segments import (
    CountRow,
    MemberRow,
    MembersInput,
    MembersRow,
    PreviewInput,
    SegmentChange,
    SegmentInput,
    SegmentRow,
    UploadInput,
)
from messaging.tables import TableError, first_cells
from messaging.views.contacts import shown_contacts
from messaging.views.imports import digest_upload
from shopsync.auth import ReadOrAct, actor_of
from shopsync.serializers import PAGE, StrictQuery, read
from shopsync.views import KEY, answer_once, declare_problem

READS = frozenset({"list", "retrieve", "count", "sample", "list_members"})
UPLOAD_BYTES = 5 * 2**20
SHOWN = 100


def _named(error: SegmentError) -> dict[str, object]:
    """Name the description: the sentence names the place within it."""
    return {"errors": {"definition": [str(error)]}}


declare_problem(segments.SegmentRefused, status=409, slug="segment-refused", title="Not as the segment stands")
declare_problem(segments.InvalidName, status=400, slug="invalid-segment", title="This is no segment")
declare_problem(SegmentError, status=400, slug="invalid-segment", title="This is no segment", members=_named)


class SegmentFilters(FilterSet):
    """Filters of segments."""

    name = CharFilter()
    kind = ChoiceFilter(choices=Segment.Kind.choices)


class Segments(StrictQuery, ReadOrAct, ReadOnlyModelViewSet[Segment]):
    """Audiences: described, or listed."""

    reads = READS
    parameters: ClassVar = {"list_members": PAGE}
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

    @extend_schema(responses=MemberRow(many=True), filters=False, summary="Who is on a list, newest first")
    def list_members(self, request: Request, pk: int) -> Response:
        """Show the contacts that were put on a list, page by page; those of a described segment are counted alone.

        Raises: SegmentError for a segment that is described.
        """
        segments.check_list(self.get_object())
        rows = SegmentMember.objects.filter(segment_id=pk).select_related("contact")
        page = self.paginate_queryset(rows)  # type: ignore[arg-type]  # not rows of the view
        return self.get_paginated_response(MemberRow(page, many=True).data)

    @extend_schema(request=MembersInput, responses=MembersRow, parameters=[KEY], summary="Fill and empty a list")
    def members(self, request: Request, pk: int) -> Response:
        """Put contacts on a list, and take others off it, by their ids or by what they are known by. 409 for a segment
        that is described."""
        return answer_once(request, lambda: self._members(request, pk))

    def _members(self, request: Request, pk: int) -> Response:
        given = read(MembersInput, request)
        ids = {*given["add"], *given["remove"]}
        known = set(Contact.objects.filter(pk__in=ids).values_list("pk", flat=True))
        unknown = [str(pk) for pk in sorted(ids - known)]
        new, strange = segments.find_named(given["add_identities"])
        old, strangers = segments.find_named(given["remove_identities"])
        change = segments.change_members(
            segment_id=pk, add=[*given["add"], *new], remove=[*given["remove"], *old], actor=actor_of(request)
        )
        return _told(change, [*unknown, *strange, *strangers])

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
        ids, unknown = segments.find_named(cells_of(given.validated_data["file"]))
        sides = {"remove": ids} if given.validated_data["remove"] else {"add": ids}
        return _told(segments.change_members(segment_id=pk, **sides, actor=actor_of(request)), unknown[:SHOWN])


def _told(change: segments.Change, unknown: list[str]) -> Response:
    return Response({"added": change.added, "removed": change.removed, "unknown": unknown})


def cells_of(upload: UploadedFile[Any]) -> list[str]:
    """Read the first cell of each line; a line of names, as of an export, is nobody and is told as unknown.

    Raises: TableError.
    """
    if (upload.size or 0) > UPLOAD_BYTES:
        raise TableError("file: it is over 5 MB; import it, with segment_id")
    upload.seek(0)
    return first_cells(upload.read())


def _show(found: list[Contact]) -> Response:
    rows = shown_contacts().filter(pk__in=[contact.pk for contact in found]).order_by("-pk")
    return Response(ContactRow(rows, many=True).data)
