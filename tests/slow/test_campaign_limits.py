"""Limits, changed while it sends, and a Redis that goes away; and operators who pause, resume and cancel at random."""

from __future__ import annotations

import collections
import json
import os
import random
import time
from typing import Any

import pytest

from config.local.deliveries import accepted_messages, behave, request
from config.local.processes import wait_until
from tests.slow.crash import Installation, installation
from tests.slow.test_campaign_kills import set_up, states

pytestmark = [pytest.mark.slow, pytest.mark.alone]
SEED = int(os.environ.get("CRASH_SEED", "20261128"))
PROCESSES = 4


def calls_at(target: Installation) -> list[float]:
    """List when the provider was called, in seconds since the epoch, oldest first."""
    log = json.loads(request("GET", f"{target.stack.sandbox_url}/sandbox/log").text)
    return sorted(call["at"] for call in log["calls"])


def most_in(moments: list[float], seconds: float) -> int:
    """Count the most of these moments that lie in any window of so many seconds."""
    most = first = 0
    for last, moment in enumerate(moments):
        while moment - moments[first] >= seconds:
            first += 1
        most = max(most, last - first + 1)
    return most


def jitter_of(target: Installation) -> float:
    """Measure by how much the way from grant to arrival differs between calls, in seconds."""
    sql = """SELECT m.reference::text, extract(epoch FROM a.granted_at)::float8 FROM messaging_message m
             JOIN messaging_attempt a ON a.id = m.attempt_id WHERE a.granted_at IS NOT NULL"""
    granted = dict(target.query(sql))
    ways = [
        line["accepted_at"] - granted[line["reference"]]
        for line in accepted_messages(target.stack.sandbox_url)
        if line["reference"] in granted
    ]
    return max(ways) - min(ways)


def limit(target: Installation, level: str, per_second: int) -> None:
    """Set a limit, as an operator does in the admin."""
    target.execute(
        "INSERT INTO messaging_sendlimit (level, subject, requests_per_second, updated_at)"
        f" VALUES ('{level}', '', {per_second}, now()) ON CONFLICT (level, subject)"
        " DO UPDATE SET requests_per_second = EXCLUDED.requests_per_second"
    )


def sent(target: Installation, campaign: int) -> int:
    """Count what the provider took of a campaign."""
    return states(target, campaign)["sent"]


def test_limits_hold_at_the_provider_follow_an_edit_and_outlive_redis():
    with installation("limits", worker_processes=PROCESSES) as target:
        behave(target.stack.sandbox_url, reports="none")
        for level, per_second in (("account", 20), ("tenant", 15), ("global", 25)):
            limit(target, level, per_second)
        made = set_up(target, *({"contacts": 15_000, "batch_size": 5} for _ in range(2)))
        first = made[0]["campaign"]
        # 1. Two tenants of 15 a second share 25: no window passes, and what is allowed is used.
        wait_until(lambda: len(calls_at(target)) > 400, 120, "400 calls")
        moments, jitter = calls_at(target), jitter_of(target)
        most, span = most_in(moments, 1 - jitter), moments[-1] - moments[100]
        rate = (len(moments) - 100) / span
        print(f"jitter {jitter * 1000:.0f} ms; at most {most} calls in {1 - jitter:.3f} s; {rate:.1f} calls a second")
        assert 0 < jitter < 0.9, "the machine is too busy for this proof: a window of nothing proves nothing"
        assert most <= 25
        # 2. An edit holds within two seconds.
        limit(target, "global", 10)
        changed = time.time()
        wait_until(lambda: time.time() > changed + 7, 10, "seven seconds to pass")
        later = [moment for moment in calls_at(target) if moment > changed + 2]
        most = most_in(later, 1 - jitter)
        print(f"after the edit to 10 a second: {len(later)} calls in 5 s, at most {most} in a second")
        assert later
        assert most <= 10
        limit(target, "global", 25)
        # 3. Without Redis nothing is sent; once it is back, it goes on.
        target.servers.stop_redis()
        stopped = time.time()
        wait_until(lambda: time.time() > stopped + 5, 10, "five seconds without Redis")
        after = [moment for moment in calls_at(target) if moment > stopped + 1]
        assert after == []
        target.servers.start_redis()
        began, before = time.monotonic(), sent(target, first)
        wait_until(lambda: sent(target, first) > before, 120, "sending to go on")
        print(f"sending went on {time.monotonic() - began:.1f} s after Redis was back")
        references = collections.Counter(line["reference"] for line in accepted_messages(target.stack.sandbox_url))
        assert max(references.values()) == 1


def act(target: Installation, campaign: int, tenant: int, word: str) -> None:
    """Pause, resume or cancel, in a process of its own; a refusal is an answer too."""
    target.run("tests.slow.campaign_act", str(tenant), str(campaign), word)


def test_whatever_operators_do_at_random_nobody_gets_two_and_nothing_is_held_in_the_end():
    chance = random.Random(SEED)
    print(f"seed {SEED}")
    with installation("operators", worker_processes=PROCESSES) as target:
        behave(target.stack.sandbox_url, reports="none", delay_seconds=0.3)
        made: list[dict[str, Any]] = set_up(target, *({"contacts": 6_000, "batch_size": 20} for _ in range(3)))
        moves = collections.Counter[str]()
        for _ in range(14):
            one = chance.choice(made)
            word = chance.choice(("pause", "resume", "pause", "resume", "pause"))
            act(target, one["campaign"], one["tenant"], word)
            moves[word] += 1
        # A pause that has returned has taken hold: no call begins after it.
        one = made[0]
        act(target, one["campaign"], one["tenant"], "pause")
        paused_at = target.one("SELECT clock_timestamp()")
        wait_until(lambda: states(target, one["campaign"])["calling"] == 0, 30, "what is being called to end")
        begun = "SELECT coalesce(max(started_at), '-infinity') FROM messaging_message WHERE campaign_id ="
        assert target.one(f"{begun} {one['campaign']}") <= paused_at
        act(target, made[1]["campaign"], made[1]["tenant"], "cancel")
        for done in (made[0], made[2]):
            act(target, done["campaign"], done["tenant"], "resume")
        open_ones = "SELECT count(*) FROM messaging_campaign WHERE finished_at IS NULL OR blocker <> ''"
        wait_until(lambda: target.one(open_ones) == 0, 240, "all campaigns to end")
        wait_until(lambda: not any(states(target, each["campaign"])["calling"] for each in made), 60, "calls to end")
        accepted = accepted_messages(target.stack.sandbox_url)
        for each in made:
            end = states(target, each["campaign"])
            print(f"campaign {each['campaign']}: {dict(end)}")
            assert sum(end.values()) == 6_000
            assert set(end) <= {"sent", "skipped"}
        assert max(collections.Counter(line["destination"] for line in accepted).values()) == 1
        assert len(accepted) == sum(sent(target, each["campaign"]) for each in made)
        assert target.one("SELECT sum(balance) FROM messaging_creditaccount WHERE kind = 'held'") == 0
        assert target.one("SELECT sum(balance) FROM messaging_creditaccount WHERE kind = 'spent'") == len(accepted)
        print(f"moves {dict(moves)}; {len(accepted)} accepted")
        print(target.run("manage", "verify_campaigns").strip().splitlines()[-1])
