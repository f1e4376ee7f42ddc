"""Reservations and stock over the API: who may, what comes back, and how each refusal reads."""

from __future__ import annotations

import json

import pytest
from rest_framework.test import APIClient

from config.infra import tenancy
from inventory.models import Reservation, StockLevel
from shopsync.actions.tenants import create_api_key
from tests.api.conftest import with_token
from tests.factories import make_tenant, stock_variant
from tests.world import make_person

pytestmark = pytest.mark.django_db


class Shop:
    """A tenant that counts its own stock, its key, and one variant at two places."""

    def __init__(self, **fields):
        self.tenant = make_tenant(stock_authority="shopsync", **fields)
        with tenancy.tenant_scope(self.tenant.pk):
            key = create_api_key(name="channel", actor="test").secret
            self.variant, self.levels = stock_variant(5, locations=2)
        self.client = APIClient(headers={"Authorization": f"Api-Key {key}"})

    def post(self, path, body=None, **headers):
        raw = json.dumps(body or {})  # escaped, so that it can carry what UTF-8 can't
        return self.client.post(f"/api/v1/{path}", raw, content_type="application/json", headers=headers)

    def reserve(self, quantity=1, **fields):
        lines = [{"variant_id": self.variant.pk, "quantity": quantity}]
        return self.post("reservations", {"lines": lines, **fields})

    def numbers(self):
        with tenancy.tenant_scope(self.tenant.pk):
            return list(StockLevel.objects.order_by("pk").values_list("available", "held"))


@pytest.fixture
def shop():
    return Shop()


def test_a_promise_is_made_extended_and_committed(shop):
    made = shop.reserve(3, reference="cart-9")
    assert made.status_code == 201
    body = made.json()
    assert (body["status"], body["reference"], body["extended_at"]) == ("active", "cart-9", None)
    assert [(line["variant_id"], line["quantity"]) for line in body["lines"]] == [(shop.variant.pk, 3)]
    path = f"reservations/{body['id']}"
    assert shop.post(f"{path}/extend").json()["extended_at"] is not None
    again = shop.post(f"{path}/extend")
    assert (again.status_code, again.json()["title"]) == (409, "The reservation was extended before")
    assert shop.post(f"{path}/commit").json()["status"] == "committed"
    assert shop.numbers()[0] == (2, 0)
    late = shop.client.delete(f"/api/v1/{path}")
    assert (late.status_code, late.json()["reservation_status"]) == (409, "committed")


def test_a_released_promise_answers_204_each_time(shop):
    path = f"/api/v1/reservations/{shop.reserve(2).json()['id']}"
    assert [shop.client.delete(path).status_code for _ in range(2)] == [204, 204]
    assert shop.client.get(path).json()["status"] == "released"
    assert shop.numbers()[0] == (5, 0)


def test_a_shortage_names_each_line(shop):
    refused = shop.reserve(11)
    assert refused.status_code == 409
    assert refused["Content-Type"] == "application/problem+json"
    body = refused.json()
    assert body["type"].endswith("/problems/insufficient-stock")
    assert body["shortages"] == [{"variant_id": shop.variant.pk, "requested": 11, "available": 10, "short": 1}]


def test_the_same_key_is_one_promise_and_another_body_under_it_is_refused(shop):
    lines = [{"variant_id": shop.variant.pk, "quantity": 1}]
    ask = [shop.post("reservations", {"lines": lines}, **{"Idempotency-Key": "k-1"}) for _ in range(3)]
    assert len({answer.json()["id"] for answer in ask}) == 1
    other = shop.post("reservations", {"lines": lines * 2}, **{"Idempotency-Key": "k-1"})
    assert other.status_code == 409
    assert shop.numbers()[0] == (5, 1)


def test_strangers_and_viewers(shop):
    reservation_id = shop.reserve(1).json()["id"]
    other = Shop()
    for path, verb in ((f"{reservation_id}", "get"), (f"{reservation_id}", "delete")):
        assert getattr(other.client, verb)(f"/api/v1/reservations/{path}").status_code == 404
    for word in ("extend", "commit"):
        assert other.post(f"reservations/{reservation_id}/{word}").status_code == 404
    theirs = other.post("reservations", {"lines": [{"variant_id": shop.variant.pk, "quantity": 1}]})
    assert theirs.status_code == 400
    assert str(shop.variant.pk) in str(theirs.json()["errors"]["lines"])
    make_person("viewer", tenant=shop.tenant, role="viewer")
    viewer = with_token("viewer")
    assert viewer.get(f"/api/v1/reservations/{reservation_id}").status_code == 200
    assert viewer.delete(f"/api/v1/reservations/{reservation_id}").status_code == 403
    make_person("operator", tenant=shop.tenant, role="operator")
    assert with_token("operator").delete(f"/api/v1/reservations/{reservation_id}").status_code == 204
    assert APIClient().get("/api/v1/reservations").status_code == 401


BAD_QUANTITIES = [0, -1, 1.5, "1.5", 2**63, 2**64, 10**30, True, None, "many", "\x00", "\ud800", [], {}]


