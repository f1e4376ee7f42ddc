"""The count handed over, from Shopify to us and back, at any point of an order's life: no unit is counted twice."""

from __future__ import annotations

import copy
import itertools
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from typing import Any

import pytest
from django.db import connection, transaction

from config.infra import tenancy, work
from inventory.actions.reservations import Request, Wanted, commit, reserve
from inventory.models import HoldPush, StockLevel, StockMovement
from inventory.queries import find_drift
from orders.actions import moves
from orders.actions.handover import AlreadyCounting, NotSettled, hand_over
from orders.actions.own_stock import follow_lines
from orders.actions.placing import NewLine, NewOrder, place_order
from orders.models import Allocation, Commitment, OrderLine
from orders.queries import find_misallocation
from tests.factories import make_inbox_rows, make_tenant, run_together, stock_variant
from tests.orders.arrivals import Walk, follow_events, give

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 11, 2, 12, tzinfo=UTC)
PRODUCT = {"id": 1, "title": "Shirt", "updated_at": "2026-11-01T00:00:00Z"}
PRODUCT |= {"variants": [{"id": 11, "inventory_item_id": 101}]}
LINE = {"id": 21, "variant_id": 11, "quantity": 5, "current_quantity": 5, "fulfillable_quantity": 5, "price": "10.00"}


def at(minute: int) -> str:
    return f"2026-11-02T10:{minute:02}:00Z"


def order(topic: str, minute: int, **fields: Any) -> tuple[str, dict[str, Any]]:
    lines = [{**LINE, **fields.pop("line", {})}]
    body = {"id": 31, "currency": "USD", "financial_status": "paid", "line_items": lines, "created_at": at(10)}
    return topic, {**body, "updated_at": at(minute), **fields}


def refund(number: int, minute: int, units: int, restock_type: str) -> dict[str, Any]:
    line = {"id": 50 + number, "line_item_id": 21, "quantity": units, "restock_type": restock_type}
    return {"id": 40 + number, "order_id": 31, "processed_at": at(minute), "refund_line_items": [line]}


def snapshot(minute: int, available: int) -> tuple[str, dict[str, Any]]:
    body = {"inventory_item_id": 101, "location_id": 5, "available": available, "updated_at": at(minute)}
    return "inventory_levels/update", body


# Shopify's own story of ten units: five bought at 10:10; two sent at 10:20; one of the rest cancelled at 10:30 and put
# back; one of those sent comes back at 10:40. It counts 10, 5, 5, 6, 7.
PARCEL = {"id": 61, "order_id": 31, "status": "success", "created_at": at(20), "updated_at": at(20)}
PARCEL["line_items"] = [{"id": 21, "quantity": 2}]
CANCELLED, RETURNED = refund(1, 30, 1, "cancel"), refund(2, 40, 1, "return")
LAST = order(
    "orders/updated",
    41,
    line={"current_quantity": 3, "fulfillable_quantity": 2},
    refunds=[CANCELLED, RETURNED],
    fulfillments=[PARCEL],
)
STORY = [
    order("orders/create", 10),
    ("fulfillments/create", PARCEL),
    ("refunds/create", CANCELLED),
    ("refunds/create", RETURNED),
    LAST,
]
COUNTS = [snapshot(5, 10), snapshot(11, 5), snapshot(31, 6), snapshot(41, 7)]


def live_through(tenant, arrivals, *, handed_over_after: int) -> dict[str, Any]:
    """Take the deliveries in this order, with the hand-over after so many of them; roll everything back."""
    point = transaction.savepoint()
    done: set[int] = set()
    for number, (topic, body) in enumerate(arrivals, start=1):
        give(tenant, number, topic, copy.deepcopy(body))
        follow_events(done)
        if number == handed_over_after:
            hand_over(to="shopsync", actor="test", now=NOW)
            follow_events(done)
    end = end_of()
    assert find_drift(tenant_id=tenant.pk) == find_misallocation(tenant_id=tenant.pk) == []
    transaction.savepoint_rollback(point)
    return end


