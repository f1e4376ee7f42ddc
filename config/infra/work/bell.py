"""The bell: a short-lived Redis key that turns a burst of commits into one Celery message.

A lost SET NX implies that a drain is still to come: a drain deletes the key *before* its first claim, so whoever
finds the key set has committed before that claim looks. A bell that is never answered (FLUSHALL, a killed worker)
dies after 5 s, and the sweep rings without asking it.
"""

from __future__ import annotations

import logging
import time

from celery import current_app
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from config.infra.cache import redis_client
from config.infra.work.rows import Queue

logger = logging.getLogger(__name__)

BELL_SECONDS = 5
QUIET_SECONDS = 2.0
_quiet_until = 0.0


def _key(queue: Queue) -> str:
    return f"bell:{queue.name}"


def ring(queue: Queue, *, even_if_rung: bool = False) -> bool:
    """Say that there is work: the first to ring publishes one Celery message. Returns whether this call published.

    Never raises for Redis: the row is committed, and the sweep rings again. After an error no ring is tried for 2 s, so
    that requests do not each wait for a server that is away.
    """
    global _quiet_until
    if time.monotonic() < _quiet_until:
        return False
    try:
        client = redis_client()
        if even_if_rung:
            client.set(_key(queue), "1", ex=BELL_SECONDS)
        elif not client.set(_key(queue), "1", nx=True, ex=BELL_SECONDS):
            return False
        current_app.send_task(queue.drain_task, queue=queue.celery_queue, ignore_result=True, expires=60)
    except (RedisError, OperationalError, OSError) as error:
        _quiet_until = time.monotonic() + QUIET_SECONDS
        logger.warning("bell of %s not rung, the sweep will: %s", queue.name, error)
        return False
    return True


def silence(queue: Queue) -> None:
    """Take the bell down; a drain does this before its first claim, never after its last."""
    try:
        redis_client().delete(_key(queue))
    except (RedisError, OSError) as error:
        logger.warning("bell of %s not silenced: %s", queue.name, error)
