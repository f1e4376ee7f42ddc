"""Thresholds in the admin: owners and operators set them, viewers see them, strangers don't."""

from __future__ import annotations

import pytest
from django.urls import reverse

from audit.models import AuditEvent
from config.infra import tenancy
from inventory.actions.thresholds import LOW, subject_of
from inventory.models import Location, Product, StockThreshold, Variant
from shopsync.actions.alerts import raise_alert
from shopsync.models import Alert
from tests.admin.pages import change_page, list_page
from tests.factories import reload
from tests.world import BIG

ADD = reverse("admin:inventory_stockthreshold_add")
FORM = {"sku": "SKU-1", "location": "", "low_at": "3", "recovered_at": "8"}


@pytest.fixture
def threshold(world):
    return world.rows[StockThreshold]


def of_the_tenant(world):
    with tenancy.tenant_scope(world.tenant.pk):
        return list(StockThreshold.objects.order_by("id").values_list("variant__sku", "location_id", "low_at"))


def trail(world):
    with tenancy.tenant_scope(world.tenant.pk):
        events = AuditEvent.objects.filter(name__startswith="stock_threshold.", actor__startswith="user:")
        return [event.name for event in events.order_by("id")]


@pytest.mark.parametrize("person", ["owner", "operator"])
def test_owners_and_operators_make_change_and_take_away(request, person, world, threshold):
    client = request.getfixturevalue(person)
    assert client.get(ADD).status_code == 200
    assert client.post(ADD, FORM).status_code == 302
    assert of_the_tenant(world) == [("SKU-0", None, 2), ("SKU-1", None, 3)]
    assert client.get(change_page(threshold)).status_code == 200
    assert client.post(change_page(threshold), {"low_at": "1", "recovered_at": "9"}).status_code == 302
    assert (reload(threshold).low_at, reload(threshold).recovered_at) == (1, 9)
    with tenancy.tenant_scope(world.tenant.pk):
        raise_alert(kind=LOW, subject=subject_of(threshold.pk), message="x")
    assert client.post(change_page(threshold).replace("/change/", "/delete/"), {"post": "yes"}).status_code == 302
    assert of_the_tenant(world) == [("SKU-1", None, 3)]
    with tenancy.tenant_scope(world.tenant.pk):
        assert not Alert.objects.get(subject=subject_of(threshold.pk)).is_open
    assert trail(world) == ["stock_threshold.created", "stock_threshold.updated", "stock_threshold.deleted"]


def test_several_are_taken_away_at_once(operator, world, threshold):
    data = {"action": "delete_selected", "_selected_action": [threshold.pk], "post": "yes"}
    assert operator.post(list_page(StockThreshold), data).status_code == 302
    assert of_the_tenant(world) == []
    assert trail(world) == ["stock_threshold.deleted"]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"sku": "SKU-0"}, "There is a threshold of this variant and location: change that one"),
        ({"sku": "nothing"}, "No variant has this SKU"),
        ({"sku": "9" * 30}, "No variant has this SKU"),
        ({"sku": "\x00"}, "Null characters are not allowed"),
        ({"low_at": "8"}, "It recovers at more units than it is low at"),
        ({"low_at": "-1"}, "greater than or equal to 0"),
        ({"recovered_at": str(2**63)}, "less than or equal to"),
        ({"low_at": "some"}, "Enter a whole number"),
        ({"location": "999999"}, "That choice is not one of the available choices"),
    ],
)
def test_bad_input_is_refused_in_words(owner, world, fields, words):
    answer = owner.post(ADD, FORM | fields)
    assert answer.status_code == 200
    assert words in answer.content.decode()
    assert of_the_tenant(world) == [("SKU-0", None, 2)]


def test_new_marks_must_leave_room_between_them(owner, threshold):
    answer = owner.post(change_page(threshold), {"low_at": "9", "recovered_at": "9"})
    assert "It recovers at more units than it is low at" in answer.content.decode()
    assert reload(threshold).low_at == 2


def test_where_a_sku_is_shared_the_id_decides(owner, world):
    with tenancy.tenant_scope(world.tenant.pk):
        twin = Variant.objects.create(product=Product.objects.get(), shopify_id=BIG + 99, sku="SKU-1")
    assert "give the variant&#x27;s id" in owner.post(ADD, FORM).content.decode()
    assert owner.post(ADD, FORM | {"sku": str(twin.pk)}).status_code == 302


def test_another_tenants_variants_and_locations_are_not_there(owner, world, other_world):
    with tenancy.tenant_scope(other_world.tenant.pk):
        variant, location = Variant.objects.first(), Location.objects.first()
    assert owner.post(ADD, FORM | {"sku": str(variant.pk)}).status_code == 200
    assert owner.post(ADD, FORM | {"location": str(location.pk)}).status_code == 200
    assert of_the_tenant(world) == [("SKU-0", None, 2)]


def test_a_viewer_sees_and_changes_nothing(viewer, world, threshold):
    assert viewer.get(change_page(threshold)).status_code == 200
    assert viewer.post(ADD, FORM).status_code == 403
    viewer.post(change_page(threshold), {"low_at": "1", "recovered_at": "9"})
    viewer.post(change_page(threshold).replace("/change/", "/delete/"), {"post": "yes"})
    assert of_the_tenant(world) == [("SKU-0", None, 2)]


def test_a_stranger_sees_none_of_it(stranger, world, threshold):
    assert change_page(threshold) not in stranger.get(list_page(StockThreshold)).content.decode()
    assert stranger.get(change_page(threshold)).status_code == 302
    stranger.post(change_page(threshold), {"low_at": "1", "recovered_at": "9"})
    stranger.post(change_page(threshold).replace("/change/", "/delete/"), {"post": "yes"})
    assert of_the_tenant(world) == [("SKU-0", None, 2)]
