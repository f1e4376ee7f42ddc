"""Shipments over the API: who may, what comes back, how each refusal reads, and whose label it is."""

from __future__ import annotations

import json

import pytest
from rest_framework.test import APIClient

from config.infra import tenancy
from orders.models import OrderLine, Shipment, ShipmentCall
from shopsync.actions.tenants import create_api_key
from shopsync.models import Connection
from tests.api.conftest import with_token
from tests.factories import make_tenant
from tests.orders.shipping import HOME, PARCEL, shipping_desk
from tests.world import make_person

pytestmark = pytest.mark.django_db(transaction=True)
RATES = {"from_address": HOME, "parcel": PARCEL}


class Counter:
    """A tenant's key at its shipping desk."""

    def __init__(self, desk):
        self.desk = desk
        self.client = APIClient(headers={"Authorization": f"Api-Key {create_api_key(name='erp', actor='test').secret}"})

    def post(self, path, body=None, **headers):
        with tenancy.no_scope():
            raw = json.dumps(body if body is not None else {})
            return self.client.post(f"/api/v1/{path}", raw, content_type="application/json", headers=headers)

    def get(self, path, **headers):
        with tenancy.no_scope():
            return self.client.get(f"/api/v1/{path}", headers=headers)

    def pack(self, **fields):
        return self.post("shipments", {"order_id": self.desk.order.pk, **fields})

    def bought(self):
        path = f"shipments/{self.pack().json()['id']}"
        assert self.post(f"{path}/rates", RATES).status_code == 202
        self.desk.work()
        rate = self.get(path).json()["rates"][0]["id"]
        assert self.post(f"{path}/buy", {"rate_id": rate}).status_code == 202
        self.desk.work()
        return path


@pytest.fixture
def counter(transactional_db, settings, tmp_path):
    settings.MEDIA_ROOT = tmp_path
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    with shipping_desk(make_tenant()) as desk:
        yield Counter(desk)


def test_a_parcel_from_packing_to_its_label(counter):
    path = counter.bought()
    shown = counter.get(path).json()
    assert (shown["status"], shown["company"], shown["cost_amount"], shown["has_label"]) == (
        "labelled", "USPS", "7.58", True,
    )  # fmt: skip
    assert [(call["kind"], call["status"]) for call in shown["calls"]] == [
        ("rate", "done"), ("buy", "done"), ("label", "done"),
    ]  # fmt: skip
    label = counter.get(f"{path}/label", Accept="application/pdf")
    assert (label.status_code, label["Content-Type"]) == (200, "application/pdf")
    assert b"".join(label.streaming_content).startswith(b"%PDF")
    assert label["Content-Disposition"].startswith("attachment")
    assert "no-store" in label["Cache-Control"]
    assert counter.post(f"{path}/tracking").json()["status"] == "shipped"
    void = counter.post(f"{path}/void")
    assert (void.status_code, void.json()["title"]) == (409, "Not as the shipment stands")


def test_a_parcel_with_a_number_of_ones_own(counter):
    path = f"shipments/{counter.pack().json()['id']}"
    given = {"tracking_number": "1Z999", "tracking_company": "UPS"}
    shown = counter.post(f"{path}/tracking", given)
    assert (shown.status_code, shown.json()["status"], shown.json()["tracking_number"]) == (200, "shipped", "1Z999")
    assert list(OrderLine.objects.order_by("position").values_list("sent_quantity", flat=True)) == [3, 2]
    assert counter.get(f"{path}/label").status_code == 409
    assert counter.get(f"{path}/label", Accept="application/pdf")["Content-Type"] == "application/problem+json"


def test_what_is_given_up_can_be_packed_again(counter):
    path = f"shipments/{counter.pack().json()['id']}"
    assert counter.pack().status_code == 409
    assert counter.post(f"{path}/void").json()["status"] == "voided"
    assert counter.pack().status_code == 201
    assert len(counter.get("shipments?status=voided").json()["results"]) == 1


def test_the_same_key_packs_and_buys_once(counter):
    packed = [
        counter.post("shipments", {"order_id": counter.desk.order.pk}, **{"Idempotency-Key": "p-1"}) for _ in "ab"
    ]
    assert packed[0].json()["id"] == packed[1].json()["id"]
    assert packed[1]["Idempotency-Replayed"] == "true"
    path = f"shipments/{packed[0].json()['id']}"
    counter.post(f"{path}/rates", RATES)
    counter.desk.work()
    rates = counter.get(path).json()["rates"]
    for _ in range(3):
        assert counter.post(f"{path}/buy", {"rate_id": rates[0]["id"]}, **{"Idempotency-Key": "b-1"}).status_code == 202
    other = counter.post(f"{path}/buy", {"rate_id": rates[1]["id"]}, **{"Idempotency-Key": "b-1"})
    assert other.status_code == 409
    assert counter.post(f"{path}/buy", {"rate_id": rates[1]["id"]}).status_code == 409
    counter.desk.work()
    assert ShipmentCall.objects.filter(kind="buy").count() == counter.desk.sandbox.purchases() == 1


