"""kill -9 of whoever works on an import, at any moment: every row is merged once, and counted once."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from datetime import timedelta

import pytest
from django.utils import timezone

from config.infra import tenancy, work
from messaging.actions.imports import Options, start_import
from messaging.models import ConsentEntry, Contact, ContactIdentity, ContactImport, ImportRow
from tests.factories import database_url, make_tenant
from tests.slow.test_million_contacts import DAY, pieces

pytestmark = [pytest.mark.slow, pytest.mark.django_db(transaction=True)]
SEED = int(os.environ.get("CRASH_SEED", "20261128"))
ROWS, KILLS = 60_000, 6
WORK = "import django; django.setup(); from messaging.tasks import drain_imports; drain_imports()"


def start_worker() -> subprocess.Popen[bytes]:
    environment = {**os.environ, "DATABASE_URL": database_url(), "DJANGO_SETTINGS_MODULE": "config.settings"}
    return subprocess.Popen([sys.executable, "-c", WORK], env=environment)


def is_leased() -> bool:
    return ContactImport.objects.filter(status="leased", started_at__isnull=False).exists()


def kill_one(chance: random.Random) -> tuple[int, int]:
    """Let a worker work for a moment, kill it, and let its lease run out; return how far the import was."""
    worker = start_worker()
    deadline = time.monotonic() + 60
    while not is_leased() and time.monotonic() < deadline and worker.poll() is None:
        time.sleep(0.01)
    time.sleep(chance.uniform(0.1, 3.0))
    worker.kill()
    worker.wait()
    ContactImport.objects.filter(status="leased").update(lease_until=timezone.now() - timedelta(seconds=1))
    work.sweep(ContactImport)
    made = ContactImport.objects.get()
    return made.read_count, made.done_count


def test_an_import_survives_kills_at_any_moment():
    chance = random.Random(SEED)
    tenant = make_tenant(country="GR")
    proof = {"consent_source": "test", "consent_text": "Yes", "consent_at": DAY}
    with tenancy.tenant_scope(tenant.pk):
        made = start_import(pieces=pieces(ROWS), options=Options(**proof), actor="test")
        print(f"seed {SEED}; read and merged at each kill: {[kill_one(chance) for _ in range(KILLS)]}")
        for _ in range(10):
            assert start_worker().wait(timeout=300) == 0
            made.refresh_from_db()
            if made.state == "finished":
                break
        counted = (made.read_count, made.done_count, made.created_count, made.merged_count, made.error_count)
        assert counted == (ROWS, ROWS, ROWS - ROWS // 10, ROWS // 10, 0)
        assert Contact.objects.count() == ROWS - ROWS // 10
        assert ContactIdentity.objects.filter(kind="email").count() == ROWS - ROWS // 10
        assert ImportRow.objects.count() == made.note_count == ROWS // 1000
        # Half of those whose phone is bad have another row with a good one; the same statement is there once.
        assert ConsentEntry.objects.count() == ROWS - ROWS // 10 - ROWS // 2000
