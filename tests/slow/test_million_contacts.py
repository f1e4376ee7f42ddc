"""A million rows are imported in minutes, and exported, with memory that does not grow."""

from __future__ import annotations

import resource
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from django.db import connection

from config.infra import tenancy
from config.infra.plans import plan_anew
from messaging.actions.exports import export_contacts
from messaging.actions.imports import Options, start_import
from messaging.models import ConsentState, Contact
from messaging.tasks import drain_imports
from tests.factories import make_tenant

pytestmark = [pytest.mark.slow, pytest.mark.django_db(transaction=True)]
ROWS = 1_000_000
DAY = datetime(2026, 1, 1, tzinfo=UTC)
FILL = """
INSERT INTO messaging_contact (tenant_id, first_name, last_name, email, phone, country, locale, region, timezone,
                               attributes, field_versions)
SELECT %(tenant)s, 'Name', '', 'p' || n || '@example.com', '', 'GR', '', '', '', jsonb_build_object('n', n), '{}'
FROM generate_series(1, 300000) n;
INSERT INTO messaging_contactidentity (tenant_id, contact_id, kind, value)
SELECT tenant_id, id, 'email', email FROM messaging_contact WHERE tenant_id = %(tenant)s"""


def pieces(rows: int) -> Iterator[bytes]:
    """Write a file piece by piece: every tenth person is one of those before, every thousandth row is bad."""
    yield b"email,phone,first_name,country,tags,attributes.points,sms consent\n"
    for start in range(0, rows, 1000):
        lines = []
        for number in range(start, start + 1000):
            person = number // 20 * 10 if number % 10 == 9 else number
            phone = "12" if number % 1000 == 0 else f"69{person:08}"
            lines.append(f"p{person}@example.com,{phone},Name {number},GR,vip,{number % 100},yes\n")
        yield "".join(lines).encode()


def memory_mb() -> float:
    """Return what this process holds now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def test_a_million_rows_are_imported_in_minutes():
    tenant = make_tenant(country="GR")
    proof = {"consent_source": "test", "consent_text": "Yes", "consent_at": DAY}
    with tenancy.tenant_scope(tenant.pk):
        began = time.monotonic()
        made = start_import(pieces=pieces(ROWS), options=Options(**proof), actor="test")
        taken = time.monotonic() - began
        before, most = memory_mb(), 0.0
        while made.state != "finished":
            drain_imports()
            made.refresh_from_db()
            most = max(most, memory_mb())
            print(f"{made.phase}: {made.read_count} read, {made.done_count} merged, {time.monotonic() - began:.0f} s")
        seconds = time.monotonic() - began
        print(
            f"taken in {taken:.1f} s, {ROWS / seconds:.0f} rows/s in all; memory {before:.0f} to {memory_mb():.0f} MB"
        )
        assert (made.done_count, made.error_count, made.note_count) == (ROWS, 0, ROWS // 1000)
        assert made.created_count == Contact.objects.count() == ROWS - ROWS // 10
        assert made.created_count + made.merged_count == ROWS
        assert ConsentState.objects.count() == pytest.approx(ROWS * 0.9, rel=0.01)
        assert seconds < 1200
        assert most - before < 100


def test_an_export_of_many_keeps_its_memory_flat():
    tenant = make_tenant(country="GR")
    with tenancy.tenant_scope(tenant.pk):
        plan_anew()  # so many checks of keys take hours by the plan of a small table
        with connection.cursor() as cursor:
            cursor.execute(FILL, {"tenant": tenant.pk})
        lines = export_contacts(segment_id=None, actor="test")
    next(lines)
    before, most, began, size = memory_mb(), 0.0, time.monotonic(), 0
    for page in lines:
        size += len(page)
        most = max(most, memory_mb())
    seconds = time.monotonic() - began
    print(f"{300_000 / seconds:.0f} rows/s, {size / 2**20:.0f} MB; memory {before:.0f}, at most {most:.0f} MB")
    assert most - before < 50
