"""Stops calling a service that keeps failing: one circuit breaker for each (service, tenant connection).

closed     every call passes; `failure_threshold` failures in a row open it
open       no call passes for `open_seconds`
half-open  one probe passes; its success closes the breaker, its failure opens it again

The state is shared by all processes in Redis and moves on Redis's own clock, one Lua script for each operation. Without
Redis each process keeps a state of its own, which a warning in the log says.
"""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass
from typing import Any, Literal, cast

import redis

from config.infra.cache import redis_client

logger = logging.getLogger(__name__)

State = Literal["closed", "open", "half-open"]

KEY_LIFE_SECONDS = 3600
REDIS_PAUSE_SECONDS = 2.0  # after a Redis error, so that a black hole does not cost each call its time-out

_CLOCK = """
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local open_until = tonumber(redis.call('HGET', KEYS[1], 'open_until_ms') or '')
local probe_until = tonumber(redis.call('HGET', KEYS[1], 'probe_until_ms') or '') or 0
"""

# -> milliseconds to wait; 0 means: go on (and, when half-open, that this caller is the probe)
_BEFORE_CALL = (
    _CLOCK
    + """
if not open_until then return 0 end
local wait = math.max(open_until, probe_until) - now
if wait > 0 then return wait end
redis.call('HSET', KEYS[1], 'probe_until_ms', string.format('%.0f', now + ARGV[1]))
return 0
"""
)

# A call that began before the breaker opened says nothing about now: while open, its result is ignored.
_SUCCEEDED = (
    _CLOCK
    + """
if open_until and now < open_until then return 0 end
return redis.call('DEL', KEYS[1])
"""
)

_FAILED = (
    _CLOCK
    + """
if open_until and now < open_until then return 0 end
local failures = redis.call('HINCRBY', KEYS[1], 'failures', 1)
if open_until or failures >= tonumber(ARGV[2]) then
  redis.call('HSET', KEYS[1], 'open_until_ms', string.format('%.0f', now + ARGV[1]))
  redis.call('HDEL', KEYS[1], 'probe_until_ms')
end
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 1
"""
)

_STATE = (
    _CLOCK
    + """
if not open_until then return 'closed' end
if now < open_until then return 'open' end
return 'half-open'
"""
)


class BreakerOpen(Exception):  # noqa: N818  (the state is the name)
    """The service is left alone for now; ask again after `retry_after_seconds`."""

    def __init__(self, service: str, connection: str, retry_after_seconds: float) -> None:
        super().__init__(f"the breaker of {service} ({connection}) is open for {retry_after_seconds:.1f} s more")
        self.retry_after_seconds = retry_after_seconds


@dataclass
class _LocalState:
    """What one process knows by itself, in seconds of its monotonic clock."""

    failures: int = 0
    open_until: float | None = None
    probe_until: float = 0.0


class _LocalBreakers:
    """The same rules as the scripts, for one process, while Redis is away."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._states: dict[str, _LocalState] = {}

    def before_call(self, key: str, open_seconds: float) -> float:
        now = time.monotonic()
        with self._lock:
            state = self._states.get(key)
            if state is None or state.open_until is None:
                return 0.0
            wait = max(state.open_until, state.probe_until) - now
            if wait <= 0:
                state.probe_until = now + open_seconds
            return max(wait, 0.0)

    def succeeded(self, key: str) -> None:
        with self._lock:
            if self._state(key) != "open":
                self._states.pop(key, None)

    def failed(self, key: str, *, open_seconds: float, failure_threshold: int) -> None:
        with self._lock:
            if self._state(key) == "open":
                return
            state = self._states.setdefault(key, _LocalState())
            state.failures += 1
            if state.open_until is not None or state.failures >= failure_threshold:
                state.open_until, state.probe_until = time.monotonic() + open_seconds, 0.0

    def state(self, key: str) -> State:
        with self._lock:
            return self._state(key)

    def reset(self, key: str) -> None:
        with self._lock:
            self._states.pop(key, None)

    def _state(self, key: str) -> State:
        state = self._states.get(key)
        if state is None or state.open_until is None:
            return "closed"
        return "open" if time.monotonic() < state.open_until else "half-open"


class _SharedStore:
    """Runs scripts in Redis, or says that Redis is away (None) and for the next two seconds does not ask again."""

    def __init__(self) -> None:
        self._away_until = 0.0
        self._away = False

    def run(self, script: str, key: str, *args: int) -> Any:
        if time.monotonic() < self._away_until:
            return None
        try:
            answer = redis_client().register_script(script)(keys=[key], args=args)
        except redis.RedisError as error:
            if not self._away:
                logger.warning("breakers: Redis is away (%s); each process decides alone", type(error).__name__)
            self._away, self._away_until = True, time.monotonic() + REDIS_PAUSE_SECONDS
            return None
        if self._away:
            logger.warning("breakers: Redis is back; their state is shared again")
            self._away, self._away_until = False, 0.0
        return answer


_local = _LocalBreakers()
_shared = _SharedStore()


class Breaker:
    """One circuit breaker. Call `before_call()`, then the service, then `succeeded()` or `failed()`."""

    def __init__(
        self, service: str, connection: str, *, failure_threshold: int = 5, open_seconds: float = 30.0
    ) -> None:
        self.service = service
        self.connection = connection
        self._failure_threshold = failure_threshold
        self._open_seconds = open_seconds
        self._key = f"breaker:{service}:{connection}"

    def before_call(self) -> None:
        """Let the call pass.

        A half-open breaker lets one probe pass; should the prober die, the next one passes after `open_seconds`.

        Raises:
            BreakerOpen: the service is not to be called now.
        """
        wait_ms = _shared.run(_BEFORE_CALL, self._key, self._open_ms)
        wait = _local.before_call(self._key, self._open_seconds) if wait_ms is None else int(wait_ms) / 1000
        if wait > 0:
            raise BreakerOpen(self.service, self.connection, wait)

    def succeeded(self) -> None:
        """Count an answered call: the failures before it are forgotten, a half-open breaker closes."""
        if _shared.run(_SUCCEEDED, self._key) is None:
            _local.succeeded(self._key)

    def failed(self) -> None:
        """Count a failed call: the last one of a row, or a failed probe, opens the breaker."""
        key_life_ms = self._open_ms + KEY_LIFE_SECONDS * 1000
        if _shared.run(_FAILED, self._key, self._open_ms, self._failure_threshold, key_life_ms) is None:
            _local.failed(self._key, open_seconds=self._open_seconds, failure_threshold=self._failure_threshold)

    def state(self) -> State:
        """Return "closed", "open" or "half-open"; changes nothing."""
        return cast("State", _shared.run(_STATE, self._key) or _local.state(self._key))

    def reset(self) -> None:
        """Close the breaker by an operator's hand, here and in Redis."""
        _local.reset(self._key)
        _shared.run("return redis.call('DEL', KEYS[1])", self._key)

    @property
    def _open_ms(self) -> int:
        return int(self._open_seconds * 1000)
