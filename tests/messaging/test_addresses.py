"""E-mail addresses: one bare address in one spelling, or none; no list, no name, nothing that a parser reads anew."""

from __future__ import annotations

import pytest
from anymail.utils import parse_address_list
from hypothesis import given
from hypothesis import strategies as st

from messaging.senders import wrong_with_sender
from shopsync.identity import normalise_email

AWKWARD = "abZ0.@<>,;:()[]\\\"'+-_ \t\n\x00é。Kß\u200b"


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        (" Zoe@Example.COM\n", "zoe@example.com"),
        ("o'neill+news=x@mail.example.co.uk", "o'neill+news=x@mail.example.co.uk"),
        ("info@müller.de", "info@xn--mller-kva.de"),
        ("info@MU\u0308LLER.de", "info@xn--mller-kva.de"),
        ("Info@XN--MLLER-KVA.de", "info@xn--mller-kva.de"),
        ("a@παράδειγμα.ελ", "a@xn--hxajbheg2az3al.xn--qxam"),
        ("a@d。ee", "a@d.ee"),
        ("a@ｄ.ee", "a@d.ee"),
    ],
)
def test_one_address_has_one_spelling(written, kept):
    assert normalise_email(written) == kept
    assert normalise_email(kept) == kept


@pytest.mark.parametrize(
    "written",
    [
        *("<victim@d.ee>", '"a"<victim@d.ee>', "a <victim@d.ee>", "victim@d.ee>", "<victim@d.ee"),
        *("x@evil.co,victim@d.ee", "x@evil.co;victim@d.ee", "x@evil.co victim@d.ee", "x@evil.co, victim", "a:b@d.ee;"),
        *('"x"@d.ee', '"a@b"@d.ee', "a(b)@d.ee", "a@d.ee(b)", "a@[1.2.3.4]", "a@[1.2.3.4].x", "a@1.2.3.4", "a\\b@d.ee"),
        *("é@é.gr", "é@d.ee", "ｖictim@d.ee", "vic\u200btim@d.ee", "a\x00@d.ee", "a@d\x00.ee", "a\r\nb@d.ee"),
        *("a@d", "a@d.ee.", "a@.ee", "a@d..ee", "a@-d.ee", "a@d_.ee", "a@d.1", "@d.ee", "a@", "a", "", "a@b@d.ee"),
        *(".a@d.ee", "a.@d.ee", "a..b@d.ee", "a@\ud800.ee", "\ud800@d.ee"),
        *("a" * 65 + "@d.ee", f"a@{'d' * 64}.ee", f"a@{'d.' * 130}ee", "a@" + "é" * 100_000 + ".ee"),
    ],
    ids=ascii,
)
def test_what_is_not_one_bare_address_is_none(written):
    assert normalise_email(written) == ""


@given(st.text(st.sampled_from(AWKWARD), max_size=12), st.text(st.sampled_from(AWKWARD), max_size=12))
def test_whatever_is_kept_is_read_as_itself_by_the_parser_that_sends(local, domain):
    kept = normalise_email(f"{local}@{domain}.ee")
    assert normalise_email(kept) == kept
    if kept:
        assert [found.address for found in parse_address_list([kept])] == [kept]


def test_a_sender_may_have_any_spelling_of_its_domain():
    assert wrong_with_sender("email", "Shop <Hello@müller.de>") == ""
    assert wrong_with_sender("email", "a@shop.example, b@shop.example") != ""
