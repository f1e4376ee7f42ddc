"""Times in the admin say their zone: the tenant's where one is chosen, else UTC; hours say what they are for."""

from __future__ import annotations

from datetime import UTC, datetime

from messaging.models import Campaign, QuietHours
from shopsync.models import Tenant
from tests.admin.pages import change_page, list_page
from tests.admin.test_campaigns import act, add_page
from tests.factories import reload


def test_times_are_shown_and_read_in_the_tenants_zone_which_is_named(operator, world):
    Tenant.objects.filter(pk=world.tenant.pk).update(timezone="Asia/Kolkata")
    campaign = world.rows[Campaign]
    page = operator.get(change_page(campaign).replace("/change/", "/launch/")).content.decode()
    assert "in the zone Asia/Kolkata" in page
    assert "in the zone Asia/Kolkata" in operator.get(add_page(Campaign)).content.decode()
    launched = act(operator, campaign, "launch", scheduled_at_0="2099-01-01", scheduled_at_1="09:00")
    assert launched.status_code == 302
    assert reload(campaign).scheduled_at == datetime(2099, 1, 1, 3, 30, tzinfo=UTC)
    for path in (list_page(Campaign), change_page(campaign)):
        assert "Jan. 1, 2099, 9 a.m. IST" in operator.get(path).content.decode()


def test_the_reports_times_are_those_of_the_page(operator, world):
    Tenant.objects.filter(pk=world.tenant.pk).update(timezone="Asia/Kolkata")
    campaign = world.rows[Campaign]
    assert act(operator, campaign, "report").status_code == 302
    page = operator.get(change_page(campaign)).content.decode()
    assert "+00:00" not in page
    assert "IST" in page


def test_where_no_tenant_is_chosen_times_are_in_utc_and_say_so(superuser, world):
    superuser.post("/admin/tenant", {"tenant": "all"})
    assert " UTC" in superuser.get(list_page(Campaign).replace("campaign", "template")).content.decode()


def test_a_zone_that_is_none_keeps_nobody_out(operator, world):
    Tenant.objects.filter(pk=world.tenant.pk).update(timezone="../nowhere")
    assert operator.get(list_page(Campaign)).status_code == 200
    assert "in the zone UTC" in operator.get(add_page(Campaign)).content.decode()


def test_hours_are_named_as_those_in_which_may_be_sent_and_a_night_is_warned_of(owner, world):
    page = owner.get(add_page(QuietHours)).content.decode()
    assert "May be sent from" in page
    assert "local time of the recipient" in page
    night = {"country": "CY", "region": "", "starts_at": "21:00", "ends_at": "09:00"}
    answer = owner.post(add_page(QuietHours), night, follow=True)
    assert "These hours span midnight" in answer.content.decode()
    assert "21:00 to 09:00 over midnight" in answer.content.decode()
    day = owner.post(add_page(QuietHours), {**night, "country": "IT", "ends_at": "22:00"}, follow=True)
    assert "These hours span midnight" not in day.content.decode()
