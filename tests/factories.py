"""Small makers of rows and deliveries that tests start from."""

from __future__ import annotations

import itertools
import json
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote

from django.conf import settings
from django.db import connection, transaction
from django.test import Client

from config.infra import tenancy
from inventory.models import InventoryItem, Location, Product, StockLevel, Variant
from shopsync.actions.tenants import create_tenant
from shopsync.models import Tenant, WebhookEvent
from shopsync.webhooks import shopify_signature

_numbers = itertools.count(1)


def make_tenant(**fields: str) -> Tenant:
    """Create a tenant with a name of its own."""
    name = fields.pop("shop_domain", f"shop-{next(_numbers)}-{uuid.uuid4().hex[:6]}.myshopify.com")
    defaults = {"name": "A shop", "country": "US", "currency": "USD"}
    return create_tenant(shop_domain=name, actor="test", **(defaults | fields))


def make_inbox_rows(tenant: Tenant, *lanes: str, **fields: Any) -> list[WebhookEvent]:
    """Insert one inbox row per lane given, in order, without ringing."""
    rows = [
        WebhookEvent(
            tenant=tenant,
            source="test",
            topic=fields.pop("topic", "test/topic"),
            webhook_id=uuid.uuid4().hex,
            body=b"{}",
            body_bytes=2,
            digest=uuid.uuid4().hex,
            lane=lane,
            **fields,
        )
        for lane in lanes
    ]
    with tenancy.tenant_scope(tenant.pk):
        return WebhookEvent.objects.bulk_create(rows)


def stock_variant(
    available: int | None, *, locations: int = 1, policy: str = "deny"
) -> tuple[Variant, list[StockLevel]]:
    """Create a variant with this much at each of some locations, of the tenant in scope."""
    number = next(_numbers)
    item = InventoryItem.objects.create(shopify_id=10**6 + number)
    product = Product.objects.create(shopify_id=10**6 + number, title=f"Product {number}", source_version="1")
    variant = Variant.objects.create(
        product=product, item=item, shopify_id=10**6 + number, sku=f"SKU-{number}", policy=policy
    )
    levels = []
    for index in range(locations):
        location, _ = Location.objects.get_or_create(shopify_id=index + 1, defaults={"name": f"Place {index + 1}"})
        counted = {"available": available, "on_hand": available, "committed": None if available is None else 0}
        levels.append(StockLevel.objects.create(item=item, location=location, **counted))
    return variant, levels


def run_together(jobs: Sequence[Callable[[], Any]], *, threads: int) -> list[Any]:
    """Run the jobs on so many threads, each with its own connection; return their results or exceptions, in order."""
    barrier = threading.Barrier(min(threads, len(jobs)))
    results: list[Any] = [None] * len(jobs)

    def work_on(share: list[int]) -> None:
        barrier.wait(timeout=30)
        for index in share:
            try:
                results[index] = jobs[index]()
            except Exception as error:  # the caller looks at it
                results[index] = error
        connection.close()

    shares = [list(range(start, len(jobs), threads)) for start in range(min(threads, len(jobs)))]
    crew = [threading.Thread(target=work_on, args=(share,)) for share in shares]
    for thread in crew:
        thread.start()
    for thread in crew:
        thread.join()
    return results


def wait_for_a_lock() -> None:
    """Wait until somebody waits for a lock, looking a hundred times a second; fail after three seconds."""
    for _ in range(300):
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_stat_clear_snapshot()")  # else a transaction sees what it saw at its first look
            cursor.execute(
                "SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
            )
            if cursor.fetchone() is not None:
                return
        time.sleep(0.01)
    raise AssertionError("nobody waited for a lock")


def while_uncommitted(write: Callable[[], Any], ask: Callable[[], Any]) -> Any:
    """Ask while somebody else has written and not yet committed, which they do once the asker waits for them; return
    the answer. Both are in the scope that is open."""
    tenant_id, written = tenancy.current_tenant_id(), threading.Event()

    def be_first() -> None:
        with tenancy.tenant_scope(tenant_id), transaction.atomic():
            write()
            written.set()
            wait_for_a_lock()

    def be_second() -> Any:
        assert written.wait(timeout=30)
        with tenancy.tenant_scope(tenant_id):
            return ask()

    first, answer = run_together([be_first, be_second], threads=2)
    for one in (first, answer):
        if isinstance(one, Exception):
            raise one
    return answer


@contextmanager
def behind_the_triggers() -> Iterator[Any]:
    """Write what the database would refuse, with its triggers switched off: drift, for whoever is to find it."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")
        yield cursor


def reload(row: Any) -> Any:
    """Read a row again, whosever it is."""
    with tenancy.all_tenants(reason="tests look at every row"):
        return type(row).objects.get(pk=row.pk)


def move_lease_into_the_past(*rows: WebhookEvent) -> None:
    """Let leases run out without waiting for it."""
    with connection.cursor() as cursor:
        table = rows[0]._meta.db_table
        cursor.execute(
            f"UPDATE {table} SET lease_until = clock_timestamp() - interval '1 s' WHERE id = ANY(%s)",
            [[row.pk for row in rows]],
        )


def delivery_headers(
    topic: str, body: bytes, shop_domain: str, *, secret: str | None = None, **overrides: str
) -> dict[str, str]:
    """Build the headers of a signed Shopify delivery; overrides are by short name, e.g. webhook_id, event_id."""
    names = {
        "webhook_id": "X-Shopify-Webhook-Id",
        "event_id": "X-Shopify-Event-Id",
        "triggered_at": "X-Shopify-Triggered-At",
        "signature": "X-Shopify-Hmac-Sha256",
    }
    headers = {
        "X-Shopify-Topic": topic,
        "X-Shopify-Shop-Domain": shop_domain,
        "X-Shopify-API-Version": "2026-07",
        "X-Shopify-Webhook-Id": str(uuid.uuid4()),
        "X-Shopify-Event-Id": str(uuid.uuid4()),
        "X-Shopify-Triggered-At": "2026-11-02T08:16:02.101071364Z",
        "X-Shopify-Hmac-Sha256": shopify_signature(secret or settings.SHOPIFY_API_SECRET, body),
    }
    return headers | {names[name]: value for name, value in overrides.items()}


def deliver(topic: str, body: dict[str, Any] | bytes, tenant: Tenant | str, **overrides: str) -> Any:
    """Send a signed delivery to the inbox's view."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    shop = tenant if isinstance(tenant, str) else tenant.shop_domain
    headers = delivery_headers(topic, raw, shop, **overrides)
    return Client().post("/webhooks/shopify", raw, content_type="application/json", headers=headers)


def drain_all() -> None:
    """Work on everything that is due, as the workers would, until nothing is."""
    from audit.tasks import drain_events
    from inventory.tasks import drain_holds
    from messaging.tasks import drain_messages
    from orders.tasks import drain_payments, drain_shipping
    from shopsync.tasks import drain_webhooks

    drains = (drain_webhooks, drain_events, drain_messages, drain_holds, drain_payments, drain_shipping)
    while sum(drain() for drain in drains):
        pass


def database_url() -> str:
    """Return the URL of the test's own database, for child processes."""
    own = connection.settings_dict
    return f"postgresql://{quote(own['USER'])}:{quote(own['PASSWORD'])}@{own['HOST']}:{own['PORT']}/{own['NAME']}"
