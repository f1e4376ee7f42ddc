"""Replies from a number that its contact gave up: it is silent, and the subscription at the new number stays there."""

from __future__ import annotations

import pytest
from django.utils import timezone

from config.infra import tenancy
from messaging.actions.consent import state_consent
from messaging.actions.profiles import change_contact
from messaging.actions.reviews import ReplyError, decide_reply
from messaging.models import ConsentEntry, ConsentState, Contact, InboundMessage
from messaging.queries import marketing_address
from tests.messaging.replying import PERSON, answers_of, make_replied_to, reply, state_of, wrote

pytestmark = pytest.mark.django_db(transaction=True)
NEW = "+306987654321"


@pytest.fixture
def tenant():
    return make_replied_to(name="Ours", shop_domain="ours.myshopify.com")


def moved(tenant, *, phone=NEW, agrees=True):
    """Let the contact have been written to at PERSON, and have another phone since."""
    wrote(tenant)
    with tenancy.tenant_scope(tenant.pk):
        contact = Contact.objects.get()
        change_contact(contact_id=contact.pk, values={"phone": phone}, actor="t", now=timezone.now())
        if agrees:
            agree(tenant, phone)


def agree(tenant, address, state="subscribed"):
    with tenancy.tenant_scope(tenant.pk):
        state_consent(
            contact=Contact.objects.get(), channel="sms", state=state, source="t", actor="t", address=address,
            stated_at=timezone.now(),
        )  # fmt: skip


def stands(tenant):
    """By what PERSON is suppressed, and the contact's consent: its state, address, and where it is written to."""
    with tenancy.tenant_scope(tenant.pk):
        contact, known = Contact.objects.get(), ConsentState.objects.get(channel="sms")
        written = marketing_address(contact, "sms") if known.state == "subscribed" and not known.lapsed_at else ""
        return state_of(tenant)[0], known.state, known.address, written


def test_stop_from_a_number_given_up_silences_it_and_ends_nothing_at_the_new_one(tenant):
    moved(tenant)
    found = reply(tenant, "STOP")
    assert stands(tenant) == ("stop", "subscribed", NEW, NEW)
    assert (found.effect, [one.address for one in answers_of(tenant)]) == ("optout", [PERSON])


def test_stop_from_it_leaves_a_consent_that_names_no_address_to_the_new_one(tenant):
    moved(tenant, agrees=False)
    with tenancy.tenant_scope(tenant.pk):
        ConsentEntry.objects.create(
            contact=Contact.objects.get(), channel="sms", state="subscribed", source="t", source_version="2026-06"
        )
    reply(tenant, "STOP")
    assert stands(tenant) == ("stop", "subscribed", "", NEW)


def test_stop_from_it_ends_a_consent_that_is_still_for_it(tenant):
    moved(tenant, agrees=False)
    reply(tenant, "STOP")
    assert stands(tenant) == ("stop", "unsubscribed", PERSON, "")


def test_stop_from_where_a_contact_is_written_to_ends_it_whatever_its_phone(tenant):
    moved(tenant)
    agree(tenant, PERSON)  # after the change: they want it there
    reply(tenant, "STOP")
    assert stands(tenant) == ("stop", "unsubscribed", PERSON, "")


def test_stop_from_the_contacts_phone_ends_what_goes_elsewhere(tenant):
    wrote(tenant)
    agree(tenant, NEW)
    reply(tenant, "STOP")
    assert stands(tenant) == ("stop", "unsubscribed", PERSON, "")


@pytest.mark.parametrize("phone", [NEW, ""])
@pytest.mark.parametrize("agrees", [True, False])
def test_start_from_it_moves_nothing_and_waits_for_a_person(tenant, phone, agrees):
    moved(tenant, phone=phone, agrees=agrees and bool(phone))
    reply(tenant, "STOP")
    before = stands(tenant)
    found = reply(tenant, "START")
    assert (found.effect, found.review, found.note[:26]) == ("nothing", "open", "the contact gave this numb")
    assert stands(tenant) == before
    assert before[0] == "stop"
    assert before[3] == (NEW if agrees and phone else "")


def test_a_person_decides_on_it_once_the_number_is_the_contacts_again(tenant):
    moved(tenant)
    reply(tenant, "STOP")
    found = reply(tenant, "START")
    with tenancy.tenant_scope(tenant.pk):
        decision = {"reply_id": found.pk, "decision": "optin", "actor": "eve", "now": timezone.now()}
        with pytest.raises(ReplyError, match="gave this number up"):
            decide_reply(**decision)
        assert InboundMessage.objects.get(pk=found.pk).review == "open"
        change_contact(contact_id=Contact.objects.get().pk, values={"phone": PERSON}, actor="t", now=timezone.now())
        assert decide_reply(**decision).effect == "optin"
    assert stands(tenant) == ("", "subscribed", PERSON, PERSON)


def test_start_from_where_somebody_signed_up_anew_is_theirs_to_say(tenant):
    moved(tenant, agrees=False)
    agree(tenant, PERSON, "pending")
    assert reply(tenant, "YES").effect == "optin"
    assert stands(tenant) == ("", "subscribed", PERSON, PERSON)


def test_stop_and_start_from_where_somebody_agreed_beside_their_phone_are_theirs_to_say(tenant):
    moved(tenant)
    agree(tenant, PERSON)
    reply(tenant, "STOP")
    assert reply(tenant, "START").effect == "optin"
    assert stands(tenant) == ("", "subscribed", PERSON, PERSON)


def test_who_has_the_number_now_starts_for_themselves(tenant):
    moved(tenant)
    with tenancy.tenant_scope(tenant.pk):
        first = Contact.objects.get()
        second = Contact.objects.create(first_name="Eva", phone=PERSON)
    wrote_to(tenant, second)
    reply(tenant, "STOP")
    reply(tenant, "START")
    with tenancy.tenant_scope(tenant.pk):
        states = {row.contact_id: (row.state, row.address) for row in ConsentState.objects.all()}
    assert states == {first.pk: ("subscribed", NEW), second.pk: ("subscribed", PERSON)}
    assert state_of(tenant)[0] == ""


def wrote_to(tenant, contact):
    with tenancy.tenant_scope(tenant.pk):
        message = contact.messages.model.objects.get(address=PERSON)
        message.pk, message.reference, message.contact = None, "00000000-0000-0000-0000-000000000001", contact
        message.save(force_insert=True)


def test_a_tenant_whose_contact_still_has_the_number_is_started_where_another_has_not(tenant):
    other = make_replied_to(name="Other", shop_domain="other.myshopify.com")
    wrote(other)
    moved(tenant)
    reply(tenant, "STOP")
    assert state_of(other) == ("stop", "unsubscribed")
    found = reply(tenant, "START")
    assert (found.tenant_id, found.effect, found.review) == (tenant.pk, "optin", "open")
    assert (state_of(other), stands(tenant)) == (("", "subscribed"), ("stop", "subscribed", NEW, NEW))
