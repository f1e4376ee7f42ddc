"""Order watches over the API: who may set them, which orders they list, and how each refusal reads."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from django.utils import timezone
from rest_framework.test import APIClient

from config.infra import tenancy
from orders.actions.watches import watch_orders
from orders.models import Order, OrderWatch
from shopsync.models import Alert
from tests.api.conftest import with_token
from tests.world import make_person

PATH = "/api/v1/orders/watches"
BAD_HOURS = [0, -1, 1.5, "1.5", 8761, 2**63, 10**30, True, None, "many", "\x00", "\ud800", [], {}]


@pytest.fixture
def watch(world):
    return world.rows[OrderWatch]


def ask(client, method, path, body=None, **headers):
    return getattr(client, method)(path, json.dumps(body or {}), content_type="application/json", headers=headers)


def test_a_watch_is_made_changed_and_taken_away(owner, world, watch):
    made = ask(owner, "post", PATH, {"kind": "unfulfilled", "hours": 24}, **{"Idempotency-Key": "k-1"})
    assert (made.status_code, made.json()["kind"], made.json()["hours"]) == (201, "unfulfilled", 24)
    again = ask(owner, "post", PATH, {"kind": "unfulfilled", "hours": 24}, **{"Idempotency-Key": "k-1"})
    assert (again.json(), again["Idempotency-Replayed"]) == (made.json(), "true")
    path = f"{PATH}/{made.json()['id']}"
    assert ask(owner, "patch", path, {"hours": 36}).json()["hours"] == 36
    with tenancy.tenant_scope(world.tenant.pk):
        assert watch_orders(now=timezone.now()) == 3
    assert [row["kind"] for row in owner.get(f"{PATH}?kind=unfulfilled").json()["results"]] == ["unfulfilled"]
    assert ask(owner, "delete", path).status_code == 204
    assert owner.get(path).status_code == 404
    assert owner.get("/api/v1/orders?overdue=unfulfilled").json()["results"] == []
    with tenancy.tenant_scope(world.tenant.pk):
        assert not Alert.objects.get(kind="orders.unfulfilled").is_open


def test_the_filter_lists_exactly_what_the_alert_counts(owner, world, watch):
    with tenancy.tenant_scope(world.tenant.pk):
        waiting = {"paid_at": None, "financial_status": "pending"}
        Order.objects.update(**waiting, placed_at=timezone.now() - timedelta(hours=49))
        young = Order.objects.latest("id")
        Order.objects.filter(pk=young.pk).update(placed_at=timezone.now() - timedelta(hours=47))
        assert watch_orders(now=timezone.now()) == 2
        assert Alert.objects.get(kind="orders.unpaid").message.startswith("2 orders are not paid after 48 hours")
    listed = owner.get("/api/v1/orders?overdue=unpaid").json()["results"]
    assert len(listed) == 2
    assert young.pk not in {row["id"] for row in listed}
    assert owner.get("/api/v1/orders?overdue=late").status_code == 400


@pytest.mark.parametrize("hours", BAD_HOURS, ids=repr)
def test_bad_hours_are_refused_by_name(owner, watch, hours):
    for method, path, body in (("post", PATH, {"kind": "unfulfilled"}), ("patch", f"{PATH}/{watch.pk}", {})):
        answer = ask(owner, method, path, {**body, "hours": hours})
        assert (answer.status_code, list(answer.json()["errors"])) == (400, ["hours"])


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        ({"kind": "unpaid", "hours": 5}, 400, "kind"),
        ({"kind": "late", "hours": 5}, 400, "kind"),
        ({"kind": "\x00", "hours": 5}, 400, "kind"),
        ({"hours": 5}, 400, "kind"),
        ({"kind": "unfulfilled"}, 400, "hours"),
        ({"kind": "unfulfilled", "hours": 5, "days": 1}, 400, "days"),
    ],
)
def test_what_is_no_watch_is_refused_by_name(owner, watch, body, status, field):
    answer = ask(owner, "post", PATH, body)
    assert (answer.status_code, list(answer.json()["errors"])) == (status, [field])


def test_strangers_viewers_and_operators(world, staff, stranger, nobody, watch):
    path = f"{PATH}/{watch.pk}"
    make_person("operator", tenant=world.tenant, role="operator")
    operator: APIClient = with_token("operator")
    assert staff.get(path).status_code == 200
    assert stranger.get(path).status_code == 404
    for client, code in ((staff, 403), (stranger, 404), (nobody, 401)):
        assert ask(client, "patch", path, {"hours": 5}).status_code == code
        assert ask(client, "delete", path).status_code == code
    assert ask(operator, "patch", path, {"hours": 5}).json()["hours"] == 5
    assert stranger.get("/api/v1/orders?overdue=unpaid").json()["results"] == []
