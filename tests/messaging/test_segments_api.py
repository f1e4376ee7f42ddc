"""Segments on the API: described or listed, counted, looked at, filled by ids and by files."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile

from config.infra import tenancy
from messaging.actions.campaigns import InvalidCampaign
from messaging.actions.consent import state_consent
from messaging.actions.imports import Options, start_import
from messaging.actions.segments import delete_segment
from messaging.models import Contact, ContactIdentity, Segment
from messaging.tables import TableError
from messaging.tasks import drain_imports
from tests.factories import make_tenant, while_uncommitted
from tests.messaging.campaigns import make_campaign
from tests.messaging.people import as_member, with_key

pytestmark = pytest.mark.django_db(transaction=True)
URL = "/api/v1/segments"
GREEKS = {"all": [{"field": "contact.country", "op": "is", "value": "GR"}]}


@pytest.fixture
def tenant():
    return make_tenant(country="GR")


@pytest.fixture
def owner(tenant):
    return with_key(tenant)


@pytest.fixture
def people(tenant):
    with tenancy.tenant_scope(tenant.pk):
        made = [Contact.objects.create(country=country, email=f"{country}@x.com".lower()) for country in ("GR", "US")]
        for contact in made:
            ContactIdentity.objects.create(contact=contact, kind="email", value=contact.email)
        ContactIdentity.objects.create(contact=made[0], kind="phone", value="+306900000001")
        return made


def make(owner, key=None, **body):
    return owner.post(URL, body, format="json", headers={"Idempotency-Key": key} if key else {})


def test_a_segment_is_made_counted_sampled_changed_and_taken_away(owner, people, tenant):
    made = make(owner, key="k", name="Greeks", definition=GREEKS)
    assert (made.status_code, made.json()) == (201, make(owner, key="k", name="Greeks", definition=GREEKS).json())
    url = f"{URL}/{made.json()['id']}"
    assert owner.get(f"{url}/count").json() == {"count": 1}
    assert [row["email"] for row in owner.get(f"{url}/sample").json()] == ["gr@x.com"]
    everybody = owner.patch(url, {"definition": {"all": []}}, format="json").json()
    assert (everybody["name"], owner.get(f"{url}/count").json()) == ("Greeks", {"count": 2})
    assert owner.patch(url, {"name": "All"}, format="json").json()["definition"] == {"all": []}
    assert owner.delete(url).status_code == 204
    with tenancy.tenant_scope(tenant.pk):
        assert not Segment.objects.exists()
        assert Contact.objects.count() == 2


def test_a_sample_shows_the_consent_that_was_stated_last(owner, people, tenant):
    with tenancy.tenant_scope(tenant.pk):
        for day, state in ((1, "subscribed"), (2, "unsubscribed")):
            stated = datetime(2026, 1, day, tzinfo=UTC)
            state_consent(contact=people[0], channel="email", state=state, source="x", stated_at=stated, actor="t")
    url = f"{URL}/{make(owner, name='Greeks', definition=GREEKS).json()['id']}/sample"
    assert [one["state"] for one in owner.get(url).json()[0]["consents"]] == ["unsubscribed"]


@pytest.mark.parametrize(
    ("body", "field", "sentence"),
    [
        ({"name": "x", "definition": {"all": [{"field": "age"}]}}, "definition", "all[0].field: one of all, any"),
        ({"name": "x", "definition": [1]}, "definition", "the segment: an object is needed"),
        ({"name": "x", "definition": 7}, "definition", "the segment: an object is needed"),
        ({"name": " "}, "name", "This field may not be blank."),
        ({"definition": GREEKS}, "name", "This field is required."),
        ({"name": "taken"}, "name", "There is a segment 'taken' already"),
    ],
)
def test_what_is_no_segment_is_refused_in_words(owner, body, field, sentence):
    make(owner, name="taken")
    answer = make(owner, **body)
    assert answer.status_code == 400
    assert answer.json()["errors"][field][0].startswith(sentence)


def test_a_description_is_tried_out_and_not_kept(owner, people, tenant):
    assert owner.post(f"{URL}/preview", {"definition": GREEKS}, format="json").json() == {"count": 1}
    assert owner.post(f"{URL}/preview", {"definition": {"x": 1}}, format="json").status_code == 400
    with tenancy.tenant_scope(tenant.pk):
        assert not Segment.objects.exists()


@pytest.mark.parametrize("name", ["a\ud800", "a\0"])
def test_a_name_that_no_database_takes_is_refused_by_its_place(owner, name):
    body = json.dumps({"definition": {"field": f"contact.attributes.{name}", "op": "is_known"}})
    answer = owner.post(f"{URL}/preview", body, content_type="application/json")
    assert answer.status_code == 400
    assert "the name of an attribute is needed" in str(answer.json()["errors"])


def test_a_value_that_nothing_reads_and_no_database_keeps_is_refused_by_its_field(owner):
    for value in ("\0", "\ud800"):
        body = json.dumps({"name": "x", "definition": {"field": "contact.email", "op": "is_known", "value": value}})
        answer = owner.post(URL, body, content_type="application/json")
        assert answer.status_code == 400
        assert answer.json()["errors"]["definition"] == ["value: it is not asked for, and can't be kept; leave it out"]


def test_a_list_is_filled_and_emptied_by_ids(owner, people):
    url = f"{URL}/{make(owner, name='list').json()['id']}"
    ids = [contact.pk for contact in people]
    assert owner.post(f"{url}/members", {"add": [*ids, 10**9]}, format="json").json()["added"] == 2
    body = owner.post(f"{url}/members", {"add": ids, "remove": ids[:1]}, format="json").json()
    assert body == {"added": 0, "removed": 1, "unknown": []}
    assert owner.get(f"{url}/count").json() == {"count": 1}


def test_a_list_is_filled_and_emptied_by_what_people_are_known_by(owner, people):
    url = f"{URL}/{make(owner, name='list').json()['id']}/members"
    add = ["GR@x.com", "+30 690 000 0001", "us@x.com", "nobody@x.com"]
    body = owner.post(url, {"add": [10**9], "add_identities": add}, format="json").json()
    assert body == {"added": 2, "removed": 0, "unknown": ["1000000000", "nobody@x.com"]}
    assert owner.post(url, {"remove_identities": ["us@x.com"]}, format="json").json()["removed"] == 1
    assert [row["email"] for row in owner.get(url).json()["results"]] == ["gr@x.com"]
    refused = owner.post(url, {"add_identities": ["6900000001"]}, format="json")  # an id, or a phone?
    assert (refused.status_code, list(refused.json()["errors"])) == (400, ["add_identities"])


def test_members_of_a_list_are_read_page_by_page(owner, tenant, people):
    url = f"{URL}/{make(owner, name='list').json()['id']}/members"
    for contact in people:
        owner.post(url, {"add": [contact.pk]}, format="json")
    first = as_member(tenant, "viewer").get(f"{url}?page_size=1").json()
    second = owner.get(first["next"]).json()
    assert [row["contact_id"] for page in (first, second) for row in page["results"]] == [people[1].pk, people[0].pk]
    assert second["next"] is None
    stranger = as_member(make_tenant(), "owner")
    assert stranger.get(url).status_code == 404
    described = make(owner, name="Greeks", definition=GREEKS).json()["id"]
    answer = owner.get(f"{URL}/{described}/members")
    assert (answer.status_code, answer.json()["detail"]) == (
        409,
        "It is described: only a list has members that are put on it.",
    )


def test_a_described_segment_takes_no_members(owner, people):
    url = f"{URL}/{make(owner, name='Greeks', definition=GREEKS).json()['id']}"
    answer = owner.post(f"{url}/members", {"add": [people[0].pk]}, format="json")
    assert (answer.status_code, "It is described" in answer.json()["detail"]) == (409, True)
    assert owner.patch(url, {"definition": None}, format="json").status_code == 400


def test_what_a_description_names_is_not_taken_away(owner):
    kept = make(owner, name="do not write to").json()["id"]
    make(owner, name="others", definition={"field": "list", "op": "not_in", "value": kept})
    answer = owner.delete(f"{URL}/{kept}")
    assert (answer.status_code, answer.json()["detail"]) == (
        409,
        "It is used by descriptions of segments: 'others'. Only what nothing uses can be taken away.",
    )
    assert owner.get(f"{URL}/{kept}").status_code == 200


def test_what_a_campaign_is_for_is_not_taken_away(owner, tenant):
    used = make(owner, name="Greeks", definition=GREEKS).json()["id"]
    with tenancy.tenant_scope(tenant.pk):
        for _ in range(5):
            make_campaign(tenant, segment_id=used)
    answer = owner.delete(f"{URL}/{used}")
    assert (answer.status_code, answer.json()["type"].endswith("segment-refused")) == (409, True)
    assert re.fullmatch(
        r"It is used by campaigns: ('Campaign \d+', ){2}'Campaign \d+' and 2 more\. Only what nothing uses can .*",
        answer.json()["detail"],
    )


def start(listed):
    options = Options(file_name="people.csv", segment_id=listed)
    return start_import(pieces=[b"email\nann@example.com\n"], options=options, actor="test")


def test_a_list_is_not_taken_away_while_an_import_fills_it(owner, tenant):
    listed = make(owner, name="list").json()["id"]
    with tenancy.tenant_scope(tenant.pk):
        start(listed)
        answer = owner.delete(f"{URL}/{listed}")
        assert (answer.status_code, "imports that still run: 'people.csv'" in answer.json()["detail"]) == (409, True)
        drain_imports()
    assert owner.delete(f"{URL}/{listed}").status_code == 204


@pytest.mark.parametrize("use", ["import", "campaign"])
def test_a_segment_that_somebody_begins_to_use_at_this_moment_is_not_taken_away(owner, tenant, use):
    pk = make(owner, name="list").json()["id"]
    begin = {"import": lambda: start(pk), "campaign": lambda: make_campaign(tenant, segment_id=pk)}[use]
    with tenancy.tenant_scope(tenant.pk):
        answer = while_uncommitted(begin, lambda: owner.delete(f"{URL}/{pk}"))
        assert (answer.status_code, f"used by {use}s" in answer.json()["detail"]) == (409, True)


@pytest.mark.parametrize(("use", "refusal"), [("import", TableError), ("campaign", InvalidCampaign)])
def test_who_begins_to_use_what_is_taken_away_at_this_moment_is_told(owner, tenant, use, refusal):
    pk = make(owner, name="list").json()["id"]
    begin = {"import": lambda: start(pk), "campaign": lambda: make_campaign(tenant, segment_id=pk)}[use]
    with tenancy.tenant_scope(tenant.pk), pytest.raises(refusal, match=r"segment|static list"):
        while_uncommitted(lambda: delete_segment(segment_id=pk, actor="test"), begin)


def test_a_list_is_filled_and_emptied_by_a_file(owner, people):
    url = f"{URL}/{make(owner, name='list').json()['id']}"
    text = f"contact,note\n GR@x.com ,first\n'+306900000001,same\n{people[1].pk},by id\nnobody@x.com,\n999999,\n"

    def send(**fields):
        file = SimpleUploadedFile("list.csv", text.encode("utf-8-sig"))
        return owner.post(f"{url}/upload", {"file": file, **fields}, format="multipart")

    assert send().json() == {"added": 2, "removed": 0, "unknown": ["contact", "nobody@x.com", "999999"]}
    assert send(remove="true").json()["removed"] == 2
    bad = owner.post(f"{url}/upload", {"file": SimpleUploadedFile("x", b"\xff\x81")}, format="multipart")
    assert (bad.status_code, list(bad.json()["errors"])) == (400, ["file"])


def test_staff_who_only_look_change_nothing_and_a_stranger_finds_nothing(owner, tenant, people):
    staff, stranger = as_member(tenant, "viewer"), as_member(make_tenant(), "owner")
    pk = make(owner, name="list").json()["id"]
    assert staff.get(f"{URL}/{pk}/count").json() == {"count": 0}
    assert staff.post(f"{URL}/{pk}/members", {"add": [people[0].pk]}, format="json").status_code == 403
    assert stranger.get(f"{URL}/{pk}/sample").status_code == 404
    assert stranger.post(f"{URL}/{pk}/upload", {}, format="json").status_code == 404
    theirs = make(stranger, name="theirs").json()["id"]
    taken = stranger.post(f"{URL}/{theirs}/members", {"add": [people[0].pk]}, format="json")
    assert taken.json()["added"] == 0


def test_suppressions_are_listed_added_and_lifted_with_a_reason(owner, tenant):
    url = "/api/v1/suppressions"
    staff, stranger = as_member(tenant, "viewer"), as_member(make_tenant(), "owner")
    body = {"channel": "sms", "addresses": ["6900000001", "+306900000001", "12"], "source": "a list of ours"}
    made = owner.post(url, body, format="json", headers={"Idempotency-Key": "k"})
    assert (made.status_code, made.json()) == (201, {"suppressed": 1, "invalid": ["12"]})
    assert owner.post(url, body, format="json", headers={"Idempotency-Key": "k"}).json() == made.json()
    (row,) = staff.get(f"{url}?is_lifted=false").json()["results"]
    assert (row["address"], row["reason"], row["source"]) == ("+306900000001", "manual", "a list of ours")
    one = f"{url}/{row['id']}"
    assert staff.post(f"{one}/lift", {"reason": "x"}, format="json").status_code == 403
    assert stranger.post(f"{one}/lift", {"reason": "x"}, format="json").status_code == 404
    assert owner.post(f"{one}/lift", {}, format="json").status_code == 400
    lifted = owner.post(f"{one}/lift", {"reason": "asked by phone"}, format="json").json()
    assert (lifted["lifted_why"], lifted["lifted_by"][:8]) == ("asked by phone", "api_key:")
    assert owner.post(f"{one}/lift", {"reason": "again"}, format="json").status_code == 409
    assert owner.get(f"{url}?is_lifted=false").json()["results"] == []
    assert owner.post(url, {**body, "reason": "stop"}, format="json").status_code == 400
