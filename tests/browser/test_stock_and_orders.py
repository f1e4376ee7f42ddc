"""An operator receives stock and cancels an order in a real browser; the pages that ask, light and dark."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from inventory.models import Location, Product, Reservation, StockLevel, StockMovement
from orders.models import Order
from tests.admin.conftest import Shop, act_page
from tests.admin.pages import change_page, list_page
from tests.browser.conftest import sign_in
from tests.factories import reload

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def shop(transactional_db: None) -> Shop:
    return Shop()


def test_stock_is_received_and_an_order_is_cancelled(tab, shop):
    order = shop.place(3, 4, is_paid=True)
    sign_in(tab, shop)
    page = tab.visit(list_page(StockLevel), shot="levels")
    page.get_by_role("link", name=str(shop.levels[0].pk), exact=True).click()
    page.get_by_role("link", name=re.compile("Receive$")).click()
    page.fill("input[name=quantity]", "12")
    page.fill("input[name=reference]", "note 17")
    tab.shoot("receive")
    page.get_by_role("button", name="Receive").click()
    expect(page.get_by_text("Received.")).to_be_visible()
    page.get_by_text("Ledger, the newest 50").first.click()
    expect(page.get_by_text("note 17").first).to_be_visible()
    tab.shoot("level")

    page = tab.visit(list_page(Order), shot="own-orders")
    page.get_by_role("link", name=str(order), exact=True).click()
    page.set_viewport_size({"width": 1400, "height": 2000})
    tab.shoot("own-order")
    page.set_viewport_size({"width": 1400, "height": 900})
    page.get_by_text("Take back").first.click()
    expect(page.get_by_text("Cancel a part")).to_be_visible()
    tab.shoot("own-order-menu")
    page.get_by_role("link", name=re.compile("Cancel all of it$")).click()
    page.select_option("select[name=reason]", "customer")
    tab.shoot("cancel")
    page.get_by_role("button", name="Cancel the order").dblclick()
    expect(page.get_by_text(re.compile("Cancelled.|nothing was done a second time")).first).to_be_visible()
    expect(page.get_by_text("order.cancelled").first).to_be_visible()
    assert reload(order).is_cancelled
    assert shop.numbers() == [(17, 0), (5, 0)]
    assert len(shop.events("order.cancelled")) == 1


def test_each_page_that_asks_opens_and_says_beside_its_field_what_is_wrong(tab, shop):
    order = shop.place(3, 1, is_paid=True)
    waiting = shop.place(2)
    sign_in(tab, shop)
    with shop.open():
        product, reservation = Product.objects.get(), Reservation.objects.first()
    for row, verbs in (
        (shop.levels[0], ("adjust", "transfer")),
        (product, ("receive",)),
        (waiting, ("mark-paid", "hold")),
        (order, ("note", "refund", "cancel-part")),
        (reservation, ("extend", "release")),
    ):
        for verb in verbs:
            tab.visit(act_page(row, verb), shot=f"ask-{verb}" if verb != "receive" else "ask-receive-new")
    page = tab.visit(act_page(shop.levels[0], "transfer"))
    page.fill("input[name=quantity]", "999")
    page.select_option("select[name=to_location_id]", str(shop.third.pk))
    page.get_by_role("button", name="Transfer").click()
    expect(page.get_by_text("holds stay where they are").last).to_be_visible()
    tab.shoot("refused-transfer")
    page = tab.visit(act_page(order, "cancel-part"))
    page.get_by_role("button", name="Cancel these units").click()
    expect(page.get_by_text("Name units of one line or more.")).to_be_visible()
    tab.shoot("refused-cancel-part")
    for model, shot in ((Location, "locations"), (Reservation, "reservations"), (StockMovement, "ledger")):
        tab.visit(list_page(model), shot=shot)
    tab.visit(change_page(shop.third), shot="location")
    tab.visit(change_page(reservation), shot="reservation")