@pytest.mark.parametrize("quantity", BAD_QUANTITIES, ids=repr)
def test_a_bad_quantity_is_refused_by_name(shop, quantity):
    answer = shop.reserve(quantity)
    assert answer.status_code == 400
    assert "quantity" in str(answer.json()["errors"]["lines"])
    answer = shop.post("stock/receive", {"variant_id": 1, "location_id": 1, "quantity": quantity})
    assert answer.status_code == 400
    assert "quantity" in answer.json()["errors"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "lines"),
        ({"lines": []}, "lines"),
        ({"lines": {}}, "lines"),
        ({"lines": [{"variant_id": 2**63, "quantity": 1}]}, "lines"),
        ({"lines": [{"variant_id": 2**62, "quantity": 1}]}, "lines"),
        ({"lines": [{"variant_id": 1, "quantity": 1}] * 10_000}, "lines"),
        ({"lines": [{"variant_id": 1, "quantity": 1, "qty": 1}]}, "lines"),
        ({"lines": [{"variant_id": 1, "quantity": 1}], "ttl": 5}, "ttl"),
        ({"lines": [{"variant_id": 1, "quantity": 1}], "ttl_seconds": 0}, "ttl_seconds"),
        ({"lines": [{"variant_id": 1, "quantity": 1}], "ttl_seconds": 86_401}, "ttl_seconds"),
        ({"lines": [{"variant_id": 1, "quantity": 1}], "reference": "\x00"}, "reference"),
        ({"lines": [{"variant_id": 1, "quantity": 1}], "reference": "\ud800"}, "reference"),
        ({"lines": [{"variant_id": 1, "quantity": 1}], "destination": {"latitude": 91}}, "destination"),
        ({"lines": [{"variant_id": 1, "quantity": 1}], "destination": {"country": "Canada"}}, "destination"),
        ({"lines": [{"variant_id": 1, "quantity": 1}], "\ud800": 1}, "?"),
        ([], "non_field_errors"),
    ],
    ids=lambda value: str(value)[:60],
)
def test_a_bad_request_names_the_field(shop, body, field):
    answer = shop.post("reservations", body) if body else shop.client.post("/api/v1/reservations", body, format="json")
    assert answer.status_code == 400, answer.content
    assert field in answer.json()["errors"]


@pytest.mark.parametrize("raw", [b"[" * 100_000, b"{", b'{"lines": NaN}', b"\xff", b'{"lines": ' + b"9" * 5000 + b"}"])
def test_what_is_no_json_is_refused(shop, raw):
    answer = shop.client.post("/api/v1/reservations", raw, content_type="application/json")
    assert answer.status_code == 400
    assert answer["Content-Type"] == "application/problem+json"


@pytest.mark.parametrize("key", ["", " ", "a" * 201, "é", "a b"])
def test_a_bad_key_is_refused(shop, key):
    lines = [{"variant_id": shop.variant.pk, "quantity": 1}]
    for path, body in (("reservations", {"lines": lines}), ("stock/receive", {})):
        answer = shop.post(path, body, **{"Idempotency-Key": key})
        assert answer.status_code == 400
        assert "Idempotency-Key" in answer.json()["errors"]


def test_stock_is_received_adjusted_and_transferred_once_per_key(shop):
    here, there = shop.levels
    spot = {"variant_id": shop.variant.pk, "location_id": here.location_id}
    answers = [
        shop.post("stock/receive", {**spot, "quantity": 4}, **{"Idempotency-Key": "delivery-1"}) for _ in range(2)
    ]
    assert [answer.json()["available"] for answer in answers] == [9, 9]
    assert answers[1]["Idempotency-Replayed"] == "true"
    assert shop.post("stock/receive", {**spot, "quantity": 5}, **{"Idempotency-Key": "delivery-1"}).status_code == 409
    assert shop.post("stock/adjust", {**spot, "delta": -2, "reason": "damaged"}).json()["on_hand"] == 7
    move = {"variant_id": shop.variant.pk, "from_location_id": here.location_id, "to_location_id": there.location_id}
    assert shop.post("stock/transfer", {**move, "quantity": 3}).json()["available"] == 8
    assert shop.numbers() == [(4, 0), (8, 0)]
    refused = shop.post("stock/transfer", {**move, "quantity": 5})
    assert (refused.status_code, refused.json()["sellable"]) == (409, 4)
    ledger = shop.client.get(f"/api/v1/stock-movements?level_id={here.pk}&state=available").json()["results"]
    assert [(row["delta"], row["reason"]) for row in ledger] == [
        (-3, "transferred"), (-2, "adjusted"), (4, "received"), (5, "unexplained"),
    ]  # fmt: skip


def test_where_shopify_counts_stock_is_not_moved_here():
    shop = Shop()
    type(shop.tenant).objects.filter(pk=shop.tenant.pk).update(stock_authority="shopify")
    spot = {"variant_id": shop.variant.pk, "location_id": shop.levels[0].location_id}
    answer = shop.post("stock/receive", {**spot, "quantity": 1})
    assert (answer.status_code, answer.json()["title"]) == (409, "Shopify counts this stock")
    assert shop.numbers()[0] == (5, 0)


def test_lists_read_a_fixed_number_of_queries(shop, django_assert_num_queries):
    for _ in range(3):
        shop.reserve(1)
    for path, queries in (("reservations", 3), ("stock", 3), ("variants", 2), ("stock-movements", 2)):
        with django_assert_num_queries(queries):
            assert len(shop.client.get(f"/api/v1/{path}").json()["results"]) >= 1
    assert Reservation._meta.ordering == ("-id",)


def test_what_is_on_its_way_is_shown_and_received_and_never_sold_before(shop):
    spot = {"variant_id": shop.variant.pk, "location_id": shop.levels[0].location_id}
    expected = shop.post("stock/expect", {**spot, "delta": 4, "reference": "PO-7"})
    assert (expected.status_code, expected.json()["incoming"], expected.json()["sellable"]) == (201, 4, 5)
    arrived = shop.post("stock/receive", {**spot, "quantity": 3, "from_incoming": True}).json()
    assert (arrived["incoming"], arrived["available"]) == (1, 8)
    too_few = shop.post("stock/expect", {**spot, "delta": -2})
    assert (too_few.status_code, too_few.json()["sellable"]) == (409, 1)
    assert shop.post("stock/expect", {**spot, "delta": 0}).json()["errors"] == {
        "delta": ["Change it by something other than 0."]
    }
