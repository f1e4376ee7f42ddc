"""A real PostgreSQL on the loopback address, its data kept in the state folder."""

import contextlib
import hashlib
import os
import re
import shutil
import signal
import tempfile
import time
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import psycopg
from psycopg import sql

from config.local.binaries import SHARED, Account, Program, find_postgres, run_as, unprivileged_account
from config.local.processes import command_line, free_port, is_same_process, port_is_free, start_time
from config.local.servers import EmbeddedServerError, Server, ServerRecord, served_by
from config.local.state import log_size, log_tail, private_folder

USER = "shopsync"
DATABASE = "shopsync"
START_SECONDS = 60.0


class Postgres(Server):
    """The PostgreSQL of one state folder: scram, a random password, 127.0.0.1 only, no Unix socket."""

    name: ClassVar[str] = "postgres"
    # Fast shutdown, immediate shutdown, the end. https://www.postgresql.org/docs/current/server-shutdown.html
    stop_steps = ((signal.SIGINT, 30.0), (signal.SIGQUIT, 10.0), (signal.SIGKILL, 10.0))

    @cached_property
    def account(self) -> Account | None:
        """The account that the server runs under, None for our own."""
        return unprivileged_account()

    @cached_property
    def program(self) -> Program:
        """The server's program."""
        return find_postgres(self.account)

    @cached_property
    def spool(self) -> Path | None:
        """Where root keeps the files of another account, which cannot enter the state folder; None for our own."""
        mark = hashlib.sha256(str(self.state).encode()).hexdigest()[:12]
        return SHARED / f"shopsync-{mark}" if self.account else None

    @property
    def home(self) -> Path:
        """The folder of the data and the log."""
        return (self.spool or self.state) / "postgres"

    @property
    def log_path(self) -> Path:
        """Return where the server writes its log."""
        return self.home / "log"

    @property
    def data(self) -> Path:
        """PostgreSQL's data directory."""
        return self.home / "data"

    def url(self, record: ServerRecord) -> str:
        """Return the URL of our database."""
        return f"postgresql://{USER}:{record.password}@127.0.0.1:{record.port}/{DATABASE}"

    def start(self) -> str:
        """Start the server unless it runs, and return the URL of our database."""
        if not self.record_path.exists():
            self._discard_orphan()
        return super().start()

    def launch(self, record: ServerRecord) -> ServerRecord:
        """Make the data directory and our database where missing, and bring the server up.

        Raises:
            EmbeddedServerError: it does not come up.
        """
        running = self._running_pid()
        if running is None:
            self._make_home()
            if not (self.data / "PG_VERSION").exists():
                self._initialise(record.password)
            record = self._bring_up(record)
        else:
            record = replace(record, port=self._pid_file_number(3) or record.port)
        record = served_by(record, self._pid_file_number(0))
        self._create_database(record)
        return record

    def remove(self) -> None:
        """Remove what lies outside the state folder."""
        if self.spool is not None:
            shutil.rmtree(self.spool, ignore_errors=True)

    def _discard_orphan(self) -> None:
        """Deal with data whose record, and so whose password, is gone.

        Root's data lie outside the state folder: they are what is left after somebody removed that folder to start
        afresh. A server that still runs on them ends by itself within a minute of missing its pid file.
        """
        if not self.home.exists():
            return
        if self.spool is None:
            raise EmbeddedServerError(
                f"{self.record_path} is missing, and with it the password of the data in {self.home}. "
                f"Put it back, or remove {self.home} to start with an empty database."
            )
        shutil.rmtree(private_folder(self.spool, mode=0o711))

    def _make_home(self) -> None:
        if self.spool is not None:
            private_folder(self.spool, mode=0o711)
        if not self.home.exists():
            private_folder(self.home)
            self._give_away(self.home)

    def _give_away(self, path: Path) -> None:
        if self.account is not None:
            os.chown(path, self.account.uid, self.account.gid, follow_symlinks=False)

    def _initialise(self, password: str) -> None:
        """Run initdb beside the data directory and move the result there: a killed initdb leaves no half of one."""
        making = self.home / "data.new"
        shutil.rmtree(making, ignore_errors=True)
        handle, password_file = tempfile.mkstemp(dir=self.home, prefix="pw-")  # mode 0600
        try:
            with os.fdopen(handle, "w") as file:
                file.write(password)
            self._give_away(Path(password_file))
            argv = [str(self.program.path.with_name("initdb")), "-D", str(making), "-U", USER]
            argv += ["-A", "scram-sha-256", "--pwfile", password_file]
            argv += ["-E", "UTF8", "--locale=C", "--no-instructions"]
            if self.program.version >= 17:  # the wheel has no ICU; the builtin provider came with PostgreSQL 17
                argv += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
            if not self.durable:
                argv += ["--no-sync"]
            done = run_as(self.account, argv)
        finally:
            Path(password_file).unlink(missing_ok=True)
        if done.returncode != 0:
            raise EmbeddedServerError(f"PostgreSQL's initdb failed:\n{done.stdout[-2000:]}")
        making.rename(self.data)

    def _bring_up(self, record: ServerRecord) -> ServerRecord:
        """Start the postmaster, on the recorded port unless that is taken, and return the record with its port."""
        deadline = time.monotonic() + START_SECONDS
        while True:
            if not port_is_free(record.port):
                record = replace(record, port=free_port())
            since = log_size(self.log_path)
            if self._pg_ctl_start(record.port):
                return record
            # Passing troubles: the last processes of a SIGKILLed postmaster still hold its shared memory; somebody
            # took the port between our look and the server's.
            passing = re.search(
                "still in use|could not bind|Address already in use", log_tail(self.log_path, since=since)
            )
            if not passing or time.monotonic() > deadline:
                raise self.failure("PostgreSQL did not start.", since=since)
            time.sleep(0.1)

    def _pg_ctl_start(self, port: int) -> bool:
        settings = {
            "port": str(port),
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "max_connections": "200",
        }
        if self._has_statement_statistics():
            settings["shared_preload_libraries"] = "pg_stat_statements"
        if not self.durable:
            settings |= {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
        options = " ".join(f"-c {name}='{value}'" for name, value in settings.items())
        pg_ctl = self.program.path.with_name("pg_ctl")
        wait = ["-w", "-t", str(int(START_SECONDS))]
        argv: list[str | Path] = [pg_ctl, "start", "-D", self.data, "-l", self.log_path, *wait, "-o", options]
        return run_as(self.account, argv).returncode == 0

    def _has_statement_statistics(self) -> bool:
        lib = self.program.path.parent.parent / "lib"
        return any(lib.glob("pg_stat_statements.*")) or any(lib.glob("postgresql/pg_stat_statements.*"))

    def _pid_file_number(self, line: int) -> int:
        """Return a number from the server's pid file: line 0 the pid, line 3 the port; 0 when it is not there."""
        with contextlib.suppress(OSError, ValueError, IndexError):
            return int((self.data / "postmaster.pid").read_text().splitlines()[line])
        return 0

    def _running_pid(self) -> int | None:
        """Return the pid of the postmaster of our data directory; remove the pid file of one that is gone.

        The pid file is believed only when the process is neither gone nor a zombie, and names our data directory:
        its pid may have been given to another process, and PostgreSQL would then refuse to start.
        """
        pid = self._pid_file_number(0)
        if start_time(pid) is not None and f"-D {self.data}" in command_line(pid):
            return pid
        (self.data / "postmaster.pid").unlink(missing_ok=True)
        return None

    def _create_database(self, record: ServerRecord) -> None:
        """Create our database if missing, once the server takes connections.

        Raises:
            EmbeddedServerError: it takes none in time.
        """
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                with self._connect(record) as connection:
                    found = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE]).fetchone()
                    if not found:
                        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(DATABASE)))
                    return
            except psycopg.OperationalError as error:
                if time.monotonic() > deadline or not is_same_process(record.pid, record.started):
                    raise self.failure(f"PostgreSQL takes no connections: {error}.") from error
                time.sleep(0.1)

    def _connect(self, record: ServerRecord) -> "psycopg.Connection[tuple[object, ...]]":
        # Each value that libpq would otherwise take from the environment or from files under HOME is given here.
        return psycopg.connect(
            f"host=127.0.0.1 port={record.port} user={USER} password={record.password} dbname=postgres "
            "sslmode=disable gssencmode=disable options='' connect_timeout=5",
            autocommit=True,
        )
