"""Makes a call again that failed and is safe to repeat: full jitter, the service's own wishes, all within bounds."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_attempt, stop_before_delay
from tenacity.wait import wait_random_exponential

from config.infra.services import Repeats

T = TypeVar("T")


def repeat(attempt: Callable[[], T], *, bounds: Repeats, wait_asked_by: Callable[[BaseException], float | None]) -> T:
    """Return what the first good attempt returns; else the last attempt's error is raised.

    `wait_asked_by` reads from an error how long the service asks us to wait at least; None: there is to be no other
    attempt. A wait that is longer than the bounds allow ends it too: then a queue waits better than a process.
    """

    def is_worth_another(error: BaseException) -> bool:
        asked = wait_asked_by(error)
        return asked is not None and asked <= bounds.longest_wait_seconds

    jittered = wait_random_exponential(multiplier=bounds.first_wait_seconds, max=bounds.longest_wait_seconds)

    def wait(state: RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        asked = wait_asked_by(error) if error else None
        return max(jittered(state), asked or 0.0)

    retrying = Retrying(
        retry=retry_if_exception(is_worth_another),
        wait=wait,
        stop=stop_after_attempt(bounds.attempts) | stop_before_delay(bounds.total_seconds),
        reraise=True,
    )
    return retrying(attempt)
