"""Unsubscribing by a link: one click of an e-mail program, a button for people, preferences; and never by looking."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta

import pytest
from django.test import Client
from django.utils import timezone

from audit.models import AuditEvent
from config.infra import tenancy
from messaging.actions.consent import write_consent
from messaging.actions.suppressions import suppress, suppressed_of
from messaging.actions.unsubscribes import read_token, unsubscribe_url
from messaging.models import ConsentEntry, ConsentState, Contact, Message, Suppression
from messaging.shopify import ConsentSnapshot
from shopsync.shopify import version
from tests.factories import run_together
from tests.protocols import needs_protocols, read_protocol

pytestmark = pytest.mark.django_db
FORM = "application/x-www-form-urlencoded"
ONE_CLICK = "List-Unsubscribe=One-Click"


@pytest.fixture
def shop(tenant):
    with tenancy.tenant_scope(tenant.pk):
        yield tenant


@pytest.fixture
def message(shop):
    contact = Contact.objects.create(first_name="Ada", email="ada@x.example", phone="+306912345678")
    for channel, address in (("email", contact.email), ("sms", contact.phone)):
        say(contact, channel, "subscribed", address=address, at=timezone.now() - timedelta(days=1))
    return Message.objects.create(
        contact=contact,
        channel="email",
        address=contact.email,
        status="done",
        outcome="sent",
        sent_at=timezone.now(),
        finished_at=timezone.now(),
    )


def say(contact: Contact, channel: str, state: str, *, at: datetime, address: str = "") -> None:
    """Let Shopify state a consent."""
    snapshot = ConsentSnapshot(
        customer_shopify_id=1,
        channel=channel,
        state=state,
        address=address,
        opt_in_level="",
        stated_at=at,
        version=version(at, at, rank=1, digest="f" * 16),
    )
    write_consent(contact=contact, snapshot=snapshot)


def path_of(message: Message) -> str:
    return unsubscribe_url(reference=message.reference).removeprefix("http://localhost")


def post(message: Message, body: str = ONE_CLICK, content_type: str = FORM):
    return Client().post(path_of(message), body, content_type=content_type)


def state_of(message: Message, channel: str = "email") -> str:
    return ConsentState.objects.get(contact_id=message.contact_id, channel=channel).state


def is_suppressed(address: str = "ada@x.example", channel: str = "email") -> bool:
    return bool(suppressed_of(channel, [address]))


def test_one_click_unsubscribes_in_one_step(message):
    answer = post(message)
    assert (answer.status_code, answer.content) == (200, b"unsubscribed\n")
    assert not answer.cookies
    assert answer["Cache-Control"] == "no-store"
    assert is_suppressed()
    assert state_of(message) == "unsubscribed"
    assert state_of(message, "sms") == "subscribed"
    entry = ConsentEntry.objects.get(state="unsubscribed")
    assert (entry.source, entry.address) == ("unsubscribe_link", "ada@x.example")
    suppression = Suppression.objects.get()
    assert (suppression.reason, suppression.source) == ("unsubscribed", f"message:{message.pk}")
    assert AuditEvent.objects.filter(name="consent.stated", subject=f"contact:{message.contact_id}").count() == 3


def test_one_click_as_multipart_is_taken_as_well(message):
    assert Client().post(path_of(message), {"List-Unsubscribe": "One-Click"}).status_code == 200
    assert is_suppressed()


def test_one_click_twice_is_one_click(message):
    assert [post(message).status_code for _ in range(3)] == [200, 200, 200]
    assert Suppression.objects.count() == 1
    assert ConsentEntry.objects.filter(state="unsubscribed").count() == 1


@pytest.mark.django_db(transaction=True)
def test_one_click_by_many_at_once_is_one_click(message):
    answers = run_together([lambda: post(message) for _ in range(8)], threads=8)
    assert [answer.status_code for answer in answers] == [200] * 8
    assert Suppression.objects.count() == 1
    assert ConsentEntry.objects.filter(state="unsubscribed").count() == 1


def test_looking_never_unsubscribes(message):
    for method in ("get", "head"):
        answer = getattr(Client(), method)(path_of(message))
        assert answer.status_code == 200
        assert not answer.cookies
    page = Client().get(path_of(message)).content.decode()
    assert "<script" not in page
    assert 'name="do" value="unsubscribe"' in page
    assert "ada@" not in page
    assert "a•••@x.example" in page
    assert "•••678" in page
    assert not is_suppressed()
    assert state_of(message) == "subscribed"


def test_the_button_unsubscribes_and_says_so(message):
    answer = post(message, "do=unsubscribe")
    assert answer.status_code == 200
    assert "You are unsubscribed." in answer.content.decode()
    assert 'value="unsubscribe"' not in answer.content.decode()
    assert is_suppressed()
    assert state_of(message) == "unsubscribed"


@pytest.mark.parametrize(
    "body",
    [
        "",
        "List-Unsubscribe=one-click",
        "List-Unsubscribe=One-Click&x=1",
        "List-Unsubscribe=One-Click&List-Unsubscribe=One-Click",
        "do=delete",
        "do=save&on=fax",
        "do=unsubscribe&on=sms",
        "%00",
    ],
)
def test_a_body_that_says_nothing_known_changes_nothing(message, body):
    assert post(message, body).status_code == 400
    assert not is_suppressed()


def test_a_body_of_another_kind_or_size_is_refused(message):
    assert post(message, '{"List-Unsubscribe": "One-Click"}', "application/json").status_code == 400
    assert post(message, f"{ONE_CLICK}&x={'x' * 20_000}").status_code == 413
    assert Client().put(path_of(message)).status_code == 405
    assert not is_suppressed()


def test_a_token_that_is_not_ours_is_nobodys(message):
    token = path_of(message).removeprefix("/u/")
    other = unsubscribe_url(reference=uuid.uuid4()).rpartition("/")[2]
    for bad in (token[:-1], token + "A", ("B" if token[0] == "A" else "A") + token[1:], "x", other, "%00", "ü"):
        assert Client().get(f"/u/{bad}").status_code == 404
        assert Client().post(f"/u/{bad}", ONE_CLICK, content_type=FORM).status_code == 404
    assert not is_suppressed()


def test_preferences_switch_channels_off_and_on(message):
    assert "Saved." in post(message, "do=save&on=email").content.decode()
    assert (state_of(message), state_of(message, "sms")) == ("subscribed", "unsubscribed")
    assert is_suppressed("+306912345678", "sms")
    assert not is_suppressed()
    post(message, "do=save&on=sms")
    assert (state_of(message), state_of(message, "sms")) == ("unsubscribed", "subscribed")
    assert is_suppressed()
    assert not is_suppressed("+306912345678", "sms")
    page = Client().get(path_of(message)).content.decode()
    assert 'value="sms" checked' in page
    assert 'value="email" checked' not in page


@pytest.mark.parametrize("reason", ["stop", "bounce", "complaint", "manual", "import"])
def test_preferences_lift_nothing_but_an_unsubscription(message, reason):
    suppress(channel="email", addresses=["ada@x.example"], reason=reason, source="test", actor="test")
    page = Client().get(path_of(message)).content.decode()
    assert "switched on here" in page
    assert 'value="email" disabled' in page
    post(message, "do=save&on=email&on=sms")
    assert is_suppressed()
    assert ConsentEntry.objects.filter(source="unsubscribe_link").count() == 0


def test_saving_what_is_so_already_states_nothing(message):
    post(message, "do=save&on=email&on=sms")
    assert ConsentEntry.objects.filter(source="unsubscribe_link").count() == 0
    assert Suppression.objects.count() == 0


def test_our_statement_beats_older_ones_of_shopifys_and_loses_to_newer(message):
    contact = message.contact
    post(message)
    say(contact, "email", "subscribed", at=timezone.now() - timedelta(minutes=1))
    assert state_of(message) == "unsubscribed"
    say(contact, "email", "subscribed", at=timezone.now() + timedelta(seconds=1))
    assert state_of(message) == "subscribed"
    assert is_suppressed()  # the address is written to no more until somebody lifts that


def test_a_link_works_for_its_own_tenant_alone(message, other_tenant):
    with tenancy.tenant_scope(other_tenant.pk):
        other = Contact.objects.create(email="ada@x.example")
        say(other, "email", "subscribed", at=datetime(2026, 11, 1, tzinfo=UTC))
    post(message)
    with tenancy.tenant_scope(other_tenant.pk):
        assert not is_suppressed()
        assert ConsentState.objects.get(contact=other).state == "subscribed"


def test_a_link_names_its_message(message):
    url = unsubscribe_url(reference=message.reference)
    assert url.startswith("http://localhost/u/")
    assert read_token(url.rpartition("/")[2]) == message.reference


@needs_protocols
def test_the_request_of_rfc_8058_is_taken(message):
    request = read_protocol("vectors/rfc8058_one_click.json")["client_request"]
    content_type = request["headers"]["Content-Type"]
    for _ in range(2):
        answer = Client().generic(request["method"], path_of(message), request["body"], content_type=content_type)
        assert answer.status_code == 200
        assert not answer.cookies
    assert is_suppressed()
