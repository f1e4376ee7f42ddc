"""What an import makes of a file: every row is taken once or its error is told, whatever the file holds."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from audit.models import AuditEvent
from messaging.actions.consent import state_consent
from messaging.actions.contacts import Profile, ensure_contact
from messaging.actions.imports import Options, start_import
from messaging.actions.segments import save_segment
from messaging.actions.suppressions import suppress
from messaging.models import (
    ConsentEntry,
    ConsentState,
    Contact,
    ContactIdentity,
    ContactImport,
    ImportChunk,
    ImportRow,
    SegmentMember,
    Suppression,
)
from messaging.tables import TableError
from tests.factories import make_tenant
from tests.messaging.importing import counts, problems, take

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("in_scope")]
DAY = datetime(2026, 3, 1, tzinfo=UTC)
PROOF = {"consent_source": "the fair in Athens", "consent_text": "Yes, write to me", "consent_at": DAY}


@pytest.fixture
def tenant():
    return make_tenant(country="GR")


def test_a_file_becomes_contacts_with_all_that_it_says():
    text = (
        "E-Mail;Mobile Phone;First name;Country;Tags;attributes.size;Time zone;External ID;Junk\n"
        "ZOE@example.com; 6900000001 ;Zoë;GR;vip, new;42;Europe/Athens;c-1;x\n"
        'eva@example.com;(514) 555-0123;"Eva; the\nsecond";ca;;"""42""";;;\n'
    )
    made = take(text, file_name="people.csv")
    assert (made.state, made.phase, made.delimiter, counts(made)) == ("finished", "finished", ";", (2, 0, 0, 0, 0))
    zoe, eva = Contact.objects.order_by("id")
    assert (zoe.email, zoe.phone, zoe.first_name, zoe.country) == ("zoe@example.com", "+306900000001", "Zoë", "GR")
    assert (zoe.tags, zoe.attributes, zoe.timezone) == (["new", "vip"], {"size": 42}, "Europe/Athens")
    assert (eva.phone, eva.first_name, eva.attributes) == ("+15145550123", "Eva; the\nsecond", {"size": "42"})
    assert set(zoe.identities.values_list("kind", "value")) == {
        ("email", "zoe@example.com"), ("phone", "+306900000001"), ("external", "c-1")
    }  # fmt: skip
    assert not ImportChunk.objects.exists()
    assert not ImportRow.objects.exists()
    assert ConsentEntry.objects.count() == 0
    names = list(AuditEvent.objects.filter(subject=f"import:{made.pk}").order_by("id").values_list("name", flat=True))
    assert names == ["import.started", "contacts.imported", "import.finished"]


def test_known_people_are_merged_and_what_is_newer_than_the_file_stays():
    old = ensure_contact(
        profile=Profile(customer_shopify_id=1, email="a@example.com", phone="", first_name="Old", version="2020"),
        actor="t",
    )
    new = ensure_contact(
        profile=Profile(customer_shopify_id=2, email="b@example.com", phone="", first_name="New", version="2999"),
        actor="t",
    )
    Contact.objects.filter(pk=old.pk).update(tags=["kept"], attributes={"a": 1, "b": 1})
    text = "email,first_name,phone,tags,attributes.b\na@example.com,File,6900000001,added,2\nb@example.com,File,,,\n"
    assert counts(take(text)) == (0, 2, 0, 0, 0)
    old.refresh_from_db()
    new.refresh_from_db()
    assert (old.first_name, old.phone, old.tags) == ("File", "+306900000001", ["added", "kept"])
    assert (old.attributes, new.first_name) == ({"a": 1, "b": 2}, "New")


def test_known_people_are_left_alone_where_duplicates_are_skipped():
    ensure_contact(profile=Profile(customer_shopify_id=None, email="a@example.com", phone=""), actor="t")
    text = "email,phone,first_name\na@example.com,6900000001,File\nb@example.com,,Once\nB@example.com,,Twice\n"
    assert counts(take(text, duplicates="skip")) == (1, 0, 2, 0, 0)
    assert sorted(Contact.objects.values_list("first_name", "phone")) == [("", ""), ("Once", "")]


def test_one_person_in_several_rows_is_one_contact_with_the_last_word():
    text = (
        "email,phone,external_id,first_name,tags,attributes.n\n"
        "a@example.com,,x,First,one,1\n"
        ",6900000001,x,,two,2\n"
        "c@example.com,6900000001,,Last,one,\n"
    )
    assert counts(take(text)) == (1, 2, 0, 0, 0)
    contact = Contact.objects.get()
    assert (contact.email, contact.first_name, contact.phone) == ("c@example.com", "Last", "+306900000001")
    assert (contact.tags, contact.attributes) == (["one", "two"], {"n": 2})
    assert ContactIdentity.objects.count() == 4


def test_an_address_of_somebody_else_stays_theirs_and_is_told():
    ensure_contact(profile=Profile(customer_shopify_id=1, email="a@example.com", phone=""), actor="t")
    made = take("customer id,email\n2,a@example.com\n", duplicates="merge")
    assert counts(made) == (1, 0, 0, 0, 1)
    assert problems(made) == {2: "left out, as of another contact: email"}
    assert Contact.objects.latest("id").email == ""


@pytest.mark.parametrize(
    ("body", "encoding"),
    [
        ("email,first_name\na@example.com,Zoë €\n".encode("utf-8-sig"), "auto"),
        ("email,first_name\na@example.com,Zoë €\n".encode("utf-16"), "auto"),
        (b"\xfe\xff" + "email,first_name\na@example.com,Zoë €\n".encode("utf-16-be"), "auto"),
        ("email,first_name\na@example.com,Zoë €\n".encode("cp1252"), "windows-1252"),
        ("email\tfirst_name\r\na@example.com\tZoë €\r\n".encode(), "utf-8"),
        ("email;first_name\ra@example.com;Zoë €\r".encode(), "auto"),
    ],
)
def test_byte_order_marks_encodings_delimiters_and_line_ends_are_understood(body, encoding):
    made = take(body, piece=3, encoding=encoding)
    assert made.error_count == 0
    assert Contact.objects.get().first_name == "Zoë €"


@pytest.mark.parametrize(
    ("body", "options", "sentence"),
    [
        (b"email,name\na@example.com,Zo\xeb\n", {}, "encoding: line 2 has a byte that is not UTF-8"),
        (b"email\n" + b"a@example.com\n" * 5 + b"\x81\n", {"encoding": "windows-1252"}, "line 7 has a byte that is no"),
        (b"\xff\xfee\0m\0a\0i\0l\0\n\0\x00\xd8\n\0", {}, "line 2 has a byte that is not UTF-16"),
        (b"email\n", {"encoding": "utf-16"}, "no byte order mark"),
        (b"email\n", {"encoding": "ebcdic"}, "encoding: one of auto"),
        (b"", {}, "no line of column names"),
        (b"\n\n", {}, "no line of column names"),
        (b"name,age\nx,1\n", {}, "no column says who a row is"),
        (b"email,mail\n", {}, "'email' and 'mail' would both be email"),
        (b"email,email\n", {}, r"'email' and 'email \(2\)' would both be email"),
        (b"email\n", {"mapping": {"nothing": "phone"}}, "the file has no column 'nothing'"),
        (b"email,x\n", {"mapping": {"x": "age"}}, "'age' is nothing to take a column as"),
        (b"email\n", {"segment_id": 10**9}, "no static list"),
        (",".join(["email", *(f"attributes.{n}" for n in range(1001))]).encode(), {}, "more than 1000 columns are"),
        (",".join(["email", *(f"x{n}" for n in range(1100))]).encode(), {}, "it has 1101 columns, 1100 are the most"),
        (b"email\n", {"delimiter": "|"}, "delimiter: a comma"),
        (b"email,sms consent\n", {}, "consent for sms is imported with its proof alone"),
        (b"email\n", {"consent_channels": ("email",), "consent_source": "x", "consent_text": "y"}, "consent_at, or a"),
    ],
)
def test_a_file_that_cannot_be_is_refused_in_words_and_leaves_nothing(body, options, sentence):
    with pytest.raises(TableError, match=sentence):
        start_import(pieces=[body], options=Options(**options), actor="t")
    assert not ContactImport.objects.exists()
    assert not ImportChunk.objects.exists()


def test_each_bad_row_is_told_with_its_line_and_the_good_ones_are_taken():
    text = (
        "email,phone,country,timezone,first_name\n"
        "a@example.com,,,,\n"
        "not an address,,,,\n"
        "b@example.com,12,XX,Mars/Base,Bea\n"
        "c@example.com\n"
        "d@example.com,,,,,,\n"
        "\n"
        "e@example.com,,,,\0\n"
        f"f@example.com,,,,{'x' * 30_000}\n"
        f"g@example.com,,,,{'y' * 300}\n"
        ",,,,Nobody\n"
    )
    made = take(text)
    assert counts(made) == (3, 0, 0, 6, 2)
    told = problems(made)
    assert (
        told[3]
        == "'not an address' is no email; nothing says who it is: shopify_id, external_id, email, phone, whatsapp"
    )
    assert told[4] == (
        "'XX' is no country in two letters (ISO 3166-1); '12' is no phone; "
        "'Mars/Base' is no time zone, e.g. Europe/Athens"
    )
    assert told[5] == "it has 1 cells where there are 5 columns"
    assert told[6] == "it has 7 cells where there are 5 columns"
    assert told[8] == "cell 5 holds a NUL character"
    assert told[9] == "cell 5 is over 20000 characters long"
    assert told[10] == "first_name was cut to 200 characters"
    assert "nothing says who it is" in told[11]


@pytest.mark.parametrize("written", [r"\ud800", r"a\udfffb", r"\u0000", r"\ud83d \ude00"])
def test_an_attribute_that_no_database_takes_is_left_out_and_told_and_the_others_are_taken(written):
    rows = ("a@example.com,1", f'b@example.com,"""{written}"""', 'c@example.com,"""\\ud83d\\ude00"""')
    made = take("\n".join(["email,attributes.x", *rows]))
    assert (made.state, counts(made)) == ("finished", (3, 0, 0, 0, 1))
    assert problems(made) == {3: "attributes.x holds a NUL character, or half of a surrogate pair"}
    assert list(Contact.objects.order_by("id").values_list("attributes", flat=True)) == [{"x": 1}, {}, {"x": "😀"}]


def test_of_more_attributes_than_a_contact_may_have_the_rest_is_told():
    names = ",".join(f"attributes.{n}" for n in range(150))
    made = take(f"email,{names}\na@example.com{',' * 50}{',1' * 100}\nb@example.com{',1' * 101}{',' * 49}\n")
    assert (made.created_count, made.error_count, made.note_count) == (2, 0, 1)
    assert problems(made) == {3: "attributes.100 was not taken: a row has 100 attributes at most"}
    assert [len(one.attributes) for one in Contact.objects.order_by("email")] == [100, 100]


def test_a_quote_that_never_closes_is_one_error_and_not_the_end():
    text = 'email,first_name\na@example.com,Zoe\nb@example.com,"open' + "\n,,\n" * 400_000
    made = take(text, piece=2**20)
    assert made.state == "finished"
    assert made.created_count == 1
    assert "it can't be read: field larger than field limit" in problems(made)[3]


def test_columns_are_taken_as_they_are_mapped_and_left_out_by_nothing():
    made = take(
        "Who,Phone,Points\na@example.com,6900000001,7\n",
        mapping={"Who": "email", "Phone": "", "Points": "attributes.points"},
    )
    assert made.columns == ["email", "", "attributes.points"]
    contact = Contact.objects.get()
    assert (contact.email, contact.phone, contact.attributes) == ("a@example.com", "", {"points": 7})


def test_consent_comes_with_its_proof_and_makes_a_subscriber():
    text = "email,phone,sms consent,email consent,consent date\na@example.com,6900000001,yes,unsubscribed,2026-02-01\n"
    made = take(text, file_name="fair.csv", opt_in_level="single_opt_in", **PROOF)
    assert counts(made) == (1, 0, 0, 0, 0)
    contact = Contact.objects.get()
    assert contact.lifecycle == "subscriber"
    sms, email = ConsentEntry.objects.order_by("-channel")
    assert (sms.state, sms.address, sms.source, sms.text_shown) == (
        "subscribed",
        "+306900000001",
        f"import:{made.pk}",
        "Yes, write to me",
    )
    assert sms.stated_at == datetime(2026, 2, 1, tzinfo=UTC)
    assert sms.proof == {"import": made.pk, "file": "fair.csv", "source": "the fair in Athens", "line": 2}
    assert (email.state, email.address) == ("unsubscribed", "a@example.com")
    assert ConsentState.objects.count() == 2


def test_everybody_of_a_file_may_have_consented():
    made = take("email,phone\na@example.com,\n,6900000001\n", consent_channels=("email",), **PROOF)
    assert counts(made) == (2, 0, 0, 0, 0)
    assert list(ConsentEntry.objects.values_list("channel", "address")) == [("email", "a@example.com")]


def test_consent_of_the_same_version_is_the_same_as_the_ledgers_own():
    take("email\na@example.com\n", consent_channels=("email",), **PROOF)
    entry = ConsentEntry.objects.get()
    again = state_consent(
        contact=entry.contact, channel="email", state="subscribed", source=entry.source, stated_at=DAY, actor="t"
    )
    assert again == entry


@pytest.mark.parametrize(
    ("cell", "date", "note"),
    [
        ("perhaps", "2026-01-01", "'perhaps' is no consent: yes, no or unsubscribed"),
        ("yes", "soon", "'soon' is no date of consent, e.g. 2026-11-28; its consent was not taken: it has no date"),
        ("yes", "2999-01-01", "its consent was not taken: its date is to come"),
        (
            "yes",
            "0001-01-01T00:00+14",
            "'0001-01-01T00:00+14' is no date of consent, e.g. 2026-11-28; its consent was not taken: it has no date",
        ),
    ],
)
def test_consent_that_cannot_be_is_left_out_and_told(cell, date, note):
    made = take(f"email,email consent,consent date\na@example.com,{cell},{date}\n", **PROOF)
    assert problems(made) == {2: note}
    assert Contact.objects.count() == 1
    assert ConsentEntry.objects.count() == 0


def test_an_import_lifts_no_suppression_and_overrules_no_opt_out_and_says_so():
    suppress(channel="sms", addresses=["+306900000001"], reason="stop", source="inbound:1", actor="t")
    gone = ensure_contact(profile=Profile(customer_shopify_id=None, email="b@example.com", phone=""), actor="t")
    state_consent(
        contact=gone,
        channel="email",
        state="unsubscribed",
        source="unsubscribe_link",
        stated_at=DAY - timedelta(days=9),
        actor="t",
    )
    made = take("email,phone\na@example.com,6900000001\nb@example.com,\n", consent_channels=("sms", "email"), **PROOF)
    assert problems(made) == {
        2: "stays suppressed, and is not written to: sms",
        3: "its consent was not taken: unsubscribed from email",
    }
    assert Suppression.objects.get().lifted_at is None
    assert ConsentState.objects.get(contact=gone).state == "unsubscribed"


def test_whoever_is_suppressed_is_told_also_where_no_consent_is_imported():
    suppress(channel="email", addresses=["a@example.com"], reason="bounce", source="report:1", actor="t")
    made = take("email\na@example.com\nb@example.com\n")
    assert problems(made) == {2: "stays suppressed, and is not written to: email"}
    assert counts(made) == (2, 0, 0, 0, 1)


def test_an_import_fills_a_list():
    segment = save_segment(segment_id=None, name="fair", definition=None, actor="t")
    ensure_contact(profile=Profile(customer_shopify_id=None, email="a@example.com", phone=""), actor="t")
    take("email\na@example.com\nb@example.com\nb@example.com\n", segment_id=segment.pk, duplicates="skip")
    assert SegmentMember.objects.filter(segment=segment).count() == 2
