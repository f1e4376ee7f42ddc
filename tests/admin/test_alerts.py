"""Alerts in the admin: the open ones first, taken on and closed by operators, the system's for superusers."""

from __future__ import annotations

import re

import pytest
from django.urls import reverse

from audit.models import AuditEvent
from config.infra import tenancy
from shopsync.actions.alerts import raise_alert
from shopsync.models import Alert
from tests.admin.pages import change_page, list_page
from tests.factories import reload


@pytest.fixture
def alert(world):
    with tenancy.tenant_scope(world.tenant.pk):
        return Alert.objects.get(closed_at__isnull=True)


def shown(client, query=""):
    page = client.get(f"{list_page(Alert)}{query}").content.decode()
    return list(dict.fromkeys(int(pk) for pk in re.findall(r"/admin/shopsync/alert/(\d+)/change/", page)))


def run(client, action, *alerts):
    return client.post(list_page(Alert), {"action": action, "_selected_action": [alert.pk for alert in alerts]})


def test_open_alerts_come_first_and_filters_choose(owner, world, alert):
    with tenancy.tenant_scope(world.tenant.pk):
        (closed,) = Alert.objects.filter(closed_at__isnull=False).values_list("pk", flat=True)
        raise_alert(kind="stock.drift", subject="level:12", message="again")
        newest = Alert.objects.latest("id").pk
    assert shown(owner) == [newest, alert.pk, closed]
    assert shown(owner, "?state=closed") == [closed]
    assert shown(owner, "?state=unattended&severity__exact=warning") == [newest, alert.pk]


def test_an_operator_takes_an_alert_on_and_closes_it_by_name(operator, world, alert):
    run(operator, "acknowledge_selected", alert)
    assert reload(alert).acknowledged_by.startswith("user:")
    run(operator, "close_selected", alert)
    assert not reload(alert).is_open
    with tenancy.tenant_scope(world.tenant.pk):
        names = AuditEvent.objects.filter(actor__startswith="user:", subject=f"alert:{alert.pk}").order_by("id")
        assert [event.name for event in names] == ["alert.acknowledged", "alert.closed"]


def test_a_viewer_sees_and_does_not_act(viewer, alert):
    assert alert.pk in shown(viewer)
    run(viewer, "close_selected", alert)
    assert reload(alert).is_open


def test_a_stranger_sees_none_of_it(stranger, alert):
    assert alert.pk not in shown(stranger)
    assert stranger.get(change_page(alert)).status_code == 302
    run(stranger, "close_selected", alert)
    assert reload(alert).is_open


def test_the_systems_alerts_are_for_superusers_with_all_tenants_open(superuser, owner, world, alert):
    raise_alert(kind="schedule.missed", subject="schedule:sweep", message="x", severity="critical")
    with tenancy.all_tenants(reason="tests look at every row"):
        own = Alert.objects.get(kind="schedule.missed")
    assert own.pk not in shown(owner)
    assert owner.get(change_page(own)).status_code == 302
    superuser.post(reverse("admin:shopsync_switch_tenant"), {"tenant": "all"})
    assert {own.pk, alert.pk} <= set(shown(superuser))
    run(superuser, "acknowledge_selected", own, alert)
    assert reload(own).acknowledged_by == reload(alert).acknowledged_by != ""
    with tenancy.all_tenants(reason="tests look at every row"):
        events = AuditEvent.objects.filter(name="alert.acknowledged")
        assert {event.tenant_id for event in events} == {None, world.tenant.pk}
