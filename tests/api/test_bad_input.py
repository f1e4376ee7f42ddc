"""Bad input gets a problem document that says what to do: 4xx, never 5xx, and nothing of our inside."""

from __future__ import annotations

import base64
import json
from urllib.parse import quote

import pytest
from django.db import OperationalError
from rest_framework import serializers
from rest_framework.test import APIClient

from orders import views
from shopsync.serializers import Input
from tests.factories import make_tenant
from tests.world import make_person


def _cursor(text: str) -> str:
    return quote(base64.b64encode(text.encode()).decode())


BAD_QUERIES = [
    "cursor=nonsense", "cursor=%00", f"cursor={_cursor('p=abc')}", f"cursor={_cursor('p=1;drop table')}", "cursor=é",
    f"cursor={_cursor('p=99999999999999999999999')}", f"cursor={_cursor('o=abc')}", f"cursor={_cursor('p=-5')}",
    "page_size=0",
    "page_size=-1", "page_size=201", "page_size=many", "page_size=0000500", "page_size=%00", "page_size=٣",
    "shopify_id=abc", "shopify_id=1.5", "shopify_id=1e5", "shopify_id=%00", "shopify_id=" + "9" * 40,
    "email=a%00b@example.com", "name=%00", "financial_status=%00", "placed_after=yesterday", "placed_after=%00",
    "no_such_filter=1", "%00=1", "is_cancelled__x=1",
]  # fmt: skip


def _is_problem(answer, status: int) -> dict[str, object]:
    assert answer.status_code == status, answer.content[:300]
    assert answer["Content-Type"] == "application/problem+json"
    document = answer.json()
    assert document["status"] == status
    assert {"type", "title", "detail"} <= set(document)
    assert document["type"].startswith("http")
    assert not any(word in answer.content.decode() for word in ("Traceback", "psycopg", "SELECT", "/site-packages/"))
    return document


@pytest.mark.parametrize("query", BAD_QUERIES)
def test_a_bad_query_is_refused_by_name(newcomer, query):
    document = _is_problem(newcomer.get(f"/api/v1/orders?{query}"), 400)
    assert document["errors"]


@pytest.mark.parametrize("digits", ["7%0A", "7%0D", "%0A", "-7", "7e1", "٣"])
def test_a_filter_by_an_id_takes_digits_and_nothing_after_them(newcomer, digits):
    assert "order_id" in _is_problem(newcomer.get(f"/api/v1/payments?order_id={digits}"), 400)["errors"]


@pytest.mark.parametrize(
    "query", ["status=nonsense", "status=%00", "topic=%00", "webhook_id=a%00", "received_after=%F0%9F%98%80"]
)
def test_unknown_values_of_the_inboxs_filters_are_refused(newcomer, query):
    _is_problem(newcomer.get(f"/api/v1/webhook-events?{query}"), 400)


def test_an_unknown_filter_is_told_which_there_are(newcomer):
    document = _is_problem(newcomer.get("/api/v1/orders?finacial_status=paid"), 400)
    assert "financial_status" in document["errors"]["finacial_status"][0]


@pytest.mark.parametrize(
    "path", ["orders/0", "orders/99999999999999999999", "orders/abc", "orders/1/", "orders/", "nothing", "orders/%00"]
)
def test_what_is_not_there_is_404(newcomer, path):
    assert "/api/docs" in _is_problem(newcomer.get(f"/api/v1/{path}"), 404)["detail"]


@pytest.mark.parametrize("secret", ["", "x", "é" * 10, "\x00", "a" * 9000])
def test_keys_that_are_none_are_401(db, secret):
    _is_problem(APIClient(headers={"Authorization": f"Api-Key {secret}"}).get("/api/v1/orders"), 401)


@pytest.mark.parametrize("token", ["x", "a.b.c", "é", "e30.e30.e30", ""])
def test_tokens_that_are_none_are_401(db, token):
    _is_problem(APIClient(headers={"Authorization": f"Bearer {token}"}).get("/api/v1/orders"), 401)


def test_two_words_too_many_in_the_header_are_401(db):
    _is_problem(APIClient(headers={"Authorization": "Bearer a b c"}).get("/api/v1/orders"), 401)


BAD_BODIES = [
    (b"", "application/json"), (b"{", "application/json"), (b"\xff\xfe", "application/json"),
    (b"[]", "application/json"),
    (b"null", "application/json"), (b'"text"', "application/json"), (b"[" * 100_000, "application/json"),
    (b'{"username": "\\u0000", "password": "x"}', "application/json"),
    (b'{"username": "\\ud800", "password": "\\ud800"}', "application/json"),
    (b'{"username": {}, "password": []}', "application/json"),
    (b'{"username": "' + b"a" * 500 + b'", "password": "x"}', "application/json"),
    (b'{"username": "a", "password": "x", "tenant": "\\u0000"}', "application/json"),
]  # fmt: skip


@pytest.mark.parametrize(("body", "content_type"), BAD_BODIES)
@pytest.mark.parametrize("path", ["token", "refresh"])
def test_a_bad_body_is_400(db, nobody, path, body, content_type):
    _is_problem(nobody.post(f"/api/v1/auth/{path}", body, content_type=content_type), 400)


@pytest.mark.parametrize(
    "content_type", ["application/x-www-form-urlencoded", "text/xml", "nonsense", "multipart/form-data"]
)
def test_another_kind_of_body_is_415(db, nobody, content_type):
    document = _is_problem(nobody.post("/api/v1/auth/token", b"username=a", content_type=content_type), 415)
    assert "application/json" in document["detail"]


