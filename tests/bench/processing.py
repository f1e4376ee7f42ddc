"""(b) Processing: orders per second on one worker process, beside one Celery task per delivery in the same run."""

from __future__ import annotations

import json
import os
import statistics
import time
import uuid
from pathlib import Path
from typing import Any

from config.local.processes import spawn, wait_until
from tests.bench.servers import ROOT, SHOP, celery_worker, machine

ROUNDS = int(os.environ.get("BENCH_ROUNDS", "5"))
ORDERS = int(os.environ.get("BENCH_ORDERS", "800"))


def measure(folder: Path) -> dict[str, Any]:
    """Interleave rounds: store ORDERS deliveries, then time one worker process until the last is done."""
    found: dict[str, list[float]] = {"ours": [], "peer": []}
    for number in range(1, ROUNDS + 1):
        for name, run in (("ours", _drain), ("peer", _per_task)):
            rate = run(folder)
            found[name].append(rate)
            print(f"  round {number} {name}: {rate:,.0f}/s", flush=True)
    ours, peer = statistics.median(found["ours"]), statistics.median(found["peer"])
    return {
        "path": "processing",
        "unit": "orders/s on one worker process",
        "ours": round(ours),
        "floor": None,
        "peer": round(peer),
        "ratio_floor": None,
        "ratio_peer": round(ours / peer, 3),
        "rounds": {name: [round(value) for value in values] for name, values in found.items()},
        "machine": machine(),
    }


def _store() -> list[int]:
    """Store ORDERS deliveries of new orders, none of them rung for."""
    from config.infra import tenancy
    from config.infra.cache import redis_client
    from shopsync.models import Tenant, WebhookEvent

    redis_client().flushdb()
    body = json.loads(
        (ROOT / "tests/fixtures/shopify/orders__create--discount-code-and-shipping-discount.json").read_text()
    )
    tenant = Tenant.objects.get(shop_domain=SHOP)
    rows = []
    for _ in range(ORDERS):
        order = uuid.uuid4().int % 10**15
        raw = json.dumps({**body, "id": order, "line_items": _lines(body, order)}).encode()
        own = {"webhook_id": str(uuid.uuid4()), "lane": f"order:{order}", "digest": uuid.uuid4().hex}
        rows.append(
            WebhookEvent(tenant=tenant, source="shopify", topic="orders/create", body=raw, body_bytes=len(raw), **own)
        )
    with tenancy.tenant_scope(tenant.pk):
        WebhookEvent.objects.filter(status="ready").update(status="done")  # what intake rounds left
        return [row.pk for row in WebhookEvent.objects.bulk_create(rows)]


def _lines(body: dict[str, Any], order: int) -> list[dict[str, Any]]:
    return [{**line, "id": order + number} for number, line in enumerate(body["line_items"])]


def _finished(ids: list[int]) -> bool:
    from config.infra import tenancy
    from shopsync.models import WebhookEvent

    with tenancy.all_tenants(reason="bench"):
        return not WebhookEvent.objects.filter(pk__in=ids[-1:], status="ready").exists() and not (
            WebhookEvent.objects.filter(pk__in=ids).exclude(status="done").exists()
        )


def _timed(folder: Path, arguments: list[str], queue: str, publish: Any) -> float:
    """Start a worker, let it settle, publish, and time from the first publication to the last row done."""
    worker = spawn(
        f"bench-{queue}",
        arguments,
        env={**os.environ, "SHOPSYNC_PROCESS": "worker"},
        log_path=folder / f"{queue}.log",
        cwd=ROOT,
    )
    try:
        wait_until(lambda: _hears(queue), 30, "the worker to start")
        ids = _store()
        began = time.perf_counter()
        publish(ids)
        wait_until(lambda: _finished(ids), 300, "every delivery to be worked on")
        return len(ids) / (time.perf_counter() - began)
    finally:
        worker.terminate(10)


def _hears(queue: str) -> bool:
    from config.infra.heartbeat import heartbeats

    return any(name.startswith(queue) and age < 2 for name, age in heartbeats().items())


def _drain(folder: Path) -> float:
    from config.infra.work import ring
    from shopsync.models import WebhookEvent

    return _timed(folder, celery_worker("webhooks"), "webhooks", lambda ids: ring(WebhookEvent.queue))


def _per_task(folder: Path) -> float:
    def publish(ids: list[int]) -> None:
        from tests.bench.per_task import process_one

        for row_id in ids:
            process_one.apply_async((row_id,), queue="per-task")

    return _timed(folder, celery_worker("per-task", "tests.bench.per_task"), "per-task", publish)
