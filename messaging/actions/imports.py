"""Imports of contacts: a file is taken in, read into rows, and merged; each step commits, so each may be repeated."""

from __future__ import annotations

import json
import logging
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from itertools import islice

from django.conf import settings
from django.db import connection, transaction
from django.db.models import Q
from django.utils import timezone

from audit.actions import Value, record
from config.infra import tenancy, work
from config.infra.failpoints import failpoint
from config.infra.plans import plan_anew
from config.infra.work import claims
from messaging.actions.merging import merge_batch
from messaging.actions.segments import hold_segment
from messaging.imports import CHANNELS, IDENTITIES, Clean, RowReader, guess_columns
from messaging.models import ContactImport, ImportChunk, ImportRow, Segment
from messaging.tables import Decodable, Row, TableError, choose_encoding, read_header, read_rows
from shopsync.models import Tenant

logger = logging.getLogger(__name__)

Phase = ContactImport.Phase
MAX_BYTES = 512 * 2**20
CHUNK_BYTES = 2**20
BATCH = 5000
_NO_LIST = "segment_id: there is no static list of this id"
SLICE_SECONDS = 15.0  # of work under one lease, which lasts 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What an import is to do; the consent_* are the proof, without which no consent is imported."""

    file_name: str = ""
    encoding: str = "auto"
    delimiter: str | None = None
    mapping: dict[str, str] = field(default_factory=dict)
    duplicates: str = "merge"
    country: str = ""
    segment_id: int | None = None
    consent_channels: tuple[str, ...] = ()
    consent_source: str = ""
    consent_text: str = ""
    consent_at: datetime | None = None
    opt_in_level: str = ""


@transaction.atomic(savepoint=False)
def start_import(*, pieces: Iterable[bytes], options: Options, actor: str) -> ContactImport:
    """Take a file in, in pieces of any size, and queue its import.

    Raises: TableError for a file that can't be read, a mapping that does not fit it, consent without proof.
    """
    parts = _in_chunks(pieces)
    first = next(parts, b"")
    made, check = _plan(first, options)
    made.actor = actor
    work.add([made])
    size = 0
    for number, piece in enumerate(_checked(first, parts, check)):
        size += len(piece)
        ImportChunk(source=made, number=number, body=piece).save(force_insert=True)
    ContactImport.objects.filter(pk=made.pk).update(file_bytes=size)
    if made.segment_id is not None and not hold_segment(made.segment_id):  # taken away while the file came
        raise TableError(_NO_LIST)
    data: dict[str, Value] = {"columns": [name for name in made.columns if name], "bytes": size}
    data["channels"] = made.consent_channels
    record(name="import.started", subject=f"import:{made.pk}", actor=actor, data=data)
    return made


def check_import(*, pieces: Iterable[bytes], options: Options) -> None:
    """Look at a file as `start_import` would, and keep nothing.

    Raises: TableError.
    """
    parts = _in_chunks(pieces)
    first = next(parts, b"")
    _, check = _plan(first, options)
    deque(_checked(first, parts, check), maxlen=0)


def _plan(first: bytes, options: Options) -> tuple[ContactImport, Decodable]:
    """Say what is to be done with a file that begins like this.

    Raises: TableError.
    """
    encoding = choose_encoding(first, options.encoding)
    check = Decodable(encoding)
    check.feed(first)
    delimiter, header = read_header(first, encoding=encoding, delimiter=options.delimiter)
    columns = guess_columns(header, options.mapping)
    made = ContactImport(
        lane="contacts",
        file_name=options.file_name.replace("\0", "")[:200],
        encoding=encoding,
        delimiter=delimiter,
        header=[name.replace("\0", "") for name in header],
        columns=columns,
        duplicates=options.duplicates,
        country=options.country or Tenant.objects.get(pk=tenancy.current_tenant_id()).country,
        segment=_list(options.segment_id),
        consent_channels=_channels(columns, options),
        consent_source=options.consent_source,
        consent_text=options.consent_text,
        consent_at=options.consent_at,
        opt_in_level=options.opt_in_level,
    )
    return made, check