def end_of() -> dict[str, Any]:
    level = StockLevel.objects.get()
    return {
        "level": (level.available, level.held, level.committed, level.on_hand),
        "asked": list(Commitment.objects.values_list("quantity", "backordered")),
        "taken": list(Allocation.objects.values_list("committed", "gone")),
    }


END = {"level": (7, 0, 2, 9), "asked": [(2, 0)], "taken": [(2, 1)]}
SHORT = [STORY[0], STORY[2], LAST, COUNTS[0], COUNTS[2]]


@pytest.mark.parametrize(
    "deliveries",
    [pytest.param(SHORT, id="some"), pytest.param([*STORY, *COUNTS[1:]], id="all", marks=pytest.mark.slow)],
)
def test_whenever_it_is_handed_over_and_however_late_deliveries_come_the_count_is_shopifys(deliveries):
    tenant = make_tenant()
    with tenancy.tenant_scope(tenant.pk):
        give(tenant, 999, "products/create", PRODUCT)
        steps = {
            f"{number} {topic}": partial(give, tenant, number, topic, body)
            for number, (topic, body) in enumerate(deliveries, start=1)
        }
        steps["hand over"] = partial(hand_over, to="shopsync", actor="test", now=NOW)
        found = Walk(tenant, steps, end_of).run()
        print(found)
        assert [end for end, _ in found.ends.values()] == [END], [path for _, path in found.ends.values()]


def test_a_whole_cancellation_before_or_after_the_count_began_is_told_apart():
    gone = order(
        "orders/cancelled",
        30,
        line={"fulfillable_quantity": 0, "current_quantity": 0},
        cancelled_at=at(30),
        refunds=[refund(1, 30, 5, "cancel")],
    )
    tenant = make_tenant()
    with tenancy.tenant_scope(tenant.pk):
        give(tenant, 999, "products/create", PRODUCT)
        for count in (snapshot(5, 10), snapshot(11, 5), snapshot(31, 10)):
            for arrival in itertools.permutations([order("orders/create", 10), gone]):
                for after in (1, 2, 3):
                    end = live_through(tenant, [count, *arrival], handed_over_after=after)
                    assert end["level"] == (10, 0, 0, 10), (count, after)


def test_an_edit_after_the_count_began_moves_units_and_one_before_it_does_not():
    added = {"id": 22, "variant_id": 11, "quantity": 2, "current_quantity": 2, "fulfillable_quantity": 2, "price": "1"}
    fewer = {**LINE, "current_quantity": 3, "fulfillable_quantity": 3}
    tenant = make_tenant()
    with tenancy.tenant_scope(tenant.pk):
        give(tenant, 999, "products/create", PRODUCT)
        body = order("orders/updated", 20)[1] | {"line_items": [fewer, added]}
        edited = ("orders/updated", body)
        create = order("orders/create", 10)
        # 10 - 5 = 5 at first; the edit takes two units off one line and adds a line of two.
        after = live_through(tenant, [snapshot(11, 5), create, edited], handed_over_after=2)
        before = live_through(tenant, [snapshot(21, 5), create, edited], handed_over_after=2)
        assert after["level"] == before["level"] == (5, 0, 5, 10)
        only_fewer = ("orders/updated", body | {"line_items": [fewer]})
        assert live_through(tenant, [snapshot(11, 5), create, only_fewer], handed_over_after=2)["level"][0] == 7
        assert live_through(tenant, [create, only_fewer, snapshot(21, 7)], handed_over_after=3)["level"][0] == 7


@pytest.fixture
def shop(db):
    tenant = make_tenant()
    with tenancy.tenant_scope(tenant.pk):
        yield tenant


