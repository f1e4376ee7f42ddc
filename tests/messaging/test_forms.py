"""Sign-up forms: strangers ask to be written to, confirm it themselves, and learn nothing about anybody."""

from __future__ import annotations

import json
import re
import threading
from datetime import timedelta
from html import escape

import pytest
from django.core.cache import caches
from django.db import connection
from django.test import Client
from django.utils import timezone

from config.infra import tenancy
from config.infra.ratelimit import Grant, Level, grant
from config.local.processes import wait_until
from messaging.actions.consent import state_consent
from messaging.actions.contacts import Profile, ensure_contact
from messaging.actions.forms import save_form
from messaging.actions.messages import Draft, send_single
from messaging.actions.suppressions import suppress
from messaging.models import ConsentEntry, ConsentState, Contact, Message, SendQueue, SignupForm
from messaging.providers.sandbox import SandboxServer
from messaging.providers.sandbox_email import EmailSandboxServer
from messaging.tasks import drain_messages
from messaging.views import forms as views
from shopsync.actions.tenants import connect_service
from shopsync.models import Tenant
from tests.factories import make_tenant
from tests.messaging.people import as_member, with_key

pytestmark = pytest.mark.django_db(transaction=True)
TEXT = "Yes, First shop may write to me."


@pytest.fixture(autouse=True)
def _unlimited():
    caches["system"].clear()


@pytest.fixture
def tenant():
    return make_tenant(country="GR", name="First shop")


@pytest.fixture
def make(tenant):
    def make_form(**values):
        with tenancy.tenant_scope(tenant.pk):
            given = {"name": "news", "channels": ["email", "sms"], "text_shown": TEXT, **values}
            return save_form(form_id=None, values=given, actor="test", now=timezone.now())

    return make_form


@pytest.fixture
def client():
    return Client(enforce_csrf_checks=True, headers={"User-Agent": "Browser 1.0"})


def url(form):
    return f"/forms/{form.token}"


def states(tenant):
    with tenancy.tenant_scope(tenant.pk):
        rows = ConsentState.objects.order_by("channel", "address")
        return list(rows.values_list("channel", "address", "state"))


def messages(tenant):
    with tenancy.tenant_scope(tenant.pk):
        return list(Message.objects.order_by("id"))


def link(message):
    return re.search(r"http://localhost(/forms/confirm/\S+)", message.text)[1]


def test_the_page_needs_no_script_and_shows_what_is_agreed_to(client, make):
    page = client.get(url(make()))
    text = page.content.decode()
    assert (page.status_code, page["Cache-Control"]) == (200, "no-store")
    assert TEXT in text
    assert "<script" not in text
    assert 'name="email"' in text
    assert 'name="phone"' in text
    assert 'name="phone"' not in client.get(url(make(name="mail", channels=["email"]))).content.decode()


def test_what_is_sent_is_pending_with_its_proof_until_the_button_behind_the_link_is_pressed(client, make, tenant):
    form = make()
    sent = {"email": "ZOE@example.com", "phone": "6900000001", "first_name": "Zoë"}
    assert client.post(url(form), sent).status_code == 200
    assert states(tenant) == [("email", "zoe@example.com", "pending"), ("sms", "+306900000001", "pending")]
    with tenancy.tenant_scope(tenant.pk):
        entry = ConsentEntry.objects.get(channel="email")
        assert (entry.source, entry.text_shown, entry.opt_in_level) == (f"form:{form.pk}", TEXT, "")
        assert entry.proof == {"form": form.pk, "ip": "127.0.0.1", "user_agent": "Browser 1.0", "page": ""}
        assert {contact.lifecycle for contact in Contact.objects.all()} == {"lead"}
    mail, sms = messages(tenant)
    assert (mail.channel, mail.address, mail.trigger) == ("email", "zoe@example.com", f"form:{form.pk}")
    assert (sms.channel, sms.address) == ("sms", "+306900000001")
    page = client.get(link(mail))
    assert "Yes, I confirm" in page.content.decode()
    assert states(tenant)[0][2] == "pending"
    assert client.post(link(mail)).status_code == 200
    assert client.post(link(mail)).status_code == 200
    assert states(tenant) == [("email", "zoe@example.com", "subscribed"), ("sms", "+306900000001", "pending")]
    with tenancy.tenant_scope(tenant.pk):
        newest = ConsentEntry.objects.get(channel="email", state="subscribed")
        assert (newest.opt_in_level, newest.text_shown) == ("confirmed_opt_in", TEXT)
        assert newest.contact.lifecycle == "subscriber"


