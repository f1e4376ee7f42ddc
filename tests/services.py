"""The throw-away PostgreSQL and Redis of a test session, started before anything reads the settings.

A pytest plugin (`-p tests.services`). DATABASE_URL and REDIS_URL in the environment are used instead, one by one. Each
of several test processes (`-n 2`) starts servers of its own, so that none empties what another one uses. What
one session starts lies in one temporary folder with a record of its owner: the session removes it when it ends, and
the next one does for a session that was SIGKILLed.
"""

import atexit
import contextlib
import hashlib
import os
import shutil
import signal
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import pytest

from config import embedded
from config.local.processes import ProcessBook, is_same_process, start_time
from config.local.state import read_json, write_private_json

CHECKOUT = Path(__file__).resolve().parent.parent
PREFIX = f"shopsync-tests-{hashlib.sha256(str(CHECKOUT).encode()).hexdigest()[:10]}-"
OWNER = "owner.json"

_URLS = ("DATABASE_URL", "REDIS_URL")
_PROCESS = "PYTEST_XDIST_WORKER"  # pytest-xdist says so in each process of several
_OWN = "SHOPSYNC_TESTS_STARTED"  # which of them a session did not find in its environment

_root: Path | None = None
_owner_pid = 0


def services_root() -> Path:
    """Return the session's folder (0700), made on first use, for servers and processes of a test's own.

    Put each EmbeddedServers in a folder of its own below, and name a ProcessBook `processes.json`: the end of the
    session, or the next session, stops whatever they record.
    """
    global _root, _owner_pid
    if _root is None:
        owner = os.getpid()
        # The name that the clean-up looks for appears together with its owner's record.
        making = Path(tempfile.mkdtemp(prefix=f".{PREFIX}"))
        write_private_json(making / OWNER, {"pid": owner, "started": start_time(owner) or ""})
        _root = making.rename(making.with_name(making.name.removeprefix(".")))
        _owner_pid = owner
        atexit.register(remove_services)  # also after a usage error, which ends pytest before it is configured
    return _root


def has_own_postgres() -> bool:
    """Is the session's PostgreSQL one that it started?"""
    return "DATABASE_URL" in os.environ.get(_OWN, "").split()


def remove_services() -> None:
    """Stop and remove all that this process started; a process forked from it removes nothing."""
    global _root
    if _root is not None and _owner_pid == os.getpid():
        root, _root = _root, None
        _remove_tree(root)


def remove_left_behind() -> list[Path]:
    """Remove the folders of sessions of this checkout whose process is gone, with their servers; return them."""
    removed = []
    for root in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with contextlib.suppress(FileNotFoundError):  # another session may be cleaning up too
            if root.lstat().st_uid != os.geteuid() or root.is_symlink():
                continue
            owner = read_json(root / OWNER) or {"pid": 0, "started": ""}
            if not is_same_process(owner["pid"], owner["started"]):
                _remove_tree(root)
                removed.append(root)
    return removed


def _remove_tree(root: Path) -> None:
    for book in root.rglob("processes.json"):
        ProcessBook(book).stop_left_behind(grace_seconds=2)
    for state in {record.parent for name in ("postgres.json", "redis.json") for record in root.rglob(name)}:
        embedded.remove(state)
    shutil.rmtree(root, ignore_errors=True)


def _end_as_by_ctrl_c(number: int, frame: FrameType | None) -> None:
    if os.getpid() == _owner_pid:
        raise KeyboardInterrupt
    signal.signal(number, signal.SIG_DFL)  # a forked child ends as it would without us
    os.kill(os.getpid(), number)


def _heed_sigterm() -> None:
    """Let SIGTERM, which CI sends on a time-out, end the session in order."""
    if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _end_as_by_ctrl_c)


# A wrapper, since pytest-django loads the settings in this hook with tryfirst: wrappers come before all others.
@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> Iterator[None]:
    os.environ["SHOPSYNC_ENV"] = "test"
    options = early_config.known_args_namespace
    if not (options.help or options.version):
        _start()
    return (yield)


def _start() -> None:
    remove_left_behind()
    if _PROCESS in os.environ and _OWN in os.environ:
        for name in os.environ[_OWN].split():  # those of the process that started this one: each has servers of its own
            del os.environ[name]
    given = {name for name in _URLS if os.environ.get(name)}
    os.environ[_OWN] = " ".join(name for name in _URLS if name not in given)
    if not (os.environ.get("DATABASE_URL") and os.environ.get("REDIS_URL")):
        _heed_sigterm()
        try:
            urls = embedded.start(services_root() / "session", throwaway=True)
        except embedded.EmbeddedServerError as error:
            raise pytest.UsageError(f"The tests need PostgreSQL and Redis. {error}") from error
        os.environ.update(DATABASE_URL=urls.database_url, REDIS_URL=urls.redis_url)


def pytest_report_header() -> str:
    return f"services: throw-away ones in {_root}" if _root else "services: those of the environment"


def pytest_unconfigure() -> None:
    remove_services()
