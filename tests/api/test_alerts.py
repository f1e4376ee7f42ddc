"""Acknowledging by the API: who may, what is noted, and that nobody else's alert is touched."""

from __future__ import annotations

import pytest

from audit.models import AuditEvent
from config.infra import tenancy
from shopsync.actions.alerts import raise_alert
from shopsync.models import Alert, ApiKey
from tests.api.conftest import with_token
from tests.world import make_person


@pytest.fixture
def alert(world):
    with tenancy.tenant_scope(world.tenant.pk):
        return Alert.objects.get(closed_at__isnull=True)


def path(alert):
    return f"/api/v1/alerts/{alert.pk}/acknowledge"


def test_the_owners_system_takes_an_alert_on_and_the_first_one_stays(owner, world, alert):
    answer = owner.post(path(alert))
    assert answer.status_code == 200
    key = f"api_key:{world.rows[ApiKey].pk}"
    assert (answer.json()["acknowledged_by"], answer.json()["is_open"]) == (key, True)
    make_person("operator", tenant=world.tenant, role="operator")
    assert with_token("operator").post(path(alert)).json()["acknowledged_by"] == key
    with tenancy.tenant_scope(world.tenant.pk):
        assert [event.actor for event in AuditEvent.objects.filter(name="alert.acknowledged")] == [key]


def test_an_operator_takes_an_alert_on(world, alert):
    person = make_person("operator", tenant=world.tenant, role="operator")
    assert with_token("operator").post(path(alert)).json()["acknowledged_by"] == f"user:{person.pk}"


def test_a_viewer_reads_and_does_not_act(staff, alert):
    assert staff.get(f"/api/v1/alerts/{alert.pk}").status_code == 200
    answer = staff.post(path(alert))
    assert answer.status_code == 403
    assert "owners and operators" in answer.json()["detail"]


def test_a_stranger_finds_nothing_and_nobody_is_asked_to_sign_in(stranger, nobody, alert):
    assert stranger.post(path(alert)).status_code == 404
    assert nobody.post(path(alert)).status_code == 401
    with tenancy.tenant_scope(alert.tenant_id):
        assert Alert.objects.get(pk=alert.pk).acknowledged_at is None


def test_a_closed_alert_is_nobodys_to_look_after(owner, world):
    with tenancy.tenant_scope(world.tenant.pk):
        closed = Alert.objects.get(closed_at__isnull=False)
    answer = owner.post(path(closed))
    assert (answer.status_code, answer.json()["title"]) == (409, "Conflict")


def test_the_systems_alerts_are_in_no_tenants_list(owner, world):
    raise_alert(kind="schedule.missed", subject="schedule:sweep", message="x")
    assert owner.get("/api/v1/alerts?kind=schedule.missed").json()["results"] == []


@pytest.mark.parametrize("method", ["get", "put", "patch", "delete"])
def test_acknowledging_is_a_post(owner, alert, method):
    assert getattr(owner, method)(path(alert)).status_code == 405
