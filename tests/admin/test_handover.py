"""Owners hand the count of the stock over; a page that is sent twice does it once; others can't."""

from __future__ import annotations

import pytest
from django.urls import reverse

from tests.factories import make_inbox_rows

pytestmark = pytest.mark.django_db
URL = "/admin/orders/order/hand-over/"


def test_an_owner_hands_it_over_once_however_often_the_page_is_sent(shop):
    owner = shop.person("owner")
    page = owner.get(URL).content.decode()
    assert "We count this tenant&#x27;s stock now" in page
    assert 'name="to" value="shopify"' in page
    first = owner.post(URL, {"to": "shopify"}, follow=True).content.decode()
    assert "2 levels are counted by shopify from now on" in first
    again = owner.post(URL, {"to": "shopify"}, follow=True).content.decode()
    assert "counted by shopify already" in again
    shop.tenant.refresh_from_db()
    assert shop.tenant.stock_authority == "shopify"
    (event,) = shop.events("stock.handed_over")
    assert event.actor.startswith("user:")
    assert "Shopify counts this tenant&#x27;s stock now" in owner.get(URL).content.decode()


def test_what_is_in_the_way_is_said(shop):
    make_inbox_rows(shop.tenant, "level:1:1", topic="inventory_levels/update")
    owner = shop.person("owner")
    for to, words in (
        ("shopify", "1 counts of Shopify&#x27;s wait in the inbox"),
        ("me", "handed to one of shopify, shopsync"),
    ):
        assert words in owner.post(URL, {"to": to}, follow=True).content.decode()


@pytest.mark.parametrize("role", ["operator", "viewer"])
def test_nobody_else_may(shop, role):
    person = shop.person(role)
    assert person.post(URL, {"to": "shopify"}).status_code == 403
    assert "Who counts the stock" not in person.get(reverse("admin:orders_order_changelist")).content.decode()
    shop.tenant.refresh_from_db()
    assert shop.tenant.stock_authority == "shopsync"
