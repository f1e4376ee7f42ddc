"""The demo's account: what is not as it should be is named, and a total that differs is one more of those."""

from __future__ import annotations

from collections import Counter

from config.local.account import compare
from config.local.story import Narrator


def test_what_is_checked_is_printed_and_named_when_it_is_wrong(capsys):
    narrator = Narrator()
    narrator.check("demo-three", "refunds at the twin", 1, wanted=1)
    narrator.check("demo-three", "refunds at the twin", 2, wanted=1)
    assert capsys.readouterr().out.splitlines() == [
        "   demo-three  refunds at the twin: 1",
        "   demo-three  refunds at the twin: 2",
    ]
    assert narrator.surprises == ["demo-three: refunds at the twin: 2 instead of 1"]


def test_a_total_that_is_not_the_expected_one_is_named_whichever_side_it_is_missing_on():
    before = Counter({("demo-one", "orders"): 3})
    after = Counter({("demo-one", "orders"): 5, ("demo-two", "contacts"): 1})
    expected = Counter({("demo-one", "orders"): 2, ("", "refused: bad_signature"): 1})
    assert compare(before, after, expected) == [
        "everybody: refused: bad_signature: 0 came, 1 expected",
        "demo-two: contacts: 1 came, 0 expected",
    ]
    assert compare(before, after, expected + Counter({("demo-two", "contacts"): 1}))[1:] == []
