"""A campaign in a real browser: written, reported on, launched, watched, paused, resumed, cancelled."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from config.infra import tenancy
from messaging.models import Campaign, Segment, TemplateVersion
from tests.browser.conftest import sign_in

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


def press(page, link, button):
    """Follow a link, press the button there, and let each page load in peace."""
    page.get_by_role("link", name=re.compile(f"{link}$")).first.click()
    page.wait_for_load_state("networkidle")
    page.get_by_role("button", name=button, exact=True).click()
    page.wait_for_load_state("networkidle")


def test_a_campaign_goes_from_draft_to_its_end(tab, world):
    with tenancy.tenant_scope(world.tenant.pk):
        ids = {
            "segment": Segment.objects.get(name="everybody").pk,
            "template_version": TemplateVersion.objects.get(template__name="greeting").pk,
        }
    sign_in(tab, world)
    page = tab.visit("/admin/messaging/campaign/add/", shot="campaign-add")
    page.fill("input[name=name]", "In the browser")
    page.select_option("select[name=channel]", "sms")
    for name, pk in ids.items():
        page.evaluate(
            "([name, pk]) => { const one = document.querySelector(`select[name=${name}]`);"
            " if (!one.querySelector(`option[value='${pk}']`)) one.add(new Option(pk, pk)); one.value = pk }",
            [name, str(pk)],
        )
    page.get_by_role("button", name="Save", exact=True).click()
    page.wait_for_load_state("networkidle")
    with tenancy.tenant_scope(world.tenant.pk):
        campaign = Campaign.objects.get(name="In the browser")
    path = f"/admin/messaging/campaign/{campaign.pk}/change/"
    page = tab.visit(path)
    press(page, "Report before the launch", "Report")
    expect(page.get_by_text("estimated end at")).to_be_visible()
    press(page, "Launch", "Launch")
    expect(page.locator("progress").first).to_be_visible()
    tab.shoot("campaign-sending")
    for word, status in (("Pause", "paused"), ("Resume", "sending"), ("Cancel", "cancelled")):
        press(page, word, word)
        with tenancy.tenant_scope(world.tenant.pk):
            campaign.refresh_from_db()
        assert campaign.status == status
    tab.visit("/admin/messaging/campaign/", shot="campaign-list")
