"""The Stripe twin's events: signed, posted from a thread of its own; late, twice, in disorder, again when refused."""

from __future__ import annotations

import heapq
import http.client
import itertools
import json
import threading
import time
import urllib.request
from typing import Any

from orders.payments.sandbox_state import Behaviour, Hook, Sandbox
from orders.webhooks import sign

ATTEMPTS = 8
BACKOFF_SECONDS = 0.25  # doubled each time
TIMEOUT_SECONDS = 5
_Job = tuple[float, int, Hook, dict[str, Any], int]


class Poster:
    """Takes events from the twin's outbox and posts them to its hooks."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self._due: list[_Job] = []
        self._numbers = itertools.count()
        self._changed = threading.Condition()
        self._stopped = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def post_outbox(self, behaviour: Behaviour) -> None:
        """Send on what was noted: now for "before", else from the thread, after the behaviour's delay."""
        with self._sandbox.lock:
            if not self._sandbox.hooks:
                return  # kept until somebody wants to hear of it
            events, self._sandbox.outbox = self._sandbox.outbox, []
            hooks = {event["id"]: self._sandbox.hooks_of(event) for event in events}
        if behaviour.events == "none":
            return
        if behaviour.events == "out_of_order":
            events = events[::-1]
        if behaviour.events == "twice":
            events = [event for event in events for _ in range(2)]
        for place, event in enumerate(events, start=1):
            for hook in hooks[event["id"]]:
                if behaviour.events == "before":
                    post_event(hook, event)
                else:
                    self._later(place * behaviour.event_delay_seconds, hook, event, attempt=1)

    def stop(self) -> None:
        """Drop what is left and end the thread."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
        self._thread.join(timeout=TIMEOUT_SECONDS + 1)

    def _later(self, seconds: float, hook: Hook, event: dict[str, Any], *, attempt: int) -> None:
        with self._changed:
            heapq.heappush(self._due, (time.monotonic() + seconds, next(self._numbers), hook, event, attempt))
            self._changed.notify()

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._stopped and (not self._due or self._due[0][0] > time.monotonic()):
                    self._changed.wait(self._due[0][0] - time.monotonic() if self._due else None)
                if self._stopped:
                    return
                _, _, hook, event, attempt = heapq.heappop(self._due)
            if not post_event(hook, event) and attempt < ATTEMPTS:
                self._later(BACKOFF_SECONDS * 2 ** (attempt - 1), hook, event, attempt=attempt + 1)


def post_event(hook: Hook, event: dict[str, Any]) -> bool:
    """Sign an event and post it once; say whether it was taken (2xx)."""
    body = json.dumps(event).encode()
    signature = sign(body=body, secret=hook.secret, at=int(time.time()))
    headers = {"Content-Type": "application/json", "Stripe-Signature": signature}
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        request = urllib.request.Request(hook.url, data=body, headers=headers, method="POST")  # noqa: S310  (a sandbox)
        with opener.open(request, timeout=TIMEOUT_SECONDS):
            return True
    except (OSError, ValueError, http.client.HTTPException):  # refused, unreachable, or no HTTP at all
        return False
