"""A campaign of 50,000 through real workers that are killed a hundred times: nobody gets two, nobody is forgotten."""

from __future__ import annotations

import collections
import json
import os
import random
import signal
import time
from contextlib import suppress
from typing import Any

import pytest

from config.local.deliveries import accepted_messages, behave
from config.local.processes import wait_until
from tests.slow.crash import Installation, children_of, installation, redis_of

pytestmark = pytest.mark.slow
SEED = int(os.environ.get("CRASH_SEED", "20261128"))
RECIPIENTS, BATCH, PROCESSES = 50_000, 50, 8
CHILD_KILLS, WORKER_KILLS, FLUSHES, CUTS = 95, 5, 4, 10
BEHAVIOUR = {"delay_seconds": 0.2, "report_batch": 50, "report_delay_seconds": 1.0}


def set_up(target: Installation, *tenants: dict[str, Any]) -> list[dict[str, Any]]:
    """Make tenants with campaigns; see campaign_child."""
    printed = target.run(
        "tests.slow.campaign_child", target.stack.sandbox_url, target.stack.base_url, json.dumps(tenants)
    )
    return [json.loads(line) for line in printed.splitlines() if line.startswith("{")]


def states(target: Installation, campaign: int) -> collections.Counter[str]:
    """Count a campaign's messages by state, as its tally says."""
    sql = f"SELECT state, sum(messages) FROM messaging_campaigntally WHERE campaign_id = {campaign} GROUP BY 1"
    return +collections.Counter({state: int(count) for state, count in target.query(sql)})


def strikes(chance: random.Random) -> list[str]:
    """Shuffle what is done to the installation while it sends."""
    wanted = ["child"] * CHILD_KILLS + ["worker"] * WORKER_KILLS + ["flush"] * FLUSHES + ["cut"] * CUTS
    chance.shuffle(wanted)
    return wanted


def strike(target: Installation, what: str, chance: random.Random) -> int:
    """Do one of them; return 1 once it is done, 0 when there was nobody to kill."""
    stack = target.stack
    if what == "flush":
        redis_of(target).flushall()
    elif what == "cut":
        behave(stack.sandbox_url, **BEHAVIOUR, cut_after_acceptance=1)
    elif what == "worker":
        stack.kill("worker")
        stack.start("worker")
    else:
        children = children_of(stack.processes["worker"].pid)
        if not children:
            return 0
        with suppress(ProcessLookupError):
            os.kill(chance.choice(children), signal.SIGKILL)
            return 1
        return 0
    return 1


def test_fifty_thousand_recipients_survive_a_hundred_kills():
    chance = random.Random(SEED)
    print(f"seed {SEED}")
    with installation("campaign", worker_processes=PROCESSES) as target:
        behave(target.stack.sandbox_url, **BEHAVIOUR)
        (made,) = set_up(target, {"contacts": RECIPIENTS, "batch_size": BATCH})
        campaign, began = made["campaign"], time.monotonic()
        # 1. Strike each time that another part of the recipients is through, so that the kills are spread over all.
        wanted, done = strikes(chance), collections.Counter[str]()
        deadline = time.monotonic() + 900
        while wanted:
            assert time.monotonic() < deadline, f"{len(wanted)} strikes left; {states(target, campaign)}"
            through = (
                RECIPIENTS - sum(states(target, campaign)[state] for state in ("waiting", "queued", "calling"))
                if target.one("SELECT count(*) FROM messaging_campaigntally")
                else 0
            )
            due = (CHILD_KILLS + WORKER_KILLS + FLUSHES + CUTS) * through / (RECIPIENTS * 0.95)
            if sum(done.values()) < due and strike(target, wanted[0], chance):
                done[wanted.pop(0)] += 1
            else:
                time.sleep(0.05)
        print(f"struck {dict(done)} in {time.monotonic() - began:.0f} s")
        # 2. Let it end; leases of the dead run out, as the clock would have it.
        hastened = time.monotonic()

        def is_done() -> bool:
            nonlocal hastened
            if time.monotonic() > hastened + 8:
                target.hasten()
                hastened = time.monotonic()
            return bool(target.one(f"SELECT status = 'done' FROM messaging_campaign WHERE id = {campaign}"))

        wait_until(is_done, 600, "the campaign to be done")
        sent_in = time.monotonic() - began
        target.finish(timeout=300)
        # 3. What the provider saw is what we say.
        end = states(target, campaign)
        accepted = accepted_messages(target.stack.sandbox_url)
        interrupted = target.one("SELECT count(*) FROM messaging_attempt WHERE outcome IN ('', 'unknown')")
        calls = target.one("SELECT count(*) FROM messaging_attempt")
        print(f"{dict(end)} in {sent_in:.0f} s; {calls} calls, {interrupted} interrupted; {len(accepted)} accepted")
        assert sum(end.values()) == RECIPIENTS
        assert set(end) <= {"sent", "delivered", "failed", "skipped", "unknown"}
        for what in ("destination", "reference"):
            assert max(collections.Counter(line[what] for line in accepted).values()) == 1, what
        assert end["unknown"] <= BATCH * interrupted
        unknown = target.query("SELECT reference::text FROM messaging_message WHERE status = 'unknown'")
        assert {reference for (reference,) in unknown}.isdisjoint(line["reference"] for line in accepted)
        assert end["delivered"] == len(accepted)
        assert target.one("SELECT sum(balance) FROM messaging_creditaccount WHERE kind = 'spent'") == len(accepted)
        assert target.one("SELECT sum(balance) FROM messaging_creditaccount WHERE kind = 'held'") == end["unknown"]
        for proof in ("verify_campaigns", "verify_credits"):
            print(target.run("manage", proof).strip().splitlines()[-1])


def test_a_small_tenant_is_done_in_ten_seconds_beside_two_hundred_thousand():
    with installation("fairness", worker_processes=PROCESSES) as target:
        behave(target.stack.sandbox_url, reports="none", delay_seconds=0.05)
        target.execute(
            "INSERT INTO messaging_sendlimit (level, subject, requests_per_second, updated_at)"
            " SELECT level, '', 20, now() FROM unnest(ARRAY['account', 'tenant', 'global']) AS t(level)"
        )
        large, small = set_up(
            target,
            {"contacts": 200_000, "batch_size": 100},
            {"contacts": 100, "batch_size": 100, "launch": False},
        )
        wait_until(lambda: states(target, large["campaign"])["sent"] > 2000, 120, "the large campaign to be under way")
        target.run("tests.slow.campaign_act", str(small["tenant"]), str(small["campaign"]), "launch")
        wait_until(lambda: states(target, small["campaign"])["sent"] == 100, 30, "the small campaign to be sent")
        took = float(
            target.one(
                "SELECT extract(epoch FROM max(m.sent_at) - max(c.frozen_at)) FROM messaging_campaign c"
                f" JOIN messaging_message m ON m.campaign_id = c.id WHERE c.id = {small['campaign']}"
            )
        )
        left = states(target, large["campaign"])
        print(f"100 recipients sent in {took:.2f} s after the launch, beside {dict(left)}")
        assert left["queued"] + left["waiting"] > 100_000
        assert took <= 10
