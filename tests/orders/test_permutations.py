"""Any order of arrival, with repeats, ends in the same order, lines, commitments, contact and messages."""

from __future__ import annotations

import copy
import itertools
import json
from typing import Any

import pytest

from audit.models import AuditEvent
from config.infra import tenancy
from inventory.models import StockLevel, StockMovement
from messaging.models import Contact, ContactIdentity, Message
from orders.models import Commitment, Fulfillment, Order, OrderLine, Refund
from shopsync.models import WebhookEvent
from tests.factories import deliver, drain_all, make_tenant
from tests.messaging.automations import give_thanks_automation
from tests.protocols import FIXTURES

pytestmark = [pytest.mark.slow, pytest.mark.django_db(transaction=True)]

BASE = json.loads((FIXTURES / "orders__create--discount-code-and-shipping-discount.json").read_text())
CONSENT = {
    "id": BASE["customer"]["id"],
    "phone": "+15125550137",
    "sms_marketing_consent": {"state": "subscribed", "consent_updated_at": "2026-11-01T00:00:00Z"},
}
LEVELS = {"inventory_item_id": 501, "location_id": 601}


def version(topic: str, updated_at: str, **changes: Any) -> tuple[str, dict[str, Any]]:
    body = copy.deepcopy(BASE)
    body.update(updated_at=updated_at, **changes)
    return topic, body


def deliveries() -> list[tuple[str, dict[str, Any]]]:
    """One order's life: created, edited (a line goes), paid, cancelled and refunded."""
    edited = copy.deepcopy(BASE["line_items"])
    edited[1].update(current_quantity=0, fulfillable_quantity=0)
    cancelled = [{**line, "fulfillable_quantity": 0} for line in edited]
    return [
        version("orders/create", "2026-11-02T10:15:30+02:00", financial_status="pending"),
        version("orders/updated", "2026-11-02T10:16:00+02:00", financial_status="pending", line_items=edited),
        version("orders/paid", "2026-11-02T10:17:00+02:00", financial_status="paid", line_items=edited),
        version(
            "orders/cancelled",
            "2026-11-02T11:00:00+02:00",
            financial_status="refunded",
            cancelled_at="2026-11-02T11:00:00+02:00",
            cancel_reason="customer",
            line_items=cancelled,
            current_total_price="0.00",
        ),
    ]


def rows(queryset, *left_out: str) -> list[dict[str, Any]]:
    own = {"id", "tenant_id", "created_at", "updated_at", "order_id", "line_id", "contact_id", "level_id", *left_out}
    return [{k: v for k, v in row.items() if k not in own} for row in queryset.values()]


def state(tenant) -> dict[str, Any]:
    with tenancy.tenant_scope(tenant.pk):
        work_columns = (
            "reference",
            "due_at",
            "finished_at",
            "token",
            "trigger",
            "automation_id",
            "automation_version_id",
            "flow_id",
        )
        return {
            "orders": rows(Order.objects.all()),
            "lines": rows(OrderLine.objects.order_by("shopify_id")),
            "commitments": list(
                Commitment.objects.order_by("line__shopify_id").values_list("line__shopify_id", "quantity")
            ),
            "refunds": rows(Refund.objects.order_by("shopify_id")),
            "fulfillments": rows(Fulfillment.objects.order_by("shopify_id")),
            "levels": list(StockLevel.objects.values_list("item__shopify_id", "available")),
            "contacts": rows(Contact.objects.all()),
            "identities": list(ContactIdentity.objects.order_by("kind").values_list("kind", "value")),
            "messages": rows(Message.objects.all(), *work_columns),
            "facts": sorted(
                AuditEvent.objects.filter(name__in=("order.created", "order.paid", "order.cancelled")).values_list(
                    "name", flat=True
                )
            ),
            "unfinished": WebhookEvent.objects.exclude(status="done").count(),
        }


def live_through(sequence: list[tuple[str, dict[str, Any]]], *, drain_each: bool) -> dict[str, Any]:
    tenant = make_tenant()
    give_thanks_automation(tenant)
    deliver("customers_marketing_consent/update", {**CONSENT, "x": tenant.pk}, tenant)
    drain_all()
    for number, (topic, body) in enumerate(sequence):
        deliver(
            topic, {**body, "token": f"{tenant.pk}-{body['updated_at']}"}, tenant, event_id=f"e-{tenant.pk}-{number}"
        )
        if drain_each:
            drain_all()
    drain_all()
    found = state(tenant)
    # Versions end in the body's digest, which differs: each tenant has its own token in the body.
    for row in found["orders"] + found["fulfillments"] + found["refunds"]:
        row["source_version"] = row["source_version"].rpartition("|")[0]
    for row in found["contacts"]:
        row["field_versions"] = {field: text.rpartition("|")[0] for field, text in row["field_versions"].items()}
    return found


def test_the_end_is_what_shopify_last_said():
    end = live_through(deliveries(), drain_each=True)
    (order,) = end["orders"]
    assert (order["financial_status"], order["cancel_reason"]) == ("refunded", "customer")
    assert order["paid_at"].isoformat() == "2026-11-02T08:17:00+00:00"
    assert [quantity for _, quantity in end["commitments"]] == [0, 0]
    assert end["facts"] == ["order.cancelled", "order.created", "order.paid"]
    assert [(m["address"], m["status"]) for m in end["messages"]] == [
        ("+15125550137", "ready")  # it has its consent, and waits for a way to be sent
    ]
    assert end["unfinished"] == 0


@pytest.mark.parametrize("drain_each", [True, False], ids=["one-by-one", "as-a-batch"])
def test_every_permutation_with_repeats_ends_the_same(drain_each):
    expected = live_through(deliveries(), drain_each=True)
    for number, order in enumerate(itertools.permutations(deliveries())):
        repeated = [*order, order[number % 4], order[(number + 1) % 4]]
        assert live_through(repeated, drain_each=drain_each) == expected, [topic for topic, _ in repeated]


def level(available: int | None, updated_at: str) -> tuple[str, dict[str, Any]]:
    return "inventory_levels/update", {**LEVELS, "available": available, "updated_at": updated_at}


def test_levels_end_at_the_newest_snapshot_and_the_ledger_adds_up_whatever_the_order():
    snapshots = [
        level(10, "2026-11-02T10:00:00Z"),
        level(None, "2026-11-02T10:01:00Z"),
        level(-3, "2026-11-02T10:02:00Z"),
        level(7, "2026-11-02T10:03:00Z"),
    ]
    for order in itertools.permutations(snapshots):
        tenant = make_tenant()
        for topic, body in [*order, order[0]]:
            deliver(topic, {**body, "x": tenant.pk}, tenant)
        drain_all()
        with tenancy.tenant_scope(tenant.pk):
            assert StockLevel.objects.get().available == 7
            assert sum(StockMovement.objects.values_list("delta", flat=True)) == 7
            sequence = list(StockMovement.objects.order_by("sequence").values_list("sequence", "before", "after"))
        assert [number for number, _, _ in sequence] == list(range(1, len(sequence) + 1))
        assert all(a[2] == b[1] for a, b in itertools.pairwise(sequence))
