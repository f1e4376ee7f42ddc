"""Over real HTTP, gunicorn and a worker: the whole corpus, fifty at once, and a restart of everything in between."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.conf import settings

from audit.models import AuditEvent, DeadLetter
from config.infra import tenancy
from orders.models import Order
from shopsync.models import WebhookEvent
from tests.factories import make_tenant
from tests.protocols import FIXTURES, PROTOCOLS, topic_of

pytestmark = pytest.mark.django_db(transaction=True)
LATER = "2099-01-01T00:00:00Z"
TOPICS = set(settings.WEBHOOK_HANDLERS["shopify"])


def corpus():
    shared = [path for path in PROTOCOLS.glob("payloads/*.json") if topic_of(path) in TOPICS]
    return [*sorted(FIXTURES.glob("*.json")), *sorted(shared)]


def test_every_body_goes_through_http_to_its_rows_without_an_error(stack):
    if not PROTOCOLS.is_dir():
        print("only our own fixtures: ../shared/protocols is not beside this checkout")
    tenants, owners = {}, {}
    for path in corpus():
        text = path.read_text()
        if text not in owners:  # one body is one tenant's: under another's name it would be quarantined
            owners[text] = make_tenant()
        tenant = tenants[path] = owners[text]
        raw = text.replace("SHOP_DOMAIN", tenant.shop_domain).encode()
        answer = stack.post(topic_of(path), raw, tenant.shop_domain, triggered_at=LATER)
        assert (answer.status, answer.text) == (200, "stored"), path.name
    stack.wait_idle(120)
    with tenancy.all_tenants(reason="test"):
        assert WebhookEvent.objects.filter(status="done", attempts=1).count() == len(tenants)
        assert list(DeadLetter.objects.values_list("key", "last_error")) == []
        named = {json.loads(path.read_text())["id"] for path in tenants if topic_of(path).startswith("orders/")}
        assert set(Order.objects.values_list("shopify_id", flat=True)) == named


def test_fifty_identical_deliveries_at_once_have_one_effect(stack, tenant):
    raw = (FIXTURES / "orders__paid--paid-guest.json").read_bytes()
    with ThreadPoolExecutor(50) as pool:
        answers = list(
            pool.map(
                lambda _: stack.post("orders/paid", raw, tenant.shop_domain, webhook_id="w-1", event_id="e-1"),
                range(50),
            )
        )
    assert sorted(answer.status for answer in answers) == [200] * 50
    assert sorted(answer.text for answer in answers).count("stored") == 1
    stack.wait_idle()
    with tenancy.tenant_scope(tenant.pk):
        event = WebhookEvent.objects.get()
        assert (event.status, event.duplicates, event.attempts) == ("done", 49, 1)
        assert Order.objects.count() == 1
        assert AuditEvent.objects.filter(name="order.paid").count() == 1


def test_fifty_webhook_ids_of_one_event_at_once_have_one_effect(stack, tenant):
    raw = (FIXTURES / "orders__paid--paid-guest.json").read_bytes()
    with ThreadPoolExecutor(50) as pool:
        send = lambda n: stack.post("orders/paid", raw, tenant.shop_domain, webhook_id=f"w-{n}", event_id="e-1")  # noqa: E731
        assert {answer.status for answer in pool.map(send, range(50))} == {200}
    stack.wait_idle()
    with tenancy.tenant_scope(tenant.pk):
        assert WebhookEvent.objects.get().duplicates == 49
        assert AuditEvent.objects.filter(name="order.created").count() == 1


def test_health_tells_of_queues_and_workers(stack, tenant):
    health = stack.get("/health")
    assert health["status"] in {"ok", "degraded"}
    assert set(health["queues"]) == {"webhooks", "events", "messages", "holds", "shipping"}
    assert health["breakers"]["known_to"] == "all processes"
    stack.wait_for(lambda: stack.get("/health")["status"] == "ok", "the worker's heartbeat")
    assert stack.get("/health/workers")["workers"][0]["last_heartbeat_seconds"] < 30
    assert stack.get("/live") == {"status": "alive"}
    assert stack.get("/ready") == {"status": "ready"}
