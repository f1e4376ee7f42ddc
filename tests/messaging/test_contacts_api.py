"""Contacts on the API: made, changed, asked what they agreed to, imported and exported; each write once per key."""

from __future__ import annotations

import csv
import io

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile

from config.infra import tenancy
from messaging.actions.contacts import Profile, ensure_contact
from messaging.models import ConsentEntry, Contact, ContactImport
from messaging.tasks import drain_imports
from tests.factories import make_tenant
from tests.messaging.people import as_member, with_key

pytestmark = pytest.mark.django_db(transaction=True)
URL = "/api/v1/contacts"


@pytest.fixture
def tenant():
    return make_tenant(country="GR")


@pytest.fixture
def owner(tenant):
    return with_key(tenant)


@pytest.fixture
def staff(tenant):
    return as_member(tenant, "viewer")


@pytest.fixture
def stranger():
    return as_member(make_tenant(), "owner")


def post(client, url, body, key=None, **options):
    headers = {"Idempotency-Key": key} if key else {}
    return client.post(url, body, format=options.get("format", "json"), headers=headers)


def upload(text, name="people.csv"):
    return SimpleUploadedFile(name, text.encode(), content_type="text/csv")


ZOE = {
    "email": " ZOE@example.com",
    "phone": "6900000001",
    "external_id": "c-1",
    "first_name": "Zoë",
    "timezone": "Europe/Athens",
    "country": "GR",
    "region": "I",
    "attributes": {"size": 42, "vip": True},
    "tags": ["a", "b", "a"],
}


def test_a_contact_is_made_once_per_key_with_all_that_is_known(owner, tenant):
    first = post(owner, URL, ZOE, key="k1")
    again = post(owner, URL, ZOE, key="k1")
    assert (first.status_code, again.status_code, again.json()) == (201, 201, first.json())
    body = first.json()
    assert (body["email"], body["phone"], body["lifecycle"]) == ("zoe@example.com", "+306900000001", "lead")
    assert (body["attributes"], body["tags"], body["timezone"]) == (ZOE["attributes"], ["a", "b"], "Europe/Athens")
    assert {one["kind"] for one in body["identities"]} == {"email", "phone", "external"}
    with tenancy.tenant_scope(tenant.pk):
        assert Contact.objects.count() == 1
    assert post(owner, URL, {**ZOE, "email": "x@example.com"}, key="k1").status_code == 409


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"email": "nobody"}, "email"),
        ({"phone": "12"}, "phone"),
        ({"timezone": "Mars/Base"}, "timezone"),
        ({"country": "XX"}, "country"),
        ({"shopify_id": "gid"}, "shopify_id"),
        ({"tags": ["a,b"]}, "tags"),
        ({"tags": ["x" * 65]}, "tags"),
        ({"attributes": {"x": [1]}}, "attributes"),
        ({"attributes": {"x": "y" * 501}}, "attributes"),
        ({"attributes": {"x": 1e300}}, "attributes"),
        ({"attributes": {"x": 10**400}}, "attributes"),
        ({"attributes": {"": 1}}, "attributes"),
        ({"attributes": {"size ": 1}}, "attributes"),
        ({"attributes": {"x\0": 1}}, "attributes"),
        ({"attributes": [1]}, "attributes"),
        ({"first_name": "\0"}, "first_name"),
        ({"lifecycle": "customer"}, "lifecycle"),
    ],
)
def test_what_cannot_be_is_refused_by_its_field(owner, change, field):
    answer = post(owner, URL, {**ZOE, **change})
    assert answer.status_code == 400
    assert list(answer.json()["errors"]) == [field]


def test_nobody_is_made_of_nothing(owner):
    answer = post(owner, URL, {"first_name": "Nobody", "email": ""})
    assert (answer.status_code, list(answer.json()["errors"])) == (400, ["email"])


def test_somebody_elses_identity_is_refused_and_names_them(owner):
    known = post(owner, URL, ZOE).json()["id"]
    answer = post(owner, URL, {"email": "eva@example.com", "phone": "6900000001"})
    assert (answer.status_code, answer.json()["contact_id"]) == (400, known)
    assert list(answer.json()["errors"]) == ["phone"]
    other = post(owner, URL, {"email": "eva@example.com"}).json()["id"]
    assert owner.patch(f"{URL}/{other}", {"external_id": "c-1"}, format="json").status_code == 400


