"""Templates: written in versions, checked, archived, and previewed for a contact; by API and in the admin."""

from __future__ import annotations

import html
import re
import uuid

import pytest
from django.db import DatabaseError, transaction
from django.test import Client
from django.utils import timezone
from rest_framework.test import APIClient

from audit.models import AuditEvent
from config.infra import tenancy
from messaging.actions.templates import (
    Draft,
    TemplateArchived,
    TemplateExists,
    archive_template,
    make_template,
    save_template,
)
from messaging.models import Contact, Template, TemplateVersion
from messaging.queries import preview_of
from messaging.rendering import TemplateError
from shopsync.actions.tenants import connect_service, create_api_key
from shopsync.models import IdempotentRequest, Membership, Tenant, User

pytestmark = pytest.mark.django_db
SMS = Draft(body="Hi {{ contact.first_name }}", defaults={"contact.first_name": "you"})
MAIL = Draft(subject="News of {{ tenant.name }}", body="<p>Hi {{ contact.first_name }}</p><script>x</script>")


@pytest.fixture
def shop(tenant):
    with tenancy.tenant_scope(tenant.pk):
        yield tenant


def make(draft: Draft = SMS, *, name: str = "Hello", channel: str = "sms") -> TemplateVersion:
    return make_template(name=name, channel=channel, draft=draft, actor="test")


def save(version: TemplateVersion, draft: Draft) -> TemplateVersion:
    return save_template(template_id=version.template_id, draft=draft, actor="test")


def key_of(tenant: Tenant) -> APIClient:
    with tenancy.tenant_scope(tenant.pk):
        return APIClient(headers={"Authorization": f"Api-Key {create_api_key(name='erp', actor='test').secret}"})


# Actions


def test_a_change_is_a_new_version_and_the_old_one_stays(shop):
    first = make()
    second = save(first, Draft(body="Hello {{ contact.first_name }}"))
    assert (first.number, second.number) == (1, 2)
    assert TemplateVersion.objects.get(pk=first.pk).body == "Hi {{ contact.first_name }}"
    assert AuditEvent.objects.filter(name="template.saved").count() == 2
    with pytest.raises(DatabaseError, match=r"append-only|never changed"), transaction.atomic():
        TemplateVersion.objects.filter(pk=first.pk).update(body="x")


def test_what_changes_nothing_makes_no_version(shop):
    first = make()
    assert save(first, SMS) == first
    assert TemplateVersion.objects.count() == 1


def test_a_name_is_given_once(shop, other_tenant):
    make()
    with pytest.raises(TemplateExists, match="Hello"):
        make(channel="email", draft=MAIL)
    with tenancy.tenant_scope(other_tenant.pk):
        assert make().number == 1


def test_an_archived_template_is_written_no_more(shop):
    version = make()
    for _ in range(2):
        archive_template(template_id=version.template_id, actor="test", now=timezone.now())
    assert AuditEvent.objects.filter(name="template.archived").count() == 1
    with pytest.raises(TemplateArchived):
        save(version, Draft(body="x"))


@pytest.mark.parametrize(
    ("channel", "draft", "field"),
    [
        ("sms", Draft(body=" "), "body"),
        ("sms", Draft(body="{{ x"), "body"),
        ("sms", Draft(body="{% for i in (1..999999) %}{% endfor %}"), "body"),
        ("sms", Draft(body="x", subject="s"), "subject"),
        ("whatsapp", Draft(body="x", text="s"), "text"),
        ("sms", Draft(body="x", defaults={"contact.first_name": "you"}), "defaults"),
        ("sms", Draft(body="{{ x }}", defaults={"x": "y" * 501}), "defaults"),
        ("sms", Draft(body="{{ contact.nope }}"), "body"),
        ("sms", Draft(body="{{ contact.nope }}", defaults={"contact.nope": "x"}), "body"),
        ("whatsapp", Draft(body="{{ tenat.name }}"), "body"),
        ("email", Draft(body="<p>{{ tenat.name }}</p>", subject="s"), "body"),
        ("email", Draft(body="x", subject="{{ contact.nope }}"), "subject"),
        ("email", Draft(body="x", subject="s", text="{{ order.name }}"), "text"),
        ("email", Draft(body="<p>x</p>"), "subject"),
        ("email", Draft(body="{% if %}", subject="s"), "body"),
        ("email", Draft(body="x", subject="s", text="{{ x | nofilter }}"), "text"),
    ],
)
def test_what_can_not_be_sent_is_not_kept(shop, channel, draft, field):
    with pytest.raises(TemplateError) as caught:
        make(channel=channel, draft=draft)
    assert caught.value.field == field
    assert Template.objects.count() == 0


