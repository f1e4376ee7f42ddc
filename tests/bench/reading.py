"""(d) Reading with FULL=1: p95 of lists and details over HTTP with 10,000 and with 1,000,000 orders, page 1 and page
10,000, each beside the bare SQL of the same rows."""

from __future__ import annotations

import base64
import http.client
import os
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg

from tests.bench.copying import load_orders, load_products
from tests.bench.servers import SHOP, gunicorn, machine

FEW, MANY = 10_000, int(os.environ.get("BENCH_MANY", "1000000"))
PRODUCTS = 20_000
PAGE = 50
DEEP = min(10_000, MANY // PAGE - 1)  # of a million orders, as far down as 500,000 rows
REQUESTS = int(os.environ.get("BENCH_READS", "300"))
Job = Callable[[], None]


class Reader:
    """A merchant's system on a kept connection."""

    def __init__(self, port: int, key: str) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        self._headers = {"Authorization": f"Api-Key {key}"}

    def get(self, path: str) -> bytes:
        self._connection.request("GET", path, headers=self._headers)
        answer = self._connection.getresponse()
        body = answer.read()
        assert answer.status == 200, (path, answer.status, body[:300])
        return body


def measure(folder: Path) -> list[dict[str, Any]]:
    """Load, read, load more, read again."""
    from config.infra import tenancy
    from shopsync.actions.tenants import create_api_key
    from shopsync.models import Tenant

    tenant = Tenant.objects.get(shop_domain=SHOP)
    with tenancy.tenant_scope(tenant.pk):
        key = create_api_key(name="bench", actor="bench").secret
    load_products(tenant.pk, PRODUCTS)
    results: list[dict[str, Any]] = []
    at_one: dict[int, float] = {}
    with gunicorn("config.wsgi:application", folder) as port:
        for total in (FEW, MANY):
            began = time.perf_counter()
            load_orders(tenant.pk, total - _orders(tenant.pk))
            print(f"  {total:,} orders loaded in {time.perf_counter() - began:.0f} s", flush=True)
            found = _read(Reader(port, key), tenant.pk, total)  # a new one: the load outlasts a kept connection
            at_one[total] = next(row["ours"] for row in found if "page 1," in row["path"] and "order" in row["path"])
            results += found
    deep = next(row["ours"] for row in results if f"page {DEEP:,}" in row["path"])
    results.append(_ratio(f"order list, page {DEEP:,} beside page 1", deep / at_one[MANY]))
    results.append(_ratio(f"order list, {MANY:,} orders beside {FEW:,}", at_one[MANY] / at_one[FEW]))
    return results


def _orders(tenant_id: int) -> int:
    with psycopg.connect(os.environ["DATABASE_URL"]) as connection:
        query = "SELECT count(*) FROM orders_order WHERE tenant_id = %s"
        return int(connection.execute(query, [tenant_id]).fetchone()[0])


def _read(reader: Reader, tenant_id: int, total: int) -> list[dict[str, Any]]:
    with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as connection:
        ids = [row[0] for row in connection.execute("SELECT id FROM orders_order WHERE tenant_id = %s", [tenant_id])]
        ids.sort(reverse=True)

        def page(table: str, below: int | None) -> Job:
            where = "AND id < %(below)s" if below else ""
            query = f"SELECT * FROM {table} WHERE tenant_id = %(tenant)s {where} ORDER BY id DESC LIMIT {PAGE + 1}"
            return lambda: list(connection.execute(query, {"tenant": tenant_id, "below": below}))

        def detail() -> None:
            chosen = random.choice(ids)
            for query in (
                "SELECT * FROM orders_order WHERE id = %s",
                "SELECT * FROM orders_orderline l JOIN orders_commitment c ON c.line_id = l.id WHERE l.order_id = %s",
            ):
                connection.execute(query, [chosen]).fetchall()

        orders, products = f"/api/v1/orders?page_size={PAGE}", f"/api/v1/products?page_size={PAGE}"
        jobs: list[tuple[str, Job, Job]] = [
            ("order list, page 1", lambda: reader.get(orders), page("orders_order", None)),
            ("order detail", lambda: reader.get(f"/api/v1/orders/{random.choice(ids)}"), detail),
            ("product list, page 1", lambda: reader.get(products), page("inventory_product", None)),
        ]
        if total == MANY:
            below = ids[DEEP * PAGE - 1]
            cursor = base64.b64encode(f"p={below}".encode()).decode()
            deep = f"{orders}&cursor={cursor}"
            jobs.append((f"order list, page {DEEP:,}", lambda: reader.get(deep), page("orders_order", below)))
        return _measure(jobs, total)


def _measure(jobs: list[tuple[str, Job, Job]], total: int) -> list[dict[str, Any]]:
    """Interleave all jobs and their floors, so that what else the machine does meets them alike; times in ms."""
    times: dict[str, tuple[list[float], list[float]]] = {name: ([], []) for name, _, _ in jobs}
    for number in range(REQUESTS + 20):
        for name, ours, floor in jobs:
            for job, found in zip((ours, floor), times[name], strict=True):
                began = time.perf_counter()
                job()
                if number >= 20:  # the first ones warm up
                    found.append((time.perf_counter() - began) * 1000)
    return [_result(f"{name}, {total:,} orders", *map(_p95, times[name])) for name, _, _ in jobs]


def _p95(values: list[float]) -> float:
    return sorted(values)[int(len(values) * 0.95)]


def _result(path: str, ours: float, floor: float) -> dict[str, Any]:
    print(f"  {path}: p95 {ours:.1f} ms, bare SQL {floor:.1f} ms", flush=True)
    return {
        "path": path,
        "unit": "ms, p95 over HTTP",
        "ours": round(ours, 2),
        "floor": round(floor, 2),
        "peer": None,
        "ratio_floor": round(floor / ours, 3),
        "ratio_peer": None,
        "rounds": REQUESTS,
        "machine": machine(),
    }


def _ratio(path: str, ratio: float) -> dict[str, Any]:
    print(f"  {path}: {ratio:.2f} times", flush=True)
    empty = {"floor": None, "peer": None, "ratio_floor": None, "ratio_peer": None}
    return {"path": path, "unit": "times the p95", "ours": round(ratio, 3), **empty, "rounds": 1, "machine": machine()}
