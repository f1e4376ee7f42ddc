"""The one work mechanism: a unit of work is a row, claimed, started, called, completed (docs/architecture.md).

rows.py    the abstract row, its states and its queue's policy
claims.py  claim, start, complete, retry, bury, park, hand back, replay, sweep: each one conditional UPDATE
bell.py    ring and silence: Redis only says that there is work
drains.py  the loop a Celery task runs
calls.py   outward calls that cost: made at most once, parked when nobody knows, settled by asking
"""

from config.infra.work.bell import ring, silence
from config.infra.work.calls import Answer, Apply, Caller, CallError, make_calls, settle_unknown
from config.infra.work.claims import (
    LeaseLostError,
    add,
    bury,
    claim,
    complete,
    hand_back,
    park,
    replay,
    retry,
    ring_after_commit,
    ring_queue_after_commit,
    start,
    sweep,
)
from config.infra.work.drains import PermanentFailureError, drain, run_each
from config.infra.work.rows import UPKEEP_INDEXES, Queue, Status, WorkRow, find_queue, queues

__all__ = [
    "UPKEEP_INDEXES",
    "Answer",
    "Apply",
    "CallError",
    "Caller",
    "LeaseLostError",
    "PermanentFailureError",
    "Queue",
    "Status",
    "WorkRow",
    "add",
    "bury",
    "claim",
    "complete",
    "drain",
    "find_queue",
    "hand_back",
    "make_calls",
    "park",
    "queues",
    "replay",
    "retry",
    "ring",
    "ring_after_commit",
    "ring_queue_after_commit",
    "run_each",
    "settle_unknown",
    "silence",
    "start",
    "sweep",
]
