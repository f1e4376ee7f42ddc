"""Thresholds over the API: who may set them, what comes back, and how each refusal reads."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from django.utils import timezone
from rest_framework.test import APIClient

from audit.models import AuditEvent
from config.infra import tenancy
from inventory.actions.watching import watch_stock
from inventory.models import StockThreshold
from shopsync.models import Alert
from tests.api.conftest import with_token
from tests.api.test_reservations import Shop
from tests.world import make_person

pytestmark = pytest.mark.django_db
PATH = "stock/thresholds"


@pytest.fixture
def shop():
    return Shop()


def low(shop, **fields):
    return {"variant_id": shop.variant.pk, "low_at": 10, "recovered_at": 12, **fields}


def ask(shop, method, path, body=None):
    raw = json.dumps(body or {})
    return getattr(shop.client, method)(f"/api/v1/{path}", raw, content_type="application/json")


def look(shop, minutes=1):
    with tenancy.tenant_scope(shop.tenant.pk):
        watch_stock(now=timezone.now() + timedelta(minutes=minutes))
        return [(alert.subject, alert.is_open) for alert in Alert.objects.filter(kind="stock.low").order_by("id")]


def test_a_threshold_is_made_changed_and_taken_away(shop):
    made = shop.post(PATH, low(shop))
    assert made.status_code == 201
    body = made.json()
    assert {name: body[name] for name in ("variant_id", "sku", "location_id", "low_at", "recovered_at", "is_low")} == {
        "variant_id": shop.variant.pk, "sku": shop.variant.sku, "location_id": None, "low_at": 10, "recovered_at": 12,
        "is_low": False,
    }  # fmt: skip
    path = f"{PATH}/{body['id']}"
    assert look(shop) == [(f"threshold:{body['id']}", True)]
    row = shop.client.get(f"/api/v1/{path}").json()
    assert (row["is_low"], row["changed_at"] is not None) == (True, True)
    changed = ask(shop, "patch", path, {"recovered_at": 11})
    assert (changed.status_code, changed.json()["low_at"], changed.json()["recovered_at"]) == (200, 10, 11)
    assert ask(shop, "delete", path).status_code == 204
    assert shop.client.get(f"/api/v1/{path}").status_code == 404
    assert look(shop) == [(f"threshold:{body['id']}", False)]
    with tenancy.tenant_scope(shop.tenant.pk):
        events = AuditEvent.objects.filter(name__startswith="stock_threshold.").order_by("id")
        assert [event.name for event in events] == [
            "stock_threshold.created", "stock_threshold.updated", "stock_threshold.deleted",
        ]  # fmt: skip
        assert {event.actor.partition(":")[0] for event in events} == {"api_key"}


def test_the_same_key_makes_one(shop):
    answers = [shop.post(PATH, low(shop), **{"Idempotency-Key": "k-1"}) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [201, 201]
    assert answers[0].json() == answers[1].json()
    assert answers[1]["Idempotency-Replayed"] == "true"


def test_one_of_everywhere_and_one_of_each_location_but_no_second(shop):
    here = shop.levels[0].location_id
    for location_id in (None, here):
        assert shop.post(PATH, low(shop, location_id=location_id)).status_code == 201
        again = shop.post(PATH, low(shop, location_id=location_id, low_at=1))
        assert (again.status_code, list(again.json()["errors"])) == (400, ["variant_id"])
    rows = shop.client.get(f"/api/v1/{PATH}?location_id={here}").json()["results"]
    assert [row["location_id"] for row in rows] == [here]


@pytest.mark.parametrize(
    ("query", "count"),
    [("is_low=true", 0), ("is_low=false", 1), ("sku=nothing", 0), ("variant_id=1", 0), ("", 1)],
)
def test_thresholds_are_filtered(owner, world, query, count):
    assert len(owner.get(f"/api/v1/{PATH}?{query}").json()["results"]) == count


def test_the_list_costs_two_queries_however_long_it_is(shop, django_assert_num_queries):
    for location_id in (None, *(level.location_id for level in shop.levels)):
        shop.post(PATH, low(shop, location_id=location_id))
    with django_assert_num_queries(2):
        assert len(shop.client.get(f"/api/v1/{PATH}").json()["results"]) == 3


BAD = [-1, 1.5, "1.5", 2**63, 2**64, 10**30, True, None, "many", "\x00", "\ud800", [], {}]


@pytest.mark.parametrize("value", BAD, ids=repr)
@pytest.mark.parametrize("field", ["variant_id", "low_at", "recovered_at", "location_id"])
def test_a_bad_value_is_refused_by_name(shop, field, value):
    if field == "location_id" and value is None:
        return
    answer = shop.post(PATH, low(shop, **{field: value}))
    assert answer.status_code == 400
    assert list(answer.json()["errors"]) == [field]
    if field not in {"low_at", "recovered_at"}:
        return
    made = shop.post(PATH, low(shop)).json()["id"]
    changed = ask(shop, "patch", f"{PATH}/{made}", {field: value})
    assert (changed.status_code, list(changed.json()["errors"])) == (400, [field])


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"recovered_at": 10}, "recovered_at"),
        ({"recovered_at": 3}, "recovered_at"),
        ({"variant_id": 2**62}, "variant_id"),
        ({"location_id": 2**62}, "location_id"),
        ({"low": 3}, "low"),
        ({"is_low": True}, "is_low"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(shop, body, field):
    answer = shop.post(PATH, low(shop, **body))
    assert (answer.status_code, list(answer.json()["errors"])) == (400, [field])


def test_new_marks_must_leave_room_between_them(shop):
    made = shop.post(PATH, low(shop)).json()["id"]
    for body in ({"low_at": 12}, {"recovered_at": 10}, {"low_at": 5, "recovered_at": 5}):
        answer = ask(shop, "patch", f"{PATH}/{made}", body)
        assert (answer.status_code, list(answer.json()["errors"])) == (400, ["recovered_at"])
    assert ask(shop, "patch", f"{PATH}/{made}", {"variant_id": 1}).status_code == 400
    with tenancy.tenant_scope(shop.tenant.pk):
        assert StockThreshold.objects.values_list("low_at", "recovered_at").get() == (10, 12)


def test_strangers_viewers_and_operators(shop):
    made = shop.post(PATH, low(shop)).json()["id"]
    other = Shop()
    assert other.client.get(f"/api/v1/{PATH}").json()["results"] == []
    assert other.client.get(f"/api/v1/{PATH}/{made}").status_code == 404
    for method in ("patch", "delete"):
        assert ask(other, method, f"{PATH}/{made}", {"low_at": 1}).status_code == 404
    for body, field in ((low(shop), "variant_id"), (low(other, location_id=shop.levels[0].location_id), "location_id")):
        theirs = other.post(PATH, body)
        assert (theirs.status_code, list(theirs.json()["errors"])) == (400, [field])
    make_person("viewer", tenant=shop.tenant, role="viewer")
    make_person("operator", tenant=shop.tenant, role="operator")
    viewer, operator = with_token("viewer"), with_token("operator")
    assert viewer.get(f"/api/v1/{PATH}/{made}").status_code == 200
    for client, code in ((viewer, 403), (APIClient(), 401)):
        assert client.post(f"/api/v1/{PATH}", low(shop), format="json").status_code == code
        assert client.patch(f"/api/v1/{PATH}/{made}", {"low_at": 1}, format="json").status_code == code
        assert client.delete(f"/api/v1/{PATH}/{made}").status_code == code
    assert operator.patch(f"/api/v1/{PATH}/{made}", {"low_at": 1}, format="json").json()["low_at"] == 1
    assert operator.delete(f"/api/v1/{PATH}/{made}").status_code == 204
