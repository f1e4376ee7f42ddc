"""What a reply asks for: a corpus of replies with their outcomes, and the vectors of those who publish some."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from messaging.keywords import KEYWORDS, LANGUAGES, read_reply
from tests.protocols import needs_protocols, read_protocol

CORPUS = Path(__file__).parent.parent / "fixtures" / "messaging" / "replies.txt"


def read_corpus():
    outcome, languages = "", ()
    for line in CORPUS.read_text().split("\n"):
        if line.startswith("[") and line.endswith("]"):
            outcome, _, codes = line[1:-1].partition("; ")
            languages = tuple(codes.split(",")) if codes else ()
        elif line and not line.startswith("#"):
            yield line.replace("\\n", "\n"), languages, outcome


def test_the_corpus_has_its_outcomes():
    replies = list(read_corpus())
    assert len(replies) >= 300
    wrong = [
        (text, languages, outcome, found)
        for text, languages, outcome in replies
        if (found := read_reply(text, languages=languages)).kind != outcome
    ]
    print(f"{len(replies)} replies, {len(wrong)} read otherwise than expected")
    assert wrong == []


@needs_protocols
def test_the_published_vectors_have_theirs():
    document = read_protocol("vectors/sms_keywords.json")
    for text, expected in document["vectors"]:
        kind = read_reply(text).kind
        assert kind == expected.split()[0] if expected else kind not in {"optout", "optin", "help"}, text
    for words, kind in (("twilio_default_optout", "optout"), ("aws_extra_optout", "optout"),
                        ("twilio_default_optin", "optin"), ("twilio_default_help", "help")):  # fmt: skip
        assert {read_reply(word).kind for word in document[words]} == {kind}


@given(word=st.sampled_from(sorted(KEYWORDS["en"])), before=st.text("“\"'(.-*! \n", max_size=4),
       after=st.text("”\"').-!? \n", max_size=4))  # fmt: skip
def test_case_and_punctuation_around_a_keyword_change_nothing(word, before, after):
    for written in (word, word.upper(), word.capitalize()):
        assert read_reply(f"{before}{written}{after}").kind == KEYWORDS["en"][word]


@pytest.mark.parametrize(
    "written", ["𝗦𝗧𝗢𝗣", "𝐒𝐭𝐨𝐩", "𝙎𝙏𝙊𝙋!", "𝓢𝓽𝓸𝓹", "𝕊𝕋𝕆ℙ", "Ⓢⓣⓞⓟ", "ＳＴＯＰ", "ｓｔｏｐ", "ŚTÖP", "𝗦.𝗧.𝗢.𝗣."]
)
def test_letters_of_another_look_are_read_as_what_they_look_like(written):
    assert read_reply(written).kind == "optout"


@given(text=st.text(max_size=400))
def test_any_text_is_read(text):
    assert read_reply(text, languages=LANGUAGES).kind in {"optout", "optin", "help", "review", "conversation"}


def test_a_language_without_keywords_is_an_error():
    with pytest.raises(KeyError):
        read_reply("stop", languages=["xx"])
