"""The breaker's rules as Lua, so that an operation is one step for all processes.

Every script gets KEYS: the breaker (a hash), the index of breakers in trouble (a sorted set by the time at which the
breaker's key ends), the list of openings; and ARGV: now's distances in milliseconds (how long open, how long kept),
the failures that open, and the calls they are counted among (0: in a row).

The hash: failures; calls, the latest outcomes as text of 1 (failed) and 0, where a share counts; open_until_ms;
probe_until_ms. A breaker without failures has no hash.
"""

from __future__ import annotations

INDEX_KEY = "breakers:troubled"
OPENINGS_KEY = "breakers:openings"
KEPT_OPENINGS = 1000  # nobody may be there to write them into the trail

_CLOCK = """
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
"""
_BEGIN = (
    _CLOCK
    + """
local open_ms, life_ms, threshold, window = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local open_until = tonumber(redis.call('HGET', KEYS[1], 'open_until_ms') or '')
local probe_until = tonumber(redis.call('HGET', KEYS[1], 'probe_until_ms') or '') or 0
local function close()
  redis.call('DEL', KEYS[1])
  redis.call('ZREM', KEYS[2], KEYS[1])
end
local function note(outcome)
  local calls = string.sub((redis.call('HGET', KEYS[1], 'calls') or '') .. outcome, -window)
  local _, failures = string.gsub(calls, '1', '')
  redis.call('HSET', KEYS[1], 'calls', calls, 'failures', failures)
  return failures
end
"""
)

# -> milliseconds to wait; 0 means: go on (and, when half-open, that this caller is the probe)
BEFORE_CALL = (
    _BEGIN
    + """
if not open_until then return 0 end
local wait = math.max(open_until, probe_until) - now
if wait > 0 then return wait end
redis.call('HSET', KEYS[1], 'probe_until_ms', string.format('%.0f', now + open_ms))
return 0
"""
)

# -> ignored, counted or closed. A call that began before the breaker opened says nothing about now: while open, its
# result is ignored.
SUCCEEDED = (
    _BEGIN
    + """
if open_until then
  if now < open_until then return 'ignored' end
  close()
  return 'closed'
end
if window == 0 then
  close()
elseif redis.call('HEXISTS', KEYS[1], 'calls') == 1 and note('0') == 0 then
  close()
end
return 'counted'
"""
)

# -> ignored, counted, opened, or reopened by a failed probe
FAILED = (
    _BEGIN
    + f"""
if open_until and now < open_until then return 'ignored' end
local failures
if window > 0 then failures = note('1') else failures = redis.call('HINCRBY', KEYS[1], 'failures', 1) end
local what = 'counted'
if open_until then what = 'reopened' elseif failures >= threshold then what = 'opened' end
if what ~= 'counted' then
  redis.call('HSET', KEYS[1], 'open_until_ms', string.format('%.0f', now + open_ms))
  redis.call('HDEL', KEYS[1], 'probe_until_ms')
end
if what == 'opened' then
  redis.call('RPUSH', KEYS[3], string.format('%.0f', now) .. '|' .. KEYS[1])
  redis.call('LTRIM', KEYS[3], -{KEPT_OPENINGS}, -1)
end
redis.call('PEXPIRE', KEYS[1], life_ms)
redis.call('ZADD', KEYS[2], string.format('%.0f', now + life_ms), KEYS[1])
return what
"""
)

# A call that ended without a word on the service: if it was the probe, the next one may be.
RELEASED = _BEGIN + "return redis.call('HDEL', KEYS[1], 'probe_until_ms')"

STATE = (
    _BEGIN
    + """
if not open_until then return 'closed' end
if now < open_until then return 'open' end
return 'half-open'
"""
)

RESET = _BEGIN + "close() return 1"

# KEYS: the index. -> for each breaker in trouble: its key, its failures, its state, milliseconds until its probe.
# Reads keys that it is not given: fine for one Redis, not for a cluster of them.
LIST = (
    _CLOCK
    + """
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now))
local found = {}
for _, key in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
  local values = redis.call('HMGET', key, 'failures', 'open_until_ms', 'probe_until_ms')
  local open_until, probe_until = tonumber(values[2] or ''), tonumber(values[3] or '') or 0
  if values[1] then
    local state = 'closed'
    if open_until then state = now < open_until and 'open' or 'half-open' end
    local wait = open_until and math.max(open_until, probe_until, now) - now or 0
    found[#found + 1] = {key, tonumber(values[1]), state, wait}
  end
end
return found
"""
)

# KEYS: the list of openings. ARGV: how many at most.
OPENINGS = "return redis.call('LRANGE', KEYS[1], 0, tonumber(ARGV[1]) - 1)"
FORGET_OPENING = "return redis.call('LREM', KEYS[1], 1, ARGV[1])"
