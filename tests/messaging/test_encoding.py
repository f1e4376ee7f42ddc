"""SMS parts: the vectors that several calculators agree on, what is never split, and what smart encoding may change."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from messaging.encoding import GSM_BASIC, GSM_EXTENSION, Change, smart_encode, split_sms
from tests.protocols import needs_protocols, read_protocol

GSM = st.text(alphabet=GSM_BASIC + GSM_EXTENSION, max_size=700)
ANY = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=300)


@pytest.mark.parametrize(
    ("text", "encoding", "units", "count"),
    [
        ("", "GSM-7", 0, 1),
        ("a" * 160, "GSM-7", 160, 1),
        ("a" * 161, "GSM-7", 161, 2),
        ("a" * 306, "GSM-7", 306, 2),
        ("a" * 307, "GSM-7", 307, 3),
        ("€" * 80, "GSM-7", 160, 1),
        ("a" * 152 + "€" + "a" * 152, "GSM-7", 306, 3),  # the euro sign does not fit the first part's last septet
        ("ж" * 70, "UCS-2", 70, 1),
        ("ж" * 71, "UCS-2", 71, 2),
        ("ж" * 66 + "👋" + "ж" * 66, "UCS-2", 134, 3),  # nor does the emoji
        ("a" * 69 + "`", "UCS-2", 70, 1),
        ("Çç", "UCS-2", 2, 1),
        ("ΑΒΓ", "UCS-2", 3, 1),
    ],
)
def test_parts_are_counted_as_they_are_charged(text, encoding, units, count):
    sms = split_sms(text)
    assert (sms.encoding, sms.units, len(sms.parts)) == (encoding, units, count)


@needs_protocols
def test_several_calculators_agree():
    document = read_protocol("vectors/sms_segments.json")
    assert (document["gsm_basic"], document["gsm_extension"]) == (GSM_BASIC, GSM_EXTENSION)
    for vector in document["vectors"]:
        sms = split_sms(vector["text"])
        assert (sms.encoding, sms.units, len(sms.parts)) == (vector["encoding"], vector["units"], vector["segments"]), (
            vector["name"]
        )
    assert len(document["vectors"]) >= 80


@given(text=GSM | ANY)
def test_parts_are_the_text_and_none_holds_more_than_it_may(text):
    sms = split_sms(text)
    assert "".join(sms.parts) == text
    room = {"GSM-7": (160, 153), "UCS-2": (70, 67)}[sms.encoding][len(sms.parts) > 1]
    sizes = [split_sms(part) for part in sms.parts]
    if sms.encoding == "UCS-2":
        assert all(len(part.encode("utf-16-le")) // 2 <= room for part in sms.parts)
    else:
        assert all(size.units <= room for size in sizes)
    assert all(sms.parts) or not text


def test_half_a_surrogate_pair_is_refused():
    with pytest.raises(ValueError, match="half of a surrogate pair"):
        split_sms("a\ud83d")


def test_smart_encoding_shows_what_it_changes():
    text, changes = smart_encode("“Hi” – it’s 5\u00a0€…\u200b")
    assert text == '"Hi" - it\'s 5 €...'
    assert Change("’", "'", 1) in changes
    assert Change("…", "...", 1) in changes
    assert Change("\u200b", "", 1) in changes
    assert split_sms(text).encoding == "GSM-7"


@pytest.mark.parametrize("text", ["plain", "“Γειά”", "café`ç", "👋 “hi”"])
def test_smart_encoding_changes_nothing_where_that_saves_nothing_or_reads_differently(text):
    assert smart_encode(text) == (text, ())


def test_greek_capitals_and_combining_accents_become_what_gsm_has():
    assert smart_encode("ΔΩΡΟ ΣΗΜΕΡΑ")[0] == "ΔΩPO ΣHMEPA"
    text, changes = smart_encode("cafe\u0301")
    assert (text, changes) == ("café", (Change("e\u0301", "é", 1),))


@given(text=ANY)
def test_smart_encoding_never_makes_a_text_longer_to_send(text):
    encoded, changes = smart_encode(text)
    assert len(split_sms(encoded).parts) <= len(split_sms(text).parts)
    assert (encoded == text) == (not changes)
