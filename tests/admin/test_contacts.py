"""Contacts in the admin: added, changed, exported; and what they agreed to, stated by hand."""

from __future__ import annotations

import csv
import re

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile

from messaging.models import ConsentEntry, ConsentState, Contact, ContactIdentity, ContactImport
from tests.admin.conftest import act_page, errors_of, send
from tests.admin.pages import change_page, list_page

pytestmark = pytest.mark.django_db(transaction=True)
ADD = "/admin/messaging/contact/add/"
INLINES = {
    f"{name}-{count}_FORMS": 0
    for name in ("identities", "consents", "consent_states")
    for count in ("TOTAL", "INITIAL")
}


def errors(answer):
    return [str(text) for texts in answer.context["adminform"].form.errors.values() for text in texts]


@pytest.fixture
def zoe(shop):
    with shop.open():
        made = Contact.objects.create(first_name="Zoë", email="zoe@example.com", phone="+15145550101", country="CA")
        ContactIdentity.objects.create(contact=made, kind="email", value=made.email)
        ContactIdentity.objects.create(contact=made, kind="phone", value=made.phone)
        return made


def identities(shop, contact):
    with shop.open():
        return set(ContactIdentity.objects.filter(contact=contact).values_list("kind", "value"))


def test_a_contact_is_added_as_the_api_would(shop):
    operator = shop.person("operator")
    given = {"first_name": "Ada", "email": "ADA@example.com", "phone": "(514) 555-0123", "country": "CA",
             "shopify_id": "77", "tags": "vip", "attributes": '{"size": 42}'}  # fmt: skip
    answer = operator.post(ADD, given)
    assert answer.status_code == 302, errors(answer)
    with shop.open():
        made = Contact.objects.get()
    assert (made.email, made.phone, made.tags, made.attributes) == (
        "ada@example.com", "+15145550123", ["vip"], {"size": 42},
    )  # fmt: skip
    wanted = {("email", "ada@example.com"), ("phone", "+15145550123"), ("shopify_customer", "77")}
    assert identities(shop, made) == wanted
    (event,) = shop.events("contact.created")
    assert event.actor.startswith("user:")


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"first_name": "Ada"}, "Give at least one of shopify_id, external_id, email, phone, whatsapp"),
        ({"email": "nobody"}, "This is no e-mail address."),
        ({"phone": "12"}, "This is no possible number; write it with + and the country's prefix."),
        ({"email": "ada@example.com", "shopify_id": "x"}, "Give the customer's id at Shopify, in digits."),
        ({"email": "ZOE@example.com"}, "This email belongs to contact {zoe} already; change that one."),
    ],
)
def test_who_cannot_be_added_is_told_beside_the_field(shop, zoe, given, sentence):
    told = errors(shop.person("operator").post(ADD, given))
    assert len(told) == 1
    assert told[0].startswith(sentence.format(zoe=zoe.pk))
    with shop.open():
        assert Contact.objects.count() == 1


def test_a_contact_is_changed_field_by_field_and_keeps_its_old_identities(shop, zoe):
    operator = shop.person("operator")
    page = operator.get(change_page(zoe)).content.decode()
    assert 'name="external_id"' in page
    sent = {"first_name": "Zoe", "email": "new@example.com", "phone": zoe.phone, "external_id": "c-9", "country": "CA"}
    answer = operator.post(change_page(zoe), {**sent, **INLINES})
    assert answer.status_code == 302, errors(answer)
    assert identities(shop, zoe) == {
        ("email", "zoe@example.com"), ("email", "new@example.com"), ("phone", zoe.phone), ("external", "c-9"),
    }  # fmt: skip
    (event,) = shop.events("contact.updated")
    assert event.data["fields"] == ["email", "external_id", "first_name"]
    with shop.open():
        assert Contact.objects.get().timezone == zoe.timezone  # what was not sent stays


def test_what_somebody_else_is_known_by_is_refused_as_a_contact_is_changed(shop, zoe):
    with shop.open():
        other = Contact.objects.create(email="other@example.com")
    answer = shop.person("operator").post(change_page(other), {"email": "zoe@example.com", **INLINES})
    assert errors(answer) == [f"This email belongs to contact {zoe.pk} already; change that one."]


def test_a_viewer_looks_and_a_stranger_finds_nothing(shop, zoe, stranger):
    viewer = shop.person("viewer")
    page = viewer.get(change_page(zoe))
    assert page.status_code == 200
    assert 'name="external_id"' not in page.content.decode()
    assert viewer.get(ADD).status_code == 403
    assert viewer.post(change_page(zoe), {"first_name": "X", **INLINES}).status_code == 403
    assert viewer.get(act_page(zoe, "consent")).status_code == 403
    assert stranger.get(act_page(zoe, "consent")).status_code == 404


def state_of(shop, channel):
    with shop.open():
        return ConsentState.objects.filter(channel=channel).values_list("state", "address").first()


