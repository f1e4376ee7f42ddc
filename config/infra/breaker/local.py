"""The breaker's rules for one process, while Redis is away: the same as the scripts', on the monotonic clock."""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Literal

from config.infra.services import InARow, Service

State = Literal["closed", "open", "half-open"]
Moved = Literal["ignored", "counted", "opened", "reopened", "closed"]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A breaker in trouble as it stands: not plainly closed, or with failures counted."""

    service: str
    connection: str
    state: State
    failures: int
    probe_in_seconds: float


@dataclass
class _LocalState:
    """What one process knows by itself, in seconds of its monotonic clock."""

    failures: int = 0
    calls: deque[bool] = field(default_factory=deque)  # which of the latest failed, where a share counts
    open_until: float | None = None
    probe_until: float = 0.0

    def note(self, service: Service, *, is_failure: bool) -> None:
        """Count one call by the service's rule."""
        if isinstance(service.opens_after, InARow):
            self.failures = self.failures + 1 if is_failure else 0
            return
        self.calls = deque([*self.calls, is_failure], maxlen=service.opens_after.calls)
        self.failures = sum(self.calls)

    def state(self) -> State:
        """Say where it stands."""
        if self.open_until is None:
            return "closed"
        return "open" if time.monotonic() < self.open_until else "half-open"

    def wait(self) -> float:
        """Return the seconds until a call may pass."""
        return max(max(self.open_until or 0.0, self.probe_until) - time.monotonic(), 0.0)


class LocalBreakers:
    """The breakers of one process, by service and connection."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._states: dict[tuple[str, str], _LocalState] = {}

    def before_call(self, service: Service, connection: str) -> float:
        """Return the seconds to wait; 0 lets the call pass, as the probe when half-open."""
        with self._lock:
            state = self._states.get((service.name, connection))
            if state is None or state.open_until is None:
                return 0.0
            wait = state.wait()
            if wait <= 0:
                state.probe_until = time.monotonic() + service.open_seconds
            return wait

    def succeeded(self, service: Service, connection: str) -> Moved:
        """Count an answered call."""
        with self._lock:
            state = self._states.get((service.name, connection))
            if state is None:
                return "counted"
            before = state.state()
            if before == "open":
                return "ignored"
            state.note(service, is_failure=False)
            if before == "half-open" or not state.failures:
                del self._states[service.name, connection]
            return "closed" if before == "half-open" else "counted"

    def failed(self, service: Service, connection: str) -> Moved:
        """Count a failed call."""
        with self._lock:
            state = self._states.setdefault((service.name, connection), _LocalState())
            before = state.state()
            if before == "open":
                return "ignored"
            state.note(service, is_failure=True)
            if before == "closed" and state.failures < service.opens_after.failures:
                return "counted"
            state.open_until, state.probe_until = time.monotonic() + service.open_seconds, 0.0
            return "opened" if before == "closed" else "reopened"

    def released(self, service: Service, connection: str) -> None:
        """Let the next caller be the probe."""
        with self._lock:
            if state := self._states.get((service.name, connection)):
                state.probe_until = 0.0

    def state(self, service: Service, connection: str) -> State:
        """Say where a breaker stands."""
        with self._lock:
            state = self._states.get((service.name, connection))
            return state.state() if state else "closed"

    def reset(self, service: Service, connection: str) -> None:
        """Forget a breaker."""
        with self._lock:
            self._states.pop((service.name, connection), None)

    def keep(self, service: Service, connection: str, *, wait_seconds: float) -> None:
        """Remember what Redis said last, so that a breaker that is open stays so when Redis goes away."""
        if wait_seconds <= 0:
            self.reset(service, connection)
            return
        with self._lock:
            self._states[service.name, connection] = _LocalState(
                failures=service.opens_after.failures, open_until=time.monotonic() + wait_seconds
            )

    def list(self) -> list[Snapshot]:
        """List the breakers in trouble."""
        with self._lock:
            return [
                Snapshot(service, connection, state.state(), state.failures, state.wait())
                for (service, connection), state in self._states.items()
            ]

    def clear(self) -> None:
        """Forget all of them: Redis is back, and knows better."""
        with self._lock:
            self._states.clear()


breakers = LocalBreakers()
