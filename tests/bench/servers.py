"""What benchmarks run on: a PostgreSQL as durable as in production, a Redis, and processes of our own."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from config import embedded
from config.local.processes import free_port, spawn, wait_for_http

ROOT = Path(__file__).resolve().parent.parent.parent
SHOP = "bench.myshopify.com"


def machine() -> str:
    """Describe this machine in a line."""
    return f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"


@contextmanager
def durable_servers() -> Iterator[Path]:
    """Start servers with fsync and synchronous_commit on, set the environment, migrate; remove all at the end."""
    with tempfile.TemporaryDirectory(prefix="shopsync-bench-") as folder:
        state = Path(folder) / "servers"
        urls = embedded.start(state, throwaway=False, use_environment=False)
        os.environ.update(
            DATABASE_URL=urls.database_url,
            REDIS_URL=urls.redis_url,
            SHOPSYNC_ENV="test",
            DJANGO_SETTINGS_MODULE="config.settings",
            LOG_LEVEL="WARNING",
        )
        try:
            subprocess.run([sys.executable, "manage.py", "migrate", "-v0"], cwd=ROOT, check=True)
            yield Path(folder)
        finally:
            embedded.remove(state)


@contextmanager
def gunicorn(application: str, folder: Path, *, process: str = "web") -> Iterator[int]:
    """Run a WSGI application on 2 processes of 8 threads; yields its port."""
    port = free_port()
    arguments = [sys.executable, "-m", "gunicorn", application, "--bind", f"127.0.0.1:{port}", "--workers", "2"]
    arguments += ["--worker-class", "gthread", "--threads", "8", "--keep-alive", "30", "--log-level", "warning"]
    environment = {**os.environ, "SHOPSYNC_PROCESS": process}
    child = spawn(f"bench-{process}", arguments, env=environment, log_path=folder / f"{process}.log", cwd=ROOT)
    try:
        wait_for_http(f"http://127.0.0.1:{port}/live", 30)
        yield port
    finally:
        child.terminate(5)


def celery_worker(queue: str, *include: str) -> list[str]:
    """Return the arguments of a worker with one process on one queue."""
    name = f"{queue}@bench"
    arguments = [sys.executable, "-m", "celery", "-A", "config.celery", "worker", "-Q", queue, "-c", "1", "-n", name]
    return [*arguments, "-l", "warning", *(f"--include={module}" for module in include)]
