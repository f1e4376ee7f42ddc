"""The product's processes on one machine: web, worker, beat and the sandbox twins, each a real process of its own.

Used by `make demo`, `make run` and the flow tests, which differ in the environment and the folder they give it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from config.local.processes import ManagedProcess, ProcessBook, free_port, spawn, wait_for_http, wait_until

CHECKOUT = Path(__file__).resolve().parent.parent.parent
QUEUES = "webhooks,events,messages,automations,maintenance"
WEB_WORKERS, WEB_THREADS, WORKER_PROCESSES = 2, 8, 2
TWINS = {  # the process of each, and its program
    "sandbox": "messaging.providers.sandbox",
    "stripe-sandbox": "orders.payments.sandbox",
    "easypost-sandbox": "orders.carriers.sandbox",
}


class ProcessDiedError(RuntimeError):
    """A process of ours ended by itself; the message ends in its log."""


class LocalStack:
    """Starts, restarts and stops the processes; `environment` is the whole environment of each of them.

    Logs and small files lie in `folder`; what runs is written in its `processes.json`.
    """

    def __init__(
        self,
        folder: Path,
        environment: Mapping[str, str],
        *,
        web_port: int | None = None,
        worker_processes: int = WORKER_PROCESSES,
    ) -> None:
        self.folder = folder
        self.worker_processes = worker_processes
        self.book = ProcessBook(folder / "processes.json")
        self.web_port = web_port or free_port()
        self.base_url = f"http://127.0.0.1:{self.web_port}"
        self.processes: dict[str, ManagedProcess] = {}
        self._environment = {**environment, "PUBLIC_URL": self.base_url, "PYTHONUNBUFFERED": "1"}
        # Outside the range of outgoing connections: they must come back on the same port after a kill.
        self._twin_ports = {name: free_port() for name in TWINS}

    @property
    def sandbox_url(self) -> str:
        """Where Mitto's twin listens."""
        return self.twin_url("sandbox")

    def twin_url(self, name: str) -> str:
        """Return where a twin (one of TWINS) listens, or will."""
        return f"http://127.0.0.1:{self._twin_ports[name]}"

    def start(self, *names: str) -> None:
        """Start the named processes (web, worker, beat, TWINS) side by side.

        Returns once the twins listen; for web see wait_for_web.

        Raises: ProcessDiedError, TimeoutError.
        """
        for name in names:
            self._port_file(name).unlink(missing_ok=True)
            log_path = self.folder / "logs" / f"{name}.log"
            environment = {**self._environment, "SHOPSYNC_PROCESS": name if name not in TWINS else ""}
            process = spawn(name, self._argv(name), env=environment, log_path=log_path, cwd=CHECKOUT)
            self.processes[name] = process
            self.book.add(process)
        for name in names:
            if name in TWINS:
                self._await(name, self._port_file(name))

    def _port_file(self, name: str) -> Path:
        return self.folder / f"{name}.port"

    def _argv(self, name: str) -> list[str]:
        python = [sys.executable, "-m"]
        if name in TWINS:
            listening = ["--port", str(self._twin_ports[name]), "--port-file", str(self._port_file(name))]
            return [*python, TWINS[name], *listening]
        celery = [*python, "celery", "-A", "config.celery"]
        threads = ["--worker-class", "gthread", "--threads", str(WEB_THREADS), "--workers", str(WEB_WORKERS)]
        web = [*python, "gunicorn", "config.wsgi:application", "--bind", f"127.0.0.1:{self.web_port}", *threads]
        quiet = ["--without-gossip", "--without-mingle", "--without-heartbeat"]  # one worker has nobody to ask
        return {
            "web": [*web, "--no-control-socket", "--graceful-timeout", "10"],
            "worker": [*celery, "worker", "-Q", QUEUES, "-c", str(self.worker_processes), *quiet],
            "beat": [*celery, "beat", "--pidfile="],
        }[name]

    def _await(self, name: str, path: Path) -> None:
        process = self.processes[name]
        wait_until(lambda: path.exists() or not process.is_alive(), 20, f"{name} to listen")
        if not path.exists():
            raise self._death(process)

    def wait_for_web(self, timeout_seconds: float = 60.0) -> None:
        """Return once the web process is ready for requests.

        Raises:
            ProcessDiedError: it ended instead.
            TimeoutError: it did not become ready.
        """
        process = self.processes["web"]
        try:
            wait_until(lambda: not process.is_alive() or _answers(f"{self.base_url}/ready"), timeout_seconds, "web")
        except TimeoutError as error:
            raise TimeoutError(f"{error}; its log ends:\n{process.log_tail()}") from None
        if not process.is_alive():
            raise self._death(process)

    def dead(self) -> list[ManagedProcess]:
        """Return the processes that ended by themselves."""
        return [process for process in self.processes.values() if not process.is_alive()]

    def check(self) -> None:
        """Raise ProcessDiedError when a process ended by itself."""
        for process in self.dead():
            raise self._death(process)

    def _death(self, process: ManagedProcess) -> ProcessDiedError:
        code = process.exit_code()
        return ProcessDiedError(f"{process.name} ended with code {code}; its log ends:\n{process.log_tail()}")

    def kill(self, name: str) -> None:
        """SIGKILL a process and all that it started, as a crash of the machine would."""
        self._forget(name, lambda process: process.kill_group())

    def stop_one(self, name: str, *, grace_seconds: float = 10.0) -> None:
        """End a process gently, and SIGKILL what is left of it after the grace."""
        self._forget(name, lambda process: process.terminate(grace_seconds))

    def _forget(self, name: str, end: Callable[[ManagedProcess], int]) -> None:
        process = self.processes.pop(name, None)
        if process is not None:
            end(process)
            self.book.remove(process)

    def stop(self, *, grace_seconds: float = 10.0) -> None:
        """End everything, side by side."""
        with ThreadPoolExecutor(max_workers=len(TWINS) + 3) as pool:
            list(pool.map(lambda name: self.stop_one(name, grace_seconds=grace_seconds), list(self.processes)))


def _answers(url: str) -> bool:
    try:
        wait_for_http(url, timeout_seconds=0)
    except TimeoutError:
        return False
    return True
