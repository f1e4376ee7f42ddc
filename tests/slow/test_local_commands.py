"""make demo and make run on a folder of their own: they succeed, refuse each other, and survive Ctrl-C and kill -9."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from config.embedded import EmbeddedServers
from config.local.deliveries import request
from config.local.merchant import Merchant
from config.local.processes import ProcessBook, is_same_process, wait_until
from config.local.stack import CHECKOUT, TWINS
from config.local.state import read_json
from config.local.twins import StripeTwin
from tests.services import services_root

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

RUN = "config.local.running", "run_until_interrupted"
DEMO = "config.local.demo", "run_demo"


@pytest.fixture
def state():
    """A state folder whose servers and processes the session's end removes, whatever happens."""
    return services_root() / f"local-{uuid.uuid4().hex[:8]}"


def environment():
    ours = ("DATABASE_URL", "REDIS_URL", "SHOPSYNC_FAILPOINTS", "SHOPSYNC_PROCESS")
    kept = {name: value for name, value in os.environ.items() if name not in ours}
    return {**kept, "SHOPSYNC_ENV": "local", "DJANGO_SETTINGS_MODULE": "config.settings"}


def start(command, state: Path) -> subprocess.Popen[str]:
    module, function = command
    code = f"import sys, pathlib, {module} as m; sys.exit(m.{function}(pathlib.Path(sys.argv[1])))"
    argv = [sys.executable, "-c", code, str(state)]
    return subprocess.Popen(
        argv, cwd=CHECKOUT, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def finish(process: subprocess.Popen[str]) -> tuple[int, str]:
    output, _ = process.communicate(timeout=150)
    return process.returncode, output


def wait_for_line(process: subprocess.Popen[str], text: str) -> None:
    """Read what a command prints, up to the line that holds the text."""
    for line in process.stdout:
        if text in line:
            return
    raise AssertionError(f"it ended without saying {text!r}")


def wait_for_run(process: subprocess.Popen[str], state: Path) -> dict:
    wait_until(lambda: (state / "run.json").exists() or process.poll() is not None, 120, "run.json")
    assert process.poll() is None, process.stdout.read()
    return read_json(state / "run.json")


def assert_nothing_runs(state: Path) -> None:
    assert not ProcessBook(state / "processes.json").entries()
    assert not EmbeddedServers(state).pids()
    assert not (state / "run.json").exists()


def test_the_demo_succeeds_twice_and_leaves_nothing_running(state):
    for _ in range(2):
        code, output = finish(start(DEMO, state))
        assert code == 0, output
        assert_nothing_runs(state)
    assert "no migration is missing" in output
    for sentence in (
        "200 buyers at once for 10 × Thyme Honey: 10 × 201, 190 × 409 insufficient-stock",
        "labels that the twin took money for: 1",
        "the order: fulfilled",
        "the order: partially_refunded",
        "the count is handed to shopsync: 201",
    ):
        assert sentence in output
    assert output.count("levels: none") == 4
    for word in ("stored", "already stored", "quarantined", "401", "404", "400", "no_consent", "unknown", "delivered"):
        assert word in output


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_demo_that_is_ended_while_the_count_is_ours_leaves_nothing_that_the_next_would_stumble_over(state, number):
    process = start(DEMO, state)
    wait_for_line(process, "the count is handed to shopsync: 201")
    left = [(entry.pid, entry.started) for entry in ProcessBook(state / "processes.json").entries()]
    assert len(left) == 3 + len(TWINS)
    process.send_signal(number)
    code, output = finish(process)
    if number == signal.SIGINT:
        assert code == 130, output
        assert_nothing_runs(state)
    code, output = finish(start(DEMO, state))
    assert code == 0, output
    assert not any(is_same_process(pid, started) for pid, started in left)
    assert_nothing_runs(state)


def test_run_says_how_to_attach_refuses_a_second_start_and_ends_by_ctrl_c(state):
    process = start(RUN, state)
    run = wait_for_run(process, state)
    assert (state / "run.json").stat().st_mode & 0o777 == 0o600
    assert set(run) == {"base_url", "tenants", "shopify_secret", "admin", "sandbox_url", "twins", "pids"}
    assert set(run["tenants"]) == {f"demo-{number}.myshopify.com" for number in ("one", "two", "three")}
    assert set(run["twins"]) == {"mitto", "stripe", "easypost"}
    assert {"web", "worker", "beat", "postgres", "redis", "run", *TWINS} == set(run["pids"])
    assert request("GET", run["base_url"] + "/ready").status == 200
    for tenant in run["tenants"].values():
        assert set(tenant["webhook_tokens"]) == {"mitto", "stripe", "easypost"}
        assert_doors_are_open(run, tenant)
    for command in (DEMO, RUN):
        code, output = finish(start(command, state))
        assert code != 0
        assert "already up in this checkout" in output
    process.send_signal(signal.SIGINT)
    code, output = finish(process)
    assert code == 0, output
    assert_nothing_runs(state)


def test_a_killed_run_is_cleaned_up_by_the_next_demo(state):
    process = start(RUN, state)
    run = wait_for_run(process, state)
    left = [(entry.pid, entry.started) for entry in ProcessBook(state / "processes.json").entries()]
    process.kill()
    process.communicate()
    assert request("GET", run["base_url"] + "/ready").status == 200  # its children live on
    code, output = finish(start(DEMO, state))
    assert code == 0, output
    assert "ended what an earlier start left behind: web" in output
    assert not any(is_same_process(pid, started) for pid, started in left)
    assert_nothing_runs(state)


def assert_doors_are_open(run: dict, tenant: dict) -> None:
    """A body that nobody signed is refused for that: its connection is known."""
    for source in ("stripe", "easypost"):
        door = f"{run['base_url']}/webhooks/{source}/{tenant['webhook_tokens'][source]}"
        headers = {"Stripe-Signature": "t=1,v1=00", "X-Hmac-Signature": "hmac-sha256-hex=00"}
        assert request("POST", door, raw=b"{}", headers=headers).status == 401


def test_run_starts_twins_again_that_die_and_hears_of_them_again(state):
    process = start(RUN, state)
    twins = wait_for_run(process, state)["twins"]
    for name in TWINS:
        end_and_wait(state, name)
    run = read_json(state / "run.json")
    assert run["twins"] == twins  # on their old ports
    tenant = run["tenants"]["demo-two.myshopify.com"]
    paid = StripeTwin(twins["stripe"], tenant["twin_account"]).pay(order_id=7, amount="5.00", currency="USD")
    merchant = Merchant(run["base_url"], tenant["api_key"])
    wait_until(lambda: bool(merchant.rows(f"payments?provider_id={paid}")), 60, "the twin's signed events")
    process.send_signal(signal.SIGINT)
    code, output = finish(process)
    assert code == 0, output
    assert_nothing_runs(state)


def test_run_starts_again_what_dies(state):
    process = start(RUN, state)
    run = wait_for_run(process, state)
    for name in ("worker", "web", "redis", "postgres"):
        end_and_wait(state, name)
        wait_until(lambda: is_ready(run), 60, "requests to be answered again")
    process.send_signal(signal.SIGINT)
    code, output = finish(process)
    assert code == 0, output
    assert_nothing_runs(state)


def end_and_wait(state: Path, name: str) -> None:
    run = read_json(state / "run.json")
    os.kill(run["pids"][name], signal.SIGKILL)
    wait_until(lambda: is_replaced(state, run, name), 60, f"{name} to be started again")


def is_replaced(state: Path, run: dict, name: str) -> bool:
    return read_json(state / "run.json")["pids"].get(name) not in (None, run["pids"][name])


def is_ready(run: dict) -> bool:
    try:
        return request("GET", run["base_url"] + "/ready").status == 200
    except OSError:
        return False
