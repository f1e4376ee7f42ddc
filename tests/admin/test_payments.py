"""Payments in the admin: operators give money back after a page that asks; nobody else does."""

from __future__ import annotations

import re

from config.infra import tenancy
from orders.models import GatewayRefund, Payment, PaymentMismatch
from tests.admin.pages import change_page


def _url(world):
    return change_page(world.rows[Payment]).replace("/change/", "/refund/")


def _ours(world):
    with tenancy.tenant_scope(world.tenant.pk):
        return list(GatewayRefund.objects.filter(is_ours=True))


def test_a_refund_is_asked_for_first_and_a_page_sent_twice_is_one(operator, world):
    page = operator.get(_url(world)).content.decode()
    assert "119.00 USD left" in page
    (key,) = re.findall(r'name="key" value="(admin-[^"]+)"', page)
    assert _ours(world) == []
    for _ in range(2):
        assert operator.post(_url(world), {"amount": "19.00", "key": key}).status_code == 302
    (row,) = _ours(world)
    assert (row.amount, row.currency, row.status) == (19, "USD", "requested")
    assert row.actor.startswith("user:")


def test_too_much_is_refused_on_the_page(owner, world):
    answer = owner.post(_url(world), {"amount": "119.01", "key": "admin-1"})
    assert answer.status_code == 200
    assert "119.00 USD left to give back" in answer.content.decode()
    for amount in ("0", "-1", "nonsense", "", "1.001"):
        assert owner.post(_url(world), {"amount": amount, "key": "admin-1"}).status_code == 200
    assert _ours(world) == []


def test_with_all_tenants_open_money_goes_back_for_the_payments_own_tenant(superuser, world):
    superuser.post("/admin/tenant", {"tenant": "all"})
    assert superuser.post(_url(world), {"amount": "19.00", "key": "admin-1"}).status_code == 302
    assert [row.tenant_id for row in _ours(world)] == [world.tenant.pk]


def test_viewers_and_strangers_give_nothing_back(viewer, stranger, world):
    for client, status in ((viewer, {403}), (stranger, {404, 302})):
        assert client.get(_url(world)).status_code in status
        assert client.post(_url(world), {"amount": "1", "key": "admin-1"}).status_code in status
    assert _ours(world) == []


def test_a_difference_is_explained_by_an_operator_alone(operator, viewer, stranger, world):
    page = change_page(world.rows[PaymentMismatch]).replace("/change/", "/accept/")
    for client, status in ((viewer, {403}), (stranger, {404, 302})):
        assert client.post(page, {"note": "no", "key": "admin-1"}).status_code in status
    assert "All right as it stands?" in operator.get(page).content.decode()
    assert operator.post(page, {"note": "", "key": "admin-1"}).status_code == 200
    assert operator.post(page, {"note": "paid in the shop", "key": "admin-1"}).status_code == 302
    with tenancy.tenant_scope(world.tenant.pk):
        row = PaymentMismatch.objects.get()
    assert (row.note, row.accepted_by[:5], row.is_open) == ("paid in the shop", "user:", True)
