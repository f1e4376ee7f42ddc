"""(e) Campaigns: messages a second through one worker process beside a floor in plain psycopg; with FULL=1 a million
recipients: frozen, prepared and sent, the first hundred thousand beside the last."""

from __future__ import annotations

import json
import os
import resource
import statistics
import sys
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import psycopg

from tests.bench.servers import machine

ROUNDS = int(os.environ.get("BENCH_ROUNDS", "5"))
MESSAGES = int(os.environ.get("BENCH_MESSAGES", "20000"))
MILLION = int(os.environ.get("BENCH_RECIPIENTS", "1000000"))
BATCH = 500
PART = MILLION // 10

_FLOOR_TABLE = """
DROP TABLE IF EXISTS bench_floor;
CREATE TABLE bench_floor (id bigserial PRIMARY KEY, status text NOT NULL DEFAULT 'ready', address text NOT NULL,
    text text NOT NULL, reference uuid NOT NULL DEFAULT gen_random_uuid(), provider_id text);
CREATE INDEX bench_floor_ready ON bench_floor (id) WHERE status = 'ready';
"""
_FLOOR_CLAIM = """
UPDATE bench_floor SET status = 'calling' WHERE id IN (
    SELECT id FROM bench_floor WHERE status = 'ready' ORDER BY id LIMIT %s FOR UPDATE SKIP LOCKED)
RETURNING id, address, text, reference::text"""
_FLOOR_DONE = """
UPDATE bench_floor b SET status = 'sent', provider_id = t.provider_id
FROM unnest(%s::bigint[], %s::text[]) AS t(id, provider_id) WHERE b.id = t.id"""

# The same in our own table: its indexes, the counts that its triggers keep.
_TABLE_CLAIM = """
UPDATE messaging_message SET status = 'leased', started_at = clock_timestamp(), token = gen_random_uuid(),
    lease_until = clock_timestamp() + interval '1 minute' WHERE id IN (
    SELECT id FROM messaging_message WHERE campaign_id = {campaign} AND status = 'ready' ORDER BY id LIMIT %s
    FOR UPDATE SKIP LOCKED)
RETURNING id, address, text, reference::text"""
_TABLE_DONE = """
UPDATE messaging_message m SET status = 'done', outcome = 'sent', provider_id = t.provider_id,
    finished_at = clock_timestamp(), lease_until = NULL
FROM unnest(%s::bigint[], %s::text[]) AS t(id, provider_id) WHERE m.id = t.id"""


def measure_rate(folder: Path) -> dict[str, Any]:
    """Interleave rounds: send MESSAGES through our own path, by the floor, and by the floor in our own table, to the
    sandbox on loopback."""
    from config.local.processes import free_port, spawn, wait_for_http

    port = free_port()
    arguments = [sys.executable, "-m", "messaging.providers.sandbox", "--port", str(port)]
    sandbox = spawn("bench-sandbox", arguments, env=dict(os.environ), log_path=folder / "sandbox.log", cwd=Path.cwd())
    base_url = f"http://127.0.0.1:{port}"
    paths = {"ours": _ours, "floor": _floor, "floor_in_our_table": _floor_in_our_table}
    found: dict[str, list[float]] = {name: [] for name in paths}
    try:
        wait_for_http(f"{base_url}/sandbox/behaviour", 20)
        httpx2.put(f"{base_url}/sandbox/behaviour", json={"reports": "none"})
        for number in range(1, ROUNDS + 1):
            for name, run in paths.items():
                rate = run(base_url)
                httpx2.delete(f"{base_url}/sandbox/log")
                found[name].append(rate)
                print(f"  round {number} {name}: {rate:,.0f}/s", flush=True)
    finally:
        sandbox.terminate(5)
    ours, floor, in_our_table = (statistics.median(found[name]) for name in paths)
    print(f"  beside the floor in our own table ({in_our_table:,.0f}/s): {ours / in_our_table:.3f}", flush=True)
    return _result(f"sending, batches of {BATCH}", "messages/s through one worker process", ours, floor, found)


def _result(
    path: str, unit: str, ours: float, floor: float | None, rounds: dict[str, list[float]] | None = None
) -> dict[str, Any]:
    return {
        "path": path,
        "unit": unit,
        "ours": round(ours, 3),
        "floor": None if floor is None else round(floor, 3),
        "peer": None,
        "ratio_floor": None if not floor else round(ours / floor, 3),
        "ratio_peer": None,
        "rounds": {name: [round(value, 1) for value in values] for name, values in (rounds or {}).items()},
        "machine": machine(),
    }


