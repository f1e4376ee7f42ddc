"""The door for Stripe: what it answers, what it keeps, and that an event is kept once."""

from __future__ import annotations

import json
import time

import pytest
from django.test import Client

from config.infra import tenancy
from orders.models import Payment
from orders.webhooks import read_event, sign
from shopsync.models import RefusedDelivery, WebhookEvent
from shopsync.shopify import UnreadablePayloadError
from tests.factories import drain_all
from tests.payments.conftest import SECRET, T0, charge, dispute, event, intent, make_shop, refund

pytestmark = pytest.mark.django_db


def kept(shop):
    with tenancy.tenant_scope(shop.tenant.pk):
        return list(WebhookEvent.objects.order_by("pk"))


def test_an_event_is_stored_once_and_counted_when_it_comes_again(shop):
    given = event("payment_intent.succeeded", intent("succeeded"), at=T0)
    assert [shop.post(given).content for _ in range(3)] == [b"stored\n", b"already stored\n", b"already stored\n"]
    (row,) = kept(shop)
    assert (row.source, row.topic, row.duplicates) == ("stripe", "payment_intent.succeeded", 2)


def test_any_of_several_signatures_will_do(shop):
    body = json.dumps(event("payment_intent.succeeded", intent("succeeded"), at=T0)).encode()
    header = sign(body=body, secret=SECRET, at=int(time.time()))
    assert shop.post(body, **{"Stripe-Signature": header.replace(",v1=", f",v1={'0' * 64},v1=")}).status_code == 200


@pytest.mark.parametrize(
    ("header", "status"), [("", 400), ("t=1", 401), (f"t={T0},v1={'0' * 64}", 401), ("nonsense", 401)]
)
def test_a_bad_signature_is_refused_and_counted(shop, header, status):
    answer = shop.post(event("payment_intent.succeeded", intent("succeeded"), at=T0), **{"Stripe-Signature": header})
    assert (answer.status_code, b"Stripe-Signature" in answer.content) == (status, True)
    assert kept(shop) == []
    assert RefusedDelivery.objects.get(source="stripe").count == 1


