"""Our own processes on one machine: started, recorded, waited for, and ended without ever hitting a stranger's.

A pid alone proves nothing, since the system gives it to somebody else once its process is gone. A process is believed
to be ours only when its pid and its start time are both the recorded ones.
"""

import contextlib
import os
import random
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from http.client import HTTPException
from pathlib import Path

from config.local.state import locked, log_tail, private_folder, read_json, write_private_json

HAS_PROC = Path("/proc/self/stat").exists()
POLL_SECONDS = 0.02

# Below the range from which systems take the ports of outgoing connections (Linux 32768, macOS 49152): a client that
# keeps connecting to a stopped server inside that range can be given the server's own port, connect to itself, and so
# keep the server from coming back.
SERVER_PORTS = range(15_000, 32_000)


def start_time(pid: int) -> str | None:
    """Return an opaque mark of when process ``pid`` started; None when it is gone or only a zombie.

    A SIGKILLed daemon can stay a zombie in a container whose first process does not reap: kill(pid, 0) still succeeds.
    Source: proc(5), /proc/PID/stat, fields 3 (state) and 22 (starttime).
    """
    if pid < 1:
        return None
    if HAS_PROC:
        try:
            text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        except OSError:
            return None
        fields = text.rpartition(")")[2].split()  # field 2, the name, may hold spaces and brackets
        return None if fields[0] in {"Z", "X", "x"} else fields[19]
    state, _, started = _ps(pid, "stat=", "lstart=").partition(" ")
    return None if not started or state.startswith("Z") else started.strip()


def command_line(pid: int) -> str:
    """Return the command line of process ``pid``, its arguments joined by spaces; empty when it is gone."""
    if not HAS_PROC:
        return _ps(pid, "command=").strip()
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace").strip()
    except OSError:
        return ""


def _ps(pid: int, *columns: str) -> str:
    argv = ["ps", "-ww", "-p", str(pid)]
    for column in columns:
        argv += ["-o", column]
    return subprocess.run(argv, capture_output=True, text=True, check=False, env={**os.environ, "LC_ALL": "C"}).stdout


def is_same_process(pid: int, started: str) -> bool:
    """Return whether ``pid`` still is the process that started at ``started`` (a mark from start_time)."""
    return bool(started) and start_time(pid) == started


def kill_group(pid: int, started: str) -> None:
    """SIGKILL what is left of the process group led by ``pid``, also after the leader itself has gone.

    The system gives no new process a pid that still names a group: another holder of the pid means the group is empty.
    """
    if start_time(pid) not in {None, started}:
        return
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def _await_end(processes: Sequence[tuple[int, str]], timeout_seconds: float) -> bool:
    deadline = time.monotonic() + timeout_seconds
    while any(is_same_process(pid, started) for pid, started in processes):
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_SECONDS)
    return True


def end_process(pid: int, started: str, *, steps: Sequence[tuple[signal.Signals, float]]) -> bool:
    """Send each signal in turn, waiting its seconds, until the process is gone; return whether it is.

    Nothing is sent to a process that is not, or no longer, the recorded one.
    """
    for number, patience_seconds in steps:
        if not is_same_process(pid, started):
            return True
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
        if _await_end([(pid, started)], patience_seconds):
            return True
    return not is_same_process(pid, started)


class ManagedProcess:
    """A child process of ours in a session of its own, so that Ctrl-C in the terminal reaches only its supervisor."""

    def __init__(self, name: str, popen: "subprocess.Popen[bytes]", log_path: Path) -> None:
        self.name = name
        self.pid = popen.pid
        self.started = start_time(popen.pid) or ""  # empty: it ended before it could be looked at
        self.log_path = log_path
        self._popen = popen

    def is_alive(self) -> bool:
        """Return whether it runs. Does not reap it: while it is unreaped its pid, and its group's, stay its own."""
        return self._popen.returncode is None and is_same_process(self.pid, self.started)

    def exit_code(self) -> int | None:
        """Return its exit code (minus the signal's number when one ended it), None while it runs."""
        return self._popen.poll()

    def terminate(self, grace_seconds: float = 10.0) -> int:
        """Ask it to end by SIGTERM, SIGKILL what is left of its group after the grace, and return its exit code."""
        if self.is_alive():
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGTERM)
            _await_end([(self.pid, self.started)], grace_seconds)
        return self.kill_group()

    def kill(self) -> int:
        """SIGKILL this process only, as a crash would, leave its children alone, and return its exit code."""
        self._popen.kill()
        return self._popen.wait()

    def kill_group(self) -> int:
        """SIGKILL it and all that it started in its group, and return its exit code."""
        kill_group(self.pid, self.started)
        return self.kill()  # a child that left the group is its own; the leader never survives this

    def log_tail(self, lines: int = 25) -> str:
        """Return the last lines that it wrote."""
        return log_tail(self.log_path, lines=lines)


