"""Asks Redis, or says that it is away: then each process decides alone until it is back."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from typing import Any

import redis

from config.infra.breaker import local
from config.infra.cache import redis_client

logger = logging.getLogger(__name__)

REDIS_PAUSE_SECONDS = 2.0  # after a Redis error, so that a black hole does not cost each call its time-out


class SharedStore:
    """Runs scripts in Redis, or says that Redis is away (None) and for the next two seconds does not ask again."""

    def __init__(self) -> None:
        self._away_until = 0.0
        self._away = False

    def run(self, script: str, keys: Sequence[str], args: Sequence[int | str] = ()) -> Any:
        """Run a script; None when Redis is away."""
        if time.monotonic() < self._away_until:
            return None
        try:
            answer = redis_client().register_script(script)(keys=list(keys), args=list(args))
        except redis.RedisError as error:
            if not self._away:
                logger.warning("breakers: Redis is away (%s); each process decides alone", type(error).__name__)
            self._away, self._away_until = True, time.monotonic() + REDIS_PAUSE_SECONDS
            return None
        if self._away:
            logger.warning("breakers: Redis is back; their state is shared again")
            self._away, self._away_until = False, 0.0
            local.breakers.clear()
        return answer


store = SharedStore()