@pytest.mark.parametrize("value", ["text/html", "application/xml", "nonsense"])
def test_another_kind_of_answer_is_406(newcomer, value):
    assert "JSON" in _is_problem(newcomer.get("/api/v1/orders", headers={"Accept": value}), 406)["detail"]


@pytest.mark.parametrize("method", ["get", "put", "delete", "patch"])
def test_another_method_is_405(db, nobody, method):
    _is_problem(getattr(nobody, method)("/api/v1/auth/token"), 405)


def test_a_foreign_host_is_400(newcomer):
    _is_problem(newcomer.get("/api/v1/orders", headers={"Host": "evil.example.com"}), 400)


def test_a_failure_of_ours_says_nothing_of_the_inside(newcomer, monkeypatch):
    def fail(self: object) -> None:
        raise RuntimeError("the password is swordfish")

    monkeypatch.setattr(views.Orders, "get_queryset", fail)
    newcomer.raise_request_exception = False
    answer = newcomer.get("/api/v1/orders")
    _is_problem(answer, 500)
    assert b"swordfish" not in answer.content


def test_without_postgresql_the_answer_is_503_and_says_to_try_again(newcomer, monkeypatch):
    def fail(self: object) -> None:
        raise OperationalError("connection to 10.0.0.7 refused")

    monkeypatch.setattr(views.Orders, "get_queryset", fail)
    document = _is_problem(newcomer.get("/api/v1/orders"), 503)
    assert "try again" in document["detail"]
    assert "10.0.0.7" not in str(document)


def test_a_problem_names_itself_by_an_address_of_ours(nobody, db, settings):
    make_person("ann", tenant=make_tenant())
    document = _is_problem(nobody.get("/api/v1/orders"), 401)
    assert document["type"] == f"{settings.PUBLIC_URL}/problems/not-authenticated"


@pytest.mark.parametrize("moment", ["9999-12-31T23:59:59-23:59", "0001-01-01T00:00:00%2B23:59", "0000-01-01"])
@pytest.mark.parametrize(
    "query",
    ["messages?created_after", "orders?placed_after", "webhook-events?received_before", "audit-events?created_after"],
)
def test_a_date_at_the_edge_of_the_calendar_is_refused_in_words(owner, moment, query):
    answer = owner.get(f"/api/v1/{query}={moment}")
    assert (answer.status_code, answer["Content-Type"]) == (400, "application/problem+json")
    assert list(answer.json()["errors"]) == [query.partition("?")[2]]


@pytest.mark.parametrize(
    ("path", "field", "body"),
    [
        ("stock/hand-over", "to", {}),
        ("stock/adjust", "reason", {"variant_id": 1, "location_id": 1, "delta": 1}),
        ("orders/watches", "kind", {"hours": 1}),
    ],
)
def test_half_a_surrogate_pair_in_a_choice_is_refused_by_name(newcomer, path, field, body):
    raw = json.dumps({**body, field: "\ud800"})  # escaped, as it comes
    answer = newcomer.post(f"/api/v1/{path}", raw, content_type="application/json")
    assert answer.status_code == 400, answer.content
    assert answer.json()["errors"][field][0].startswith("Give one of ")


def inputs(shape=Input):
    for one in shape.__subclasses__():
        yield one
        yield from inputs(one)


def test_every_field_of_a_request_says_what_is_allowed_and_not_that_something_is_not_valid():
    shapes = [one for one in inputs() if not one.__module__.startswith("tests")]
    fields = [(shape, name, field) for shape in shapes for name, field in shape().fields.items()]
    assert len(fields) > 150
    for shape, name, field in fields:
        plain = getattr(field, "child", field)
        if isinstance(plain, serializers.RegexField):
            assert plain.error_messages["invalid"].startswith("Give "), (shape, name)
        if isinstance(plain, serializers.ChoiceField):
            assert plain.error_messages["invalid_choice"].startswith("Give one of "), (shape, name)


@pytest.mark.parametrize(
    ("path", "body", "field", "told"),
    [
        ("messages", {"contact_id": 1, "channel": "fax"}, "channel", "Give one of sms, email, whatsapp."),
        ("contacts", {"email": "a@b.gr", "country": "ZZ"}, "country",
         "Give one of AD, AE, AF and 247 more (ISO 3166-1)."),
        ("contacts", {"shopify_id": "x"}, "shopify_id", "Give the customer's id at Shopify, in digits."),
        ("contacts/forms", {"name": "x", "text_shown": "y", "channels": ["fax"]}, "channels",
         "Give one of sms, email, whatsapp."),
        ("suppressions", {"channel": "sms", "addresses": ["1"], "reason": "stop"}, "reason",
         "Give one of manual, import."),
    ],
)  # fmt: skip
def test_what_is_allowed_is_named_in_a_refusal(newcomer, path, body, field, told):
    answer = newcomer.post(f"/api/v1/{path}", body, format="json")
    assert (answer.status_code, answer.json()["errors"]) == (400, {field: [told]})


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("messages?channel=fax", "Give one of sms, email, whatsapp."),
        ("campaigns?status=old", "Give one of draft, scheduled, sending, paused, done, cancelled."),
        ("messages?contact_id=x", "Give a whole number, of 18 digits at most."),
    ],
)
def test_what_is_allowed_is_named_in_the_refusal_of_a_filter(newcomer, query, told):
    answer = newcomer.get(f"/api/v1/{query}")
    assert (answer.status_code, list(answer.json()["errors"].values())) == (400, [[told]])