def buy(variant, quantity: int, *, is_paid: bool = True):
    new = NewOrder(lines=(NewLine(variant_id=variant.pk, quantity=quantity, price_amount=Decimal(1)),), is_paid=is_paid)
    return place_order(new=new, actor="test", now=NOW)


def send(order, units: int) -> None:
    order.refresh_from_db()
    line = OrderLine.objects.get(order=order)
    OrderLine.objects.filter(pk=line.pk).update(sent_quantity=line.sent_quantity + units)
    follow_lines(order, actor="test", now=NOW)


def counts(level) -> tuple[Any, ...]:
    level = StockLevel.objects.get(pk=level.pk)
    return level.available, level.held, level.committed, level.on_hand


def test_our_own_orders_go_along_to_us_and_back(shop):
    variant, (level,) = stock_variant(20)
    StockLevel.objects.update(mirrored_available=20, mirrored_at=NOW, on_hand=None, committed=None)
    sold, waiting = buy(variant, 5), buy(variant, 3, is_paid=False)
    send(sold, 2)
    assert counts(level) == (20, 8, None, None)  # Shopify knows neither of them
    hand_over(to="shopsync", actor="test", now=NOW)
    follow_events(set())
    # Two have left, three are to be sent, three are held: of 20 there are 18, of which 15 are not sold.
    assert counts(level) == (15, 3, 3, 18)
    send(sold, 1)
    moves.mark_paid(order_id=waiting.pk, actor="test", now=NOW)
    assert counts(level) == (12, 0, 5, 17)
    # Shopify's count was corrected on its shelf meanwhile: 17 lie there, and it knows of no order of ours.
    StockLevel.objects.update(mirrored_available=17)
    done = hand_over(to="shopify", actor="test", now=NOW)
    assert (done.held_units, counts(level)) == (5, (17, 5, None, None))
    assert set(Allocation.objects.values_list("committed", "gone")) == {(0, 3)}
    moves.cancel_lines(
        order_id=waiting.pk,
        quantities={OrderLine.objects.get(order=waiting).pk: 1},
        restock=True,
        actor="test",
        now=NOW,
    )
    send(sold, 2)
    assert counts(level) == (17, 4, None, None)  # what is sent stays held: Shopify does not know that it left
    hand_over(to="shopsync", actor="test", now=NOW)
    follow_events(set())
    assert counts(level) == (13, 0, 2, 15)
    assert find_drift(tenant_id=shop.pk) == find_misallocation(tenant_id=shop.pk) == []


@pytest.mark.parametrize(("cancelled", "restock", "is_now"), [(1, True, 6), (3, True, 8), (1, False, 5)])
def test_what_a_paid_order_gives_up_before_it_is_adopted_is_not_set_aside_for_good(shop, cancelled, restock, is_now):
    variant, (level,) = stock_variant(8)
    StockLevel.objects.update(mirrored_available=8, mirrored_at=NOW, on_hand=None, committed=None)
    placed = buy(variant, 3)
    hand_over(to="shopsync", actor="test", now=NOW)
    units = {placed.lines.get().pk: cancelled}
    moves.cancel_lines(order_id=placed.pk, quantities=units, restock=restock, actor="test", now=NOW)
    follow_events(set())
    assert counts(level) == (is_now, 0, 3 - cancelled, is_now + 3 - cancelled)
    assert find_misallocation(tenant_id=shop.pk) == []


def test_a_shortage_in_the_count_taken_over_is_shown_not_refused(shop):
    shop.stock_authority = "shopsync"
    shop.save()
    variant, (level,) = stock_variant(5)
    StockLevel.objects.update(mirrored_available=1, mirrored_at=NOW)
    buy(variant, 4)
    hand_over(to="shopify", actor="test", now=NOW)
    assert counts(level)[:2] == (1, 4)
    assert StockLevel.objects.get().sellable == -3


