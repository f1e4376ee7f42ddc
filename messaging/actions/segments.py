"""Segments: kept, counted and looked at; static lists filled and emptied."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from audit.actions import record
from config.infra import tenancy
from config.infra.work import Status
from messaging.models import Contact, ContactImport, Segment, SegmentMember
from messaging.queries import find_contacts
from messaging.segments import Compiled, SegmentError, compile_segment
from shopsync.actions.refusals import InvalidInput
from shopsync.models import Tenant

Kind = Segment.Kind
NAMED = 3  # of a kind, that a refusal names


class SegmentRefused(SegmentError):  # noqa: N818  (a state of the segment, not of what was asked for)
    """A segment can't be taken away, or filled, as it stands; the message says why."""


class InvalidName(InvalidInput, SegmentError):  # noqa: N818  (of what was asked for, not of how things stand)
    """A segment can't be called so."""


@transaction.atomic(savepoint=False)
def save_segment(*, segment_id: int | None, name: str, definition: Mapping[str, Any] | None, actor: str) -> Segment:
    """Make or change a segment; without a description it is a static list.

    Raises: SegmentError for a description that is none, or a list in it that there is not; InvalidName for one that is
    another's; Segment.DoesNotExist.
    """
    if not name.strip() or len(name) > 100:
        raise InvalidName("name", "1 to 100 characters are needed.")
    segment = Segment() if segment_id is None else Segment.objects.select_for_update().get(pk=segment_id)
    if segment_id is not None and (definition is None) != (segment.kind == Kind.STATIC):
        raise SegmentError("definition: a list stays a list, and a described segment keeps a description")
    if definition is not None:
        check_definition(definition)
    segment.name, segment.updated_at = name.strip(), timezone.now()
    segment.kind = Kind.STATIC if definition is None else Kind.DYNAMIC
    segment.definition = dict(definition or {})
    try:
        with transaction.atomic():
            segment.save()
    except IntegrityError as error:
        raise InvalidName("name", f"There is a segment {name.strip()!r} already: give another name.") from error
    record(name="segment.saved", subject=f"segment:{segment.pk}", actor=actor, data={"kind": segment.kind})
    return segment


def check_definition(definition: Any) -> None:
    """Check a description, and that the lists it names are there: "not on a list" that is none would be everybody.

    Needs an open transaction, in which those lists are locked against whoever takes one away.

    Raises: SegmentError.
    """
    wanted = compile_segment(definition).lists
    lists = Segment.objects.select_for_update().filter(pk__in=wanted, kind=Kind.STATIC).order_by("pk")
    if missing := sorted(wanted - {segment.pk for segment in lists}):
        raise SegmentError(f"definition: there is no static list {missing[0]}")


@transaction.atomic(savepoint=False)
def delete_segment(*, segment_id: int, actor: str) -> None:
    """Take a segment away that nothing uses; its contacts stay.

    Raises: Segment.DoesNotExist, SegmentRefused, naming what uses it.
    """
    segment = Segment.objects.select_for_update().get(pk=segment_id)
    if uses := uses_of(segment):
        raise SegmentRefused(f"It is used by {'; by '.join(uses)}. Only what nothing uses can be taken away.")
    record(name="segment.deleted", subject=f"segment:{segment.pk}", actor=actor, data={"kind": segment.kind})
    segment.delete()


def uses_of(segment: Segment) -> list[str]:
    """Name what uses a segment, a few of each kind by name; empty where nothing does."""
    campaigns = segment.campaigns.order_by("-pk").values_list("name", flat=True)
    filling = ContactImport.objects.filter(segment=segment, status__in=(Status.READY, Status.LEASED)).order_by("-pk")
    described = Segment.objects.filter(kind=Kind.DYNAMIC).order_by("name")
    naming = [one.name for one in described if segment.pk in compile_segment(one.definition).lists]
    found = {
        "campaigns": list(campaigns),
        "imports that still run": list(map(str, filling)),
        "descriptions of segments": naming,
    }
    return [f"{kind}: {_named(names)}" for kind, names in found.items() if names]


