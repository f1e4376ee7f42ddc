"""An import tells what of a row changed nothing, and whose consent ended by it; no such row is refused."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from django.utils import timezone

from messaging.actions.consent import state_consent
from messaging.actions.profiles import change_contact, create_contact
from messaging.models import ConsentEntry, ConsentState, Contact
from tests.factories import make_tenant
from tests.messaging.importing import counts, problems, take

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("in_scope")]
PROOF = {"consent_source": "the fair in Athens", "consent_text": "Yes, write to me"}
OLD, NEW = "+306900000001", "+306900000002"


@pytest.fixture
def tenant():
    return make_tenant(country="GR")


def known(state="subscribed", *, day=20, email="zoe@example.com", **values):
    """Somebody with a phone who said something of SMS and of e-mails on a day of March."""
    given = {"email": email, "phone": OLD, **values}
    contact = create_contact(values=given, actor="t", now=datetime(2026, 1, 1, tzinfo=UTC))
    for channel in ("sms", "email") if state else ():
        state_consent(
            contact=contact, channel=channel, state=state, source="t", stated_at=datetime(2026, 3, day, tzinfo=UTC),
            actor="t",
        )  # fmt: skip
    return contact


def states():
    rows = ConsentState.objects.order_by("channel")
    return {row.channel: (row.state, row.address, row.lapsed_at is not None) for row in rows}


@pytest.mark.parametrize(
    ("is_known", "says", "note"),
    [
        ("subscribed", "no", "its consent changes nothing: newer is known of sms (subscribed, 2026-03-20)"),
        ("subscribed", "unsubscribed", "its consent changes nothing: newer is known of sms (subscribed, 2026-03-20)"),
        ("subscribed", "yes", "its consent changes nothing: newer is known of sms (subscribed, 2026-03-20)"),
        ("pending", "yes", "its consent changes nothing: newer is known of sms (pending, 2026-03-20)"),
        ("not_subscribed", "yes", "its consent changes nothing: newer is known of sms (not_subscribed, 2026-03-20)"),
        ("unsubscribed", "yes", "its consent was not taken: unsubscribed from sms"),
    ],
)
def test_a_statement_that_is_older_than_what_is_known_is_told(is_known, says, note):
    known(is_known)
    made = take(
        f"email,consent.sms,consent_at,phone,first_name\nzoe@example.com,{says},2026-03-10,{OLD},Zoe\n", **PROOF
    )
    assert (counts(made), problems(made)) == ((0, 1, 0, 0, 1), {2: note})
    assert states()["sms"] == (is_known, OLD, False)
    assert Contact.objects.get().first_name == "Zoe"
    kept = ConsentEntry.objects.filter(source=f"import:{made.pk}").count()
    assert kept == (0 if is_known == "unsubscribed" else 1)


def test_a_newer_one_and_the_same_once_more_are_not_told():
    known()
    file = f"email,consent.sms,consent_at,phone\nzoe@example.com,yes,2026-03-25,{OLD}\n"
    assert problems(take(file, **PROOF)) == {}
    assert problems(take(file, **PROOF)) == {}


def test_of_two_rows_about_one_person_the_older_one_is_told():
    made = take(
        "email,consent.email,consent_at\nzoe@example.com,no,2026-03-10\nZoe@example.com,yes,2026-03-12\n", **PROOF
    )
    assert problems(made) == {2: "its consent changes nothing: newer is known of email (subscribed, 2026-03-12)"}


def test_no_takes_no_opt_out_back_and_is_no_news():
    known("unsubscribed")
    file = "email,phone,consent.sms,consent_at\nzoe@example.com,{phone},{says},2026-04-{day}\n"
    assert problems(take(file.format(phone=OLD, says="no", day=10), **PROOF)) == {}
    assert states()["sms"][0] == "unsubscribed"
    made = take(file.format(phone=OLD, says="yes", day=20), **PROOF)
    assert problems(made) == {2: "its consent was not taken: unsubscribed from sms"}
    assert states()["sms"][0] == "unsubscribed"


def test_an_address_that_is_replaced_is_told_where_a_consent_ends_by_it():
    known(external_id="c-1")
    made = take(f"external_id,email,phone\nc-1,new@example.com,{NEW}\n")
    lapsed = "the consent for {} has lapsed: it is for {}, and the contact's {} is {} now"
    email, sms = ("email", "zoe@example.com", "email", "new@example.com"), ("sms", OLD, "phone", NEW)
    assert problems(made) == {2: f"{lapsed.format(*email)}; {lapsed.format(*sms)}"}
    assert counts(made) == (0, 1, 0, 0, 1)
    assert states() == {"email": ("subscribed", "zoe@example.com", True), "sms": ("subscribed", OLD, True)}
    assert Contact.objects.get().phone == NEW
    assert problems(take(f"external_id,email,phone\nc-1,new@example.com,{NEW}\n")) == {}  # nothing ends by it any more


def test_an_address_that_is_replaced_with_consent_or_where_there_was_none_is_no_news():
    known(external_id="c-1")
    known(None, external_id="c-2", email="eva@example.com", phone="+306900000003")
    made = take(
        f"external_id,email,phone,consent.sms,consent_at\nc-1,zoe@example.com,{NEW},yes,2026-04-01\n"
        "c-2,eva@example.com,+306900000004,,\n",
        **PROOF,
    )
    assert problems(made) == {}
    assert states()["sms"] == ("subscribed", NEW, False)


def test_consent_for_an_address_that_the_contact_has_given_up_since_is_told():
    contact = known(None, external_id="c-1")
    change_contact(contact_id=contact.pk, values={"phone": NEW}, actor="t", now=datetime(2026, 12, 31, tzinfo=UTC))
    assert Contact.objects.get().updated_at > timezone.now()
    made = take(f"external_id,phone,consent.sms,consent_at\nc-1,{OLD},yes,2026-04-01\n", **PROOF)
    assert problems(made) == {
        2: f"the consent for sms has lapsed: it is for {OLD}, and the contact's phone is {NEW} now"
    }


def test_an_older_statement_and_a_replaced_address_are_both_told():
    known(external_id="c-1")
    made = take(f"external_id,phone,consent.sms,consent_at\nc-1,{NEW},yes,2026-03-01\n", **PROOF)
    assert problems(made) == {
        2: "its consent changes nothing: newer is known of sms (subscribed, 2026-03-20); "
        f"the consent for sms has lapsed: it is for {OLD}, and the contact's phone is {NEW} now"
    }
