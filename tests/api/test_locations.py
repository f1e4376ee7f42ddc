"""Locations over the API: owners and their systems change them, what is no place is refused, reservations follow."""

from __future__ import annotations

import json

import pytest
from rest_framework.test import APIClient

from audit.models import AuditEvent
from config.infra import tenancy
from inventory.models import Location
from shopsync.actions.tenants import create_api_key
from tests.api.conftest import with_token
from tests.factories import make_tenant, reload, stock_variant
from tests.world import make_person

pytestmark = pytest.mark.django_db


class Shop:
    """A tenant with five of one variant at each of two places."""

    def __init__(self, authority="shopsync"):
        self.tenant = make_tenant(stock_authority=authority)
        with tenancy.tenant_scope(self.tenant.pk):
            key = create_api_key(name="channel", actor="test").secret
            self.variant, self.levels = stock_variant(5, locations=2)
        self.client = APIClient(headers={"Authorization": f"Api-Key {key}"})

    def patch(self, index, body, client=None):
        location_id = self.levels[index].location_id
        raw = body if isinstance(body, str) else json.dumps(body)
        client = client or self.client
        return client.patch(f"/api/v1/locations/{location_id}", raw, content_type="application/json")

    def reserve(self, quantity=1):
        body = {"lines": [{"variant_id": self.variant.pk, "quantity": quantity}], "allow_split": True}
        return self.client.post("/api/v1/reservations", body, format="json")

    def held(self):
        return [reload(level).held for level in self.levels]

    def place(self, index):
        return reload(self.levels[index].location)


@pytest.fixture(params=["shopify", "shopsync"])
def shop(request):
    return Shop(request.param)


def test_what_is_changed_is_answered_stored_and_recorded(shop):
    body = {"own_name": "Back room", "country": "CA", "latitude": 45.5, "longitude": -73.6, "priority": 7}
    answer = shop.patch(0, body)
    assert answer.status_code == 200
    assert {name: answer.json()[name] for name in body} == body
    assert answer.json()["name"] == "Place 1"  # Shopify's stays, and is shown first
    with tenancy.tenant_scope(shop.tenant.pk):
        (event,) = AuditEvent.objects.filter(name="location.updated")
    assert (event.subject, event.actor.partition(":")[0]) == (f"location:{shop.place(0).pk}", "api_key")
    assert event.data["fields"] == sorted(body)
    assert (event.data["priority_before"], event.data["priority_after"]) == (100, 7)
    assert "Back room" not in str(event.data)
    assert shop.patch(0, body).status_code == 200  # the same again changes nothing
    with tenancy.tenant_scope(shop.tenant.pk):
        assert AuditEvent.objects.filter(name="location.updated").count() == 1


def test_our_name_is_shown_while_shopify_gives_none(shop):
    with tenancy.tenant_scope(shop.tenant.pk):
        Location.objects.update(name="")
    assert shop.patch(0, {"own_name": "Back room"}).json()["name"] == "Back room"
    level = shop.client.get(f"/api/v1/stock/{shop.levels[0].pk}").json()
    assert level["location"] == "Back room"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"latitude": 90.01, "longitude": 0}, "latitude"),
        ({"latitude": 0, "longitude": -180.5}, "longitude"),
        ({"latitude": 10}, "longitude"),
        ({"longitude": 10}, "latitude"),
        ({"latitude": "NaN", "longitude": 0}, "latitude"),
        ({"latitude": 0, "longitude": "-Infinity"}, "longitude"),
        ({"latitude": 10**400, "longitude": 0}, "latitude"),
        ({"latitude": "north", "longitude": 0}, "latitude"),
        ({"country": "UK"}, "country"),
        ({"country": "ca"}, "country"),
        ({"country": "CAN"}, "country"),
        ({"priority": -1}, "priority"),
        ({"priority": 32_768}, "priority"),
        ({"priority": 1.5}, "priority"),
        ({"is_active": "perhaps"}, "is_active"),
        ({"is_active": None}, "is_active"),
        ({"own_name": "a\x00b"}, "own_name"),
        ({"own_name": "\ud800"}, "own_name"),
        ({"own_name": "x" * 301}, "own_name"),
        ({"name": "Shopify's"}, "name"),
        ({"shopify_id": 5}, "shopify_id"),
        ({}, "priority"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_is_no_place_is_refused_by_name_and_changes_nothing(shop, body, field):
    before = vars(shop.place(0))
    answer = shop.patch(0, body)
    assert (answer.status_code, list(answer.json()["errors"])) == (400, [field])
    assert {name: value for name, value in vars(shop.place(0)).items() if name != "_state"} == {
        name: value for name, value in before.items() if name != "_state"
    }


def test_coordinates_come_and_go_together(shop):
    assert shop.patch(0, {"latitude": 1, "longitude": 2}).status_code == 200
    assert shop.patch(0, {"latitude": -1}).json()["longitude"] == 2
    assert list(shop.patch(0, {"longitude": None}).json()["errors"]) == ["longitude"]
    assert shop.patch(0, {"latitude": None, "longitude": None}).json()["latitude"] is None


def test_a_reservation_follows_the_new_priority(shop):
    assert shop.reserve().status_code == 201
    assert shop.held() == [1, 0]
    shop.patch(1, {"priority": 1})
    assert shop.reserve().status_code == 201
    assert shop.held() == [1, 1]


def test_a_location_that_is_closed_keeps_its_holds_and_gets_no_more(shop):
    held = shop.reserve(2).json()
    assert shop.patch(0, {"is_active": False}).status_code == 200
    assert shop.held() == [2, 0]
    assert shop.reserve(5).status_code == 201
    assert shop.held() == [2, 5]
    refused = shop.reserve(1)
    assert (refused.status_code, refused.json()["shortages"][0]["available"]) == (409, 0)
    assert shop.client.post(f"/api/v1/reservations/{held['id']}/commit").json()["status"] == "committed"
    assert shop.patch(0, {"is_active": True}).status_code == 200
    assert shop.reserve(3).status_code == 201


def test_owners_change_it_operators_and_viewers_do_not_and_strangers_find_nothing(shop):
    for role, status in (("owner", 200), ("operator", 403), ("viewer", 403)):
        make_person(role, tenant=shop.tenant, role=role)
        assert shop.patch(0, {"priority": 5}, client=with_token(role)).status_code == status, role
    assert shop.patch(0, {"priority": 6}, client=Shop().client).status_code == 404
    assert shop.patch(0, {"priority": 6}, client=APIClient()).status_code == 401
    assert shop.place(0).priority == 5
