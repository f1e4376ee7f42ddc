"""Replays and retention."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from audit.models import AuditEvent
from config.infra import tenancy
from orders.models import Order
from shopsync.actions.inbox import forget_payloads, replay_deliveries
from shopsync.models import WebhookEvent
from tests.factories import deliver, drain_all, make_tenant

pytestmark = pytest.mark.django_db(transaction=True)
ORDER = {"id": 77, "financial_status": "paid", "updated_at": "2026-11-02T10:00:00Z", "currency": "EUR", "name": "#1"}


@pytest.fixture
def tenant():
    return make_tenant()


@pytest.fixture
def in_scope(tenant):
    with tenancy.tenant_scope(tenant.pk):
        yield


def test_a_done_delivery_can_be_replayed_and_changes_nothing(tenant, in_scope):
    deliver("orders/paid", ORDER, tenant)
    drain_all()
    before = Order.objects.values().get()
    assert replay_deliveries(rows=WebhookEvent.objects.all(), actor="test").replayed == 1
    drain_all()
    after = Order.objects.values().get()
    assert WebhookEvent.objects.get().status == "done"
    assert {k: v for k, v in after.items() if k != "updated_at"} == {
        k: v for k, v in before.items() if k != "updated_at"
    }
    assert AuditEvent.objects.filter(name="order.paid").count() == 1
    assert AuditEvent.objects.filter(name="webhook_event.replayed", actor="test").count() == 1


def test_a_quarantined_copy_of_an_event_that_was_stored_again_stays_where_it_is(tenant, in_scope):
    deliver("orders/paid", b"{broken", tenant, event_id="e-1")
    deliver("orders/paid", ORDER, tenant, event_id="e-1")
    outcome = replay_deliveries(rows=WebhookEvent.objects.filter(status="quarantined"), actor="test")
    assert (outcome.replayed, outcome.not_replayed) == (0, 1)


def test_payloads_past_retention_are_forgotten_in_small_batches_and_others_stay(tenant, in_scope, settings):
    for number in range(7):
        deliver("orders/paid", {**ORDER, "id": number + 1}, tenant)
    drain_all()
    deliver("orders/paid", b"{broken", tenant)
    now = timezone.now()
    WebhookEvent.objects.filter(lane__in=["order:1", "order:2", "order:3", "order:4", "order:5"]).update(
        finished_at=now - timedelta(days=settings.PAYLOAD_RETENTION_DAYS, seconds=1)
    )
    WebhookEvent.objects.filter(status="quarantined").update(finished_at=now - timedelta(days=999))
    assert forget_payloads(now=now, batch_size=2) == 5
    assert WebhookEvent.objects.filter(body__isnull=True).count() == 5
    assert WebhookEvent.objects.get(status="quarantined").body is not None
    forgotten = WebhookEvent.objects.filter(body__isnull=True)
    assert replay_deliveries(rows=forgotten, actor="test").not_replayed == 5


def test_a_forgotten_delivery_is_still_recognised_when_it_comes_again(tenant, in_scope):
    deliver("orders/paid", ORDER, tenant, webhook_id="w-1")
    drain_all()
    WebhookEvent.objects.update(body=None)
    assert deliver("orders/paid", ORDER, tenant, webhook_id="w-1").content == b"already stored\n"