def test_a_contact_is_changed_field_by_field(owner):
    pk = post(owner, URL, ZOE).json()["id"]
    change = {"email": "new@example.com", "attributes": {"size": None, "shoe": "44"}, "tags": ["c"], "first_name": ""}
    body = owner.patch(f"{URL}/{pk}", change, format="json").json()
    assert (body["email"], body["first_name"], body["attributes"]) == (
        "new@example.com",
        "",
        {"vip": True, "shoe": "44"},
    )
    assert body["tags"] == ["c"]
    assert [one["value"] for one in body["identities"] if one["kind"] == "email"] == [
        "zoe@example.com",
        "new@example.com",
    ]
    assert body["phone"] == "+306900000001"


def test_a_change_by_hand_is_newer_than_what_shopify_said_before(owner, tenant):
    pk = post(owner, URL, ZOE).json()["id"]
    with tenancy.tenant_scope(tenant.pk):
        old = Profile(customer_shopify_id=None, email="zoe@example.com", phone="", first_name="Old", version="2020")
        ensure_contact(profile=old, actor="t")
    assert owner.get(f"{URL}/{pk}").json()["first_name"] == "Zoë"


def test_more_attributes_than_a_contact_may_have_are_refused(owner):
    pk = post(owner, URL, ZOE).json()["id"]
    many = {f"a{number}": number for number in range(99)}
    answer = owner.patch(f"{URL}/{pk}", {"attributes": many}, format="json")
    assert (answer.status_code, list(answer.json()["errors"])) == (400, ["attributes"])


def test_consent_is_stated_with_the_words_that_were_shown(owner, tenant):
    pk = post(owner, URL, ZOE).json()["id"]
    said = {"channel": "sms", "state": "subscribed", "text_shown": "Yes", "source": "till", "proof": {"till": 4}}
    body = post(owner, f"{URL}/{pk}/consents", said, key="k")
    assert body.status_code == 201
    assert post(owner, f"{URL}/{pk}/consents", said, key="k").json() == body.json()
    assert [(one["channel"], one["state"], one["address"]) for one in body.json()["consents"]] == [
        ("sms", "subscribed", "+306900000001")
    ]
    assert body.json()["lifecycle"] == "subscriber"
    gone = {"channel": "sms", "state": "unsubscribed"}
    assert post(owner, f"{URL}/{pk}/consents", gone).json()["consents"][0]["state"] == "unsubscribed"
    ledger = owner.get(f"{URL}/{pk}/consents").json()["results"]
    assert [(one["state"], one["proof"]) for one in ledger] == [("unsubscribed", {}), ("subscribed", {"till": 4})]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"text_shown": " "}, "text_shown"),
        ({"stated_at": "2999-01-01T00:00:00Z"}, "stated_at"),
        ({"channel": "fax"}, "channel"),
        ({"channel": "email", "address": "nobody"}, "address"),
        ({"source": "form:3"}, "source"),
    ],
)
def test_consent_that_cannot_be_is_refused_by_its_field(owner, tenant, change, field):
    pk = post(owner, URL, ZOE).json()["id"]
    said = {"channel": "sms", "state": "subscribed", "text_shown": "Yes", **change}
    answer = post(owner, f"{URL}/{pk}/consents", said)
    assert (answer.status_code, list(answer.json()["errors"])) == (400, [field])
    with tenancy.tenant_scope(tenant.pk):
        assert not ConsentEntry.objects.exists()


def test_whoever_has_no_address_on_a_channel_consents_to_nothing_there(owner):
    pk = post(owner, URL, {"external_id": "x"}).json()["id"]
    answer = post(owner, f"{URL}/{pk}/consents", {"channel": "sms", "state": "unsubscribed"})
    assert answer.json()["errors"] == {"address": ["The contact has no address for sms."]}


def test_contacts_are_found_by_tag_external_id_and_lifecycle(owner):
    pk = post(owner, URL, ZOE).json()["id"]
    for query, count in (("tag=a", 1), ("tag=z", 0), ("external_id=c-1", 1), ("lifecycle=lead", 1)):
        assert [row["id"] for row in owner.get(f"{URL}?{query}").json()["results"]] == [pk] * count


