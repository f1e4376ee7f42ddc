"""Who gets digests is an owner's to say; addresses are checked, and no address is in the trail."""

from __future__ import annotations

import pytest
from django.urls import reverse

from audit.models import AuditEvent
from config.infra import tenancy
from shopsync.models import Digest, DigestPlan
from tests.admin.pages import change_page, list_page
from tests.factories import reload

FORM = {"recipients": "a@example.com, b@example.com", "daily_hour": "7", "has_hourly_critical": "on", "is_active": "on"}
ADD = reverse("admin:shopsync_digestplan_add")


@pytest.fixture
def plan(world):
    with tenancy.tenant_scope(world.tenant.pk):
        return DigestPlan.objects.get()


def test_an_owner_says_who_gets_them_and_the_trail_names_no_address(owner, world, plan):
    assert owner.post(change_page(plan), FORM).status_code == 302
    assert reload(plan).recipients == ["a@example.com", "b@example.com"]
    with tenancy.tenant_scope(world.tenant.pk):
        event = AuditEvent.objects.get(name="digest_plan.updated")
    assert event.data == {"fields": ["daily_hour", "recipients"]}


@pytest.mark.parametrize(
    "recipients",
    ["", "nobody", "a@example.com, b", "a@example.com\nBcc: x@example.com", ",".join(["a@example.com"] * 21)],
)
def test_addresses_are_checked(owner, plan, recipients):
    assert owner.post(change_page(plan), FORM | {"recipients": recipients}).status_code == 200
    assert reload(plan).recipients == ["ops@example.com"]


@pytest.mark.parametrize("hour", ["24", "-1", "x"])
def test_the_hour_is_one_of_a_day(owner, plan, hour):
    assert owner.post(change_page(plan), FORM | {"daily_hour": hour}).status_code == 200
    assert reload(plan).daily_hour == 8


def test_a_second_plan_is_refused_in_words_and_a_first_one_made(owner, world, plan):
    assert "There is a plan already" in owner.post(ADD, FORM).content.decode()
    with tenancy.tenant_scope(world.tenant.pk):
        DigestPlan.objects.all().delete()
    assert owner.post(ADD, FORM).status_code == 302
    with tenancy.tenant_scope(world.tenant.pk):
        assert DigestPlan.objects.get().daily_hour == 7


@pytest.mark.parametrize("person", ["operator", "viewer"])
def test_staff_sees_the_plan_and_does_not_change_it(request, person, plan):
    client = request.getfixturevalue(person)
    assert client.get(change_page(plan)).status_code == 200
    client.post(change_page(plan), FORM)
    assert reload(plan).daily_hour == 8
    assert client.post(ADD, FORM).status_code == 403


def test_a_stranger_sees_neither_plan_nor_digest(stranger, world, plan):
    with tenancy.tenant_scope(world.tenant.pk):
        fields = {"recipients": ["a@example.com"], "subject": "x", "text": "what is wrong", "alert_count": 1}
        (digest,) = Digest.objects.bulk_create([Digest(tenant_id=world.tenant.pk, slot="daily:2026-11-21", **fields)])
    for row in (plan, digest):
        assert stranger.get(change_page(row)).status_code == 302
        assert change_page(row) not in stranger.get(list_page(type(row))).content.decode()
    stranger.post(change_page(plan), FORM)
    assert reload(plan).daily_hour == 8


def test_a_digest_is_shown_as_it_was_written(owner, world):
    with tenancy.tenant_scope(world.tenant.pk):
        fields = {"recipients": ["a@example.com"], "subject": "x", "text": "what is wrong", "alert_count": 1}
        (digest,) = Digest.objects.bulk_create([Digest(tenant_id=world.tenant.pk, slot="daily:2026-11-21", **fields)])
    assert "what is wrong" in owner.get(change_page(digest)).content.decode()
