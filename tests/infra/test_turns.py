"""Turns: each piece of work has its own, and what failed is raised together after the last."""

from __future__ import annotations

import pytest

from config.infra.turns import Turns


def take(turns, *keys, broken):
    done = []
    for key in keys:
        with turns.turn(key):
            if key in broken:
                raise broken[key]
            done.append(key)
    return done


def test_what_fails_keeps_no_other_from_its_turn_and_is_raised_after_the_last():
    turns, first, third = Turns("tenant"), ValueError("the first"), KeyError("the third")
    assert take(turns, 1, 2, 3, 4, broken={1: first, 3: third}) == [2, 4]
    assert turns.failed == [1, 3]
    with pytest.raises(ExceptionGroup, match="2 failed") as caught:
        turns.end("2 failed")
    assert caught.value.exceptions == (first, third)
    assert [failure.__notes__ for failure in caught.value.exceptions] == [["of tenant 1"], ["of tenant 3"]]


def test_nothing_is_raised_when_nothing_failed():
    turns = Turns("tenant")
    assert take(turns, 1, 2, broken={}) == [1, 2]
    turns.end("none")
    assert (turns.failures, turns.failed) == ([], [])


@pytest.mark.parametrize("error", [ValueError("not the kind that is caught"), KeyboardInterrupt()])
def test_what_is_not_caught_ends_the_work_at_once(error):
    turns = Turns("row", catches=KeyError)
    with pytest.raises(type(error)):
        take(turns, 1, 2, broken={1: error})
    assert turns.failures == []
