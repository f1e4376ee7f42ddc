"""Grants requests to a provider so that it never sees more than it allows; fails closed.

Every level keeps, in Redis, the exact time of each request that it granted (a list as long as its limit): one more is
granted when the `limit`-th latest has left the window. One Lua script looks at all levels and takes from all or from
none, on Redis's own clock, so that any number of processes share one limit.

A grant is to be used at once: one that is older than its life (`Grant.is_fresh`) is given back unused. The limits hold
for grants, in every window of Redis's clock; what the provider sees is moved by the way from grant to arrival, at most
by a grant's life and the network's. Widening the window by that life would cost a fifth of the throughput.

After a loss of the log (FLUSHALL, restart, fail-over, a clock set back) nobody knows what was granted last, so each
level waits out one whole window. Redis must not evict keys (`maxmemory-policy noeviction`): losing one list is losing
its limit.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import redis

from config.infra.cache import redis_client

logger = logging.getLogger(__name__)

GRANT_LIFE_SECONDS = 0.25
UNAVAILABLE_RETRY_SECONDS = 1.0
EPOCH_KEY = "limiter:epoch"
EPOCH_LIFE_SECONDS = 86_400  # of idleness; after it the first request waits out one window

Reason = Literal["rate_limit", "limiter_unavailable", "limiter_warming_up"]

# The first part of each script: what time it is, and since when the log is known to be whole.
_KNOWN_SINCE = """
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]

local info = redis.pcall('INFO', 'server')
local run = type(info) == 'string' and string.match(info, 'run_id:(%w+)') or 'unknown'
local epoch = redis.call('HMGET', KEYS[1], 'run', 'since')
local since = tonumber(epoch[2] or '')
if not since or epoch[1] ~= run or since > now then
  since = now
  redis.call('HSET', KEYS[1], 'run', run, 'since', string.format('%.0f', now))
end
redis.call('PEXPIRE', KEYS[1], ARGV[1])
"""

# KEYS: the epoch, then one list for each level. ARGV: the epoch's life in ms, then each level's limit and window in us.
# Answers {what, now in us, us to wait, the level that refused}. INFO may be forbidden to this Redis user: then a
# restart that keeps its data is not seen, all other losses are.
_GRANT = (
    _KNOWN_SINCE
    + """
local what, room_at, full = 'granted', now, 0
for i = 2, #KEYS do
  local limit, window = tonumber(ARGV[2 * i - 2]), tonumber(ARGV[2 * i - 1])
  if since + window >= room_at then
    what, room_at, full = 'limiter_warming_up', since + window + 1, i - 1
  end
  local nth = tonumber(redis.call('LINDEX', KEYS[i], -limit) or '')
  if nth and nth + window >= room_at then
    what, room_at, full = 'rate_limit', nth + window + 1, i - 1
  end
end
if what ~= 'granted' then return {what, now, room_at - now, full} end

for i = 2, #KEYS do
  local limit, window = tonumber(ARGV[2 * i - 2]), tonumber(ARGV[2 * i - 1])
  redis.call('RPUSH', KEYS[i], string.format('%.0f', now))
  redis.call('LTRIM', KEYS[i], -limit, -1)
  redis.call('PEXPIRE', KEYS[i], math.ceil(window / 1000) + 1000)
