"""Stops calling a service that keeps failing: one circuit breaker for each (service, tenant connection).

closed     every call passes; too many failures (services.py says how many) open it
open       no call passes for `open_seconds`
half-open  one probe passes; its success closes the breaker, its failure opens it again

circuit.py  the breaker
scripts.py  its rules as Lua: all processes share the state in Redis, on Redis's own clock, one script per operation
local.py    the same rules for one process, while Redis is away
shared.py   which of the two answers; says in the log when Redis goes and when it is back
listing.py  the breakers in trouble, for operators; and those that opened, for the trail
"""

from config.infra.breaker.circuit import Breaker, BreakerOpen
from config.infra.breaker.listing import Listing, Opening, forget_opening, list_breakers, read_openings
from config.infra.breaker.local import Snapshot, State

__all__ = [
    "Breaker",
    "BreakerOpen",
    "Listing",
    "Opening",
    "Snapshot",
    "State",
    "forget_opening",
    "list_breakers",
    "read_openings",
]
