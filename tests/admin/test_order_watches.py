"""Order watches in the admin are an owner's to set; the orders' list shows what they count."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.urls import reverse
from django.utils import timezone

from audit.models import AuditEvent
from config.infra import tenancy
from orders.models import Order, OrderWatch
from shopsync.actions.alerts import raise_alert
from shopsync.models import Alert
from tests.admin.pages import change_page, list_page
from tests.factories import reload

ADD = reverse("admin:orders_orderwatch_add")


@pytest.fixture
def watch(world):
    return world.rows[OrderWatch]


def of_the_tenant(world):
    with tenancy.tenant_scope(world.tenant.pk):
        return list(OrderWatch.objects.order_by("kind").values_list("kind", "hours"))


def test_an_owner_makes_changes_and_takes_away(owner, world, watch):
    assert owner.get(ADD).status_code == 200
    assert owner.post(ADD, {"kind": "unfulfilled", "hours": "24"}).status_code == 302
    assert owner.get(change_page(watch)).status_code == 200
    assert owner.post(change_page(watch), {"kind": "unfulfilled", "hours": "72"}).status_code == 302
    assert of_the_tenant(world) == [("unfulfilled", 24), ("unpaid", 72)]
    with tenancy.tenant_scope(world.tenant.pk):
        raise_alert(kind="orders.unpaid", subject=f"tenant:{world.tenant.pk}", message="x")
    assert owner.post(change_page(watch).replace("/change/", "/delete/"), {"post": "yes"}).status_code == 302
    assert of_the_tenant(world) == [("unfulfilled", 24)]
    with tenancy.tenant_scope(world.tenant.pk):
        assert not Alert.objects.get(kind="orders.unpaid").is_open
        events = AuditEvent.objects.filter(name__startswith="order_watch.", actor__startswith="user:").order_by("id")
        assert [event.name for event in events] == ["order_watch.created", "order_watch.updated", "order_watch.deleted"]
        other = OrderWatch.objects.get()
    data = {"action": "delete_selected", "_selected_action": [other.pk], "post": "yes"}
    assert owner.post(list_page(OrderWatch), data).status_code == 302
    assert of_the_tenant(world) == []


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"kind": "unpaid"}, "There is a watch of this kind already"),
        ({"kind": "late"}, "Give one of unpaid, unfulfilled."),
        ({"hours": "0"}, "greater than or equal to 1"),
        ({"hours": "8761"}, "less than or equal to 8760"),
        ({"hours": str(2**63)}, "less than or equal to"),
        ({"hours": "some"}, "Enter a whole number"),
    ],
)
def test_bad_input_is_refused_in_words(owner, world, fields, words):
    answer = owner.post(ADD, {"kind": "unfulfilled", "hours": "24", **fields})
    assert answer.status_code == 200
    assert words in answer.content.decode()
    assert of_the_tenant(world) == [("unpaid", 48)]


@pytest.mark.parametrize("person", ["operator", "viewer"])
def test_staff_sees_it_and_does_not_change_it(request, person, world, watch):
    client = request.getfixturevalue(person)
    assert client.get(change_page(watch)).status_code == 200
    client.post(change_page(watch), {"hours": "1"})
    client.post(change_page(watch).replace("/change/", "/delete/"), {"post": "yes"})
    assert client.post(ADD, {"kind": "unfulfilled", "hours": "24"}).status_code == 403
    assert of_the_tenant(world) == [("unpaid", 48)]


def test_a_stranger_sees_none_of_it(stranger, world, watch):
    assert stranger.get(change_page(watch)).status_code == 302
    assert change_page(watch) not in stranger.get(list_page(OrderWatch)).content.decode()
    stranger.post(change_page(watch), {"hours": "1"})
    assert reload(watch).hours == 48


def test_the_list_of_orders_is_filtered_by_what_is_overdue(owner, world, watch):
    with tenancy.tenant_scope(world.tenant.pk):
        late = Order.objects.latest("id")
        waiting = {"paid_at": None, "financial_status": "pending", "placed_at": timezone.now() - timedelta(hours=49)}
        Order.objects.filter(pk=late.pk).update(**waiting)
        others = [order for order in Order.objects.all() if order.pk != late.pk]
    page = owner.get(f"{list_page(Order)}?overdue=unpaid").content.decode()
    assert change_page(late) in page
    assert not any(change_page(order) in page for order in others)
    page = owner.get(f"{list_page(Order)}?overdue=unfulfilled").content.decode()
    assert change_page(late) not in page
    assert change_page(late) in owner.get(f"{list_page(Order)}?overdue=nonsense").content.decode()