def test_consent_is_stated_with_its_words_once_and_taken_back(shop, zoe):
    operator, page = shop.person("operator"), act_page(zoe, "consent")
    said = {"channel": "sms", "state": "subscribed", "source": "till", "opt_in_level": "single_opt_in"}
    send(operator, page, **said, text_shown="Write to me by SMS", stated_at_0="2026-11-01", stated_at_1="09:30")
    assert state_of(shop, "sms") == ("subscribed", zoe.phone)
    with shop.open():
        entry = ConsentEntry.objects.get()
    assert (entry.text_shown, entry.source, entry.opt_in_level) == ("Write to me by SMS", "till", "single_opt_in")
    assert shop.events("consent.stated")[-1].actor.startswith("user:")
    send(operator, page, **{**said, "state": "unsubscribed", "source": "phone"})
    assert state_of(shop, "sms") == ("unsubscribed", zoe.phone)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({}, "Send the words that the person agreed to."),
        ({"text_shown": "Yes", "stated_at_0": "2999-01-01", "stated_at_1": "09:00"}, "It is to come"),
        ({"text_shown": "Yes", "channel": "email", "address": "nobody"}, "This is no address for email."),
        ({"text_shown": "Yes", "source": "<b>"}, "Give 1 to 30 letters, digits, blanks,"),
    ],
)
def test_a_statement_that_cannot_be_is_refused_in_words(shop, zoe, given, sentence):
    said = {"channel": "sms", "state": "subscribed", "source": "till", "opt_in_level": "unknown", **given}
    (told,) = errors_of(send(shop.person("operator"), act_page(zoe, "consent"), **said))
    assert told.startswith(sentence)
    with shop.open():
        assert not ConsentEntry.objects.exists()


def rows_of(answer):
    text = b"".join(answer.streaming_content).decode()
    return [row["email"] for row in csv.DictReader(text.splitlines())]


def test_chosen_and_filtered_contacts_are_exported(shop, zoe, stranger):
    with shop.open():
        others = [Contact.objects.create(email=f"{n}@example.com", lifecycle="customer") for n in range(2)]
    operator, url = shop.person("operator"), list_page(Contact)
    chosen = {"action": "export", "_selected_action": [zoe.pk, others[0].pk]}
    assert rows_of(operator.post(url, chosen)) == ["zoe@example.com", "0@example.com"]
    everybody = {"action": "export", "_selected_action": [others[0].pk], "select_across": "1"}
    assert rows_of(operator.post(f"{url}?lifecycle__exact=customer", everybody)) == ["0@example.com", "1@example.com"]
    assert [event.data for event in shop.events("contacts.exported")] == [{"contacts": 2}] * 2
    assert not shop.person("viewer").post(url, chosen).streaming
    assert rows_of(stranger.post(url, chosen)) == []
    assert len(shop.events("contacts.exported")) == 2


def test_contacts_with_more_attributes_than_a_file_has_columns_are_not_exported_in_part(shop, zoe):
    with shop.open():
        for number in range(11):
            Contact.objects.create(email=f"w{number}@x.com", attributes={f"{number}-{n}": 1 for n in range(100)})
    chosen = {"action": "export", "_selected_action": [zoe.pk], "select_across": "1"}
    page = shop.person("operator").post(list_page(Contact), chosen, follow=True).content.decode()
    assert "These contacts have more than 1000 different attributes" in page
    assert shop.events("contacts.exported") == []


def test_an_import_is_told_country_delimiter_and_level(shop):
    file = SimpleUploadedFile("people.csv", b"phone;name, in full\n6912345678;Zoe\n")
    given = {"file": file, "encoding": "auto", "duplicates": "merge", "mapping": "{}", "country": "GR",
             "delimiter": "semicolon", "opt_in_level": "confirmed_opt_in"}  # fmt: skip
    answer = shop.person("operator").post("/admin/messaging/contactimport/add/", given)
    assert answer.status_code == 302, errors(answer)
    with shop.open():
        made = ContactImport.objects.get()
    assert (made.country, made.delimiter, made.opt_in_level) == ("GR", ";", "confirmed_opt_in")


def test_somebody_in_kosovo_is_changed_and_imported_as_by_the_api(shop):
    operator = shop.person("operator")
    with shop.open():
        ana = Contact.objects.create(first_name="Ana", phone="+38344123456", country="XK")
    answer = operator.post(change_page(ana), {"first_name": "Anna", "country": "XK", **INLINES})
    assert answer.status_code == 302, errors(answer)
    file = SimpleUploadedFile("people.csv", b"phone\n044123457\n")
    given = {"file": file, "encoding": "auto", "duplicates": "merge", "mapping": "{}", "country": "XK"}
    answer = operator.post("/admin/messaging/contactimport/add/", given)
    assert answer.status_code == 302, errors(answer)
    with shop.open():
        ana.refresh_from_db()
        assert (ana.first_name, ana.country, ContactImport.objects.get().country) == ("Anna", "XK", "XK")


def test_the_id_that_a_test_asks_for_is_in_the_list_and_on_the_page(shop, zoe):
    viewer = shop.person("viewer")
    page = viewer.get(list_page(Contact)).content.decode()
    links = re.findall(rf'href="{change_page(zoe)}"[^>]*>\s*([^<]*?)\s*<', page)
    assert str(zoe.pk) in links
    form = shop.person("operator").get(change_page(zoe)).context["adminform"]
    fields = [field for part in form for line in part for field in line]
    shown = {field.field["name"]: field.contents() for field in fields if field.is_readonly}
    assert str(zoe.pk) in shown["id"]
