"""Locations in the admin: everybody sees them, owners change them, reservations follow."""

from __future__ import annotations

import re

import pytest
from django.utils import timezone

from inventory.actions.reservations import InsufficientStock, Request, Wanted, reserve
from inventory.models import Location
from tests.admin.conftest import Shop
from tests.admin.pages import change_page, list_page
from tests.factories import reload

FORM = {"own_name": "", "country": "", "latitude": "", "longitude": "", "priority": "100", "is_active": "on"}


def promise(shop, quantity=1):
    with shop.open():
        key = f"key-{shop.numbers()}"
        request = Request(lines=(Wanted(shop.variant.pk, quantity),))
        return reserve(request=request, idempotency_key=key, actor="test", now=timezone.now())[0]


def save(client, row, **fields):
    return client.post(change_page(row), {name: value for name, value in (FORM | fields).items() if value is not None})


def first(shop):
    return reload(shop.levels[0].location)


def test_an_owner_changes_what_is_ours_and_shopifys_own_stays(shop):
    place = first(shop)
    fields = {"own_name": "Back room", "country": "CA", "latitude": "45.5", "longitude": "-73.6", "priority": "3"}
    answer = save(shop.person("owner"), place, **fields, name="Taken", shopify_id="99")
    assert answer.status_code == 302, answer.context["adminform"].form.errors
    place = first(shop)
    assert (place.own_name, place.country, place.latitude, place.longitude, place.priority) == (
        "Back room", "CA", 45.5, -73.6, 3,
    )  # fmt: skip
    assert (place.name, place.shopify_id) == ("Place 1", 1)
    (event,) = shop.events("location.updated")
    assert event.actor.startswith("user:")
    assert event.data["fields"] == sorted(fields)
    assert (event.data["country_before"], event.data["country_after"]) == ("", "CA")


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"latitude": "90.1", "longitude": "0"}, "latitude"),
        ({"latitude": "0", "longitude": "-180.1"}, "longitude"),
        ({"latitude": "10"}, "longitude"),
        ({"longitude": "10"}, "latitude"),
        ({"latitude": "NaN", "longitude": "1"}, "latitude"),
        ({"latitude": "north", "longitude": "1"}, "latitude"),
        ({"country": "UK"}, "country"),
        ({"country": "ca"}, "country"),
        ({"country": "CAN"}, "country"),
        ({"priority": "-1"}, "priority"),
        ({"priority": "32768"}, "priority"),
        ({"priority": ""}, "priority"),
        ({"own_name": "a\x00b"}, "own_name"),
    ],
    ids=str,
)
def test_what_is_no_place_is_refused_beside_its_field(shop, fields, field):
    answer = save(shop.person("owner"), first(shop), **fields)
    assert answer.status_code == 200
    assert field in answer.context["adminform"].form.errors
    assert (first(shop).latitude, first(shop).country, first(shop).priority) == (None, "", 100)
    assert not shop.events("location.updated")


def test_a_reservation_follows_the_new_priority(shop):
    promise(shop)
    save(shop.person("owner"), shop.levels[1].location, priority="1")
    promise(shop)
    assert shop.numbers() == [(5, 1), (5, 1)]


def test_a_location_that_is_closed_keeps_its_holds_and_gets_no_more(shop):
    promise(shop, 2)
    save(shop.person("owner"), first(shop), is_active=None)
    assert not first(shop).is_active
    promise(shop, 5)
    assert shop.numbers() == [(5, 2), (5, 5)]
    with pytest.raises(InsufficientStock):
        promise(shop, 1)
    assert shop.numbers() == [(5, 2), (5, 5)]


def test_saving_without_a_change_records_nothing(shop):
    assert save(shop.person("owner"), first(shop)).status_code == 302
    assert not shop.events("location.updated")


def test_operators_and_viewers_see_and_strangers_find_nothing(shop):
    place, other = first(shop), Shop()
    for role in ("operator", "viewer"):
        client = shop.person(role)
        assert "Place 1" in client.get(list_page(Location)).content.decode()
        assert client.get(change_page(place)).status_code == 200
        assert save(client, place, priority="1").status_code == 403
    stranger = other.person("owner")
    assert save(stranger, place, priority="1").status_code in {302, 404}
    own = {str(row.location_id) for row in other.levels} | {str(other.third.pk)}
    shown = re.findall(r"/inventory/location/(\d+)/change/", stranger.get(list_page(Location)).content.decode())
    assert set(shown) == own
    assert first(shop).priority == 100
    owner = shop.person("owner")
    assert owner.get(f"{list_page(Location)}add/").status_code == 403
    assert owner.post(change_page(place).replace("/change/", "/delete/"), {"post": "yes"}).status_code == 403


def test_with_all_tenants_open_nothing_is_configured(shop, superuser):
    superuser.post("/admin/tenant", {"tenant": "all"})
    assert superuser.get(change_page(first(shop))).status_code == 200
    assert save(superuser, first(shop), priority="1").status_code == 403
    superuser.post("/admin/tenant", {"tenant": shop.tenant.pk})
    assert save(superuser, first(shop), priority="1").status_code == 302
    assert first(shop).priority == 1
