"""A real Valkey (or Redis) on the loopback address, its data kept in the state folder."""

import os
import re
import signal
import socket
import subprocess
import time
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from config.local.binaries import find_redis
from config.local.processes import POLL_SECONDS, free_port, port_is_free, start_time
from config.local.servers import Server, ServerRecord, served_by
from config.local.state import log_size, private_folder, write_private

START_SECONDS = 60.0
STARTS = 3


class Valkey(Server):
    """The Valkey of one state folder: a random password, 127.0.0.1 only."""

    name: ClassVar[str] = "redis"
    stop_steps = ((signal.SIGTERM, 15.0), (signal.SIGKILL, 10.0))  # SIGTERM writes out what is kept

    @property
    def home(self) -> Path:
        """The folder of the data, the configuration and the log."""
        return self.state / "redis"

    @property
    def log_path(self) -> Path:
        """Return where the server writes its log."""
        return self.home / "log"

    def url(self, record: ServerRecord) -> str:
        """Return the URL of the server's first database."""
        return f"redis://:{record.password}@127.0.0.1:{record.port}/0"

    def launch(self, record: ServerRecord) -> ServerRecord:
        """Bring the server up, on the recorded port unless that is taken, or adopt the one that serves there.

        Raises:
            EmbeddedServerError: it does not come up.
        """
        pid = serving_pid(record)  # only ours accepts this password: its start ended before it could be recorded
        if pid:
            return served_by(record, pid)
        private_folder(self.home)
        since = log_size(self.log_path)
        for _ in range(STARTS):
            if not port_is_free(record.port):
                record = replace(record, port=free_port())
            pid = self._start_daemon(record)
            if pid:
                return served_by(record, pid)
        raise self.failure("Valkey (or Redis) did not start.", since=since)

    def _start_daemon(self, record: ServerRecord) -> int:
        """Start the server and return its pid once it has loaded its data, 0 when it gives up."""
        pid_path = self.home / "pid"
        pid_path.unlink(missing_ok=True)
        configuration = self.home / "server.conf"
        write_private(configuration, self._configuration(record))
        done = subprocess.run(
            [str(find_redis().path), str(configuration)],
            cwd="/",
            env={**os.environ, "LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=False,
        )
        deadline = time.monotonic() + START_SECONDS
        while done.returncode == 0 and time.monotonic() < deadline:
            if pid := serving_pid(record):
                return pid
            if pid_path.exists() and start_time(_number(pid_path)) is None:
                return 0
            time.sleep(POLL_SECONDS)
        return 0

    def _configuration(self, record: ServerRecord) -> str:
        folder = str(self.home).replace("\\", "\\\\").replace('"', '\\"')
        kept = ["appendonly yes", "appendfsync everysec"] if self.durable else ["appendonly no"]
        return "\n".join(
            [
                "bind 127.0.0.1",
                f"port {record.port}",
                f"requirepass {record.password}",
                f'dir "{folder}"',
                f'pidfile "{folder}/pid"',
                f'logfile "{folder}/log"',
                "daemonize yes",
                "maxmemory-policy noeviction",
                'save ""',
                *kept,
                "",
            ]
        )


def _number(path: Path) -> int:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return 0


def serving_pid(record: ServerRecord) -> int:
    """Return the pid of the server that accepts the record's password on its port and is ready, 0 when none does.

    Speaks the inline form of the protocol, so that no client library is loaded before the settings.
    Source: https://valkey.io/topics/protocol/#inline-commands
    """
    answer = b""
    try:
        with socket.create_connection(("127.0.0.1", record.port), timeout=1) as connection:
            connection.sendall(f"AUTH {record.password}\r\nINFO server\r\nPING\r\nQUIT\r\n".encode())
            while chunk := connection.recv(65_536):
                answer += chunk
    except OSError:
        return 0
    found = re.search(rb"\r\nprocess_id:(\d+)\r\n", answer)
    return int(found[1]) if found and b"+PONG" in answer else 0
