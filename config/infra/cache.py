"""Gives every module the one Redis client of its process."""

from __future__ import annotations

import functools
import os

import redis
from django.conf import settings
from redis.backoff import NoBackoff
from redis.maint_notifications import MaintNotificationsConfig
from redis.retry import Retry

from config.infra import tenancy


def redis_client() -> redis.Redis:
    """Return this process's client for `settings.REDIS_URL`; a fork gets its own.

    Nothing is retried and nothing waits long (1 s to connect, 2 s to answer): a missing Redis is an error at once, and
    each caller names what it does then. Answers are `str`. Blocking commands need a client of their own.
    """
    return _client(os.getpid(), settings.REDIS_URL)


@functools.lru_cache(maxsize=2)
def _client(pid: int, url: str) -> redis.Redis:
    # The pid is part of the cache key only: a forked child must not share its parent's sockets.
    return redis.Redis.from_url(
        url,
        decode_responses=True,
        socket_connect_timeout=1,
        socket_timeout=2,
        retry=Retry(NoBackoff(), 0),
        maint_notifications_config=MaintNotificationsConfig(enabled=False),  # one round trip less for each connection
    )


def tenant_key(key: str, key_prefix: str, version: int) -> str:
    """Name a cache entry by the tenant in scope, so that no tenant reads another's; the default cache's KEY_FUNCTION.

    Raises: NoTenantInScopeError; what belongs to no tenant goes into the cache named "system".
    """
    return f"{key_prefix}:tenant:{tenancy.current_tenant_id()}:{version}:{key}"