def test_staff_who_only_look_write_nothing_and_a_stranger_finds_nothing(owner, staff, stranger):
    pk = post(owner, URL, ZOE).json()["id"]
    assert staff.get(f"{URL}/{pk}").status_code == 200
    assert post(staff, URL, ZOE).status_code == 403
    assert staff.get(f"{URL}/export").status_code == 403
    assert stranger.get(f"{URL}/{pk}/consents").status_code == 404
    assert stranger.patch(f"{URL}/{pk}", {"first_name": "x"}, format="json").status_code == 404
    assert b"zoe@" not in b"".join(stranger.get(f"{URL}/export").streaming_content)


def test_a_file_is_imported_once_per_key_and_shows_how_far_it_is(owner, staff, stranger, tenant):
    body = {"mapping": '{"Points": "attributes.points"}', "duplicates": "skip"}
    text = "email,Points\na@example.com,7\nnobody,8\n"
    first = post(owner, f"{URL}/imports", {**body, "file": upload(text)}, key="k", format="multipart")
    again = post(owner, f"{URL}/imports", {**body, "file": upload(text)}, key="k", format="multipart")
    assert (first.status_code, again.json()) == (202, first.json()), first.content
    other = post(owner, f"{URL}/imports", {**body, "file": upload("email\n")}, key="k", format="multipart")
    assert other.status_code == 409
    pk = first.json()["id"]
    assert (first.json()["state"], first.json()["columns"]) == (
        "waiting",
        {"email": "email", "Points": "attributes.points"},
    )
    with tenancy.no_scope():
        drain_imports()
    row = staff.get(f"{URL}/imports/{pk}").json()
    assert (row["state"], row["created_count"], row["error_count"]) == ("finished", 1, 1)
    problems = owner.get(f"{URL}/imports/{pk}/problems", headers={"Accept": "text/csv"})
    assert problems["Content-Type"] == "text/csv; charset=utf-8"
    (row,) = csv.DictReader(io.StringIO(b"".join(problems.streaming_content).decode()))
    assert (row["line"], row["email"]) == ("3", "nobody")
    assert staff.get(f"{URL}/imports/{pk}/problems").status_code == 403
    assert stranger.get(f"{URL}/imports/{pk}").status_code == 404
    assert stranger.get(f"{URL}/imports/{pk}/problems").status_code == 404


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "file"),
        ({"file": "text"}, "file"),
        ({"file": upload("name\nx\n")}, "mapping"),
        ({"file": upload("email\n"), "mapping": "[1]"}, "mapping"),
        ({"file": upload("email\n"), "mapping": '{"email": "\\ud800"}'}, "mapping"),
        ({"file": upload("email,accepts marketing\na@example.com,yes\n")}, "consent"),
        ({"file": upload("email\n"), "segment_id": "7"}, "segment_id"),
        ({"file": upload("email\n"), "encoding": "ebcdic"}, "encoding"),
    ],
)
def test_a_file_that_cannot_be_is_refused_by_its_field(owner, tenant, body, field):
    answer = post(owner, f"{URL}/imports", body, format="multipart")
    assert answer.status_code == 400
    assert list(answer.json()["errors"]) == [field]
    with tenancy.tenant_scope(tenant.pk):
        assert not ContactImport.objects.exists()


def test_consent_is_imported_with_its_proof(owner, tenant):
    proof = {
        "consent_channels": ["email"],
        "consent_source": "fair",
        "consent_text": "Yes",
        "consent_at": "2026-01-01T00:00Z",
    }
    answer = post(owner, f"{URL}/imports", {"file": upload("email\na@example.com\n"), **proof}, format="multipart")
    assert (answer.status_code, answer.json()["consent_channels"]) == (202, ["email"])


def test_an_export_is_a_file_of_ones_own_contacts(owner):
    post(owner, URL, ZOE)
    answer = owner.get(f"{URL}/export", headers={"Accept": "text/csv"})
    assert answer["Content-Disposition"] == 'attachment; filename="contacts.csv"'
    assert answer.streaming
    (row,) = csv.DictReader(io.StringIO(b"".join(answer.streaming_content).decode()))
    assert (row["email"], row["phone"], row["attributes.size"]) == ("zoe@example.com", "'+306900000001", "42")
    assert owner.get(f"{URL}/export?segment_id=7").status_code == 404
    assert owner.get(f"{URL}/export?segment_id=x").status_code == 400
