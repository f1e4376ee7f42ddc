"""A double of Shopify's inventory over HTTP, a tenant that sets its holds aside there, and looks at both."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from django.db import connection
from werkzeug import Request, Response

from config.infra import tenancy
from inventory.models import HoldPush, StockLevel
from shopsync.models import Tenant
from tests.factories import make_tenant


class Shop:
    """A double of Shopify's inventory: two quantities, moved by compare-and-swap, each key once."""

    def __init__(self, available: int) -> None:
        self.available, self.reserved = available, 0
        self.done: set[str] = set()
        self.calls: list[str] = []
        # What happens to the next calls: "cut" (done, no answer), "throttle", "race", "unauthorized", "user_error".
        self.behaviour: list[str] = []

    def __call__(self, request: Request) -> Response:
        asked = json.loads(request.data)
        if "inventoryMoveQuantities" not in asked["query"]:
            quantities = [{"name": "available", "quantity": self.available}]
            quantities.append({"name": "reserved", "quantity": self.reserved})
            quantities += [{"name": "on_hand", "quantity": 9}, {"name": "incoming", "quantity": 4}]
            return self.answer({"inventoryItem": {"inventoryLevel": {"quantities": quantities}}})
        behaviour = self.behaviour.pop(0) if self.behaviour else ""
        if behaviour == "throttle":
            return Response(json.dumps({"errors": [{"message": "Throttled", "extensions": {"code": "THROTTLED"}}]}))
        if behaviour == "unauthorized":
            return Response(json.dumps({"errors": "Invalid API key or access token"}), status=401)
        if behaviour == "user_error":
            busy = {"code": "IDEMPOTENCY_CONCURRENT_REQUEST", "message": "in progress"}
            return self.answer({"inventoryMoveQuantities": {"userErrors": [busy]}})
        if behaviour == "race":
            self.available -= 1
        payload = self.move(asked["variables"])
        if behaviour == "cut":
            return Response("lost", status=502)
        return self.answer({"inventoryMoveQuantities": payload})

    def move(self, variables):
        (change,) = variables["input"]["changes"]
        source, target, key = change["from"], change["to"], variables["key"]
        self.calls.append(source["name"])
        moved = {"userErrors": [], "inventoryAdjustmentGroup": {"createdAt": datetime.now(UTC).isoformat()}}
        if key in self.done:
            return moved
        if source["changeFromQuantity"] != getattr(self, source["name"]):
            return {"userErrors": [{"code": "CHANGE_FROM_QUANTITY_STALE", "message": "stale"}]}
        setattr(self, source["name"], getattr(self, source["name"]) - change["quantity"])
        setattr(self, target["name"], getattr(self, target["name"]) + change["quantity"])
        self.done.add(key)
        return moved

    def answer(self, data) -> Response:
        return Response(json.dumps({"data": data}), content_type="application/json")


def shop_at(httpserver: Any, *, available: int) -> Shop:
    """Let a shop answer at the server's Admin API."""
    shop = Shop(available)
    httpserver.expect_request("/admin/api/2026-07/graphql.json", method="POST").respond_with_handler(shop)
    return shop


@contextmanager
def pushing_tenant(httpserver: Any, settings: Any) -> Iterator[Tenant]:
    """Put a tenant in scope that sets its holds aside in the shop at this server."""
    settings.SHOPIFY_ADMIN_URL = httpserver.url_for("").rstrip("/")
    tenant = make_tenant()
    Tenant.objects.filter(pk=tenant.pk).update(push_holds=True, access_token="shpat_test")
    with tenancy.tenant_scope(tenant.pk):
        yield tenant


def counts() -> tuple[int, int]:
    """Look at what the one level has, and holds."""
    return StockLevel.objects.values_list("available", "held").get()


def pushes() -> list[tuple[str, str]]:
    """Look at the calls, oldest first."""
    return list(HoldPush.objects.order_by("pk").values_list("direction", "status"))


def make_due() -> None:
    """Let the time come of every call that waits or is asked about."""
    with connection.cursor() as cursor:
        cursor.execute("UPDATE inventory_holdpush SET due_at = clock_timestamp() WHERE status IN ('ready', 'unknown')")