# Previews


def preview(version: TemplateVersion, **fields):
    return preview_of(version=version, contact=Contact.objects.create(**fields))


def test_an_sms_is_shown_as_it_is_sent_and_charged(shop):
    version = make(
        Draft(body="“Hi” {{ contact.first_name }}… https://shop.example.com/a-rather-long-address/of/a/sale")
    )
    shown = preview(version, first_name="Zoë")
    assert re.fullmatch(r'"Hi" Zoë\.\.\. http://localhost/l/x{10}', shown.text) is None  # ë is not GSM-7
    shown = preview(version, first_name="Zoé")
    assert re.fullmatch(r'"Hi" Zoé\.\.\. http://localhost/l/x{10}', shown.text)
    assert (shown.encoding, shown.units, len(shown.parts)) == ("GSM-7", len(shown.text), 1)
    assert {(change.was, change.now) for change in shown.changes} == {("“", '"'), ("”", '"'), ("…", "...")}
    plain = preview(save(version, Draft(body="“x”" * 30, encodes_smartly=False)), first_name="A")
    assert (plain.encoding, len(plain.parts), plain.changes) == ("UCS-2", 2, ())


def test_a_whatsapp_message_is_no_sms(shop):
    shown = preview(make(Draft(body="“Hi” {{ contact.first_name }} 👋"), channel="whatsapp"), first_name="Zoë")
    assert (shown.text, shown.encoding, shown.parts) == ("“Hi” Zoë 👋", "", ())


def test_what_is_missing_is_named_and_shown_in_its_place(shop):
    version = make(Draft(body="{{ contact.last_name }} {{ contact.attributes.size }} {{ contact.email }}"))
    shown = preview(version, email="a@x.example")
    assert shown.text == "[contact.last_name] [contact.attributes.size] a@x.example"
    assert shown.missing == ("contact.last_name", "contact.attributes.size")
    assert shown.error == ""


def test_what_can_not_be_rendered_says_why(shop):
    version = make(Draft(body="{{ contact.tags | divided_by: 0 }}"))
    assert "can't be rendered" in preview(version).error


def test_an_e_mail_is_shown_with_its_footer_and_link(shop):
    connect_service(
        service="email", actor="test", name="m", account_id="postmark", postal_address="Shop Ltd\n1 Main St"
    )
    shown = preview(make(MAIL, channel="email"), first_name="<b>Ada")
    assert shown.subject == "News of First shop"
    assert "Hi &lt;b&gt;Ada" in shown.html
    assert "<script" not in shown.html
    assert shown.html.count(shown.unsubscribe_url) == 1
    assert "Shop Ltd<br>1 Main St" in shown.html
    assert shown.text.endswith(f"Unsubscribe: {shown.unsubscribe_url}")
    assert Client().get(shown.unsubscribe_url.removeprefix("http://localhost")).status_code == 404
    assert shown.warnings == ()


def test_an_e_mail_without_a_postal_address_is_warned_of(shop):
    assert "postal address" in preview(make(MAIL, channel="email"), first_name="Ada").warnings[0]


# API


@pytest.fixture
def owner_api(tenant):
    return key_of(tenant)


@pytest.fixture
def stranger_api(other_tenant):
    return key_of(other_tenant)


def body(**given):
    return {"name": "Hello", "channel": "sms", "body": "Hi {{ contact.first_name }}", **given}


def post(api, path, data=None, **headers):
    return api.post(f"/api/v1/templates{path}", data or {}, format="json", headers=headers)


