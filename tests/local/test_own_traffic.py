"""The tenant that counts its own stock lives through real processes: its orders are paid, packed and carried home."""

from __future__ import annotations

import random

import pytest

from config.infra import tenancy
from config.local import calls
from config.local.deliveries import Shop, behave
from config.local.environment import local_keys
from config.local.merchant import Merchant
from config.local.own_traffic import OwnTraffic
from config.local.stack import TWINS
from config.local.tenants import DemoTenant, lead_events, set_up_tenants
from config.local.twins import EasyPostTwin, StripeTwin
from inventory.models import Location
from orders.actions.verification import verify_stock
from orders.models import Order, Payment, Shipment
from shopsync.models import Connection, Tenant, WebhookEvent

pytestmark = pytest.mark.django_db(transaction=True)
ENDS = {"order left unpaid", "parcel carried to its door"}


@pytest.fixture
def tenants(stack, tmp_path):
    """The demo tenants on the stack of the tests, with the twins of Stripe and EasyPost beside it."""
    names = [name for name in TWINS if name != "sandbox"]
    stack.local.start(*names)
    yield set_up_tenants(local_keys(tmp_path), stack.local)
    for name in names:
        stack.local.kill(name)


def life_of(stack, demo: DemoTenant, settings) -> OwnTraffic:
    random.seed(7)
    shop = Shop(stack.base_url, settings.SHOPIFY_API_SECRET, demo.shop_domain)
    stripe = StripeTwin(stack.local.twin_url("stripe-sandbox"), demo.account_id)
    easypost = EasyPostTwin(stack.local.twin_url("easypost-sandbox"), demo.account_id)
    return OwnTraffic(shop.post, Merchant(stack.base_url, demo.keys.api_key), stripe, easypost)


def live(stack, traffic: OwnTraffic, until: set[str]) -> set[str]:
    said: set[str] = set()
    for _ in range(150):
        said.add(traffic.send_one())
        stack.wait_idle()
        if until <= said:
            return said
    raise AssertionError(f"{until - said} did not come; {said} did")


def test_orders_are_placed_paid_packed_and_carried_home_and_no_other_tenant_hears_of_them(stack, tenants, settings):
    *mirrors, seller = tenants
    said = live(stack, life_of(stack, seller, settings), ENDS)
    steps = {"wares arrived", "order placed", "order paid", "parcel packed", "label asked for"}
    waits = {"order waits for its payment", "parcel waits for its rates", "parcel waits for its label"}
    assert steps <= said <= steps | waits | ENDS
    with tenancy.tenant_scope(seller.tenant_id):
        parcel = Shipment.objects.filter(status="delivered").earliest("pk")
        assert parcel.order.fulfillment_status == "fulfilled"
        assert Payment.objects.get(order=parcel.order).amount_captured == parcel.order.total_amount
        assert Order.objects.filter(financial_status="pending").exists()
        assert set(Location.objects.values_list("country", flat=True)) == {"GR", "NL"}
        assert not Location.objects.filter(latitude=None).exists()
        assert verify_stock(actor="test") == []
    for demo in mirrors:
        with tenancy.tenant_scope(demo.tenant_id):
            assert not WebhookEvent.objects.exists()


def test_a_twin_that_was_started_again_is_told_anew_where_its_events_go(stack, tenants, settings):
    traffic = life_of(stack, tenants[-1], settings)
    stack.local.kill("stripe-sandbox")
    live(stack, traffic, {"no answer (URLError)"})
    stack.local.start("stripe-sandbox")
    lead_events(stack.local, tenants, ["stripe-sandbox"])
    live(stack, traffic, {"parcel carried to its door"})


def test_setting_up_again_puts_right_what_was_changed_and_makes_nothing_twice(stack, tenants, tmp_path):
    again = set_up_tenants(local_keys(tmp_path), stack.local)
    assert again == tenants
    assert [demo.counts_here for demo in tenants] == [False, False, True]
    assert Tenant.objects.get(pk=tenants[-1].tenant_id).stock_authority == "shopsync"
    for demo in tenants:
        with tenancy.tenant_scope(demo.tenant_id):
            found = {connection.service: connection for connection in Connection.objects.all()}
            assert set(found) == {"mitto", "segment", "stripe", "easypost"}
            assert found["stripe"].token == demo.keys.stripe_token
            assert found["easypost"].signing_secret == demo.keys.easypost_secret


def test_a_refund_whose_answer_is_lost_is_asked_about_early_and_made_once(stack, tenants, settings):
    seller, traffic = tenants[-1], life_of(stack, tenants[-1], settings)
    live(stack, traffic, {"parcel packed"})
    with tenancy.tenant_scope(seller.tenant_id):
        payment = Payment.objects.filter(amount_captured__gt=0).earliest("pk")
    behave(traffic.stripe.url, cut_after_effect=1, events="none")
    wanted = {"amount": "1.00", "currency": "EUR"}
    refund = traffic.merchant.post(f"payments/{payment.pk}/refunds", wanted)
    stack.wait_for(lambda: calls.refund_call_status(seller, refund["id"]) == "unknown", "the lost answer")
    calls.ask_early(seller)
    stack.wait_for(lambda: calls.refund_call_status(seller, refund["id"]) == "done", "the end of the call")
    assert [row["amount"] for row in traffic.stripe.refunds(payment.provider_id)] == [100]
