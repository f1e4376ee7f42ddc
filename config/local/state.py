"""Files that hold local state: private folders and files, locks between processes, and the ends of logs."""

import fcntl
import json
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

LOG_TAIL_BYTES = 16_384


def private_folder(path: Path, *, mode: int = 0o700) -> Path:
    """Make ``path`` a folder of ours with exactly ``mode``, and return it.

    Raises:
        PermissionError: it exists and belongs to somebody else, or is a link (planted in a shared folder).
    """
    path.mkdir(parents=True, exist_ok=True, mode=mode)
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise PermissionError(f"{path} is a link or belongs to another user: remove it, or work in another folder.")
    path.chmod(mode)
    return path


def write_private(path: Path, text: str) -> None:
    """Replace ``path`` with ``text`` in one step, readable by its owner only, and on disk when this returns."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")  # mkstemp creates with mode 0600
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def write_private_json(path: Path, value: object) -> None:
    """Replace ``path`` with ``value`` as JSON (see write_private)."""
    write_private(path, json.dumps(value, indent=1) + "\n")


def read_json(path: Path) -> Any:
    """Return what ``path`` holds, None when there is no such file.

    Raises:
        ValueError: the file is not JSON; the message names it.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    try:
        return json.loads(text)
    except ValueError as error:
        raise ValueError(f"{path} is damaged ({error}): remove it and start again.") from error


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the exclusive lock on the file ``path``, waiting for it; threads exclude each other as processes do."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def log_size(path: Path) -> int:
    """Return the size of a log in bytes, 0 when it was never written."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


def log_tail(path: Path, *, lines: int = 25, since: int = 0) -> str:
    """Return the last ``lines`` lines of a log, from byte ``since`` on; empty when there is none."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(since, size - LOG_TAIL_BYTES))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return ""
    return "\n".join(text.splitlines()[-lines:])
