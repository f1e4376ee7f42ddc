"""Stripe's events as published in the shared protocols, through the door."""

from __future__ import annotations

import json

import pytest

from config.infra import tenancy
from orders.models import GatewayRefund, Payment
from shopsync.models import WebhookEvent
from tests.protocols import PROTOCOLS, needs_protocols

pytestmark = [pytest.mark.django_db, needs_protocols]
FOLDER = PROTOCOLS / "samples" / "stripe"
FIRST, SECOND = "pi_3Q0000000000000000000001", "pi_3Q0000000000000000000002"


def test_every_sample_ends_in_rows_or_in_quarantine_with_its_reason(shop):
    samples = sorted(FOLDER.glob("*.json"))
    assert len(samples) >= 8
    shop.take(*(json.loads(path.read_text()) for path in samples))
    with tenancy.tenant_scope(shop.tenant.pk):
        rows = {row.topic: row.status for row in WebhookEvent.objects.all()}
        assert {topic for topic, status in rows.items() if status != "done"} == {"radar.early_fraud_warning.created"}
        assert len(Payment.objects.all()) >= 2
        assert GatewayRefund.objects.get(provider_id="re_3Q0000000000000000000001").amount == 15
    assert shop.payment(SECOND).status in {"failed", "paid"}


def test_a_partial_refund_of_the_samples(shop):
    names = ("payment_intent_succeeded", "refund_created", "charge_refunded_partial")
    shop.take(*(json.loads((FOLDER / f"{name}.json").read_text()) for name in names))
    payment = shop.payment(FIRST)
    assert (payment.status, payment.amount_refunded) == ("partially_refunded", 15)