def _campaign_of(base_url: str, count: int) -> Any:
    """Make a tenant with an audience and a draft; limits are out of the way."""
    from messaging.actions.limits import forget_limits
    from messaging.models import SendLimit
    from tests.messaging.campaigns import add_contacts, make_campaign, make_sender_tenant

    for level in SendLimit.Level.values:
        SendLimit.objects.update_or_create(level=level, subject="", defaults={"requests_per_second": 100_000})
    forget_limits()
    tenant = make_sender_tenant(base_url, paid="100000000")
    add_contacts(tenant, count)
    return make_campaign(tenant, text="Hello {{ contact.first_name }}, our shop is open until nine tonight.")


def _launch(campaign: Any) -> None:
    from django.utils import timezone

    from config.infra import tenancy
    from messaging.actions.campaigns import schedule_campaign
    from messaging.actions.progress import advance_campaigns

    with tenancy.tenant_scope(campaign.tenant_id):
        schedule_campaign(campaign_id=campaign.pk, at=None, actor="bench", now=timezone.now())
    advance_campaigns(budget_seconds=3600)


def _ours(base_url: str) -> float:
    from config.infra.ratelimit import Grant, Level, grant
    from config.local.processes import wait_until
    from messaging.actions.sending import send_due

    campaign = _campaign_of(base_url, MESSAGES)
    _launch(campaign)
    wait_until(lambda: isinstance(grant([Level("bench", 10**6)]), Grant), 5, "the limiter to warm up")
    began = time.perf_counter()
    called = send_due(budget_seconds=600)
    took = time.perf_counter() - began
    assert called == MESSAGES, called
    return MESSAGES / took


def _floor(base_url: str) -> float:
    """Claim, POST and update the same batches, with the same HTTP client and nothing else."""
    with psycopg.connect(os.environ["DATABASE_URL"]) as connection:
        connection.execute(_FLOOR_TABLE)
        connection.execute(
            "INSERT INTO bench_floor (address, text) SELECT '+3069' || lpad(n::text, 8, '0'),"
            " 'Hello P' || n || ', our shop is open until nine tonight.' FROM generate_series(1, %s) n",
            [MESSAGES],
        )
        connection.commit()
        return _send_plainly(connection, base_url, claim=_FLOOR_CLAIM, done=_FLOOR_DONE)


def _floor_in_our_table(base_url: str) -> float:
    """The floor, with the messages of a campaign that is prepared."""
    campaign = _campaign_of(base_url, MESSAGES)
    _launch(campaign)
    with psycopg.connect(os.environ["DATABASE_URL"]) as connection:
        claim = _TABLE_CLAIM.format(campaign=campaign.pk)
        return _send_plainly(connection, base_url, claim=claim, done=_TABLE_DONE)


def _send_plainly(connection: psycopg.Connection[Any], base_url: str, *, claim: Any, done: Any) -> float:
    """Send MESSAGES batch by batch; return how many a second."""
    with httpx2.Client(base_url=base_url, timeout=30, headers={"X-Mitto-API-Key": "key"}) as client:
        began = time.perf_counter()
        while rows := connection.execute(claim, [BATCH]).fetchall():
            connection.commit()
            entries = [
                {
                    "trafficAccountId": "a",
                    "destination": address,
                    "sms": {"text": text, "sender": "Shop"},
                    "reference": reference,
                }
                for _, address, text, reference in rows
            ]
            answer = client.post("/api/v1.1/Messages/sendmessagesbulk", json={"messages": entries}).json()
            ids = [message["messageId"] for message in answer["messages"]]
            connection.execute(done, [[row[0] for row in rows], ids])
            connection.commit()
        return MESSAGES / (time.perf_counter() - began)


# With FULL=1

_BARE = """
INSERT INTO messaging_message (tenant_id, campaign_id, contact_id, channel, address, status, outcome, reason, lane,
    priority, attempts, due_at, blocker, last_error, created_at, trigger, sender, text, reference, provider_id)
SELECT tenant_id, %(campaign)s, id, 'sms', phone, 'ready', '', '', '', 1, 0, now(), '', '', now(), '', '', '',
    gen_random_uuid(), '' FROM messaging_contact WHERE tenant_id = %(tenant)s"""


