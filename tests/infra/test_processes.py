"""Our own processes: only the recorded ones are ended, by pid and start time, and waits end."""

import json
import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest

from config.local import processes
from config.local.processes import ManagedProcess, ProcessBook, spawn, start_time, wait_until

Spawn = Callable[..., ManagedProcess]

SLEEP = "print('up', flush=True); import time; time.sleep(60)"
STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); " + SLEEP
PARENT = f"""
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", {STUBBORN!r}])
print(child.pid, flush=True)
child.wait()
"""


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Spawn]:
    started: list[ManagedProcess] = []

    def start(code: str, name: str = "child", **env: str) -> ManagedProcess:
        log_path = tmp_path / f"{name}-{len(started)}.log"
        process = spawn(name, [sys.executable, "-c", code], env={**os.environ, **env}, log_path=log_path, cwd=tmp_path)
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill_group()


def wait_for_output(process: ManagedProcess) -> str:
    wait_until(lambda: bool(process.log_tail().strip()), 20, f"output of {process.name}")
    return process.log_tail().strip()


def is_gone(pid: int) -> bool:
    return start_time(pid) is None


def test_a_process_is_alive_until_it_ends_by_itself(run: Spawn) -> None:
    process = run("import sys; sys.stdin.read(); sys.exit(3)")
    wait_until(lambda: not process.is_alive(), 20, "the end")
    assert process.exit_code() == 3


def test_a_process_gets_the_given_environment_and_folder_and_its_log_is_private(run: Spawn, tmp_path: Path) -> None:
    process = run("import os; print(os.environ['COLOUR'], os.getcwd())", COLOUR="green")
    assert wait_for_output(process) == f"green {tmp_path.resolve()}"
    assert stat.S_IMODE(process.log_path.stat().st_mode) == 0o600


def test_a_process_has_a_session_of_its_own_so_that_ctrl_c_does_not_reach_it(run: Spawn) -> None:
    process = run(SLEEP)
    assert os.getsid(process.pid) == process.pid
    assert os.getpgid(process.pid) == process.pid


def test_terminate_asks_first(run: Spawn) -> None:
    process = run("import signal, sys; signal.signal(signal.SIGTERM, lambda *_: sys.exit(7)); " + SLEEP)
    wait_for_output(process)
    assert process.terminate(grace_seconds=20) == 7
    assert not process.is_alive()


def test_terminate_kills_the_whole_group_after_the_grace(run: Spawn) -> None:
    process = run("import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + PARENT)
    child = int(wait_for_output(process).split()[0])
    assert process.terminate(grace_seconds=0.2) == -signal.SIGKILL
    wait_until(lambda: is_gone(child), 10, "the end of the child")


def test_terminate_ends_the_children_of_a_process_that_left_in_time(run: Spawn) -> None:
    process = run(PARENT)
    child = int(wait_for_output(process).split()[0])
    assert process.terminate(grace_seconds=20) == -signal.SIGTERM
    wait_until(lambda: is_gone(child), 10, "the end of the child")


def test_kill_ends_that_process_only_and_kill_group_what_it_left(run: Spawn) -> None:
    process = run(PARENT)
    child = int(wait_for_output(process).split()[0])
    assert process.kill() == -signal.SIGKILL
    assert not process.is_alive()
    assert not is_gone(child)
    process.kill_group()
    wait_until(lambda: is_gone(child), 10, "the end of the child")


def test_a_group_is_not_killed_when_its_number_belongs_to_another_process_now(run: Spawn) -> None:
    stranger = run(SLEEP)
    processes.kill_group(stranger.pid, "another start time")
    assert stranger.is_alive()


def test_end_process_spares_a_process_with_another_start_time(run: Spawn) -> None:
    stranger = run(SLEEP)
    assert processes.end_process(stranger.pid, "another start time", steps=[(signal.SIGKILL, 5)])
    assert stranger.is_alive()


def test_a_zombie_counts_as_gone() -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    wait_until(lambda: start_time(child.pid) is None, 20, "the zombie")
    os.kill(child.pid, 0)  # it is still there for those who ask this way
    child.wait()


def test_start_time_tells_processes_apart_and_stays_the_same(run: Spawn) -> None:
    first = run(SLEEP)
    wait_for_output(first)
    second = run(SLEEP)
    assert start_time(first.pid) == first.started != second.started
    assert start_time(0) is None
    assert start_time(-1) is None


def test_the_book_ends_what_a_crash_left_behind_with_its_children(run: Spawn, tmp_path: Path) -> None:
    book = ProcessBook(tmp_path / "processes.json")
    process = run(PARENT, name="worker")
    book.add(process)
    child = int(wait_for_output(process).split()[0])
    assert ProcessBook(book.path).stop_left_behind() == [f"worker (pid {process.pid})"]
    assert not process.is_alive()
    wait_until(lambda: is_gone(child), 10, "the end of the child")
    assert book.entries() == []


def test_the_book_spares_strangers_and_the_removed(run: Spawn, tmp_path: Path) -> None:
    book = ProcessBook(tmp_path / "processes.json")
    kept, stranger = run(SLEEP), run(SLEEP)
    book.add(kept)
    book.add(stranger)
    book.remove(kept)
    [entry] = json.loads(book.path.read_text())
    book.path.write_text(json.dumps([entry | {"started": "long ago"}]))
    assert book.stop_left_behind() == []
    assert kept.is_alive()
    assert stranger.is_alive()


def test_the_book_is_private_and_names_a_living_owner(run: Spawn, tmp_path: Path) -> None:
    book = ProcessBook(tmp_path / "state" / "processes.json")
    assert book.entries() == []
    assert book.stop_left_behind() == []
    process = run(SLEEP)
    book.add(process)
    assert stat.S_IMODE(book.path.stat().st_mode) == 0o600
    assert book.other_owner() is None
    [entry] = json.loads(book.path.read_text())
    book.path.write_text(json.dumps([entry | {"owner_pid": process.pid, "owner_started": process.started}]))
    assert book.other_owner() == process.pid


def test_wait_until_names_what_it_waited_for() -> None:
    with pytest.raises(TimeoutError, match=r"0\.1 s in vain for the cows"):
        wait_until(lambda: False, 0.1, "the cows")


def test_a_free_port_is_free_and_outside_the_range_of_outgoing_connections() -> None:
    port = processes.free_port()
    assert 15_000 <= port < 32_000
    with socket.create_server(("127.0.0.1", port)):
        assert not processes.port_is_free(port)
    assert processes.port_is_free(port)


def test_wait_for_http_waits_for_a_success(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = [503, 404, 200]

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(answers.pop(0) if len(answers) > 1 else answers[0])
            self.end_headers()

        def log_message(self, *args: object) -> None:
            pass

    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    server = HTTPServer(("127.0.0.1", processes.free_port()), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    processes.wait_for_http(f"http://127.0.0.1:{server.server_port}/", 20)
    assert answers == [200]
    answers[0] = 500
    with pytest.raises(TimeoutError, match="500"):
        processes.wait_for_http(f"http://127.0.0.1:{server.server_port}/", 0.2)
    server.shutdown()
    server.server_close()


def test_wait_for_http_says_that_nothing_listens() -> None:
    with pytest.raises(TimeoutError, match="refused"):
        processes.wait_for_http(f"http://127.0.0.1:{processes.free_port()}/", 0.2)