def say(tenant, state, address):
    with tenancy.tenant_scope(tenant.pk):
        contact = Contact.objects.get(email=address)
        now = timezone.now()
        state_consent(contact=contact, channel="email", state=state, source="x", stated_at=now, actor="t")


@pytest.mark.parametrize("was_pressed", [False, True])
@pytest.mark.parametrize("state", ["unsubscribed", "not_subscribed"])
def test_a_link_confirms_nothing_once_something_else_was_said(client, make, tenant, state, was_pressed):
    form = make(channels=["email"])
    client.post(url(form), {"email": "a@example.com"})
    (mail,) = messages(tenant)
    if was_pressed:
        assert client.post(link(mail)).status_code == 200
    say(tenant, state, "a@example.com")
    answer = client.post(link(mail))
    assert (answer.status_code, states(tenant)) == (409, [("email", "a@example.com", state)])
    assert "fill in the form once more" in answer.content.decode()
    client.post(url(form), {"email": "a@example.com"})
    again = messages(tenant)[-1]
    assert client.post(link(mail)).status_code == 409  # the old link is no key to the new statement
    assert client.post(link(again)).status_code == 200
    assert states(tenant) == [("email", "a@example.com", "subscribed")]


def test_a_link_still_confirms_after_the_form_was_sent_again_and_counts_once_for_many_presses(client, make, tenant):
    form = make(channels=["email"])
    for _ in range(2):
        client.post(url(form), {"email": "a@example.com"})
    (mail,) = messages(tenant)
    presses = [threading.Thread(target=press, args=(link(mail),)) for _ in range(4)]
    for thread in presses:
        thread.start()
    for thread in presses:
        thread.join()
    assert states(tenant) == [("email", "a@example.com", "subscribed")]
    with tenancy.tenant_scope(tenant.pk):
        assert ConsentEntry.objects.filter(state="subscribed").count() == 1


def press(path):
    try:
        Client().post(path)
    finally:
        connection.close()


def test_a_form_without_double_opt_in_subscribes_at_once_and_writes_nothing(client, make, tenant):
    form = make(double_opt_in=False, channels=["email"])
    client.post(url(form), {"email": "a@example.com"})
    assert states(tenant) == [("email", "a@example.com", "subscribed")]
    assert messages(tenant) == []


def test_json_is_taken_and_answered(client, make, tenant):
    form = make(allowed_origins=["https://shop.example.com"])
    body = json.dumps({"email": "a@example.com"})
    answer = client.post(
        url(form), body, content_type="application/json", headers={"Origin": "https://shop.example.com"}
    )
    assert (answer.status_code, answer["Access-Control-Allow-Origin"]) == (200, "https://shop.example.com")
    assert "Thank you" in answer.json()["detail"]
    bad = client.post(url(form), b"[", content_type="application/json")
    assert (bad.status_code, list(bad.json()["errors"])) == (400, ["email"])
    asked = client.options(url(form), headers={"Origin": "https://shop.example.com"})
    assert (asked.status_code, asked["Access-Control-Allow-Headers"]) == (204, "Content-Type")


def test_a_site_that_is_not_allowed_sends_nothing(client, make, tenant):
    for origin in ("https://evil.example.com", "null"):
        answer = client.post(url(make(name=origin)), {"email": "a@example.com"}, headers={"Origin": origin})
        assert answer.status_code == 403
        assert "Access-Control-Allow-Origin" not in answer
    assert states(tenant) == []


def test_the_answer_never_tells_whether_somebody_is_known(client, make, tenant):
    form = make(channels=["email"])
    with tenancy.tenant_scope(tenant.pk):
        known = ensure_contact(profile=Profile(customer_shopify_id=1, email="known@example.com", phone=""), actor="t")
        gone = ensure_contact(profile=Profile(customer_shopify_id=2, email="gone@example.com", phone=""), actor="t")
        for contact, state in ((known, "subscribed"), (gone, "unsubscribed")):
            stated = timezone.now() - timedelta(days=1)
            state_consent(contact=contact, channel="email", state=state, source="x", stated_at=stated, actor="t")
    answers = {
        client.post(url(form), {"email": f"{name}@example.com"}).content for name in ("known", "gone", "new", "new")
    }
    trap = client.post(url(form), {"email": "bot@example.com", "website": "http://spam"}).content
    assert answers == {trap}
    assert states(tenant) == [
        ("email", "gone@example.com", "pending"),
        ("email", "known@example.com", "subscribed"),
        ("email", "new@example.com", "pending"),
    ]