def measure_million(folder: Path) -> list[dict[str, Any]]:
    """Freeze a million contacts beside a bare INSERT … SELECT; then prepare and send them, the call answered here."""
    from config.infra import tenancy

    del folder
    began = time.perf_counter()
    campaign = _campaign_of("http://127.0.0.1:9", MILLION)
    bare = _campaign_of("http://127.0.0.1:9", 1)
    print(f"  {MILLION:,} contacts loaded in {time.perf_counter() - began:.0f} s", flush=True)
    results = [_freeze(campaign, bare)]
    with tenancy.tenant_scope(campaign.tenant_id):
        campaign.refresh_from_db()
    began = time.perf_counter()
    _launch(campaign)
    took = time.perf_counter() - began
    print(f"  frozen and prepared in {took:.0f} s", flush=True)
    results.append(_result(f"preparing {MILLION:,} messages (with freezing)", "messages/s", MILLION / took, None))
    return results + _send_all()


def _freeze(campaign: Any, bare: Any) -> dict[str, Any]:
    """Time both statements on an empty table, twice each, in turn."""
    from django.db import connection, transaction

    from config.infra import tenancy
    from messaging.actions.freezing import freeze

    found: dict[str, list[float]] = {"ours": [], "floor": []}
    for _ in range(2):
        for name in ("floor", "ours"):
            with connection.cursor() as cursor:
                cursor.execute("TRUNCATE messaging_message, messaging_campaigntally CASCADE")
                cursor.execute("VACUUM ANALYZE messaging_contact")
                cursor.execute("CHECKPOINT")
            began = time.perf_counter()
            with tenancy.tenant_scope(campaign.tenant_id), transaction.atomic(), connection.cursor() as cursor:
                if name == "ours":
                    count = freeze(campaign)
                else:
                    cursor.execute(_BARE, {"campaign": campaign.pk, "tenant": campaign.tenant_id})
                    count = cursor.rowcount
            found[name].append(time.perf_counter() - began)
            assert count == MILLION
            print(f"  {name}: {count:,} rows in {found[name][-1]:.1f} s", flush=True)
    del bare
    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE messaging_message, messaging_campaigntally CASCADE")
    ours, floor = min(found["ours"]), min(found["floor"])
    return _result(f"freezing {MILLION:,} contacts (lower is better)", "s", ours, floor, found)


class _Here:
    """A provider that answers at once, in this process."""

    max_batch = 5_000
    shares_text = False

    def send(self, messages: Sequence[Any]) -> list[Any]:
        """Take everything."""
        from messaging.providers.base import Accepted

        return [Accepted(message.reference, uuid.uuid4().hex) for message in messages]


@contextmanager
def _answered_here() -> Iterator[None]:
    from messaging.actions import sending

    real = sending.get_provider
    sending.get_provider = lambda account: _Here()  # type: ignore[assignment,return-value]
    try:
        yield
    finally:
        sending.get_provider = real


def _send_all() -> list[dict[str, Any]]:
    """Send everything; time each part and each claim, and watch this process's memory."""
    from messaging.actions import sending
    from messaging.actions.claiming import begin_call

    claims: list[float] = []

    def timed(**arguments: Any) -> Any:
        began = time.perf_counter()
        call = begin_call(**arguments)
        claims.append(time.perf_counter() - began)
        marks.append((sum(len_of[-1:]) + (len(call.rows) if call else 0), time.perf_counter()))
        len_of.append(marks[-1][0])
        return call

    marks: list[tuple[int, float]] = [(0, time.perf_counter())]
    len_of: list[int] = [0]
    memory = [resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024]
    sending.begin_call = timed
    try:
        with _answered_here():
            called = sending.send_due(budget_seconds=7200)
    finally:
        sending.begin_call = begin_call
    assert called == MILLION, called
    memory.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)

    def taken(first: int, last: int) -> float:
        start = next(at for done, at in marks if done >= first)
        return next(at for done, at in marks if done >= last) - start

    parts = [taken(PART * n, PART * (n + 1)) for n in range(10)]
    few = statistics.median(claims[: max(10_000 // BATCH, 1)])
    print(f"  seconds for each tenth: {json.dumps([round(part, 1) for part in parts])}", flush=True)
    rate = MILLION / (marks[-1][1] - marks[0][1])
    return [
        _result(f"sending {MILLION:,}, answered here", "messages/s through one process", rate, None),
        _result("the last tenth beside the first (1 is flat)", "times", parts[-1] / parts[0], None),
        _result(
            "claims of the last tenth beside the first 10,000", "times", statistics.median(claims[-200:]) / few, None
        ),
        _result("memory of the process at its most", "MB", memory[-1], None),
    ]
