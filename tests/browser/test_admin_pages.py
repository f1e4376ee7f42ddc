"""The admin's main pages and the API's docs in a real browser, light and dark, without an error on the console."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from audit.models import DeadLetter
from config.infra import tenancy
from config.infra.breaker import Breaker
from messaging.models import Message
from orders.models import Order
from shopsync.models import Connection, WebhookEvent
from tests.admin.pages import MODELS, change_page, change_pages, list_page
from tests.browser.conftest import sign_in
from tests.world import PASSWORD, make_person

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

# The shots worth looking at.
SHOT = {
    list_page(WebhookEvent): "inbox", list_page(Order): "orders", list_page(Message): "messages",
    list_page(DeadLetter): "dead-letters",
}  # fmt: skip


def test_each_list_and_each_row_opens(tab, world):
    sign_in(tab, world)
    tab.visit("/admin/", shot="index")
    for model in MODELS:
        tab.visit(list_page(model), shot=SHOT.get(list_page(model), ""))
    for url in change_pages(world):
        tab.visit(url)
    breaker = Breaker("mitto", str(world.rows[Connection].pk))
    breaker.failed()
    tab.visit("/admin/breakers", shot="breakers")
    tab.visit(f"/admin/breakers/mitto/{breaker.connection}/reset", shot="breaker-reset")
    breaker.reset()
    tab.visit(change_page(world.rows[Order]), shot="order")
    tab.visit(change_page(world.rows[WebhookEvent]), shot="delivery")
    tab.visit(change_page(world.rows[Connection]), shot="connection")


def test_the_page_follows_the_colour_scheme(tab, world):
    sign_in(tab, world)
    page = tab.visit("/admin/")
    is_dark = page.evaluate("document.documentElement.classList.contains('dark')")
    assert is_dark == (tab.scheme == "dark")


def test_a_person_signs_in_by_hand_and_switches_the_tenant(tab, world):
    make_person("ann", tenant=world.tenant, is_superuser=True)
    page = tab.visit("/admin/login/", shot="login")
    page.fill("input[name=username]", "ann")
    page.fill("input[name=password]", PASSWORD)
    page.click("button[type=submit]")
    badge = page.locator("#header-inner")
    expect(badge.get_by_text("No tenant")).to_be_visible()
    tab.visit("/admin/tenant", shot="switcher")
    page.get_by_role("button", name="Open", exact=True).click()
    expect(badge.get_by_text(world.tenant.shop_domain)).to_be_visible()
    page.get_by_text("unfold_more").first.click()
    expect(page.get_by_text("Switch tenant")).to_be_visible()
    tab.shoot("dropdown")
    page.get_by_text("Switch tenant").click()
    page.get_by_role("button", name="Open all tenants").click()
    expect(badge.get_by_text("All tenants")).to_be_visible()
    tab.visit(list_page(Order), shot="all-tenants")


def test_a_delivery_is_replayed_with_two_clicks(tab, world):
    sign_in(tab, world)
    page = tab.visit(change_page(world.rows[WebhookEvent]))
    page.get_by_role("link", name=re.compile("Replay$")).click()
    expect(page.get_by_text("idempotent")).to_be_visible()
    tab.shoot("replay")
    page.get_by_role("button", name="Replay").click()
    expect(page.get_by_text("Ready again: 1.")).to_be_visible()


def test_an_unknown_message_is_sent_again_only_after_the_warning(tab, world):
    sign_in(tab, world)
    with tenancy.tenant_scope(world.tenant.pk):
        letter = DeadLetter.objects.get(status="unknown")
    page = tab.visit(list_page(DeadLetter))
    page.locator(f'input[name="_selected_action"][value="{letter.pk}"]').check()
    page.locator("select[name=action]").select_option("replay_selected")
    page.get_by_role("button", name="Run").click()
    expect(page.get_by_text("may get the same message twice")).to_be_visible()
    tab.shoot("unknown")
    page.get_by_role("button", name="Send again all the same").click()
    expect(page.get_by_text("Ready again: 1.")).to_be_visible()


def test_a_new_api_key_is_shown_once(tab, world):
    sign_in(tab, world)
    page = tab.visit("/admin/shopsync/apikey/")
    page.get_by_role("link", name=re.compile("Make a key")).click()
    page.fill("input[name=name]", "till")
    page.get_by_role("button", name="Make the key").click()
    expect(page.get_by_text("can't be shown again")).to_be_visible()
    tab.shoot("new-key")


def test_the_api_docs_open_and_try_a_request(tab, world):
    page = tab.visit("/api/docs", shot="docs")
    expect(page.get_by_text("/api/v1/orders", exact=True).first).to_be_visible()
    page.get_by_role("button", name="Authorize").first.click()
    expect(page.get_by_text("Available authorizations")).to_be_visible()