def spawn(name: str, argv: Sequence[str], *, env: Mapping[str, str], log_path: Path, cwd: Path) -> ManagedProcess:
    """Start ``argv`` in a session of its own, its output appended to ``log_path`` (0600).

    ``env`` is the whole environment of the child. A ProcessBook makes the process known to the next start.

    Raises:
        OSError: the program cannot be run.
    """
    log_path.parent.mkdir(parents=True, exist_ok=True)
    log = os.open(log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        popen = subprocess.Popen(
            list(argv), env=dict(env), cwd=cwd, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
    finally:
        os.close(log)
    return ManagedProcess(name, popen, log_path)


@dataclass(frozen=True)
class BookEntry:
    """One recorded process, and the process that recorded it."""

    name: str
    pid: int
    started: str
    owner_pid: int
    owner_started: str


class ProcessBook:
    """The processes that a supervisor started, in a file, so that the next start can end what a crash left behind."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def entries(self) -> list[BookEntry]:
        """Return what is recorded, oldest first."""
        return [BookEntry(**entry) for entry in read_json(self.path) or []]

    def add(self, process: ManagedProcess) -> None:
        """Record a process as started by the calling one."""
        owner = os.getpid()
        entry = BookEntry(process.name, process.pid, process.started, owner, start_time(owner) or "")
        with self._locked():
            self._write([*self.entries(), entry])

    def remove(self, process: ManagedProcess) -> None:
        """Forget a process; it need not be recorded."""
        mark = (process.pid, process.started)
        with self._locked():
            self._write([entry for entry in self.entries() if (entry.pid, entry.started) != mark])

    def other_owner(self) -> int | None:
        """Return the pid of another living supervisor whose processes are recorded here, None when there is none."""
        for entry in self.entries():
            if entry.owner_pid != os.getpid() and is_same_process(entry.owner_pid, entry.owner_started):
                return entry.owner_pid
        return None

    def stop_left_behind(self, grace_seconds: float = 5.0) -> list[str]:
        """End every recorded process that still is the recorded one, with its group; say which, and empty the book.

        Also ends those of a living supervisor: ask other_owner() first where that matters.
        """
        if not self.path.exists():
            return []
        with self._locked():
            alive = [entry for entry in self.entries() if is_same_process(entry.pid, entry.started)]
            for entry in alive:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(entry.pid, signal.SIGTERM)
            marks = [(entry.pid, entry.started) for entry in alive]
            _await_end(marks, grace_seconds)
            for pid, started in marks:
                kill_group(pid, started)
            _await_end(marks, grace_seconds)
            self._write([])
        return [f"{entry.name} (pid {entry.pid})" for entry in alive]

    def _locked(self) -> contextlib.AbstractContextManager[None]:
        if not self.path.parent.exists():
            private_folder(self.path.parent)
        return locked(self.path.with_name(f".{self.path.name}.lock"))

    def _write(self, entries: list[BookEntry]) -> None:
        write_private_json(self.path, [asdict(entry) for entry in entries])


def wait_until(condition: Callable[[], bool], timeout_seconds: float, what: str) -> None:
    """Return once ``condition`` holds, looking every few hundredths of a second, at least once.

    Raises:
        TimeoutError: it did not hold in time; the message names ``what``.
    """
    deadline = time.monotonic() + timeout_seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {timeout_seconds:g} s in vain for {what}")
        time.sleep(POLL_SECONDS)


def port_is_free(port: int) -> bool:
    """Return whether a server could listen on this port of the loopback address now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do, to come back over TIME_WAIT
        try:
            probe.bind(("127.0.0.1", port))
            probe.listen(1)
        except OSError:
            return False
    return True


def free_port() -> int:
    """Return a port of the loopback address on which nothing listens, outside the range of outgoing connections.

    Another process may take it before you do: a server that finds it taken asks again.
    """
    for port in random.sample(SERVER_PORTS, 200):
        if port_is_free(port):
            return port
    raise OSError(f"200 random ports between {SERVER_PORTS.start} and {SERVER_PORTS.stop} are all taken")


def wait_for_http(url: str, timeout_seconds: float = 30.0) -> None:
    """Return once a GET of ``url`` (on this machine; proxies are not used) answers with a success.

    Raises:
        TimeoutError: it did not in time; the message holds the last failure.
    """
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    failure = "no answer"

    def answers() -> bool:
        nonlocal failure
        try:
            with opener.open(url, timeout=2):
                return True
        except (OSError, HTTPException) as error:
            failure = str(error)
            return False

    try:
        wait_until(answers, timeout_seconds, url)
    except TimeoutError as error:
        raise TimeoutError(f"{error} (the last answer: {failure})") from None
