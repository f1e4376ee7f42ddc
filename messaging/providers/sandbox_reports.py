"""The sandbox twin's delivery reports: posted from threads of its own, again when they are not taken."""

from __future__ import annotations

import heapq
import http.client
import itertools
import json
import threading
import time
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import urlencode

from messaging.providers.sandbox_state import AcceptedMessage, Behaviour, Hook, Sandbox

REPORT_ATTEMPTS = 8
REPORT_BACKOFF_SECONDS = 0.25  # doubled each time: half a minute in all, as long as a restart takes
REPORT_THREADS = 4
REPORT_TIMEOUT_SECONDS = 5


@dataclass(frozen=True)
class _Batch:
    """Messages of one account and one call whose reports share their posts."""

    messages: Sequence[AcceptedMessage]
    behaviour: Behaviour

    @property
    def steps(self) -> int:
        return max(len(self.behaviour.statuses_of(message.destination)) for message in self.messages)


class Reporter:
    """Moves accepted messages to their end and posts the reports that say so."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()
        self._changed = threading.Condition()
        self._stopped = False
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(REPORT_THREADS)]
        for thread in self._threads:
            thread.start()

    def report(self, messages: Sequence[AcceptedMessage], behaviour: Behaviour) -> None:
        """Report on the messages of one call: now for "before", else from a thread."""
        by_account: dict[str, list[AcceptedMessage]] = {}
        for message in messages:
            by_account.setdefault(message.account, []).append(message)
        for group in by_account.values():
            for start in range(0, len(group), max(behaviour.report_batch, 1)):
                batch = _Batch(group[start : start + max(behaviour.report_batch, 1)], behaviour)
                if behaviour.reports == "before":
                    for step in range(batch.steps):
                        self._post_step(batch, step)
                else:
                    self._later(behaviour.report_delay_seconds, partial(self._step, batch, 0))

    def stop(self) -> None:
        """Drop what is left and end the threads."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join(timeout=REPORT_TIMEOUT_SECONDS + 1)

    def _step(self, batch: _Batch, step: int) -> None:
        self._post_step(batch, step)
        if step + 1 < batch.steps:
            self._later(batch.behaviour.report_delay_seconds, partial(self._step, batch, step + 1))

    def _post_step(self, batch: _Batch, step: int) -> None:
        reports = []
        for message in batch.messages:
            statuses = batch.behaviour.statuses_of(message.destination)
            if step < len(statuses):
                reports.append(self._sandbox.report(message, statuses[step]))
        if batch.behaviour.reports == "none" or not reports:
            return
        method = batch.messages[0].report_method
        bodies = reports if method == "GET" or len(reports) == 1 else [reports]
        for hook in self._sandbox.hooks_of(batch.messages[0].account):
            for body in bodies:
                self._post(hook, body, method=method, attempt=1)

    def _post(self, hook: Hook, body: Any, *, method: str, attempt: int) -> None:
        if not post_report(hook, body, method=method) and attempt < REPORT_ATTEMPTS:
            again = partial(self._post, hook, body, method=method, attempt=attempt + 1)
            self._later(REPORT_BACKOFF_SECONDS * 2 ** (attempt - 1), again)

    def _later(self, seconds: float, job: Callable[[], None]) -> None:
        with self._changed:
            heapq.heappush(self._due, (time.monotonic() + seconds, next(self._numbers), job))
            self._changed.notify()

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._stopped and (not self._due or self._due[0][0] > time.monotonic()):
                    self._changed.wait(self._due[0][0] - time.monotonic() if self._due else None)
                if self._stopped:
                    return
                _, _, job = heapq.heappop(self._due)
            job()


def post_report(hook: Hook, body: Any, *, method: str = "POST") -> bool:
    """Post a report once, or ask with it as the query (GET); say whether it was taken (2xx)."""
    url = hook.url
    data: bytes | None = json.dumps(body).encode()
    headers = {"Content-Type": "application/json", **hook.headers}
    if method == "GET":
        url, data, headers = f"{url}{'&' if '?' in url else '?'}{urlencode(body)}", None, dict(hook.headers)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        request = urllib.request.Request(url, data=data, headers=headers, method=method)  # noqa: S310  (a sandbox)
        with opener.open(request, timeout=REPORT_TIMEOUT_SECONDS):
            return True
    except (OSError, ValueError, http.client.HTTPException):  # refused, unreachable, or no HTTP at all
        return False
