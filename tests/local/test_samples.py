"""Sample bodies go through the inbox to their rows, and a shop's daily life holds everything worth seeing."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from config.infra import tenancy
from config.local import samples
from config.local.deliveries import Answer, Shop, as_bytes
from config.local.traffic import Traffic
from inventory.models import StockLevel, Variant
from messaging.models import Contact
from orders.models import Order
from shopsync.models import Tenant, WebhookEvent
from shopsync.webhooks import is_signed_by_shopify
from tests.factories import deliver, drain_all


class RecordingShop(Shop):
    """A shop whose deliveries go nowhere."""

    def post(self, topic, body, **options):
        sent.append((topic, as_bytes(body), self.secret))
        return Answer(200, "stored")


sent: list[tuple[str, bytes, str]] = []


def live(count):
    random.seed(7)
    sent.clear()
    traffic = Traffic(RecordingShop("http://nowhere", "secret", "shop.myshopify.com"), "EUR", "GR")
    for _ in range(count):
        assert traffic.send_one() == "200 stored"
    return list(sent)


def test_daily_life_holds_every_kind_of_delivery_duplicates_and_forgeries():
    topics = Counter(topic for topic, _, _ in live(600))
    assert set(topics) == {
        "products/create",
        "customers/create",
        "customers_marketing_consent/update",
        "inventory_levels/update",
        "orders/create",
        "orders/paid",
        "orders/cancelled",
    }
    bodies = Counter(body for _, body, _ in sent)
    assert max(bodies.values()) > 1
    assert {secret for _, _, secret in sent} == {"secret", "not-the-secret"}


@pytest.mark.django_db(transaction=True)
def test_daily_life_goes_through_to_its_rows(tenant):
    for topic, body, secret in live(120):
        if secret == "secret":
            assert deliver(topic, body, tenant, event_id="").status_code == 200
    drain_all()
    with tenancy.tenant_scope(tenant.pk):
        assert set(WebhookEvent.objects.values_list("status", flat=True)) == {"done"}
        assert Order.objects.filter(paid_at__isnull=False).exists()
        assert Contact.objects.exclude(phone="").exists()


@pytest.mark.django_db(transaction=True)
def test_sample_bodies_of_one_shop_fit_together(tenant):
    item, customer = samples.Item("Blue Mug", "MUG", "12.50"), samples.new_customer("Zoé", "Kalogera")
    purchase = samples.new_purchase("#1", customer, (item, 2))
    bodies = [
        ("products/create", samples.product_body(item)),
        ("inventory_levels/update", samples.level_body(item, 5)),
        ("customers/create", samples.customer_body(customer)),
        ("customers_email_marketing_consent/update", samples.email_consent_body(customer)),
        ("orders/paid", samples.order_body(purchase, financial_status="paid")),
        ("orders/fulfilled", samples.fulfilled_body(purchase)),
        ("app/uninstalled", samples.uninstalled_body(tenant.shop_domain)),
    ]
    for topic, body in bodies:
        assert deliver(topic, body, tenant, triggered_at=samples.now_text()).status_code == 200
    drain_all()
    with tenancy.tenant_scope(tenant.pk):
        order, variant = Order.objects.get(), Variant.objects.get()
        assert (order.fulfillment_status, order.fulfillments.count()) == ("fulfilled", 1)
        assert order.lines.get().variant_shopify_id == variant.shopify_id
        assert f"{order.total_amount:.2f}" == purchase.total == "25.00"
        assert StockLevel.objects.get().item_id == variant.item_id
        assert Contact.objects.get().phone == customer.phone
    assert Tenant.objects.get(pk=tenant.pk).status == "uninstalled"


def test_headers_carry_a_signature_over_the_raw_bytes():
    headers = Shop("http://nowhere", "hush", "shop.myshopify.com").headers("orders/create", b"\xff raw")
    assert is_signed_by_shopify(body=b"\xff raw", signature=headers["X-Shopify-Hmac-Sha256"], secrets=["hush"])
