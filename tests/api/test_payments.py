"""Payments over the API: who may give money back, what comes back, and how each refusal reads."""

from __future__ import annotations

import json

import pytest

from audit.models import AuditEvent
from config.infra import tenancy
from orders.models import GatewayRefund, Payment, PaymentCall, PaymentMismatch

pytestmark = pytest.mark.django_db


@pytest.fixture
def payment(world) -> Payment:
    return world.rows[Payment]


def refund(client, payment, body=None, **headers):
    raw = json.dumps({"amount": "20.00", "currency": "USD"} if body is None else body)
    path = f"/api/v1/payments/{payment.pk}/refunds"
    return client.post(path, raw, content_type="application/json", headers=headers)


def test_a_payment_is_shown_with_what_hangs_on_it(owner, payment):
    (row,) = owner.get("/api/v1/payments").json()["results"]
    assert (row["amount"], row["amount_refunded"], row["status"]) == ("129.00", "10.00", "partially_refunded")
    assert row["order_id"] is not None
    detail = owner.get(f"/api/v1/payments/{payment.pk}").json()
    assert [(one["amount"], one["status"]) for one in detail["refunds"]] == [("10.00", "succeeded")]
    assert [one["status"] for one in detail["disputes"]] == ["won"]


@pytest.mark.parametrize(
    ("query", "count"),
    [("status=partially_refunded", 1), ("status=paid", 0), ("provider_id=pi_world", 1), ("currency=EUR", 0)],
)
def test_payments_are_filtered(owner, world, query, count):
    assert len(owner.get(f"/api/v1/payments?{query}").json()["results"]) == count


def test_mismatches_are_listed_and_filtered(owner, world):
    (row,) = owner.get("/api/v1/payments/mismatches?is_open=true").json()["results"]
    assert (row["kind"], row["is_open"]) == ("refunds_differ", True)
    assert owner.get("/api/v1/payments/mismatches?kind=currency_differs").json()["results"] == []
    assert owner.get("/api/v1/payments/mismatches?kind=nonsense").status_code == 400
    assert owner.get(f"/api/v1/payments/mismatches/{world.rows[PaymentMismatch].pk}").status_code == 200


def test_a_mismatch_is_explained(owner, world):
    path = f"/api/v1/payments/mismatches/{world.rows[PaymentMismatch].pk}/accept"
    for note in ("", "x" * 501, "\x00", None):
        assert list(owner.post(path, {"note": note}, format="json").json()["errors"]) == ["note"]
    said = owner.post(path, {"note": "paid in the shop"}, format="json").json()
    assert (said["note"], said["is_open"], said["accepted_at"] is None) == ("paid in the shop", True, False)
    accepted = "/api/v1/payments/mismatches?is_accepted="
    assert [len(owner.get(accepted + word).json()["results"]) for word in ("true", "false")] == [1, 0]
    with tenancy.tenant_scope(world.tenant.pk):
        PaymentMismatch.objects.update(closed_at=said["accepted_at"])
    assert owner.post(path, {"note": "late"}, format="json").status_code == 409


def test_the_same_key_is_one_refund_and_another_body_under_it_is_refused(owner, world, payment):
    answers = [refund(owner, payment, **{"Idempotency-Key": "r-1"}) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [201, 201, 201]
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert answers[0].json()["status"] == "requested"
    other = refund(owner, payment, {"amount": "1.00", "currency": "USD"}, **{"Idempotency-Key": "r-1"})
    assert (other.status_code, other.json()["title"]) == (409, "Idempotency key used before")
    with tenancy.tenant_scope(world.tenant.pk):
        assert PaymentCall.objects.filter(kind="refund").count() == 1
        asked = AuditEvent.objects.get(name="refund.requested")
        assert asked.actor.startswith("api_key:")


def test_more_than_is_left_is_refused_with_what_is(owner, payment):
    refused = refund(owner, payment, {"amount": "119.01", "currency": "USD"})
    assert (refused.status_code, refused.json()["available"]) == (409, "119.00")
    assert refused.json()["type"].endswith("/problems/not-refundable")
    assert "amount" in refused.json()["errors"]
    assert refund(owner, payment, {"amount": "119.00", "currency": "USD"}).status_code == 201
    assert refund(owner, payment, {"amount": "0.01", "currency": "USD"}).json()["available"] == "0.00"


def test_owner_staff_and_stranger(owner, staff, stranger, nobody, world, payment):
    assert refund(staff, payment).status_code == 403
    assert refund(stranger, payment).status_code == 404
    assert refund(nobody, payment).status_code == 401
    with tenancy.tenant_scope(world.tenant.pk):
        assert GatewayRefund.objects.filter(is_ours=True).count() == 0
    assert refund(owner, payment).status_code == 201


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "amount"),
        ({"amount": "1"}, "currency"),
        ({"amount": "0", "currency": "USD"}, "amount"),
        ({"amount": "-1", "currency": "USD"}, "amount"),
        ({"amount": "1.001", "currency": "USD"}, "amount"),
        ({"amount": "1.00001", "currency": "USD"}, "amount"),
        ({"amount": "9" * 40, "currency": "USD"}, "amount"),
        ({"amount": "NaN", "currency": "USD"}, "amount"),
        ({"amount": "Infinity", "currency": "USD"}, "amount"),
        ({"amount": True, "currency": "USD"}, "amount"),
        ({"amount": [], "currency": "USD"}, "amount"),
        ({"amount": "\x00", "currency": "USD"}, "amount"),
        ({"amount": "\ud800", "currency": "USD"}, "amount"),
        ({"amount": "1", "currency": "usd"}, "currency"),
        ({"amount": "1", "currency": "EUR"}, "currency"),
        ({"amount": "1", "currency": "US\x00"}, "currency"),
        ({"amount": "1", "currency": 7}, "currency"),
        ({"amount": "1", "currency": "USD", "reason": "because"}, "reason"),
        ({"amount": "1", "currency": "USD", "amuont": "1"}, "amuont"),
        ([], "non_field_errors"),
    ],
    ids=lambda value: str(value)[:60].encode("ascii", "replace").decode(),
)
def test_a_bad_refund_names_the_field(owner, payment, body, field):
    answer = refund(owner, payment, body)
    assert answer.status_code == 400, answer.content
    assert field in answer.json()["errors"]


@pytest.mark.parametrize("key", ["", "a b", "é", "a" * 201])
def test_a_bad_key_is_refused(owner, payment, key):
    answer = refund(owner, payment, **{"Idempotency-Key": key})
    assert (answer.status_code, "Idempotency-Key" in answer.json()["errors"]) == (400, True)


def test_lists_read_a_fixed_number_of_queries(owner, world, payment, django_assert_num_queries):
    for path, queries in (("payments", 2), (f"payments/{payment.pk}", 4), ("payments/mismatches", 2)):
        with django_assert_num_queries(queries):
            assert owner.get(f"/api/v1/{path}").status_code == 200