end
return {what, now, 0, 0}
"""
)


@dataclass(frozen=True)
class Level:
    """One limit: at most `limit` requests in any `window_seconds` for this key (an account, the whole provider, …)."""

    key: str
    limit: int
    window_seconds: float = 1.0

    def __post_init__(self) -> None:
        if self.limit < 1 or self.window_seconds <= 0:
            raise ValueError(f"level {self.key!r} needs a limit of at least 1 and a window longer than 0 s")


@dataclass(frozen=True)
class Grant:
    """Leave to make one request, now.

    `granted_at_ms` is Redis's clock (the moment that the windows count), `expires_at_ms` this process's `clock_ms()`.
    """

    granted_at_ms: int
    expires_at_ms: int

    def is_fresh(self, now_ms: int) -> bool:
        """Say whether the request may still be made; `now_ms` is read from `clock_ms()` just before it."""
        return now_ms < self.expires_at_ms


@dataclass(frozen=True)
class Refusal:
    """No request now, why, and when to ask again."""

    reason: Reason
    retry_after_seconds: float
    level: str = ""  # the key of the level that is full the longest


def clock_ms() -> int:
    """Return the monotonic clock, in milliseconds, on which the freshness of grants is read."""
    return time.monotonic_ns() // 1_000_000


def grant(levels: Sequence[Level], *, grant_life_seconds: float = GRANT_LIFE_SECONDS) -> Grant | Refusal:
    """Take one request from every level, or from none.

    Never raises for Redis: without it the answer is a refusal ("limiter_unavailable").

    Raises:
        ValueError: no levels, or the same key and window twice.
    """
    keys = [_key(level) for level in levels]
    if not levels or len(set(keys)) < len(keys):
        raise ValueError("a grant needs at least one level, and each level once")
    args = [EPOCH_LIFE_SECONDS * 1000]
    for level in levels:
        args += [level.limit, round(level.window_seconds * 1_000_000)]
    # Read before Redis decides, so that a slow answer shortens the grant instead of stretching it.
    asked_at_ms = clock_ms()
    try:
        what, now_us, wait_us, full = redis_client().register_script(_GRANT)(keys=[EPOCH_KEY, *keys], args=args)
    except redis.RedisError as error:
        logger.warning("limiter: Redis is away (%s); no request is granted", type(error).__name__)
        return Refusal("limiter_unavailable", UNAVAILABLE_RETRY_SECONDS)
    if what != "granted":
        return Refusal(what, wait_us / 1_000_000, levels[full - 1].key)
    return Grant(granted_at_ms=now_us // 1000, expires_at_ms=asked_at_ms + int(grant_life_seconds * 1000))


# KEYS: the epoch and a list of "us:recipients". ARGV: the epoch's life in ms, the limit, the window in us, the wish.
_TAKE = (
    _KNOWN_SINCE
    + """
local limit, window, wish = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
if since + window >= now then return {0, since + window + 1 - now} end

local taken, oldest = 0, now
for _, entry in ipairs(redis.call('LRANGE', KEYS[2], 0, -1)) do
  local at, count = string.match(entry, '(%d+):(%d+)')
  if tonumber(at) + window < now then
    redis.call('LPOP', KEYS[2])
  else
    taken, oldest = taken + tonumber(count), math.min(oldest, tonumber(at))
  end
end
local given = math.min(wish, limit - taken)
if given < 1 then return {0, oldest + window + 1 - now} end
redis.call('RPUSH', KEYS[2], string.format('%.0f:%d', now, given))
redis.call('PEXPIRE', KEYS[2], math.ceil(window / 1000) + 1000)
return {given, 0}
"""
)


# From the oldest on, which leave the window first: what is still counted is never less than what was used in it.
_RETURN = """
local left = tonumber(ARGV[1])
for index, entry in ipairs(redis.call('LRANGE', KEYS[1], 0, -1)) do
  if left < 1 then break end
  local at, count = string.match(entry, '(%d+):(%d+)')
  local less = math.min(left, tonumber(count))
  redis.call('LSET', KEYS[1], index - 1, string.format('%s:%d', at, count - less))
  left = left - less
end
"""


def take_recipients(level: Level, wish: int) -> int | Refusal:
    """Take as many of the recipients wished for as a limit on recipients lets through in its window, at least one.

    What is taken counts, whether it is used or not, unless it is given back. Never raises for Redis: without it the
    answer is a refusal.
    """
    args = [EPOCH_LIFE_SECONDS * 1000, level.limit, round(level.window_seconds * 1_000_000), wish]
    try:
        given, wait_us = redis_client().register_script(_TAKE)(keys=[EPOCH_KEY, _key(level)], args=args)
    except redis.RedisError as error:
        logger.warning("limiter: Redis is away (%s); no recipient is granted", type(error).__name__)
        return Refusal("limiter_unavailable", UNAVAILABLE_RETRY_SECONDS)
    return int(given) or Refusal("rate_limit", wait_us / 1_000_000, level.key)


def return_recipients(level: Level, count: int) -> None:
    """Give back recipients that were taken, and surely are not used. Without Redis they stay counted."""
    try:
        redis_client().register_script(_RETURN)(keys=[_key(level)], args=[count])
    except redis.RedisError as error:
        logger.warning("limiter: Redis is away (%s); recipients stay counted", type(error).__name__)


def _key(level: Level) -> str:
    # The window is in the name: lists of one key under two windows are of two lengths.
    return f"limiter:{level.key}:{round(level.window_seconds * 1000)}"
