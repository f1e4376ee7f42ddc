"""JSON that can't be read or kept is refused beside its field, and the page shows it as it was sent."""

from __future__ import annotations

import json

import pytest

from messaging.models import Contact, Segment

pytestmark = pytest.mark.django_db(transaction=True)
UNREAD = {"field": "contact.email", "op": "is_known"}
ODD = {
    "digits": '{"a": ' + "1" * 5000 + "}",
    "nesting": "[" * 100_000,
    "deep": "[" * 101 + "]" * 101,
    "NUL": '{"a": "\\u0000"}',
    "half": '"\\ud800"',
    "NaN": '{"a": NaN}',
}


def told(answer, name):
    assert answer.status_code == 200
    return [str(sentence) for sentence in answer.context["adminform"].form.errors[name]]


@pytest.mark.parametrize("text", ODD.values(), ids=ODD)
@pytest.mark.parametrize(("model", "name"), [("contact", "attributes"), ("segment", "definition")])
def test_json_that_cannot_be_kept_is_refused_beside_its_field(shop, model, name, text):
    given = {"email": "z@example.com", "name": "x", name: text}
    answer = shop.person("operator").post(f"/admin/messaging/{model}/add/", given)
    (sentence,) = told(answer, name)
    assert sentence.startswith("This can't be kept:")
    assert answer.context["adminform"].form[name].value() == text


def test_a_number_that_no_attribute_holds_is_refused_in_words(shop):
    given = {"email": "z@example.com", "attributes": json.dumps({"a": 10**400})}
    (sentence,) = told(shop.person("operator").post("/admin/messaging/contact/add/", given), "attributes")
    assert sentence.startswith("a: a text of at most 500 characters, a number")
    with shop.open():
        assert not Contact.objects.exists()


@pytest.mark.parametrize("value", ["\0", "\ud800", {"\ud800": 1}])
def test_a_value_that_nothing_reads_must_be_one_that_can_be_kept(shop, value):
    given = {"name": "x", "definition": json.dumps({**UNREAD, "value": value})}
    (sentence,) = told(shop.person("operator").post("/admin/messaging/segment/add/", given), "definition")
    assert sentence.startswith("This can't be kept:")
    with shop.open():
        assert not Segment.objects.exists()
