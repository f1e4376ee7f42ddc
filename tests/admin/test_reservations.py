"""Reservations in the admin: seen by everybody, extended once and released after a question, by operators."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from inventory.actions.reservations import Request, Wanted, commit, reserve
from inventory.models import HoldPush, Reservation, ReservationLine
from tests.admin.conftest import Shop, act_page, send
from tests.admin.pages import change_page, list_page
from tests.factories import reload

HOUR = timedelta(hours=1)


def promise(shop, quantity=1, *, now=None, reference="cart-7"):
    request = Request(lines=(Wanted(shop.variant.pk, quantity),), reference=reference)
    with shop.open():
        key = f"key-{Reservation.objects.count()}"
        return reserve(request=request, idempotency_key=key, actor="test", now=now or timezone.now())[0]


def ids_in(page):
    return {int(found) for found in re.findall(r"/admin/inventory/reservation/(\d+)/change/", page.content.decode())}


def test_everybody_sees_what_is_promised_from_where(shop):
    made = promise(shop, 7)
    viewer = shop.person("viewer")
    page = viewer.get(list_page(Reservation)).content.decode()
    assert "cart-7" in page
    detail = viewer.get(change_page(made)).content.decode()
    assert all(word in detail for word in ("Place 1", "Place 2", str(shop.variant), "calls to Shopify"))
    assert "/release/" not in detail
    assert "/pushes/" in detail


def test_one_is_released_after_a_question_and_the_second_time_is_harmless(shop):
    made, operator = promise(shop, 7), shop.person("operator")
    assert "7 units may be promised to others" in operator.get(act_page(made, "release")).content.decode()
    assert shop.numbers() == [(5, 5), (5, 2)]
    assert "nothing is held by it" in send(operator, act_page(made, "release")).content.decode()
    assert shop.numbers() == [(5, 0), (5, 0)]
    send(operator, act_page(made, "release"))
    assert [event.actor.partition(":")[0] for event in shop.events("reservation.released")] == ["user"]


def test_what_an_order_holds_is_not_released_by_itself(shop):
    order, operator = shop.place(2), shop.person("operator")
    with shop.open():
        made = Reservation.objects.get()
    assert "holds the units of an order" in send(operator, act_page(made, "release")).content.decode()
    assert shop.numbers() == [(5, 2), (5, 0)]
    send(operator, act_page(order, "mark-paid"))
    assert (reload(order).stock_state, shop.numbers()) == ("committed", [(3, 0), (5, 0)])


def test_one_is_extended_once(shop):
    made, operator = promise(shop), shop.person("operator")
    send(operator, act_page(made, "extend"))
    assert reload(made).extended_at is not None
    assert reload(made).expires_at > made.expires_at
    again = send(operator, act_page(made, "extend")).content.decode()
    assert "was extended before; once is all there is" in again
    assert len(shop.events("reservation.extended")) == 1


def test_what_has_ended_is_told_in_the_actions_own_words(shop):
    sold, late = promise(shop), promise(shop, now=timezone.now() - HOUR)
    with shop.open():
        commit(reservation_id=sold.pk, actor="test", now=timezone.now())
    operator = shop.person("operator")
    before = shop.numbers()
    words = {
        (sold, "release"): "is committed: it can&#x27;t be released",
        (sold, "extend"): "is committed: it can&#x27;t be extended",
        (late, "extend"): "can&#x27;t be extended. Make a new one.",
    }
    for (row, verb), sentence in words.items():
        assert sentence in send(operator, act_page(row, verb)).content.decode()
    assert shop.numbers() == before
    assert not shop.events("reservation.extended")


def test_they_are_filtered_by_status_and_time_and_found_by_reference(shop):
    fresh, late, ended = promise(shop), promise(shop, now=timezone.now() - HOUR), promise(shop, reference="cart-9")
    viewer, operator = shop.person("viewer"), shop.person("operator")
    send(operator, act_page(ended, "release"))
    send(operator, act_page(fresh, "extend"))
    for query, rows in (
        ("status__exact=released", {ended}),
        ("status__exact=active", {fresh, late}),
        ("time=overdue", {late}),
        ("time=left", {fresh}),
        ("time=extended", {fresh}),
        ("time=nonsense", {fresh, late, ended}),
        ("q=cart-9", {ended}),
        ("q=nothing", set()),
    ):
        assert ids_in(viewer.get(f"{list_page(Reservation)}?{query}")) == {row.pk for row in rows}, query


def test_the_calls_that_set_units_aside_in_shopify_are_seen_from_there(shop):
    made, other = promise(shop, 1), promise(shop, 1)
    with shop.open():
        for reservation, status in ((made, "unknown"), (other, "ready")):
            line = ReservationLine.objects.get(reservation=reservation)
            HoldPush(line=line, direction="hold", quantity=1, status=status, started_at=timezone.now()).save()
        push = HoldPush.objects.get(status="unknown")
    viewer = shop.person("viewer")
    assert "hold: unknown" in viewer.get(change_page(made)).content.decode()
    answer = viewer.get(act_page(made, "pushes"), follow=True).content.decode()
    assert re.findall(r"/admin/inventory/holdpush/(\d+)/change/", answer) == [str(push.pk)]
    page = viewer.get(change_page(push))
    assert page.status_code == 200
    owner = shop.person("owner")
    assert owner.post(change_page(push), {"quantity": 9}).status_code == 403
    assert owner.get(f"{list_page(HoldPush)}add/").status_code == 403


def test_viewers_do_nothing_and_strangers_find_nothing(shop):
    made, stranger = promise(shop), Shop().person("owner")
    viewer = shop.person("viewer")
    for verb in ("release", "extend"):
        for call in (viewer.get, viewer.post):
            assert call(act_page(made, verb), {"key": "admin-1"}).status_code == 403
        for call in (stranger.get, stranger.post):
            assert call(act_page(made, verb), {"key": "admin-1"}).status_code == 404
    assert stranger.get(act_page(made, "pushes")).status_code == 404
    assert ids_in(stranger.get(list_page(Reservation))) == set()
    assert (reload(made).status, reload(made).extended_at) == ("active", None)


def test_with_all_tenants_open_the_rows_own_tenant_is_worked_in(shop, superuser):
    made = promise(shop, 2)
    superuser.post("/admin/tenant", {"tenant": "all"})
    send(superuser, act_page(made, "extend"))
    send(superuser, act_page(made, "release"))
    assert shop.numbers() == [(5, 0), (5, 0)]
    names = ("reservation.extended", "reservation.released")
    assert [event.tenant_id for name in names for event in shop.events(name)] == [shop.tenant.pk] * 2


@pytest.mark.parametrize("page", ["list", "detail"])
def test_more_lines_cost_no_more_queries(shop, page):
    viewer, made = shop.person("viewer"), promise(shop, 1)

    def count(row):
        with CaptureQueriesContext(connection) as seen:
            assert viewer.get(list_page(Reservation) if page == "list" else change_page(row)).status_code == 200
        return len(seen)

    count(made)  # Django keeps content types from the first page on
    before = count(made)
    for _ in range(3):
        wide = promise(shop, 1)
    assert count(wide) == before
    spread = promise(shop, 6)  # from both places
    assert count(spread) == before
