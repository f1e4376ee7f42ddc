"""Contacts, imports, segments, suppressions and forms in the admin: done by whoever may, refused in words."""

from __future__ import annotations

import re

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile

from messaging.models import Contact, ContactImport, Segment, SignupForm, Suppression
from messaging.tasks import drain_imports
from tests.admin.conftest import act_page, errors_of, send
from tests.admin.pages import change_page

pytestmark = pytest.mark.django_db(transaction=True)


def add_page(noun):
    return f"/admin/messaging/{noun}/add/"


def errors(answer):
    return [str(text) for texts in answer.context["adminform"].form.errors.values() for text in texts]


@pytest.fixture
def people(shop):
    with shop.open():
        return Contact.objects.create(email="a@example.com", tags=["old"], attributes={"a": 1, "b": 2})


def test_an_operator_changes_tags_attributes_and_time_zone_of_a_contact_and_a_viewer_does_not(shop, people):
    page = change_page(people)
    given = {"tags": "new, other", "attributes": '{"b": 3}', "timezone": "Europe/Athens"}
    given |= {
        f"{name}-{count}_FORMS": 0
        for name in ("identities", "consents", "consent_states")
        for count in ("TOTAL", "INITIAL")
    }
    shop.person("viewer").post(page, given)
    people = _again(shop, people)
    assert people.tags == ["old"]
    answer = shop.person("operator").post(page, given)
    assert answer.status_code == 302, errors(answer)
    people = _again(shop, people)
    assert (people.tags, people.attributes, people.timezone) == (["new", "other"], {"b": 3}, "Europe/Athens")
    assert [event.data["fields"] for event in shop.events("contact.updated")] == [["attributes", "tags", "timezone"]]


def _again(shop, row):
    with shop.open():
        return type(row).objects.get(pk=row.pk)


def test_what_a_contact_cannot_be_is_told(shop, people):
    given = {"tags": "x" * 65, "attributes": '{"b": [3]}', "timezone": "Mars"}
    answer = shop.person("owner").post(change_page(people), given)
    assert len(errors(answer)) == 3
    assert "At most 100 tags of at most 64 characters." in errors(answer)


def test_a_file_is_uploaded_watched_and_its_problems_downloaded(shop, stranger):
    operator = shop.person("operator")
    file = SimpleUploadedFile("people.csv", b"email\na@example.com\nnobody\n")
    given = {"file": file, "encoding": "auto", "duplicates": "merge", "mapping": "{}"}
    answer = operator.post(add_page("contactimport"), given)
    assert answer.status_code == 302, errors(answer)
    with shop.open():
        made = ContactImport.objects.get()
    drain_imports()
    text = operator.get(change_page(made)).content.decode()
    assert "2 of 2 rows" in text
    assert "finished" in text
    problems = b"".join(operator.get(act_page(made, "problems")).streaming_content).decode()
    assert problems.splitlines()[1].startswith("3,no,")
    assert problems.splitlines()[1].endswith(",nobody")
    assert stranger.get(change_page(made)).status_code == 302
    assert stranger.get(act_page(made, "problems")).status_code == 404


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"file": (b"name\nx\n")}, "no column says who a row is"),
        ({"file": (b"email\n"), "mapping": "[1]"}, "Give names of columns"),
        ({"file": (b"email\n"), "consent_channels": "sms"}, "is imported with its proof alone"),
        ({"file": (b"email\nZo\xeb\n")}, "line 2 has a byte that is not UTF-8"),
        ({}, "This field is required."),
    ],
)
def test_a_file_that_cannot_be_is_told_on_the_page(shop, given, sentence):
    body = {"encoding": "auto", "duplicates": "merge", "mapping": "{}", **given}
    if "file" in body:
        body["file"] = SimpleUploadedFile("people.csv", body["file"])
    answer = shop.person("operator").post(add_page("contactimport"), body)
    assert answer.status_code == 200
    assert any(sentence in error for error in errors(answer)), errors(answer)
    with shop.open():
        assert not ContactImport.objects.exists()


def test_a_segment_is_described_counted_and_taken_away(shop, people, stranger):
    operator = shop.person("operator")
    wanted = '{"all": [{"field": "contact.email", "op": "is_known"}]}'
    assert operator.post(add_page("segment"), {"name": "mail", "definition": wanted}).status_code == 302
    with shop.open():
        segment = Segment.objects.get()
    page = operator.get(act_page(segment, "look")).content.decode()
    assert "mail: 1 contacts now" in page
    assert "a@example.com" in page
    answer = operator.post(change_page(segment), {"name": "mail", "definition": '{"all": [{"field": "age"}]}'})
    assert any("all[0].field" in error for error in errors(answer))
    again = operator.post(add_page("segment"), {"name": "mail", "definition": ""})
    assert errors(again) == ["There is a segment of this name already."]
    assert shop.person("viewer").post(change_page(segment), {"name": "x", "definition": wanted}).status_code == 403
    assert stranger.get(act_page(segment, "look")).status_code == 404
    operator.post(change_page(segment).replace("/change/", "/delete/"), {"post": "yes"})
    with shop.open():
        assert not Segment.objects.exists()


def test_an_address_is_suppressed_once_and_lifted_with_a_reason(shop):
    operator = shop.person("operator")
    given = {"channel": "sms", "address": "(514) 555-0123", "source": "by phone"}
    assert operator.post(add_page("suppression"), given).status_code == 302
    assert errors(operator.post(add_page("suppression"), given)) == ["It is suppressed already."]
    assert errors(operator.post(add_page("suppression"), {**given, "address": "x"})) == ["This is no address for sms."]
    with shop.open():
        row = Suppression.objects.get()
    assert (row.address, row.reason, row.source) == ("+15145550123", "manual", "by phone")
    assert errors_of(send(operator, act_page(row, "lift"), reason="")) == ["This field is required."]
    send(operator, act_page(row, "lift"), reason="asked by phone")
    row = _again(shop, row)
    assert row.lifted_at is not None
    assert row.lifted_why == "asked by phone"
    assert shop.person("viewer").get(act_page(row, "lift")).status_code == 403


def test_an_owner_keeps_a_form_and_an_operator_looks(shop):
    owner = shop.person("owner")
    given = {"name": "news", "channels": ["sms", "email"], "text_shown": "Write to me", "double_opt_in": "on",
             "is_active": "on", "allowed_origins": "https://a.example.com\nHTTPS://b.example.com/"}  # fmt: skip
    answer = owner.post(add_page("signupform"), given)
    assert answer.status_code == 302, errors(answer)
    with shop.open():
        form = SignupForm.objects.get()
    assert form.allowed_origins == ["https://a.example.com", "https://b.example.com"]
    page = owner.get(change_page(form)).content.decode()
    (address,) = set(re.findall(r"http://localhost(/forms/[\w-]+)", page))
    assert owner.get(address).status_code == 200
    answer = owner.post(change_page(form), {**given, "allowed_origins": "a.example.com", "channels": []})
    assert len(errors(answer)) == 2
    owner.post(change_page(form), {**given, "is_active": ""})
    assert _again(shop, form).is_active is False
    assert shop.person("operator").post(change_page(form), given).status_code == 403