def test_a_level_that_shopify_never_counted_keeps_our_number(shop):
    shop.stock_authority = "shopsync"
    shop.save()
    _, (level,) = stock_variant(5)
    hand_over(to="shopify", actor="test", now=NOW)
    assert counts(level)[0] == 5


@pytest.mark.parametrize("is_adopted", [True, False], ids=["adopted", "paid before it is adopted"])
def test_units_lost_from_an_unpaid_order_while_shopify_counted_are_off_our_count_and_sold_to_nobody(shop, is_adopted):
    variant, (level,) = stock_variant(9)
    StockLevel.objects.update(mirrored_available=9, mirrored_at=NOW)
    new = NewOrder(lines=(NewLine(variant_id=variant.pk, quantity=4, price_amount=Decimal(1)),))
    placed = place_order(new=new, actor="test", now=NOW)
    lost = {placed.lines.get().pk: 1}
    moves.cancel_lines(order_id=placed.pk, quantities=lost, restock=False, actor="test", now=NOW)
    assert counts(level)[:2] == (9, 4)  # Shopify counts the lost unit still: it stays held
    hand_over(to="shopsync", actor="test", now=NOW)
    if is_adopted:
        follow_events(set())
        assert counts(level) == (8, 3, 0, 8)
    moves.mark_paid(order_id=placed.pk, actor="test", now=NOW)
    assert counts(level) == (5, 0, 3, 8)
    assert find_misallocation(tenant_id=shop.pk) == []


def set_aside_in_shopify(variant, level, units: int):
    """Promise these units, and let them be set aside in Shopify."""
    request = Request(lines=(Wanted(variant.pk, units),))
    reservation, _ = reserve(request=request, idempotency_key="k", actor="test", now=NOW)
    line = reservation.lines.get()
    HoldPush.objects.create(line=line, direction="hold", quantity=units, status="done", finished_at=NOW)
    StockLevel.objects.filter(pk=level.pk).update(held=0, available=level.available - units)
    type(line).objects.filter(pk=line.pk).update(held=0, pushed=units)
    return reservation


def test_units_set_aside_in_shopify_are_held_here_from_then_on_and_given_back_there(shop):
    variant, (level,) = stock_variant(6)
    StockLevel.objects.update(mirrored_available=6, mirrored_at=NOW)
    reservation = set_aside_in_shopify(variant, level, 4)
    hand_over(to="shopsync", actor="test", now=NOW)
    assert counts(level) == (6, 4, 0, 6)
    assert HoldPush.objects.get(direction="give_back").quantity == 4
    commit(reservation_id=reservation.pk, actor="test", now=NOW)
    assert counts(level) == (2, 0, 0, 2)


def test_units_set_aside_of_what_is_not_tracked_any_more_are_held_too(shop):
    variant, (level,) = stock_variant(6)
    set_aside_in_shopify(variant, level, 4)
    StockLevel.objects.update(available=None, mirrored_available=None, mirrored_at=NOW)
    connection.check_constraints()  # what Shopify said ends as a transaction of its own
    done = hand_over(to="shopsync", actor="test", now=NOW)
    connection.check_constraints()
    assert (done.levels, counts(level)[:3]) == (0, (None, 4, None))
    assert HoldPush.objects.get(direction="give_back").quantity == 4
    assert find_drift(tenant_id=shop.pk) == []


def test_a_shortage_goes_along_to_us_and_back(shop):
    variant, (level,) = stock_variant(6)
    request = Request(lines=(Wanted(variant.pk, 4),))
    pushed, _ = reserve(request=request, idempotency_key="pushed", actor="test", now=NOW)
    HoldPush.objects.create(line=pushed.lines.get(), direction="hold", quantity=4, status="done", finished_at=NOW)
    StockLevel.objects.update(held=0, available=2)
    pushed.lines.update(held=0, pushed=4)
    buy(variant, 2)
    StockLevel.objects.update(available=0, mirrored_available=0, mirrored_at=NOW)  # Shopify sold them too
    connection.check_constraints()  # as at the end of a transaction, which this test is one of
    hand_over(to="shopsync", actor="test", now=NOW)
    assert counts(level) == (4, 6, 0, 4)
    connection.check_constraints()
    follow_events(set())
    assert counts(level) == (2, 4, 2, 4)
    HoldPush.objects.update(status="done", finished_at=NOW)
    hand_over(to="shopify", actor="test", now=NOW)
    assert counts(level)[:2] == (0, 6)
    connection.check_constraints()


