"""Orders that wait too long: which count, one alert for all of them, exactly those listed, over when none is left."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import IntegrityError, connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from audit.models import AuditEvent
from config.infra import tenancy
from orders.actions.watches import change_watch, make_watch, remove_watch, watch_orders, watch_orders_everywhere
from orders.models import Order, OrderWatch
from orders.queries import only_overdue
from orders.tasks import watch_orders as watch_orders_task
from shopsync.models import Alert
from tests.factories import make_tenant, run_together

pytestmark = pytest.mark.django_db(transaction=True)
NOW = timezone.now().replace(microsecond=0)


@pytest.fixture
def ours():
    tenant = make_tenant()
    with tenancy.tenant_scope(tenant.pk):
        yield tenant


def hours_ago(hours):
    return NOW - timedelta(hours=hours)


_numbers = iter(range(1, 10**6))


def order(*, placed=100, paid=None, **fields):
    """Make an order that was placed, and perhaps paid, so many hours ago."""
    number = next(_numbers)
    given = {"financial_status": "pending", "placed_at": hours_ago(placed)}
    given |= {} if paid is None else {"financial_status": "paid", "paid_at": hours_ago(paid)}
    values = {"shopify_id": number, "name": f"#{number}", "currency": "USD", "source_version": "1", **given, **fields}
    return Order.objects.create(**values)


def overdue(kind):
    return set(only_overdue(Order.objects.all(), kind=kind, now=NOW))


def alerts(kind):
    return list(Alert.objects.filter(kind=kind).order_by("id"))


def test_without_a_watch_nobody_looks(ours):
    order()
    assert watch_orders_everywhere(now=NOW) == 0
    assert overdue("unpaid") == overdue("unfulfilled") == set()
    assert not Alert.objects.exists()


def test_one_alert_says_how_many_which_is_the_oldest_and_how_to_list_them(ours):
    make_watch(kind="unpaid", hours=48, actor="test")
    oldest, _, _ = order(placed=90), order(placed=60), order(placed=47)
    for _ in range(3):
        assert watch_orders(now=NOW) == 2
    (alert,) = alerts("orders.unpaid")
    assert (alert.subject, alert.count) == (f"tenant:{ours.pk}", 3)
    assert alert.message == (
        f"2 orders are not paid after 48 hours; the oldest is {oldest.name}, since {hours_ago(90):%Y-%m-%d %H:%M} UTC."
        " List them: Shop, Orders, filter overdue; or GET /api/v1/orders?overdue=unpaid."
    )
    Order.objects.filter(placed_at__lte=hours_ago(80)).update(paid_at=NOW, financial_status="paid")
    watch_orders(now=NOW)
    assert alerts("orders.unpaid")[0].message.startswith("1 order is not paid")
    Order.objects.update(paid_at=NOW, financial_status="paid")
    assert watch_orders(now=NOW) == 0
    assert [alert.is_open for alert in alerts("orders.unpaid")] == [False]
    order(placed=50)
    watch_orders(now=NOW)
    assert [alert.is_open for alert in alerts("orders.unpaid")] == [False, True]
    assert AuditEvent.objects.filter(name="alert.raised").count() == 2


WAITS_FOR_NOBODY = [
    {"cancelled_at": NOW}, {"closed_at": NOW}, {"held_at": NOW, "hold_reason": "fraud?"}, {"is_test": True},
    {"financial_status": "voided"}, {"financial_status": "refunded"},
]  # fmt: skip


@pytest.mark.parametrize("fields", WAITS_FOR_NOBODY, ids=lambda fields: next(iter(fields)))
@pytest.mark.parametrize("kind", ["unpaid", "unfulfilled"])
def test_what_is_cancelled_closed_held_a_test_or_given_back_does_not_count(ours, kind, fields):
    make_watch(kind=kind, hours=1, actor="test")
    order(**fields)
    assert overdue(kind) == set()
    assert watch_orders(now=NOW) == 0


def test_unpaid_counts_from_the_order_and_ends_with_the_money(ours):
    make_watch(kind="unpaid", hours=48, actor="test")
    waiting = {
        order(placed=48), order(financial_status="authorized"), order(financial_status="partially_paid"),
        order(financial_status=""), order(financial_status="expired"), order(fulfillment_status="fulfilled"),
    }  # fmt: skip
    undated = order(placed_at=None)
    Order.objects.filter(pk=undated.pk).update(created_at=hours_ago(49))
    for fields in ({"placed": 47}, {"paid": 90}, {"paid": 1}, {"financial_status": "partially_refunded"}):
        order(**fields)
    order(placed_at=None)  # we heard of it just now
    assert overdue("unpaid") == waiting | {undated}
    assert watch_orders(now=NOW) == 7


def test_unfulfilled_counts_from_the_money_and_ends_with_the_last_parcel(ours):
    make_watch(kind="unfulfilled", hours=24, actor="test")
    waiting = {
        order(paid=24), order(paid=30, fulfillment_status="unfulfilled"), order(paid=30, fulfillment_status="partial"),
        order(placed=30), order(paid=30, financial_status="partially_refunded"),
    }  # fmt: skip
    order(placed=100, paid=23)
    order(placed=23)
    for state in ("fulfilled", "restocked"):
        order(paid=30, fulfillment_status=state)
    order(paid=30, financial_status="refunded")
    assert overdue("unfulfilled") == waiting
    assert watch_orders(now=NOW) == 5
    assert "after 24 hours" in alerts("orders.unfulfilled")[0].message


def test_other_hours_choose_other_orders_and_a_watch_taken_away_closes_its_alert(ours):
    watch = make_watch(kind="unpaid", hours=200, actor="test")
    order(placed=100)
    assert watch_orders(now=NOW) == 0
    change_watch(watch_id=watch.pk, hours=100, actor="test")
    assert watch_orders(now=NOW) == 1
    remove_watch(watch_id=watch.pk, actor="test")
    assert [alert.is_open for alert in alerts("orders.unpaid")] == [False]
    assert watch_orders(now=NOW) == 0
    names = AuditEvent.objects.filter(subject=f"order_watch:{watch.pk}").order_by("id")
    assert [event.name for event in names] == ["order_watch.created", "order_watch.updated", "order_watch.deleted"]


def test_two_tenants_neither_see_nor_disturb_each_other(ours):
    theirs = make_tenant()
    make_watch(kind="unpaid", hours=10, actor="test")
    order()
    with tenancy.tenant_scope(theirs.pk):
        make_watch(kind="unpaid", hours=200, actor="test")
        mild = order(placed=100)
        late = order(placed=300)
    assert watch_orders(now=NOW) == 1
    with tenancy.tenant_scope(theirs.pk):
        assert not Alert.objects.exists()
    with tenancy.no_scope():
        assert watch_orders_everywhere(now=NOW) == 2
    with tenancy.tenant_scope(theirs.pk):
        assert alerts("orders.unpaid")[0].message.startswith("1 order is not paid after 200 hours")
        assert overdue("unpaid") == {late}
    with tenancy.all_tenants(reason="tests look at every row"):
        assert len(overdue("unpaid")) == 2
        assert mild not in overdue("unpaid")


def test_looks_at_once_open_one_alert_of_each_kind(ours):
    for kind in ("unpaid", "unfulfilled"):
        make_watch(kind=kind, hours=1, actor="test")
    for _ in range(3):
        order()
    told = run_together([lambda: watch_orders_everywhere(now=NOW)] * 8, threads=8)
    assert told == [6] * 8
    assert [(alert.kind, alert.count) for alert in Alert.objects.order_by("kind")] == [
        ("orders.unfulfilled", 8), ("orders.unpaid", 8),
    ]  # fmt: skip
    assert AuditEvent.objects.filter(name="alert.raised").count() == 2


@pytest.mark.parametrize("attempt", range(5))
def test_a_watch_taken_away_while_a_look_is_on_leaves_no_alert_behind(ours, attempt):
    watch = make_watch(kind="unpaid", hours=1, actor="test")
    order()

    def take_away():
        with tenancy.tenant_scope(ours.pk):
            remove_watch(watch_id=watch.pk, actor="test")

    jobs = [lambda: watch_orders_everywhere(now=NOW), take_away, lambda: watch_orders_everywhere(now=NOW)]
    told = run_together(jobs, threads=3)
    assert [one for one in told if isinstance(one, Exception)] == []
    assert [alert.is_open for alert in alerts("orders.unpaid")] in ([], [False])


@pytest.mark.parametrize(
    ("values", "constraint"),
    [({"kind": "unpaid", "hours": 0}, "hour_to_a_year"), ({"kind": "unpaid", "hours": 8761}, "hour_to_a_year"),
     ({"kind": "late", "hours": 5}, "kind_is_known"), ({"kind": "unfulfilled", "hours": 5}, "one_per_kind")],
)  # fmt: skip
def test_the_database_refuses_what_no_watch_is(ours, values, constraint):
    make_watch(kind="unfulfilled", hours=5, actor="test")
    with pytest.raises(IntegrityError, match=constraint), transaction.atomic():
        OrderWatch.objects.create(**values)


def test_without_watches_one_statement_is_all(ours):
    order()
    with tenancy.no_scope(), CaptureQueriesContext(connection) as queries:
        assert watch_orders_task() == 0
    assert len(queries) == 1


@pytest.mark.parametrize(("kind", "index"), [("unpaid", "order_unpaid"), ("unfulfilled", "order_unfulfilled")])
def test_a_look_reads_its_own_index(ours, kind, index):
    make_watch(kind=kind, hours=1, actor="test")
    done = [
        Order(tenant=ours, shopify_id=10**6 + number, currency="USD", source_version="1", placed_at=hours_ago(50),
              paid_at=hours_ago(49), financial_status="paid", fulfillment_status="fulfilled")
        for number in range(2000)
    ]  # fmt: skip
    Order.objects.bulk_create(done)
    order()
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE orders_order")
    assert index in only_overdue(Order.objects.all(), kind=kind, now=NOW).order_by("waits_since").explain()
