"""The trail can't be changed, its outbox reaches each subscriber once, and the dead letters show every queue."""

from __future__ import annotations

import pytest
from django.db import DatabaseError, IntegrityError, connection, transaction

from audit.actions import record
from audit.models import AuditEvent, DeadLetter, EventDelivery
from config.infra import tenancy, work
from messaging.models import Contact, Message
from shopsync.models import WebhookEvent
from tests.factories import make_inbox_rows, make_tenant

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def tenant():
    return make_tenant()


@pytest.fixture
def in_scope(tenant):
    with tenancy.tenant_scope(tenant.pk):
        yield


def test_an_event_can_not_be_changed_or_deleted(tenant, in_scope):
    event = record(name="thing.done", subject="thing:1", actor="test")
    with pytest.raises(DatabaseError, match="append-only"):
        AuditEvent.objects.filter(pk=event.pk).update(actor="somebody else")
    with pytest.raises(DatabaseError, match="append-only"), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("DELETE FROM audit_auditevent WHERE id = %s", [event.pk])


def test_each_subscriber_gets_its_own_delivery_in_the_callers_transaction(tenant, in_scope, settings):
    settings.EVENT_SUBSCRIBERS = {"thing.done": ["a.b", "c.d"]}
    with pytest.raises(LookupError), transaction.atomic():
        record(name="thing.done", subject="thing:1", actor="test")
        raise LookupError
    mine = EventDelivery.objects.filter(event__name="thing.done")
    assert mine.count() == 0
    record(name="thing.done", subject="thing:1", actor="test")
    assert set(mine.values_list("subscriber", flat=True)) == {"a.b", "c.d"}


def test_what_happens_once_happens_once_per_tenant(tenant, in_scope):
    record(name="order.paid", subject="order:1", actor="test", once_key="order.paid:1")
    with pytest.raises(IntegrityError, match="auditevent_happens_once"):
        record(name="order.paid", subject="order:1", actor="test", once_key="order.paid:1")
    with tenancy.tenant_scope(make_tenant().pk):
        record(name="order.paid", subject="order:1", actor="test", once_key="order.paid:1")


def test_the_systems_own_events_have_no_tenant_and_no_subscriber():
    record(name="order.paid", subject="order:1", actor="test")
    with tenancy.all_tenants(reason="test"):
        assert AuditEvent.objects.get().tenant_id is None
        assert EventDelivery.objects.count() == 0


def test_the_dead_letters_show_what_is_buried_unknown_and_quarantined_in_every_queue(tenant, in_scope):
    make_inbox_rows(tenant, "a", "b")
    buried, _ = work.claim(WebhookEvent)
    work.start([buried])
    work.bury(buried, error="gave up")
    contact = Contact.objects.create()
    Message.objects.create(contact=contact, channel="sms", status="unknown", last_error="perhaps sent")
    record(name="order.paid", subject="order:1", actor="test")
    work.bury(work.start(work.claim(EventDelivery))[0], error="no such order")
    found = set(DeadLetter.objects.values_list("queue", "row_id", "status", "last_error"))
    assert {(queue, status) for queue, _, status, _ in found} == {
        ("webhooks", "buried"),
        ("messages", "unknown"),
        ("events", "buried"),
    }
    assert ("webhooks", buried.pk, "buried", "gave up") in found
    with tenancy.tenant_scope(make_tenant().pk):
        assert DeadLetter.objects.count() == 0