def test_what_is_not_settled_blocks_it_and_says_so(shop):
    variant, (_,) = stock_variant(5)
    make_inbox_rows(shop, "level:1:1", topic="inventory_levels/update")
    reservation, _ = reserve(
        request=Request(lines=(Wanted(variant.pk, 1),)), idempotency_key="k", actor="test", now=NOW
    )
    HoldPush.objects.create(line=reservation.lines.get(), direction="hold", quantity=1, status=work.Status.UNKNOWN)
    with pytest.raises(NotSettled, match="1 counts of Shopify's wait in the inbox, 1 calls about holds"):
        hand_over(to="shopsync", actor="test", now=NOW)
    with pytest.raises(AlreadyCounting, match="counted by shopify already"):
        hand_over(to="shopify", actor="test", now=NOW)
    with pytest.raises(ValueError, match="shopify, shopsync"):
        hand_over(to="nobody", actor="test", now=NOW)
    assert not StockMovement.objects.filter(reason="handed_over").exists()


@pytest.mark.django_db(transaction=True)
def test_buyers_go_on_while_the_count_is_handed_to_and_fro():
    tenant, other = make_tenant(), make_tenant()
    with tenancy.tenant_scope(other.pk):
        _, (theirs,) = stock_variant(5)
    with tenancy.tenant_scope(tenant.pk):
        variant, (level,) = stock_variant(30)
        StockLevel.objects.update(mirrored_available=30, mirrored_at=NOW, on_hand=None, committed=None)

    def buyer() -> int:
        with tenancy.tenant_scope(tenant.pk):
            return buy(variant, 1).pk

    def change(to: str):
        def run() -> str:
            with tenancy.tenant_scope(tenant.pk):
                return hand_over(to=to, actor="test", now=NOW).authority

        return run

    jobs = [*[buyer] * 10, change("shopsync"), *[buyer] * 10, change("shopify"), *[buyer] * 20]
    results = run_together(jobs, threads=8)
    failures = [result for result in results if isinstance(result, Exception)]
    assert all(isinstance(failure, AlreadyCounting) or "nough stock" in str(failure) for failure in failures), failures
    sold = len([result for result in results if isinstance(result, int)])
    with tenancy.tenant_scope(tenant.pk):
        tenant.refresh_from_db()
        if tenant.stock_authority == "shopify":
            run_together([change("shopsync")], threads=1)
        follow_events(set())
        found = StockLevel.objects.get(pk=level.pk)
        print(f"{sold} of 40 sold, {found}")
        assert (found.held, found.committed) == (0, sold)
        assert found.on_hand == found.available + sold
        assert find_misallocation(tenant_id=tenant.pk) == []
    with tenancy.tenant_scope(other.pk):
        assert counts(theirs) == (5, 0, 0, 5)
        other.refresh_from_db()
        assert other.stock_authority == "shopify"


def test_to_and_fro_over_levels_that_shopify_never_counted_changes_nothing(shop):
    shop.stock_authority = "shopsync"
    shop.save()
    variant, (level,) = stock_variant(10)
    buy(variant, 3)
    for _ in range(3):
        hand_over(to="shopify", actor="test", now=NOW)
        assert counts(level)[:2] == (10, 3)
        hand_over(to="shopsync", actor="test", now=NOW)
        follow_events(set())
        assert counts(level) == (7, 0, 3, 10)