def _named(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return f"{', '.join(map(repr, names[:NAMED]))}{more}"


def hold_segment(segment_id: int) -> bool:
    """Keep a segment from being taken away until the transaction ends, for whoever begins to use it; False where it is
    gone already. Call it last: whoever fills a list waits for it."""
    with connection.cursor() as cursor:
        sql = "SELECT FROM messaging_segment WHERE id = %s AND tenant_id = %s FOR KEY SHARE"
        cursor.execute(sql, [segment_id, tenancy.current_tenant_id()])
        return cursor.fetchone() is not None


@transaction.atomic(savepoint=False)
def add_members(*, segment_id: int, contact_ids: Iterable[int], actor: str) -> int:
    """Put contacts on a static list; return how many were not on it. Those of another tenant do not exist.

    Raises: Segment.DoesNotExist, SegmentRefused for one that is described.
    """
    segment = _static(segment_id)
    before = segment.members.count()
    known = Contact.objects.filter(pk__in=list(contact_ids)).values_list("pk", flat=True)
    rows = [SegmentMember(segment=segment, contact_id=contact_id) for contact_id in known]
    SegmentMember.objects.bulk_create(rows, ignore_conflicts=True, batch_size=1000)
    added = segment.members.count() - before
    record(name="segment.filled", subject=f"segment:{segment.pk}", actor=actor, data={"added": added})
    return added


@transaction.atomic(savepoint=False)
def remove_members(*, segment_id: int, contact_ids: Iterable[int], actor: str) -> int:
    """Take contacts off a static list; return how many were on it.

    Raises: Segment.DoesNotExist, SegmentRefused for one that is described.
    """
    segment = _static(segment_id)
    removed, _ = segment.members.filter(contact_id__in=list(contact_ids)).delete()
    record(name="segment.emptied", subject=f"segment:{segment.pk}", actor=actor, data={"removed": removed})
    return removed


@dataclass(frozen=True, slots=True)
class Change:
    """How many contacts came onto a list, and how many left it."""

    added: int
    removed: int


@transaction.atomic(savepoint=False)
def change_members(*, segment_id: int, actor: str, add: Collection[int] = (), remove: Collection[int] = ()) -> Change:
    """Put contacts on a static list, then take others off it, by their ids.

    Raises: Segment.DoesNotExist, SegmentError for one that is described.
    """
    _static(segment_id)  # also where there is nobody to add or take off
    added = add_members(segment_id=segment_id, contact_ids=add, actor=actor) if add else 0
    removed = remove_members(segment_id=segment_id, contact_ids=remove, actor=actor) if remove else 0
    return Change(added, removed)


def find_named(names: Iterable[str]) -> tuple[list[int], list[str]]:
    """Find contacts by what each is named (an id, an e-mail address, a phone as written in the tenant's country): their
    ids, and the names that are nobody's."""
    country = Tenant.objects.values_list("country", flat=True).get(pk=tenancy.current_tenant_id())
    return find_contacts(names, country=country)


def check_list(segment: Segment) -> None:
    """Refuse a segment that is no list.

    Raises: SegmentError.
    """
    if segment.kind != Kind.STATIC:
        raise SegmentRefused("It is described: only a list has members that are put on it.")


def _static(segment_id: int) -> Segment:
    segment = Segment.objects.select_for_update().get(pk=segment_id)
    check_list(segment)
    return segment


def compiled(segment: Segment) -> Compiled:
    """Return the query for a segment's contacts."""
    if segment.kind == Kind.STATIC:
        return compile_segment({"field": "list", "op": "in", "value": segment.pk})
    return compile_segment(segment.definition)


def count_contacts(query: Compiled) -> int:
    """Count the contacts of the tenant in scope that a query finds."""
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT count(*) FROM ({query.sql}) found", _parameters(query))  # noqa: S608
        (count,) = cursor.fetchone()
    return int(count)


def sample_contacts(query: Compiled, *, limit: int = 20) -> list[Contact]:
    """Return some of the contacts that a query finds, the newest first."""
    with connection.cursor() as cursor:
        sql = f"SELECT id FROM ({query.sql}) found ORDER BY id DESC LIMIT %(limit)s"  # noqa: S608
        cursor.execute(sql, _parameters(query) | {"limit": limit})
        ids = [row[0] for row in cursor.fetchall()]
    return sorted(Contact.objects.filter(pk__in=ids), key=lambda contact: -contact.pk)


def _parameters(query: Compiled) -> dict[str, Any]:
    return {**query.parameters, "tenant": tenancy.current_tenant_id()}
