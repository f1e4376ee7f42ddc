"""Exports: contacts as CSV, streamed with flat memory; what an import reads again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from django.db import connection

from audit.actions import Value, record
from config.infra import tenancy
from messaging.actions.segments import compiled
from messaging.imports import ATTRIBUTE, CHANNELS, MAX_ATTRIBUTE_COLUMNS, write_attribute
from messaging.models import ConsentState, Contact, ContactIdentity, ContactImport, ImportRow, Segment
from messaging.segments import Compiled, compile_segment
from messaging.tables import unguard, write_rows

PAGE = 2000
_TEXTS = ("email", "phone", "first_name", "last_name", "country", "region", "locale", "timezone", "lifecycle")
_KINDS = {"shopify_customer": "shopify_id", "external": "external_id", "whatsapp": "whatsapp"}
_CHOSEN = "SELECT id FROM messaging_contact WHERE tenant_id = %(tenant)s AND id = ANY(%(chosen)s::bigint[])"


class ExportRefused(ValueError):  # noqa: N818  (a state of the contacts, not of what was asked for)
    """The contacts don't fit into one file; the message says what to do."""


def export_contacts(
    *, segment_id: int | None = None, contact_ids: Sequence[int] | None = None, actor: str
) -> Iterator[str]:
    """Record an export, and return its lines: all contacts of the tenant in scope, those of a segment, or those named.

    The lines are read while they are sent, by a cursor of the server's: the tenant's scope is opened for each page
    anew, since nobody knows who holds the thread between two lines.

    Raises: Segment.DoesNotExist, SegmentError, ExportRefused for more attributes than a file may have columns of.
    """
    segment = Segment.objects.get(pk=segment_id) if segment_id is not None else None
    query = compiled(segment) if segment is not None else compile_segment({"all": []})
    if contact_ids is not None:
        query = Compiled(_CHOSEN, {"chosen": list(contact_ids)})
    tenant_id = tenancy.current_tenant_id()
    names = _attribute_names(query, tenant_id)
    subject = f"segment:{segment_id}" if segment is not None else f"tenant:{tenant_id}"
    data: dict[str, Value] = {} if contact_ids is None else {"contacts": len(contact_ids)}
    record(name="contacts.exported", subject=subject, actor=actor, data=data)
    return _lines(query, tenant_id, names)


def _attribute_names(query: Compiled, tenant_id: int) -> list[str]:
    """List the names of attributes that these contacts have."""
    sql = f"""SELECT DISTINCT jsonb_object_keys(attributes) FROM messaging_contact
        WHERE tenant_id = %(tenant)s AND id IN ({query.sql}) ORDER BY 1 LIMIT %(most)s"""  # noqa: S608  a compiled segment
    with connection.cursor() as cursor:
        cursor.execute(sql, {**query.parameters, "tenant": tenant_id, "most": MAX_ATTRIBUTE_COLUMNS + 1})
        names = [row[0] for row in cursor.fetchall()]
    if len(names) > MAX_ATTRIBUTE_COLUMNS:
        raise ExportRefused(
            f"These contacts have more than {MAX_ATTRIBUTE_COLUMNS} different attributes, more than a file may have"
            " columns of: export them in parts, a segment each, or take attributes away."
        )
    return names


def _lines(query: Compiled, tenant_id: int, names: list[str]) -> Iterator[str]:
    header = [*_KINDS.values(), *_TEXTS, "tags", *(f"consent.{channel}" for channel in CHANNELS)]
    yield write_rows([[*header, *(f"{ATTRIBUTE}{name}" for name in names)]])
    for ids in _pages(query, tenant_id):
        with tenancy.tenant_scope(tenant_id):
            page = write_rows(_rows(ids, names))
        yield page


def _pages(query: Compiled, tenant_id: int) -> Iterator[list[int]]:
    """Fetch the ids page by page, from a cursor that the server keeps."""
    cursor = connection.chunked_cursor()
    try:
        sql = f"SELECT id FROM ({query.sql}) found ORDER BY id"  # noqa: S608
        cursor.execute(sql, {**query.parameters, "tenant": tenant_id})
        while rows := cursor.fetchmany(PAGE):
            yield [row[0] for row in rows]
    finally:
        cursor.close()


def _rows(ids: list[int], names: list[str]) -> Iterator[list[str]]:
    """Read a page of contacts in three queries; of several identities of a kind, the one known last."""
    rows = ContactIdentity.objects.filter(contact_id__in=ids, kind__in=_KINDS).order_by("pk")
    known = {(pk, kind): value for pk, kind, value in rows.values_list("contact_id", "kind", "value")}
    hold = ConsentState.objects.filter(contact_id__in=ids, lapsed_at__isnull=True)  # no other is for what stands here
    states = hold.values_list("contact_id", "channel", "state")
    stated = {(pk, channel): state for pk, channel, state in states}
    contacts = Contact.objects.filter(pk__in=ids).order_by("pk")
    for pk, tags, attributes, *texts in contacts.values_list("pk", "tags", "attributes", *_TEXTS):
        values = (attributes.get(name) for name in names)
        yield [
            *(known.get((pk, kind), "") for kind in _KINDS),
            *texts,
            ", ".join(tags),
            *(stated.get((pk, channel), "") for channel in CHANNELS),
            *("" if value is None else write_attribute(value) for value in values),
        ]


def export_problems(*, source: ContactImport) -> Iterator[str]:
    """Return the lines of an import's file of problems: where, what, and the cells as they came, guarded once."""
    pk, tenant_id, header = source.pk, source.tenant_id, list(source.header)
    return _problem_lines(pk, tenant_id, header)


def _problem_lines(pk: int, tenant_id: int, header: list[str]) -> Iterator[str]:
    yield write_rows([["line", "taken", "problem", *header]])
    last = 0
    while True:
        with tenancy.tenant_scope(tenant_id):
            rows = ImportRow.objects.filter(source_id=pk, number__gt=last).exclude(problem="").order_by("number")
            page = list(rows.values_list("number", "line", "is_refused", "problem", "cells")[:PAGE])
        if not page:
            return
        yield write_rows(
            [str(line), "no" if is_refused else "yes", problem, *map(unguard, cells or ())]
            for _, line, is_refused, problem, cells in page
        )
        last = page[-1][0]