def test_whoever_sends_again_and_again_fills_nobodys_mailbox(client, make, tenant):
    form = make(channels=["email"])
    for _ in range(3):
        client.post(url(form), {"email": "a@example.com"})
    assert len(messages(tenant)) == 1


def test_a_stranger_ties_no_phone_to_somebodys_address_and_changes_no_name(client, make, tenant):
    with tenancy.tenant_scope(tenant.pk):
        profile = Profile(customer_shopify_id=1, email="victim@example.com", phone="", first_name="Victoria")
        victim = ensure_contact(profile=profile, actor="t")
    client.post(url(make()), {"email": "victim@example.com", "phone": "6900000009", "first_name": "Mallory"})
    with tenancy.tenant_scope(tenant.pk):
        victim.refresh_from_db()
        assert (victim.first_name, victim.phone) == ("Victoria", "")
        assert not victim.identities.filter(kind="phone").exists()
        assert Contact.objects.count() == 2


@pytest.mark.parametrize(
    ("sent", "sentence"),
    [
        ({}, "Please fill this in."),
        ({"email": "nobody"}, "This is no e-mail address."),
        ({"phone": "12"}, "This is no phone number"),
        ({"email": "a@example.com", "first_name": "x\0"}, "Null characters are not allowed."),
        ({"email": "a@example.com", "first_name": "x" * 201}, "no more than 200 characters"),
    ],
)
def test_what_cannot_be_is_told_on_the_page_and_kept_in_the_fields(client, make, tenant, sent, sentence):
    page = client.post(url(make()), sent)
    assert page.status_code == 400
    assert sentence in page.content.decode()
    assert states(tenant) == []


def test_what_was_sent_is_shown_again_as_text_only(client, make):
    page = client.post(url(make()), {"email": '"><script>alert(1)</script>'}).content.decode()
    assert "<script" not in page


def test_one_goes_on_to_where_the_owner_says(client, make):
    form = make(redirect_url="https://shop.example.com/thanks", channels=["email"])
    answer = client.post(url(form), {"email": "a@example.com"})
    assert (answer.status_code, answer["Location"]) == (302, "https://shop.example.com/thanks")
    assert (
        "Welcome!"
        in client.post(url(make(name="two", thanks_text="Welcome!")), {"email": "a@example.com"}).content.decode()
    )


def test_too_many_tries_are_refused_by_address_and_by_form(client, make, tenant, monkeypatch):
    monkeypatch.setattr(views, "PER_ADDRESS", "2/m")
    form = make(channels=["email"])
    codes = [client.post(url(form), {"email": f"p{n}@example.com"}).status_code for n in range(3)]
    assert codes == [200, 200, 429]
    monkeypatch.setattr(views, "PER_ADDRESS", "99/m")
    monkeypatch.setattr(views, "PER_FORM", "1/m")
    caches["system"].clear()
    codes = [
        client.post(url(form), {"email": f"q{n}@example.com"}, REMOTE_ADDR=f"10.0.0.{n}").status_code for n in range(2)
    ]
    assert codes == [200, 429]
    assert len(states(tenant)) == 3


@pytest.mark.parametrize("token", ["nothing", "1.2:x:y", "%00", "1.2%2F", "a" * 300])
def test_a_link_or_an_address_that_is_not_ours_confirms_nothing(client, token):
    assert client.get(f"/forms/confirm/{token}").status_code == 404
    assert client.post(f"/forms/confirm/{token}").status_code == 404
    assert client.get(f"/forms/{token}").status_code == 404


def test_a_link_that_is_too_old_confirms_nothing(client, make, tenant, monkeypatch):
    client.post(url(make(channels=["email"])), {"email": "a@example.com"})
    (mail,) = messages(tenant)
    monkeypatch.setattr("messaging.actions.forms.LINK_DAYS", -1)
    assert client.post(link(mail)).status_code == 404
    assert states(tenant) == [("email", "a@example.com", "pending")]


def test_a_form_that_is_switched_off_is_not_there(client, make):
    assert client.get(url(make(is_active=False))).status_code == 404


