"""PostgreSQL and Redis for one machine: those that the environment names, else real ones on the loopback address.

The data, the random passwords and the ports live in a state folder (0700), so that the next start finds everything
again. Where we are root, PostgreSQL runs under another account and keeps its data in a folder of its own in /var/tmp.
The module needs neither Django nor its settings, which are read after it.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from config.local.postgres import Postgres
from config.local.servers import EmbeddedServerError
from config.local.state import locked, private_folder
from config.local.valkey import Valkey

__all__ = ["EmbeddedServerError", "EmbeddedServers", "Urls", "remove", "start", "stop"]


@dataclass(frozen=True)
class Urls:
    """Where PostgreSQL and Redis are; empty where one was not asked for."""

    database_url: str
    redis_url: str


class EmbeddedServers:
    """The PostgreSQL and the Redis of one state folder. Starts of one folder wait for each other, also over processes.

    ``durable`` (unless given: not ``throwaway``) says whether they survive a power cut: PostgreSQL's fsync, and Redis's
    append-only file, flushed every second. Without it Redis forgets everything when it ends; PostgreSQL does not.
    """

    def __init__(self, state: Path, *, throwaway: bool = False, durable: bool | None = None) -> None:
        self.state = state.resolve()
        durable = not throwaway if durable is None else durable
        self._postgres = Postgres(self.state, durable=durable)
        self._redis = Valkey(self.state, durable=durable)

    def start(self, *, use_environment: bool = True, database: bool = True, redis: bool = True) -> Urls:
        """Start what is asked for, runs not, and is not named by DATABASE_URL or REDIS_URL in the environment.

        Raises:
            EmbeddedServerError: a server is not to be found or does not start.
        """
        database_url = os.environ.get("DATABASE_URL", "") if use_environment else ""
        redis_url = os.environ.get("REDIS_URL", "") if use_environment else ""
        if database and not database_url:
            database_url = self.start_postgres()
        if redis and not redis_url:
            redis_url = self.start_redis()
        return Urls(database_url, redis_url)

    def stop(self) -> None:
        """Stop what was started here and still runs; the data stay."""
        self.stop_redis()
        self.stop_postgres()

    def remove(self) -> None:
        """Stop both and remove the data and the state folder."""
        self.stop()
        self._postgres.remove()
        shutil.rmtree(self.state, ignore_errors=True)

    def pids(self) -> dict[str, int]:
        """Return the pids of those of "postgres" and "redis" that were started here and run."""
        found = {server.name: server.pid() for server in (self._postgres, self._redis)}
        return {name: pid for name, pid in found.items() if pid is not None}

    def start_postgres(self) -> str:
        """Start PostgreSQL unless it runs, on the same port and with the same password as before; return its URL."""
        with self._locked(make=True):
            return self._postgres.start()

    def stop_postgres(self) -> bool:
        """Stop PostgreSQL gently; return whether it ran."""
        with self._locked() as known:
            return known and self._postgres.stop()

    def kill_postgres(self) -> bool:
        """SIGKILL PostgreSQL's main process; return whether it ran."""
        with self._locked() as known:
            return known and self._postgres.kill()

    def start_redis(self) -> str:
        """Start Redis unless it runs, on the same port and with the same password as before; return its URL."""
        with self._locked(make=True):
            return self._redis.start()

    def stop_redis(self) -> bool:
        """Stop Redis gently; return whether it ran."""
        with self._locked() as known:
            return known and self._redis.stop()

    def kill_redis(self) -> bool:
        """SIGKILL Redis; return whether it ran."""
        with self._locked() as known:
            return known and self._redis.kill()

    @contextmanager
    def _locked(self, *, make: bool = False) -> Iterator[bool]:
        """Hold the state folder's lock; yield False, holding nothing, when there is no such folder and none is made."""
        try:
            if make:
                private_folder(self.state)
            if not self.state.is_dir():
                yield False
                return
            with locked(self.state / ".lock"):
                yield True
        except PermissionError as error:
            raise EmbeddedServerError(f"The state folder {self.state} is not usable: {error}") from error


def start(
    state: Path,
    *,
    throwaway: bool = False,
    use_environment: bool = True,
    durable: bool | None = None,
    database: bool = True,
    redis: bool = True,
) -> Urls:
    """Start the servers of a state folder (see EmbeddedServers) and return their URLs.

    Raises:
        EmbeddedServerError: a server is not to be found or does not start.
    """
    servers = EmbeddedServers(state, throwaway=throwaway, durable=durable)
    return servers.start(use_environment=use_environment, database=database, redis=redis)


def stop(state: Path) -> None:
    """Stop what start() started in a state folder and still runs; nothing else, and the data stay."""
    EmbeddedServers(state).stop()


def remove(state: Path) -> None:
    """Stop what start() started in a state folder, and remove its data and the folder."""
    EmbeddedServers(state).remove()
