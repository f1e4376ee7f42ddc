"""One open alert for each thing that is wrong: counted, closed, kept apart by tenant, safe under concurrency."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import IntegrityError, connection, transaction

from audit.models import AuditEvent
from config.infra import tenancy
from shopsync.actions.alerts import acknowledge_alerts, close_alert, close_alerts, raise_alert
from shopsync.models import Alert
from tests.factories import make_tenant

pytestmark = pytest.mark.django_db(transaction=True)
LOW = {"kind": "stock.low", "subject": "level:12"}


@pytest.fixture
def ours():
    return make_tenant()


@pytest.fixture
def theirs():
    return make_tenant()


def alerts(tenant=None):
    """Read the alerts of a tenant, or the system's."""
    with tenancy.all_tenants(reason="tests look at every row"):
        return list(Alert.objects.filter(tenant=tenant).order_by("id"))


def trail(tenant=None):
    with tenancy.all_tenants(reason="tests look at every row"):
        events = AuditEvent.objects.filter(tenant_id=tenant and tenant.pk, name__startswith="alert.").order_by("id")
        return [(event.name, event.actor) for event in events]


def test_raising_again_counts_and_records_only_the_opening(ours):
    with tenancy.tenant_scope(ours.pk):
        raise_alert(**LOW, message="3 left")
        raise_alert(**LOW, message="2 left")
    (alert,) = alerts(ours)
    assert (alert.count, alert.message, alert.severity) == (2, "2 left", "warning")
    assert alert.last_seen_at > alert.opened_at
    assert trail(ours) == [("alert.raised", "system")]


def test_an_open_alert_becomes_worse_but_never_milder(ours):
    with tenancy.tenant_scope(ours.pk):
        for severity in ("warning", "critical", "warning"):
            raise_alert(**LOW, message="x", severity=severity)
    assert [alert.severity for alert in alerts(ours)] == ["critical"]


def test_closing_says_whether_there_was_one_and_the_next_is_a_new_alert(ours):
    with tenancy.tenant_scope(ours.pk):
        assert close_alert(**LOW) is False
        raise_alert(**LOW, message="x")
        assert close_alert(**LOW) is True
        assert close_alert(**LOW) is False
        raise_alert(**LOW, message="x")
    assert [alert.is_open for alert in alerts(ours)] == [False, True]
    assert [name for name, _ in trail(ours)] == ["alert.raised", "alert.closed", "alert.raised"]


def test_without_a_tenant_in_scope_it_is_the_systems(ours):
    raise_alert(kind="schedule.missed", subject="schedule:sweep", message="x")
    with tenancy.all_tenants(reason="tests look at every row"):
        raise_alert(kind="schedule.missed", subject="schedule:sweep", message="x")
    assert [alert.count for alert in alerts()] == [2]
    assert trail() == [("alert.raised", "system")]
    with tenancy.tenant_scope(ours.pk):
        assert close_alert(kind="schedule.missed", subject="schedule:sweep") is False
        assert not Alert.objects.exists()
    assert close_alert(kind="schedule.missed", subject="schedule:sweep") is True


def test_tenants_are_kept_apart(ours, theirs):
    for tenant in (ours, theirs):
        with tenancy.tenant_scope(tenant.pk):
            raise_alert(**LOW, message=tenant.shop_domain)
    with tenancy.tenant_scope(ours.pk):
        assert [alert.message for alert in Alert.objects.all()] == [ours.shop_domain]
        assert close_alert(**LOW)
    assert [alert.is_open for alert in alerts(theirs)] == [True]


def test_it_joins_the_callers_transaction(ours):
    with tenancy.tenant_scope(ours.pk), pytest.raises(ZeroDivisionError), transaction.atomic():
        raise_alert(**LOW, message="x")
        raise ZeroDivisionError
    assert alerts(ours) == []
    assert trail(ours) == []


@pytest.mark.parametrize("tenant_fixture", ["ours", None])
def test_twenty_threads_open_one_alert_between_them(request, tenant_fixture):
    tenant = tenant_fixture and request.getfixturevalue(tenant_fixture)
    together = threading.Barrier(20)

    def raise_it(number):
        try:
            together.wait(20)
            if tenant is None:
                raise_alert(**LOW, message=f"by {number}")
            else:
                with tenancy.tenant_scope(tenant.pk):
                    raise_alert(**LOW, message=f"by {number}")
        finally:
            connection.close()

    with ThreadPoolExecutor(20) as pool:
        list(pool.map(raise_it, range(20)))
    assert [alert.count for alert in alerts(tenant)] == [20]
    assert len(trail(tenant)) == 1


def test_two_who_close_one_alert_close_it_once(ours):
    with tenancy.tenant_scope(ours.pk):
        raise_alert(**LOW, message="x")
    together = threading.Barrier(4)

    def close_it(_):
        try:
            together.wait(20)
            with tenancy.tenant_scope(ours.pk):
                return close_alert(**LOW)
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(close_it, range(4))) == [False, False, False, True]
    assert [name for name, _ in trail(ours)] == ["alert.raised", "alert.closed"]


@pytest.mark.parametrize("wrong", [{"severity": "mild"}, {"kind": "Stock low"}])
def test_the_database_refuses_what_is_no_alert(ours, wrong):
    with tenancy.tenant_scope(ours.pk), pytest.raises(IntegrityError):
        raise_alert(**{**LOW, "message": "x", **wrong})
    assert alerts(ours) == []


def test_acknowledging_and_closing_by_hand_are_recorded_where_the_alert_belongs(ours):
    with tenancy.tenant_scope(ours.pk):
        raise_alert(**LOW, message="x")
    raise_alert(**LOW, message="the system's")
    with tenancy.all_tenants(reason="tests look at every row"):
        rows = Alert.objects.all()
        assert acknowledge_alerts(rows=rows, actor="user:1") == 2
        assert acknowledge_alerts(rows=rows, actor="user:2") == 0
        assert close_alerts(rows=rows, actor="user:2") == 2
        assert acknowledge_alerts(rows=rows, actor="user:2") == 0
    for tenant in (ours, None):
        assert [alert.acknowledged_by for alert in alerts(tenant)] == ["user:1"]
        assert trail(tenant) == [
            ("alert.raised", "system"),
            ("alert.acknowledged", "user:1"),
            ("alert.closed", "user:2"),
        ]