def test_forms_are_kept_by_owners_and_seen_by_staff(make, tenant):
    owner, staff = with_key(tenant), as_member(tenant, "operator")
    stranger = as_member(make_tenant(), "owner")
    api = "/api/v1/contacts/forms"
    body = {
        "name": "footer",
        "channels": ["sms", "email"],
        "text_shown": TEXT,
        "allowed_origins": ["HTTPS://Shop.example.com/"],
    }
    made = owner.post(api, body, format="json", headers={"Idempotency-Key": "k"})
    assert (made.status_code, made.json()) == (
        201, owner.post(api, body, format="json", headers={"Idempotency-Key": "k"}).json()
    )  # fmt: skip
    row = made.json()
    assert (row["allowed_origins"], row["double_opt_in"]) == (["https://shop.example.com"], True)
    assert sorted(row["channels"]) == ["email", "sms"]
    assert Client().get(row["url"].removeprefix("http://localhost")).status_code == 200
    assert owner.post(api, body, format="json").status_code == 400
    one = f"{api}/{row['id']}"
    assert owner.patch(one, {"is_active": False}, format="json").json()["is_active"] is False
    assert owner.patch(one, {"channels": []}, format="json").status_code == 400
    assert owner.patch(one, {"allowed_origins": ["shop.example.com"]}, format="json").status_code == 400
    assert staff.get(one).status_code == 200
    assert staff.patch(one, {"is_active": True}, format="json").status_code == 403
    assert stranger.get(one).status_code == 404
    with tenancy.tenant_scope(tenant.pk):
        assert SignupForm.objects.count() == 1


def test_the_confirmation_arrives_and_what_follows_it_is_marketing(client, make, tenant):
    with SandboxServer() as sandbox:
        sandbox.behave(reports="none")
        with tenancy.tenant_scope(tenant.pk):
            fields = {"base_url": sandbox.base_url, "account_id": "a", "sender": "Shop", "api_key": "key"}
            connect_service(service="mitto", actor="test", **fields)
            suppress(channel="sms", addresses=["+306900000002"], reason="stop", source="", actor="test")
        wait_until(lambda: isinstance(grant([Level(f"warm-{tenant.pk}", 10**6)]), Grant), 5, "the limiter to warm up")
        form = make(channels=["sms"])
        client.post(url(form), {"phone": "6900000001"})
        client.post(url(form), {"phone": "6900000002"})  # of somebody who replied STOP
        drain_messages()
        (sent,) = sandbox.accepted()
        assert (sent.destination, "/forms/confirm/" in sent.text) == ("+306900000001", True)
        asked, unasked = messages(tenant)
        assert (asked.purpose, unasked.reason) == ("transactional", "suppressed")
        draft = Draft(contact_id=asked.contact_id, channel="sms", text="Sale")
        for is_confirmed in (False, True):
            with tenancy.tenant_scope(tenant.pk):
                send_single(draft=draft, actor="test")
                Message.objects.filter(status="ready").update(due_at="2000-01-01T00:00:00Z")
                SendQueue.objects.update(blocker="", blocked_until=None)
            drain_messages()
            assert ("Sale" in [message.text for message in sandbox.accepted()]) == is_confirmed
            assert client.post(re.search(r"http://localhost(/forms/confirm/\S+)", sent.text)[1]).status_code == 200


@pytest.mark.parametrize(
    ("words", "name"), [("", "First shop\n<b>& sons</b> {{ x }}"), ("Ναι;  {% if %} <i>", "First shop")]
)
def test_the_confirming_e_mail_has_a_subject_html_and_text(client, make, tenant, words, name):
    Tenant.objects.filter(pk=tenant.pk).update(name=name)
    sentence = words or f"{name}: please confirm that you want to hear from us."
    with EmailSandboxServer() as sandbox:
        sandbox.behave(reports="none")
        with tenancy.tenant_scope(tenant.pk):
            fields = {"base_url": sandbox.base_url, "account_id": "postmark", "sender": "Shop <h@shop.example>"}
            connect_service(service="email", actor="test", api_key="key", **fields)
        wait_until(lambda: isinstance(grant([Level(f"warm-{tenant.pk}", 10**6)]), Grant), 5, "the limiter to warm up")
        client.post(url(make(channels=["email"], confirmation_text=words)), {"email": "zoe@example.com"})
        drain_messages()
        (sent,) = sandbox.accepted()
    (mail,) = messages(tenant)
    path = link(mail)
    assert sent.subject == " ".join(sentence.split())
    assert (sent.text, sent.destination) == (f"{sentence} http://localhost{path}", "zoe@example.com")
    assert f'<a href="http://localhost{path}">' in sent.html
    assert f"<p>{escape(sentence, quote=False)}</p>" in sent.html
