"""One demo or run at a time in a checkout: its lock, its servers, its processes, and an end that leaves nothing behind.

with Session(state) as session: ...
"""

from __future__ import annotations

import fcntl
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

from config import embedded
from config.local.environment import local_environment, local_keys
from config.local.processes import ProcessBook, end_process, is_same_process, start_time
from config.local.stack import LocalStack
from config.local.state import private_folder, read_json, write_private_json

ENDING_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class BusyError(RuntimeError):
    """Another demo or run is up in this checkout; the message says which, and what to do."""


class Session:
    """The servers and processes of a demo or run; `environment` exists from `open` on."""

    def __init__(self, state: Path) -> None:
        self.state = private_folder(state)
        self.keys = local_keys(state)
        self.environment: dict[str, str] = {}
        variables = {"postgres": "DATABASE_URL", "redis": "REDIS_URL"}
        self.own_servers = {name for name, variable in variables.items() if not os.environ.get(variable)}

    def open(self, web_port: int | None = None) -> LocalStack:
        """End what a killed session left behind, start the servers, and return the stack of processes to start.

        The environment of this process becomes that of its children.
        """
        for name in ProcessBook(self.state / "processes.json").stop_left_behind():
            say(f"  ended what an earlier start left behind: {name}")
        (self.state / "run.json").unlink(missing_ok=True)
        self.environment = local_environment(self.state)
        os.environ.update(self.environment)
        stack = LocalStack(self.state, dict(os.environ), web_port=web_port)
        os.environ.setdefault("LOG_LEVEL", "WARNING")  # ours: what is printed here is the account, not a log
        return stack

    def close(self, stack: LocalStack | None) -> None:
        """Stop the processes, then the servers that were started here; the data stay."""
        (self.state / "run.json").unlink(missing_ok=True)
        if stack is not None:
            stack.stop()
        embedded.stop(self.state)


def say(line: str = "") -> None:
    """Print one line at once."""
    print(line, flush=True)


@contextmanager
def only_one(state: Path) -> Iterator[None]:
    """Hold the checkout for one demo or run; the lock ends with the process, however it ends.

    Raises:
        BusyError: another one is up.
    """
    private_folder(state)
    handle = os.open(state / ".session.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = (read_json(state / "session.json") or {}).get("pid", "unknown")
            raise BusyError(
                f"A demo or run is already up in this checkout (pid {owner}): "
                "end it by Ctrl-C there, or by `make stop`."
            ) from None
        write_private_json(state / "session.json", {"pid": os.getpid(), "started": start_time(os.getpid()) or ""})
        yield
    finally:
        os.close(handle)


@contextmanager
def ending_by_signal() -> Iterator[None]:
    """Turn SIGINT, SIGTERM and SIGHUP into KeyboardInterrupt."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in ENDING_SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def deaf() -> Iterator[None]:
    """Let nothing interrupt the end: a second Ctrl-C would leave processes behind."""
    before = {number: signal.signal(number, signal.SIG_IGN) for number in ENDING_SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def stop_all(state: Path) -> list[str]:
    """End a living session in order, then what a killed one left behind, and the servers; return what was ended."""
    if not state.is_dir():
        return []
    ended = []
    owner = read_json(state / "session.json") or {"pid": 0, "started": ""}
    if is_same_process(owner["pid"], owner["started"]):
        end_process(owner["pid"], owner["started"], steps=[(signal.SIGTERM, 30.0), (signal.SIGKILL, 5.0)])
        ended.append(f"a demo or run (pid {owner['pid']})")
    ended += ProcessBook(state / "processes.json").stop_left_behind()
    ended += [f"{name} (pid {pid})" for name, pid in embedded.EmbeddedServers(state).pids().items()]
    embedded.stop(state)
    with suppress(FileNotFoundError):
        (state / "run.json").unlink()
    return ended


def seconds_since(start: float) -> str:
    """Write the time since a moment of time.monotonic()."""
    return f"{time.monotonic() - start:.1f} s"
