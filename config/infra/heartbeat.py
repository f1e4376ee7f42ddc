"""What a worker's main process does beside its work: it writes its time into Redis, for /health, and looks around."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import cast

from django.db import DatabaseError
from redis.exceptions import RedisError

from config.infra.cache import redis_client

logger = logging.getLogger(__name__)

HEARTBEATS = "worker-heartbeats"
INTERVAL_SECONDS = 5.0
FORGET_SECONDS = 600.0
stopping = threading.Event()


def beat_heart(name: str) -> None:
    """Write this worker's heartbeat until the process ends; Redis being away is survived."""
    while not stopping.is_set():
        try:
            redis_client().zadd(HEARTBEATS, {name: time.time()})
        except (RedisError, OSError) as error:
            logger.debug("heartbeat not written: %s", error)
        stopping.wait(INTERVAL_SECONDS)


def repeat(interval_seconds: float, look: Callable[[], object]) -> None:
    """Look again and again until the process ends, first after one interval; a database that is away is survived."""
    while not stopping.wait(interval_seconds):
        try:
            look()
        except DatabaseError as error:
            logger.warning("%s failed, and is tried again: %s", getattr(look, "__name__", look), error)


def heartbeats() -> dict[str, float]:
    """Return each worker's name and the seconds since its last heartbeat; those silent for 10 minutes are forgotten.

    Raises: RedisError when Redis can't be asked.
    """
    now = time.time()
    client = redis_client()
    client.zremrangebyscore(HEARTBEATS, 0, now - FORGET_SECONDS)
    found = cast("list[tuple[str, float]]", client.zrange(HEARTBEATS, 0, -1, withscores=True))
    return {name: max(0.0, now - at) for name, at in found}