def test_too_many_units_names_each_line(counter):
    line = OrderLine.objects.order_by("position")[0]
    refused = counter.pack(lines=[{"line_id": line.pk, "quantity": 4}])
    assert refused.status_code == 409
    assert refused.json()["type"].endswith("/problems/too-many-units")
    assert refused.json()["lines"] == [{"line_id": line.pk, "requested": 4, "open": 3}]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "order_id"), ([], "non_field_errors"), ({"order_id": "x"}, "order_id"), ({"order_id": 2**63}, "order_id"),
        ({"order_id": 2**62}, "order_id"), ({"order_id": 1, "lines": {}}, "lines"), ({"order": 1}, "order"),
        ({"order_id": 1, "lines": [{"line_id": 1, "quantity": 0}]}, "lines"),
        ({"order_id": 1, "lines": [{"line_id": 1, "quantity": 10**30}]}, "lines"),
        ({"order_id": 1, "lines": [{"line_id": 1}]}, "lines"),
    ],
    ids=str,
)  # fmt: skip
def test_a_bad_parcel_names_the_field(counter, body, field):
    answer = counter.post("shipments", body)
    assert (answer.status_code, answer["Content-Type"]) == (400, "application/problem+json"), answer.content
    assert field in answer.json()["errors"]


@pytest.mark.parametrize(
    ("verb", "body", "field"),
    [
        ("rates", {}, "from_address"), ("rates", {"from_address": HOME}, "parcel"),
        ("rates", {**RATES, "parcel": {"weight_grams": 0}}, "parcel"),
        ("rates", {**RATES, "parcel": {"weight_grams": 1, "length_mm": 10**6}}, "parcel"),
        ("rates", {**RATES, "from_address": {**HOME, "country_code": "Canada"}}, "from_address"),
        ("rates", {**RATES, "from_address": {**HOME, "name": "\x00"}}, "from_address"),
        ("rates", {**RATES, "from_address": {**HOME, "name": "\ud800"}}, "from_address"),
        ("rates", {**RATES, "weight": 1}, "weight"), ("buy", {}, "rate_id"), ("buy", {"rate_id": "rate_1"}, "rate_id"),
        ("buy", {"rate_id": "\x00"}, "rate_id"), ("buy", {"rate_id": "é"}, "rate_id"),
        ("tracking", {"tracking_number": "1Z"}, "tracking_company"),
        ("tracking", {"tracking_company": "UPS"}, "tracking_number"),
        ("tracking", {"tracking_number": "\x00", "tracking_company": "UPS"}, "tracking_number"),
        ("tracking", {"tracking_number": "1", "tracking_company": "U", "tracking_url": "javascript:x"}, "tracking_url"),
    ],
    ids=str,
)  # fmt: skip
def test_a_bad_act_names_the_field(counter, verb, body, field):
    path = f"shipments/{counter.pack().json()['id']}"
    answer = counter.post(f"{path}/{verb}", body)
    assert (answer.status_code, answer["Content-Type"]) == (400, "application/problem+json"), answer.content
    assert field in answer.json()["errors"]


def test_without_a_carrier_it_says_so(counter):
    Connection.objects.update(is_active=False)
    path = f"shipments/{counter.pack().json()['id']}"
    answer = counter.post(f"{path}/rates", RATES)
    assert (answer.status_code, answer.json()["title"]) == (409, "No carrier is connected")


def test_three_people(counter):
    path, tenant = counter.bought(), counter.desk.tenant
    with tenancy.no_scope():
        make_person("viewer", tenant=tenant, role="viewer")
        make_person("operator", tenant=tenant, role="operator")
        make_person("stranger", tenant=make_tenant())
        viewer, operator, stranger = (with_token(name) for name in ("viewer", "operator", "stranger"))
        for verb in ("rates", "buy", "void", "tracking"):
            assert viewer.post(f"/api/v1/{path}/{verb}", {}, format="json").status_code == 403
            assert stranger.post(f"/api/v1/{path}/{verb}", {}, format="json").status_code == 404
        for one, code in ((viewer, 200), (operator, 200), (stranger, 404), (APIClient(), 401)):
            assert one.get(f"/api/v1/{path}/label").status_code == code
            assert one.get(f"/api/v1/{path}").status_code == code
        theirs = stranger.post("/api/v1/shipments", {"order_id": counter.desk.order.pk}, format="json")
        assert (theirs.status_code, list(theirs.json()["errors"])) == (400, ["order_id"])
        assert operator.post(f"/api/v1/{path}/void", {}, format="json").status_code == 202
    assert Shipment.objects.get().void_status == "requested"


def test_no_url_serves_a_label(counter):
    counter.bought()
    name = Shipment.objects.get().label_file
    with tenancy.no_scope():
        for path in (f"/{name}", f"/media/{name}", f"/static/{name}", f"/static/../media/{name}"):
            assert counter.client.get(path).status_code == 404


def test_the_list_costs_the_same_for_one_and_for_many(counter, django_assert_num_queries):
    for line in OrderLine.objects.all():
        for _ in range(line.quantity):
            counter.pack(lines=[{"line_id": line.pk, "quantity": 1}])
    with django_assert_num_queries(3):
        assert len(counter.get("shipments").json()["results"]) == 5