def test_a_template_is_made_once_under_its_key(owner_api, shop):
    key = str(uuid.uuid4())
    first = post(owner_api, "", body(defaults={"contact.first_name": "you"}), **{"Idempotency-Key": key})
    again = post(owner_api, "", body(defaults={"contact.first_name": "you"}), **{"Idempotency-Key": key})
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.json() == again.json()
    assert first.json()["versions"][0]["defaults"] == {"contact.first_name": "you"}
    assert Template.objects.count() == 1
    assert post(owner_api, "", body()).json()["type"].endswith("template-exists")


def test_what_is_wrong_names_its_field(owner_api):
    answer = post(owner_api, "", body(body="{% if %}"))
    assert answer.status_code == 400
    assert "can't be parsed" in answer.json()["errors"]["body"][0]
    answer = post(owner_api, "", body(channel="email"))
    assert list(answer.json()["errors"]) == ["subject"]
    answer = post(owner_api, "", body(body="Hi {{ contact.frist_name }} {{ contact.attributes.anything }}"))
    assert list(answer.json()["errors"]) == ["body"]
    assert answer.json()["errors"]["body"][0].startswith("there is no contact.frist_name: ")
    assert answer.json()["errors"]["body"][0].endswith("did you mean contact.first_name?")
    assert post(owner_api, "", body(body="Hi {{ contact.attributes.anything }}")).status_code == 201
    assert post(owner_api, "", body(channel="fax")).status_code == 400
    assert post(owner_api, "", body(bdoy="x")).status_code == 400


def test_the_next_version_is_written_in_full_or_from_the_newest(owner_api, shop):
    pk = post(owner_api, "", body(defaults={"contact.first_name": "you"}, encodes_smartly=False)).json()["id"]
    path = f"/api/v1/templates/{pk}"
    changed = owner_api.patch(path, {"body": "Hey {{ contact.first_name }}"}, format="json").json()["versions"]
    assert [one["number"] for one in changed] == [2, 1]
    assert changed[0]["defaults"] == {"contact.first_name": "you"}
    assert changed[0]["encodes_smartly"] is False
    whole = owner_api.put(path, {"body": "Plain"}, format="json").json()["versions"]
    assert (whole[0]["number"], whole[0]["defaults"], whole[0]["encodes_smartly"]) == (3, {}, True)
    assert owner_api.put(path, {"body": "Plain"}, format="json").json()["versions"][0]["number"] == 3
    assert owner_api.put(path, {}, format="json").status_code == 400


def test_an_archived_one_is_listed_apart_and_not_written(owner_api):
    pk = post(owner_api, "", body()).json()["id"]
    assert post(owner_api, f"/{pk}/archive").json()["archived_at"]
    listed = "/api/v1/templates?is_archived="
    assert [row["id"] for row in owner_api.get(f"{listed}true").json()["results"]] == [pk]
    assert owner_api.get(f"{listed}false").json()["results"] == []
    assert owner_api.patch(f"/api/v1/templates/{pk}", {"body": "x"}, format="json").status_code == 409


def test_a_preview_is_made_anew_and_keeps_nothing_of_the_person(owner_api, shop):
    pk = post(owner_api, "", body()).json()["id"]
    contact = Contact.objects.create(first_name="Ada")
    key = {"Idempotency-Key": "k"}
    assert post(owner_api, f"/{pk}/preview", {"contact_id": contact.pk}, **key).json()["text"] == "Hi Ada"
    Contact.objects.update(first_name="Eva")
    assert post(owner_api, f"/{pk}/preview", {"contact_id": contact.pk}, **key).json()["text"] == "Hi Eva"
    assert IdempotentRequest.objects.count() == 0
    owner_api.patch(f"/api/v1/templates/{pk}", {"body": "Hey {{ contact.first_name }}"}, format="json")
    assert post(owner_api, f"/{pk}/preview", {"contact_id": contact.pk, "version": 1}).json()["text"] == "Hi Eva"
    assert post(owner_api, f"/{pk}/preview", {"contact_id": contact.pk}).json()["text"] == "Hey Eva"
    assert list(post(owner_api, f"/{pk}/preview", {"contact_id": contact.pk, "version": 9}).json()["errors"]) == [
        "version"
    ]


