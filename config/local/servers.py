"""What the embedded PostgreSQL and the embedded Valkey have in common: a record, a port, and an end."""

import secrets
import signal
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import ClassVar

from config.local.processes import end_process, free_port, is_same_process, start_time
from config.local.state import log_tail, read_json, write_private_json


class EmbeddedServerError(RuntimeError):
    """An embedded server cannot be found, started or stopped; the message says what to do, and ends in its log."""


@dataclass(frozen=True)
class ServerRecord:
    """How to reach a server and which process it is; ``pid`` 0 when it is not known to run."""

    port: int = field(default_factory=free_port)
    password: str = field(default_factory=lambda: secrets.token_hex(24))
    pid: int = 0
    started: str = ""


class Server(ABC):
    """One server of one state folder. Callers hold the folder's lock."""

    name: ClassVar[str]
    stop_steps: ClassVar[Sequence[tuple[signal.Signals, float]]]

    def __init__(self, state: Path, *, durable: bool) -> None:
        self.state = state
        self.durable = durable
        self.record_path = state / f"{self.name}.json"

    @property
    @abstractmethod
    def log_path(self) -> Path:
        """Return where the server writes its log."""

    @abstractmethod
    def url(self, record: ServerRecord) -> str:
        """Return the URL of the server with its password."""

    @abstractmethod
    def launch(self, record: ServerRecord) -> ServerRecord:
        """Bring the server up, or find it already up, and return the record of what now serves.

        Raises:
            EmbeddedServerError: it does not come up.
        """

    def start(self) -> str:
        """Start the server unless it runs, and return its URL."""
        record = self.record()
        if record is None:
            record = self.save(ServerRecord())  # before the launch: a crash in between keeps the password of the data
        if not is_same_process(record.pid, record.started):
            record = self.save(self.launch(record))
        return self.url(record)

    def stop(self) -> bool:
        """Stop the recorded process if it still is that one, gently at first; return whether there was one.

        Raises:
            EmbeddedServerError: it survives every signal.
        """
        return self._end(self.stop_steps)

    def kill(self) -> bool:
        """SIGKILL the recorded process, as a crash would; return whether there was one."""
        return self._end([(signal.SIGKILL, 10.0)])

    def pid(self) -> int | None:
        """Return the pid of the running server, None when it does not run."""
        record = self.record()
        return record.pid if record and is_same_process(record.pid, record.started) else None

    def record(self) -> ServerRecord | None:
        """Return what is recorded, None when this server was never started here."""
        try:
            found = read_json(self.record_path)
            return None if found is None else ServerRecord(**found)
        except (ValueError, TypeError) as error:
            raise EmbeddedServerError(
                f"{self.record_path} is damaged ({error}). Remove the folder {self.state} to start afresh."
            ) from error

    def save(self, record: ServerRecord) -> ServerRecord:
        """Write the record and return it."""
        write_private_json(self.record_path, asdict(record))
        return record

    def failure(self, what: str, *, since: int = 0) -> EmbeddedServerError:
        """Return the error that says ``what`` and ends in the tail of the log, from byte ``since`` on."""
        tail = log_tail(self.log_path, since=since) or "(the log is empty)"
        return EmbeddedServerError(f"{what} Its log, {self.log_path}, ends:\n{tail}")

    def _end(self, steps: Sequence[tuple[signal.Signals, float]]) -> bool:
        record = self.record()
        if record is None or not is_same_process(record.pid, record.started):
            return False
        if not end_process(record.pid, record.started, steps=steps):
            raise self.failure(f"{self.name} (pid {record.pid}) does not end.")
        self.save(replace(record, pid=0, started=""))
        return True


def served_by(record: ServerRecord, pid: int) -> ServerRecord:
    """Return the record with the process ``pid`` as the one that serves."""
    return replace(record, pid=pid, started=start_time(pid) or "")
