"""Redis is gone: reservations and orders go on, exact as ever; what hangs on events is done once it is back."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.slow.crash import ROOT, STOCK_KEY, STOCK_UNITS, Installation, installation

pytestmark = pytest.mark.slow


class Channel:
    """A merchant's system on the API."""

    def __init__(self, target: Installation) -> None:
        self.target = target
        self.slowest = 0.0

    def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        headers = {"Authorization": f"Api-Key {STOCK_KEY}", "Content-Type": "application/json"}
        headers["Idempotency-Key"] = str(uuid.uuid4())
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.target.stack.base_url}{path}", data, headers, method=method)
        began = time.monotonic()
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                raw, status = answer.read(), answer.status
        except urllib.error.HTTPError as refused:
            raw, status = refused.read(), refused.code
        self.slowest = max(self.slowest, time.monotonic() - began)
        return status, json.loads(raw) if raw else None

    def post(self, path: str, body: Any = None) -> Any:
        status, answer = self.ask("POST", f"/api/v1/{path}", body or {})
        assert status in {200, 201}, (path, status, answer)
        return answer

    def counts(self) -> tuple[int, int, int]:
        _, page = self.ask("GET", "/api/v1/stock")
        level = page["results"][0]
        return level["available"], level["held"], level["committed"]


def verify_stock(target: Installation) -> str:
    environment = {**os.environ, "DATABASE_URL": target.database_url, "REDIS_URL": target.redis_url}
    done = subprocess.run(
        [sys.executable, "manage.py", "verify_stock"], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_reservations_and_orders_go_on_and_are_exact():
    with installation("sales-without-redis") as target:
        channel = Channel(target)
        variant = channel.ask("GET", "/api/v1/variants")[1]["results"][0]["id"]
        line = {"variant_id": variant, "quantity": 1}
        target.servers.stop_redis()
        # 1. Every verb of a reservation.
        sold, dropped = (channel.post("reservations", {"lines": [line]})["id"] for _ in range(2))
        channel.post(f"reservations/{sold}/extend")
        channel.post(f"reservations/{sold}/commit")
        assert channel.ask("DELETE", f"/api/v1/reservations/{dropped}")[0] in {200, 204}
        # 2. Orders: paid, cancelled, refunded.
        orders = [channel.post("orders", {"lines": [{**line, "price_amount": "5.00"}]}) for _ in range(3)]
        for order in orders[:2]:
            channel.post(f"orders/{order['id']}/mark-paid")
        first = orders[0]["lines"][0]["id"]
        channel.post(
            f"orders/{orders[0]['id']}/refunds",
            {"lines": [{"line_id": first, "quantity": 1, "restock_type": "cancel"}]},
        )
        channel.post(f"orders/{orders[2]['id']}/cancel", {"reason": "customer"})
        left = STOCK_UNITS - 2  # one sold by its reservation, one by its order
        assert channel.counts() == (left, 0, 1)
        # 3. Five buyers for each unit that is left.
        with ThreadPoolExecutor(16) as pool:
            asked = [
                pool.submit(channel.ask, "POST", "/api/v1/reservations", {"lines": [line]}) for _ in range(left * 5)
            ]
            answers = [future.result()[0] for future in asked]
        assert (answers.count(201), answers.count(409), len(answers)) == (left, left * 4, left * 5)
        assert channel.counts() == (left, left, 1)
        assert channel.ask("GET", "/ready")[0] == 200
        print(f"the slowest of all answers without Redis took {channel.slowest:.2f} s")
        # 4. Redis is back: what was recorded meanwhile is handed out.
        assert target.open_work() > 0
        target.servers.start_redis()
        target.finish()
        print(verify_stock(target).strip())