def test_an_old_signature_is_refused(shop):
    body = json.dumps(event("payment_intent.succeeded", intent("succeeded"), at=T0)).encode()
    for away in (-301, 302):
        header = sign(body=body, secret=SECRET, at=int(time.time()) + away)
        assert shop.post(body, **{"Stripe-Signature": header}).status_code == 401


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"{", "body"),
        (b"[]", "body"),
        (b"[" * 100_000, "body"),
        (b"{}", "id"),
        (b'{"id": 7}', "id"),
        (b'{"id": "evt_1"}', "type"),
        (b'{"id": "evt_1", "type": "a b"}', "type"),
        (b'{"id": "evt_1", "type": "x"}', "created"),
        (b'{"id": "evt_1", "type": "x", "created": true}', "created"),
        (b'{"id": "evt_1", "type": "x", "created": 1e400}', "created"),
        (b'{"id": "\\u0000", "type": "x", "created": 1}', "id"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_signed_body_that_is_no_event_is_refused_by_field(shop, body, field):
    answer = shop.post(body)
    assert answer.status_code == 400
    assert f"{field}: ".encode() in answer.content
    assert kept(shop) == []


def test_a_token_of_nobody_and_a_get_are_refused(shop):
    assert Client().post("/webhooks/stripe/nobodys", b"{}", "application/json",
                         headers={"Stripe-Signature": "t=1,v1=0"}).status_code == 404  # fmt: skip
    assert Client().get(f"/webhooks/stripe/{shop.connection.token}").status_code == 405


@pytest.mark.parametrize(
    "thing",
    [
        {"object": "payment_intent"},
        intent("succeeded", amount=-1),
        intent("succeeded", amount="5000"),
        intent("succeeded", amount=10**16),
        intent("succeeded", currency="euro"),
        intent("succeeded", currency="eur\n"),
        intent("succeeded", id="pi_1\n"),
        charge(currency="eur\n"),
        refund(amount=0),
        refund(currency="eur\n"),
        dispute(currency="eur\n"),
        intent("succeeded", id="x" * 121),
        {"object": "refund", "id": "re_1", "amount": 1, "currency": "eur"},
        {"object": "customer", "id": "cus_1"},
        {"object": []},
        None,
    ],
    ids=lambda value: str(value)[:50],
)
def test_an_object_that_can_not_be_read_is_quarantined_with_the_reason(shop, thing):
    assert shop.post(event("payment_intent.succeeded", thing, at=T0)).status_code == 200
    drain_all()
    (row,) = kept(shop)
    assert row.status == "quarantined"
    assert "data.object" in row.last_error


def test_a_topic_that_is_no_payments_is_quarantined(shop):
    given = event("radar.early_fraud_warning.created", {"object": "radar.early_fraud_warning", "id": "issfr_1"}, at=T0)
    assert shop.post(given).content == b"stored, quarantined\n"


def test_nul_and_half_a_character_are_stored_as_something_else(shop):
    given = intent("requires_payment_method", last_payment_error={"message": "no\x00 \ud800!"})
    shop.take(event("payment_intent.payment_failed", given, at=T0))
    assert shop.payment("pi_1").last_error == "no\ufffd \ufffd!"


THINGS = [
    intent("requires_payment_method", metadata={"order_name": "#1", "a": "b"}, last_payment_error={"message": "no"},
           cancellation_reason="automatic", latest_charge=charge(metadata={"order_reference": "x"})),
    charge(metadata={"order_id": "7"}, failure_message="no", payment_method_details={"type": "card", "card": {}}),
    refund(reason="duplicate", failure_reason="unknown", metadata={"shopsync_refund": "key"}),
    dispute(charge={"id": "ch_1"}, payment_intent=None, evidence_details={"due_by": 1}),
]  # fmt: skip


def half_a_character_everywhere(node):
    """Make a copy for each string and each key of a document, with half a surrogate pair in it."""
    for key, value in node.items():
        yield {("\ud800" + name if name == key else name): part for name, part in node.items()}
        if isinstance(value, dict):
            yield from ({**node, key: inner} for inner in half_a_character_everywhere(value))
        elif isinstance(value, str):
            yield from ({**node, key: text} for text in (value + "\ud800", "\ud800"))


@pytest.mark.parametrize("thing", THINGS, ids=lambda thing: thing["object"])
def test_half_a_character_anywhere_is_read_or_unreadable_and_never_a_failure(thing):
    read = 0
    for given in half_a_character_everywhere(event("charge.updated", thing, at=T0)):
        try:
            facts = read_event(json.dumps(given).encode())
        except UnreadablePayloadError:
            continue
        read += 1
        kept = [[fact.values, fact.subject_id, fact.payment_id] for fact in facts]
        assert json.dumps(kept, ensure_ascii=False).encode()
    assert read > 0


@pytest.mark.parametrize(
    "fields", [{"id": "pi_\ud800"}, {"currency": "eu\ud800"}, {"\ud800": 1}, {"status\ud800": "x"}], ids=ascii
)
def test_half_a_character_where_none_can_be_is_quarantined_and_not_tried_again(shop, fields):
    assert shop.post(event("payment_intent.created", intent("processing") | fields, at=T0)).status_code == 200
    drain_all()
    (row,) = kept(shop)
    assert (row.status, row.attempts) == ("quarantined", 1)
    assert "data.object" in row.last_error


def test_the_same_event_for_two_tenants_is_two_payments(shop, sandbox):
    other = make_shop(sandbox)
    given = event("payment_intent.succeeded", intent("succeeded"), at=T0)
    shop.take(given)
    other.take(given)
    with tenancy.tenant_scope(other.tenant.pk):
        assert Payment.objects.get().tenant_id == other.tenant.pk
    assert shop.payment("pi_1").tenant_id == shop.tenant.pk
