"""How imports run: whoever is killed, late or at it besides, each row is taken once, and is its tenant's own."""

from __future__ import annotations

import random
import threading
from datetime import timedelta

import pytest
from django.conf import settings
from django.db import connection
from django.utils import timezone

from config.infra import tenancy, work
from messaging.actions import imports
from messaging.actions.contacts import Profile, ensure_contact
from messaging.actions.imports import Options, start_import
from messaging.models import Contact, ContactIdentity, ContactImport, ImportRow
from messaging.tasks import drain_imports, forget_old_imports
from tests.factories import make_tenant
from tests.messaging.importing import counts, take

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("in_scope")]


@pytest.fixture
def tenant():
    return make_tenant(country="GR")


class Killed(BaseException):
    """A process that ends here."""


@pytest.mark.parametrize("point", ["imports.read", "imports.merged"])
def test_whoever_is_killed_between_batches_is_followed_by_somebody_who_goes_on(monkeypatch, point):
    """The next one starts where the last commit ended: no row is lost, none counted twice."""
    monkeypatch.setattr(imports, "BATCH", 3)
    text = "email,tags\n" + "".join(f"p{number}@example.com,t\n" for number in range(10))
    made = start_import(pieces=[text.encode()], options=Options(), actor="t")
    strikes = []

    def die(name):
        if name == point and len(strikes) < 3:
            strikes.append(name)
            raise Killed

    monkeypatch.setattr(imports, "failpoint", die)
    for _ in range(3):
        with pytest.raises(Killed):
            drain_imports()
        ContactImport.objects.update(lease_until=timezone.now() - timedelta(seconds=1))
        assert work.sweep(ContactImport).repeated == 1
    drain_imports()
    made.refresh_from_db()
    assert (made.state, made.done_count, counts(made)) == ("finished", 10, (10, 0, 0, 0, 0))
    assert Contact.objects.count() == 10


def test_webhooks_of_the_same_people_meanwhile_make_nobody_twice(monkeypatch, tenant):
    monkeypatch.setattr(imports, "BATCH", 10)
    emails = [f"p{number}@example.com" for number in range(120)]
    start_import(pieces=["\n".join(["email", *emails]).encode()], options=Options(), actor="t")
    failures = []

    def hear_of(seed):
        try:
            with tenancy.tenant_scope(tenant.pk):
                for email in random.Random(seed).sample(emails, len(emails)):
                    ensure_contact(profile=Profile(customer_shopify_id=None, email=email, phone=""), actor="t")
        except Exception as error:  # reported below
            failures.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=hear_of, args=(seed,)) for seed in range(3)]
    for thread in threads:
        thread.start()
    drain_imports()
    for thread in threads:
        thread.join()
    assert failures == []
    assert Contact.objects.count() == ContactIdentity.objects.count() == len(emails)
    made = ContactImport.objects.get()
    assert (made.state, made.created_count + made.merged_count) == ("finished", len(emails))


def test_a_worker_whose_lease_was_taken_changes_nothing(monkeypatch):
    start_import(pieces=[b"email\na@example.com\n"], options=Options(), actor="t")
    (row,) = work.claim(ContactImport)
    work.start([row])
    ContactImport.objects.update(lease_until=timezone.now() - timedelta(seconds=1))
    work.sweep(ContactImport)
    with pytest.raises(work.LeaseLostError):
        imports._advance(row, until=float("inf"))
    assert not ImportRow.objects.exists()


def test_an_import_that_takes_long_makes_room_and_goes_on(monkeypatch):
    monkeypatch.setattr(imports, "BATCH", 2)
    clock = iter(range(10_000))
    monkeypatch.setattr(imports.time, "monotonic", lambda: next(clock) * 4.0)
    text = "email\n" + "".join(f"p{number}@example.com\n" for number in range(30))
    made = start_import(pieces=[text.encode()], options=Options(), actor="t")
    for _ in range(40):
        drain_imports()
    made.refresh_from_db()
    assert (made.state, made.created_count) == ("finished", 30)
    assert made.attempts == 1


def test_imports_of_one_tenant_go_one_after_the_other_and_of_another_beside_them():
    other = make_tenant()
    for _ in range(2):
        start_import(pieces=[b"email\na@example.com\n"], options=Options(), actor="t")
    with tenancy.tenant_scope(other.pk):
        start_import(pieces=[b"email\na@example.com\n"], options=Options(), actor="t")
    claimed = [row for _ in range(3) for row in work.claim(ContactImport)]
    assert len({row.tenant_id for row in claimed}) == len(claimed) == 2


def test_a_tenants_import_touches_nobody_elses_contacts(tenant):
    other = make_tenant()
    with tenancy.tenant_scope(other.pk):
        theirs = ensure_contact(profile=Profile(customer_shopify_id=None, email="a@example.com", phone=""), actor="t")
    take("email,first_name\na@example.com,Ours\n")
    with tenancy.tenant_scope(other.pk):
        theirs.refresh_from_db()
        assert theirs.first_name == ""
        assert Contact.objects.count() == 1
    assert Contact.objects.get().first_name == "Ours"


def test_rows_with_problems_are_forgotten_after_the_retention():
    made = take("email\nnobody\n")
    assert made.rows.count() == 1
    forget_old_imports()
    assert made.rows.count() == 1
    ContactImport.objects.update(created_at=timezone.now() - timedelta(days=settings.PAYLOAD_RETENTION_DAYS + 1))
    forget_old_imports()
    assert made.rows.count() == 0
    made.refresh_from_db()
    assert made.error_count == 1