def _in_chunks(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Cut or join what comes in pieces into chunks of CHUNK_BYTES."""
    held = bytearray()
    for piece in pieces:
        held += piece
        while len(held) >= CHUNK_BYTES:
            yield bytes(held[:CHUNK_BYTES])
            del held[:CHUNK_BYTES]
    if held:
        yield bytes(held)


def _checked(first: bytes, rest: Iterator[bytes], check: Decodable) -> Iterator[bytes]:
    """Pass the pieces of a file on, each looked at; the first one was.

    Raises: TableError.
    """
    yield first
    size = len(first)
    for piece in rest:
        check.feed(piece)
        size += len(piece)
        if size > MAX_BYTES:
            raise TableError(f"file: it is over {MAX_BYTES // 2**20} MB; import it in parts")
        yield piece
    check.feed(b"", is_last=True)


def _list(segment_id: int | None) -> Segment | None:
    if segment_id is None:
        return None
    found = Segment.objects.filter(pk=segment_id, kind=Segment.Kind.STATIC).first()
    if found is None:
        raise TableError(_NO_LIST)
    return found


def _channels(columns: list[str], options: Options) -> list[str]:
    """Say for which channels consent is imported.

    Raises: TableError where its proof is missing.
    """
    channels = [one for one in CHANNELS if one in options.consent_channels or f"consent.{one}" in columns]
    has_date = options.consent_at is not None or "consent_at" in columns
    if channels and not (options.consent_source.strip() and options.consent_text.strip() and has_date):
        raise TableError(
            f"consent: consent for {', '.join(channels)} is imported with its proof alone: say where it was given"
            " (consent_source), when (consent_at, or a column taken as consent_at), and the words that people agreed to"
            " (consent_text); or leave its columns out by mapping them to ''"
        )
    return channels


def run_imports(rows: list[ContactImport]) -> None:
    """Work on claimed imports for a while each; one that is not at its end goes back, and is claimed again."""
    for row in rows:
        if work.start([row]):
            with tenancy.tenant_scope(row.tenant_id):
                _run(row)


def _run(row: ContactImport) -> None:
    try:
        is_finished = _advance(row, until=time.monotonic() + SLICE_SECONDS)
        if is_finished:
            _finish(row)
        else:
            work.hand_back([row], blocker="", wait_seconds=0, surely_not_done=True)
    except work.LeaseLostError:
        logger.warning("import %s: lease lost, its last batch was rolled back", row.pk)
    except Exception as error:  # the row keeps the error; what was committed stays, and is not done again
        logger.exception("import %s failed on attempt %s", row.pk, row.attempts)
        message = f"{type(error).__name__}: {error}"
        _settle(row, partial(work.retry, row, error=message[:2000]))


def _settle(row: ContactImport, move: Callable[[], None]) -> None:
    try:
        move()
    except work.LeaseLostError:
        logger.warning("import %s: lease lost before its failure was stored", row.pk)


def _finish(row: ContactImport) -> None:
    with transaction.atomic():
        ended = ContactImport.objects.get(pk=row.pk)
        names = ("created_count", "merged_count", "skipped_count", "error_count", "note_count")
        data = {name: getattr(ended, name) for name in names}
        record(name="import.finished", subject=f"import:{row.pk}", actor=row.actor, data=data)
        claims.complete(row, phase=Phase.FINISHED)


def hold(row: ContactImport) -> ContactImport:
    """Lock an import's row in the open transaction, and see that it is still ours to work on.

    Raises: LeaseLostError.
    """
    held = ContactImport.objects.select_for_update().filter(pk=row.pk, token=row.token, status=work.Status.LEASED)
    found = held.first()
    if found is None:
        raise work.LeaseLostError(f"import {row.pk} is no longer held by this worker; nothing was changed")
    return found


def _advance(row: ContactImport, *, until: float) -> bool:
    """Work until the time is up; say whether the import is at its end."""
    plan_anew()  # the tables may have been small when this process last wrote to them
    now = ContactImport.objects.get(pk=row.pk)
    if now.phase == Phase.READING and not _read_file(now, until=until):
        return False
    while time.monotonic() < until:
        with transaction.atomic():
            is_last = merge_batch(source=hold(row), size=BATCH)
        failpoint("imports.merged")
        if is_last:
            return True
    return False


# Reading

_TEXT_COLUMNS = (*IDENTITIES, "first_name", "last_name", "country", "region", "locale", "timezone")
_COPY = f"""COPY messaging_importrow (tenant_id, source_id, action, number, line, problem, is_refused, cells,
    {", ".join(_TEXT_COLUMNS)}, attributes, tags, consents, consent_at) FROM STDIN"""


def _read_file(row: ContactImport, *, until: float) -> bool:
    """Read on where the last batch ended; say whether the file is at its end."""
    reader = RowReader(
        columns=row.columns,
        country=row.country,
        channels=row.consent_channels,
        consent_at=row.consent_at,
        now=timezone.now(),
    )
    records = read_rows(_pieces(row), encoding=row.encoding, delimiter=row.delimiter)
    rows = islice(records, 1 + row.read_count, None)  # the header, and what was read before
    number = row.read_count
    while time.monotonic() < until:
        batch = list(islice(rows, BATCH))
        cleaned = [(number + place, one, reader.read(one)) for place, one in enumerate(batch, 1)]
        with transaction.atomic():
            held = hold(row)
            _copy(held, cleaned)
            number += len(batch)
            held.read_count = number
            if len(batch) < BATCH:
                held.phase = Phase.MERGING
                ImportChunk.objects.filter(source=held).delete()
            held.save(update_fields=["read_count", "phase"])
        failpoint("imports.read")
        if len(batch) < BATCH:
            with connection.cursor() as cursor:
                cursor.execute("ANALYZE messaging_importrow")  # the batches' plans go by how many rows there are
            return True
    return False


def _pieces(row: ContactImport) -> Iterator[bytes]:
    number = 0
    while (
        body := ImportChunk.objects.filter(source=row, number=number).values_list("body", flat=True).first()
    ) is not None:
        yield bytes(body)
        number += 1


def _copy(row: ContactImport, cleaned: list[tuple[int, Row, Clean]]) -> None:
    with connection.cursor() as cursor, cursor.copy(_COPY) as copy:
        for number, one, clean in cleaned:
            problem = "; ".join(clean.notes).replace("\0", "")
            cells = [cell[:2000].replace("\0", "") for cell in one.cells] if problem else None
            texts = (clean.values.get(name, "") for name in _TEXT_COLUMNS)
            known = (row.tenant_id, row.pk, "", number, one.line, problem, clean.is_refused, cells)
            said = (json.dumps(clean.attributes), clean.tags, json.dumps(clean.consents), clean.consent_at)
            copy.write_row((*known, *texts, *said))


# Forgetting


def forget_imports_everywhere(*, now: datetime) -> int:
    """Forget the rows with problems, and the files, of imports that ended before the retention's time; return how many
    imports."""
    before = now - timedelta(days=settings.PAYLOAD_RETENTION_DAYS)
    with tenancy.all_tenants(reason="find the tenants with imports to forget"):
        old = Q(created_at__lt=before) & ~Q(status__in=(work.Status.READY, work.Status.LEASED))
        found = ContactImport.objects.filter(old).filter(Q(rows__isnull=False) | Q(chunks__isnull=False))
        tenants = sorted(set(found.values_list("tenant_id", flat=True)))
    return tenancy.for_each(tenants, lambda: _forget(old))


@transaction.atomic(savepoint=False)
def _forget(old: Q) -> int:
    ids = list(ContactImport.objects.filter(old).values_list("pk", flat=True))
    ImportRow.objects.filter(source_id__in=ids).delete()
    ImportChunk.objects.filter(source_id__in=ids).delete()
    return len(ids)
