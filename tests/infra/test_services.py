"""The plugin that gives each test session its own servers: they end with it, whatever ends it."""

import os
import signal
import sys
import tempfile
from pathlib import Path

import pytest

from config.embedded import EmbeddedServers
from config.local.processes import ManagedProcess, ProcessBook, spawn, start_time, wait_until
from config.local.state import read_json
from tests import services

SESSION = """
import json, os, pathlib, sys, time
from tests.services import services_root
from config.embedded import EmbeddedServers
from config.local.processes import ProcessBook, spawn

def test_session():
    assert os.environ["SHOPSYNC_ENV"] == "test"
    root = services_root()
    servers = EmbeddedServers(root / "session")
    sleeper = spawn("sleeper", ["sleep", "60"], env=dict(os.environ), log_path=root / "log", cwd=root)
    ProcessBook(root / "processes.json").add(sleeper)
    report = {"root": str(root), "pids": [*servers.pids().values(), sleeper.pid]}
    pathlib.Path(os.environ["REPORT"]).write_text(json.dumps(report) + "\\n")
    time.sleep(float(os.environ["LINGER"]))
    assert os.environ["LINGER"] == "0"
"""


class Session:
    """A pytest run of its own over one test, which reports what it started."""

    def __init__(self, folder: Path, *arguments: str, linger_seconds: int = 0) -> None:
        (folder / "test_session.py").write_text(SESSION)
        self.report_path = folder / "report.json"
        ours = ("DATABASE_URL", "REDIS_URL", "PYTEST_", "SHOPSYNC_TESTS_")  # of the session that runs this test
        env = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
        env |= {"REPORT": str(self.report_path), "LINGER": str(linger_seconds), "TMPDIR": str(folder)}
        env["SHOPSYNC_ENV"] = "local"  # as the Makefile exports it
        configuration = str(services.CHECKOUT / "pyproject.toml")
        argv = [sys.executable, "-m", "pytest", "-c", configuration, "-p", "no:django", "-p", "no:cacheprovider"]
        argv += arguments
        argv.append(str(folder / "test_session.py"))
        # A shell's background job ignores SIGINT and hands that on to its children; this child is to heed it.
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            log_path = folder / "pytest.log"
            self.process: ManagedProcess = spawn("pytest", argv, env=env, log_path=log_path, cwd=services.CHECKOUT)
        finally:
            signal.signal(signal.SIGINT, before)

    def started(self) -> tuple[Path, list[int]]:
        wait_until(lambda: self.report_path.exists() and self.report_path.stat().st_size > 0, 60, "the inner session")
        report = read_json(self.report_path)
        return Path(report["root"]), report["pids"]

    def end(self) -> int:
        wait_until(lambda: not self.process.is_alive(), 60, "the end of the inner session")
        return self.process.exit_code() or 0


def left_in(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if "shopsync-tests" in path.name]


@pytest.mark.parametrize("arguments", [[], ["--collect-only"], ["--help"], ["--no-such-option"]], ids=str)
def test_nothing_stays_of_a_session(tmp_path: Path, arguments: list[str]) -> None:
    session = Session(tmp_path, *arguments)
    assert session.end() == (4 if arguments == ["--no-such-option"] else 0), session.process.log_tail()
    assert left_in(tmp_path) == []
    if not arguments:
        _, pids = session.started()
        assert len(pids) == 3
        assert all(start_time(pid) is None for pid in pids)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_nothing_stays_of_an_interrupted_session(tmp_path: Path, number: signal.Signals) -> None:
    session = Session(tmp_path, linger_seconds=60)
    _, pids = session.started()
    os.kill(session.process.pid, number)
    assert session.end() == pytest.ExitCode.INTERRUPTED, session.process.log_tail()
    assert left_in(tmp_path) == []
    assert len(pids) == 3
    assert all(start_time(pid) is None for pid in pids)


def test_the_next_session_removes_what_a_killed_one_left_and_spares_the_living(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = Session(tmp_path, linger_seconds=60)
    root, pids = session.started()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert services.remove_left_behind() == []
    session.process.kill()
    assert all(start_time(pid) is not None for pid in pids)
    assert services.remove_left_behind() == [root]
    assert left_in(tmp_path) == []
    wait_until(lambda: all(start_time(pid) is None for pid in pids), 10, "the end of what was left behind")


def test_a_forked_process_does_not_stop_the_session() -> None:
    pid = os.fork()
    if pid == 0:
        services.remove_services()
        os._exit(0)
    os.waitpid(pid, 0)
    assert services.services_root().exists()
    given = {"DATABASE_URL", "REDIS_URL"} <= os.environ.keys()
    assert given
    servers = EmbeddedServers(services.services_root() / "session")
    assert servers.pids() or not (servers.state / "postgres.json").exists()
    assert ProcessBook(services.services_root() / "processes.json").entries() == []
