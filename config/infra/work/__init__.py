"""The one work mechanism: a unit of work is a row, claimed, started, called, completed (docs/architecture.md).

rows.py    the abstract row, its states and its queue's policy
claims.py  claim, start, complete, retry, bury, park, hand back, replay, sweep: each one conditional UPDATE
bell.py    ring and silence: Redis only says that there is work
drains.py  the loop a Celery task runs
"""

from config.infra.work.bell import ring, silence
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
    start,
    sweep,
)
from config.infra.work.drains import PermanentFailureError, drain, run_each
from config.infra.work.rows import Queue, Status, WorkRow, find_queue, queues

__all__ = [
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
    "park",
    "queues",
    "replay",
    "retry",
    "ring",
    "run_each",
    "silence",
    "start",
    "sweep",
]