def test_a_stranger_sees_and_previews_nothing(owner_api, stranger_api, shop, other_tenant):
    pk = post(owner_api, "", body()).json()["id"]
    mine = Contact.objects.create(first_name="Ada")
    for path in (f"/{pk}/preview", f"/{pk}/archive"):
        assert post(stranger_api, path, {"contact_id": mine.pk}).status_code == 404
    assert stranger_api.get("/api/v1/templates").json()["results"] == []
    theirs = post(stranger_api, "", body()).json()["id"]
    answer = post(stranger_api, f"/{theirs}/preview", {"contact_id": mine.pk})
    assert list(answer.json()["errors"]) == ["contact_id"]


# Admin


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def written(shop):
    return make(MAIL, channel="email", name="Newsletter")


def keyed(client: Client, path: str) -> str:
    return re.search(r'name="key" value="([^"]+)"', client.get(path).content.decode()).group(1)


def test_staff_write_the_next_version_and_make_templates(staff, written):
    client = signed_in(staff)
    path = f"/admin/messaging/template/{written.template_id}/write/"
    page = client.get(path).content.decode()
    assert html.escape("<p>Hi {{ contact.first_name }}</p>") in page
    given = {"key": keyed(client, path), "subject": "New", "body": "<p>Bye</p>", "text": "", "defaults": "{}"}
    for _ in range(2):
        assert client.post(path, given).status_code == 302
    assert [one.number for one in written.template.versions.all()] == [2, 1]
    wrong = client.post(path, {**given, "key": keyed(client, path), "body": "{% if %}"})
    assert "can&#x27;t be parsed" in wrong.content.decode()
    make_path = "/admin/messaging/template/make/"
    given = {"key": keyed(client, make_path), "name": "Hi", "channel": "sms", "body": "Hi", "defaults": "{}"}
    assert client.post(make_path, given).status_code == 302
    assert Template.objects.get(name="Hi").versions.count() == 1


def test_a_preview_is_shown_in_a_frame_that_can_do_nothing(staff, written):
    contact = Contact.objects.create(first_name="<script>alert(1)</script>")
    client = signed_in(staff)
    path = f"/admin/messaging/template/{written.template_id}/preview/"
    assert client.get(path).status_code == 200
    answer = client.get(f"{path}?contact={contact.pk}")
    page = answer.content.decode()
    frame = re.search(r'<iframe[^>]*sandbox=""[^>]*srcdoc="([^"]*)"', page)
    assert frame is not None
    assert "Hi &lt;script&gt;" in html.unescape(frame.group(1))
    assert "<script>alert(1)" not in page
    assert "Content-Security-Policy" in answer
    assert "No such contact" in client.get(f"{path}?contact=999999").content.decode()
    assert "No such contact" in client.get(f"{path}?contact=x").content.decode()


def test_a_preview_of_an_sms_shows_its_parts(owner, shop):
    version = make(Draft(body="“Hi” {{ contact.last_name }}"))
    contact = Contact.objects.create(first_name="Ada")
    page = signed_in(owner).get(f"/admin/messaging/template/{version.template_id}/preview/?contact={contact.pk}")
    text = page.content.decode()
    assert "GSM-7" in text
    assert "[contact.last_name]" in text
    assert "<iframe" not in text


def test_a_template_is_archived_in_the_admin(staff, written):
    client = signed_in(staff)
    path = f"/admin/messaging/template/{written.template_id}/archive/"
    assert client.post(path, {"key": keyed(client, path)}).status_code == 302
    assert Template.objects.get(pk=written.template_id).archived_at is not None


def test_a_viewer_writes_nothing_and_a_stranger_finds_nothing(written, stranger, staff, tenant):
    Membership.objects.filter(user=staff).update(role="viewer")
    for page in ("write", "archive", "preview"):
        path = f"/admin/messaging/template/{written.template_id}/{page}/"
        assert signed_in(staff).get(path).status_code == 403, page
        assert signed_in(stranger).get(path).status_code in {403, 404, 302}, page
    listed = signed_in(staff).get("/admin/messaging/template/")
    assert "Newsletter" in listed.content.decode()
    assert "Newsletter" not in signed_in(stranger).get("/admin/messaging/template/").content.decode()
