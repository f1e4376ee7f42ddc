"""`make run`: everything stays up with a trickle of sample traffic until Ctrl-C; what dies is started again."""

from __future__ import annotations

import fcntl
import os
import random
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import IO, TYPE_CHECKING

from config import embedded
from config.local.environment import ADMIN_USERNAME, PREFERRED_PORT, TenantKeys
from config.local.own_traffic import OwnTraffic
from config.local.processes import free_port, port_is_free
from config.local.session import Session, deaf, ending_by_signal, only_one, say
from config.local.setup import Ready, prepare
from config.local.stack import TWINS, LocalStack, ProcessDiedError
from config.local.state import write_private_json
from config.local.traffic import Traffic

if TYPE_CHECKING:
    from config.local.tenants import DemoTenant

SECONDS_BETWEEN_DELIVERIES = 1.0
SECONDS_BETWEEN_LINES = 30.0
RESTARTS_PER_MINUTE = 5


def _choose_port() -> int:
    """Take the preferred port if it is free and no other start on this machine has just chosen it; else any free
    one."""
    try:
        _port_lock.append(open(Path(tempfile.gettempdir()) / f"shopsync-port-{PREFERRED_PORT}.lock", "a"))  # noqa: SIM115
        fcntl.flock(_port_lock[-1], fcntl.LOCK_EX | fcntl.LOCK_NB)  # held until this process ends
    except OSError:  # somebody else's, or held: between choosing a port and listening on it lie seconds
        return free_port()
    return PREFERRED_PORT if port_is_free(PREFERRED_PORT) else free_port()


_port_lock: list[IO[str]] = []


def run_until_interrupted(state: Path) -> int:
    """Set everything up and keep it up; return 0 after Ctrl-C."""
    with only_one(state), ending_by_signal():
        session = Session(state)
        stack: LocalStack | None = None
        try:
            say("Setting up")
            stack = session.open(_choose_port())
            ready = prepare(session, stack)
            _write_run_file(ready)
            ready.say_login()
            say(f"   scripts   {state / 'run.json'} says how to attach")
            say("\nSample traffic flows; Ctrl-C ends it.")
            _keep_up(ready)
        except KeyboardInterrupt:
            say("\nStopping everything")
        finally:
            with deaf():
                session.close(stack)
    say("Stopped; the data stay for the next start.")
    return 0


def _write_run_file(ready: Ready) -> None:
    """Write how scripts attach: addresses, keys, log-ins and pids (README.md)."""
    pids = {name: process.pid for name, process in ready.stack.processes.items()}
    pids |= embedded.EmbeddedServers(ready.session.state).pids() | {"run": os.getpid()}
    tenants = {
        demo.shop_domain: {
            "shop_domain": demo.shop_domain,
            "api_key": demo.keys.api_key,
            "write_key": demo.keys.write_key,
            **_call_backs(demo.keys),
            "twin_account": demo.account_id,
        }
        for demo in ready.tenants
    }
    admin = {"url": ready.admin_url, "username": ADMIN_USERNAME, "password": ready.keys.admin_password}
    document = {
        "base_url": ready.stack.base_url,
        "tenants": tenants,
        "shopify_secret": ready.shopify_secret,
        "admin": admin,
        "sandbox_url": ready.stack.sandbox_url,
        "twins": {
            "mitto": ready.stack.sandbox_url,
            "stripe": ready.stack.twin_url("stripe-sandbox"),
            "easypost": ready.stack.twin_url("easypost-sandbox"),
        },
        "pids": pids,
    }
    write_private_json(ready.session.state / "run.json", document)


def _call_backs(keys: TenantKeys) -> dict[str, dict[str, str]]:
    """Say by source what ends a tenant's call-back address, and what signs what is posted there."""
    return {
        "webhook_tokens": {"mitto": keys.mitto_token, "stripe": keys.stripe_token, "easypost": keys.easypost_token},
        "webhook_secrets": {"stripe": keys.stripe_secret, "easypost": keys.easypost_secret},
    }


def _traffic_of(ready: Ready, demo: DemoTenant) -> Traffic | OwnTraffic:
    shop = ready.shop_of(demo)
    if not demo.counts_here:
        return Traffic(shop, demo.currency, demo.country)
    return OwnTraffic(shop.post, ready.merchant_of(demo), ready.stripe_of(demo), ready.easypost_of(demo))


def _keep_up(ready: Ready) -> None:
    """Take a step of somebody's daily life every second, and start again what died, until interrupted."""
    shops = [_traffic_of(ready, demo) for demo in ready.tenants]
    answers: Counter[str] = Counter()
    restarts: list[float] = []
    next_line = time.monotonic() + SECONDS_BETWEEN_LINES
    while True:
        if _revive(ready, restarts):
            _write_run_file(ready)
        answers[random.choice(shops).send_one()] += 1  # noqa: S311  sample traffic, not a secret
        if time.monotonic() > next_line:
            say("   " + time.strftime("%H:%M:%S  ") + ", ".join(f"{n} × {said}" for said, n in answers.most_common()))
            answers.clear()
            next_line = time.monotonic() + SECONDS_BETWEEN_LINES
        time.sleep(SECONDS_BETWEEN_DELIVERIES)


def _revive(ready: Ready, restarts: list[float]) -> bool:
    """Start again what died; return whether anything did.

    Raises:
        ProcessDiedError: things die too often.
    """
    dead, servers = ready.stack.dead(), embedded.EmbeddedServers(ready.session.state)
    lost = ready.own_servers - set(servers.pids())
    if not dead and not lost:
        return False
    restarts[:] = [moment for moment in restarts if moment > time.monotonic() - 60]
    for name in sorted(lost):
        say(f"   {name} is gone; starting it again")
    if lost:
        servers.start(use_environment=False, database="postgres" in lost, redis="redis" in lost)
    for process in dead:
        say(f"   {process.name} (pid {process.pid}) ended with code {process.exit_code()}; starting it again. Its log:")
        say(process.log_tail(5))
        ready.stack.kill(process.name)
        ready.stack.start(process.name)
    if twins := TWINS.keys() & {process.name for process in dead}:
        from config.local.tenants import lead_events

        lead_events(ready.stack, ready.tenants, twins)
    restarts += [time.monotonic()] * (len(dead) + len(lost))
    if len(restarts) > RESTARTS_PER_MINUTE:
        raise ProcessDiedError(f"processes died {len(restarts)} times within a minute; the logs say why")
    return True
