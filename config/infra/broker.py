"""A worker whose broker was away goes on once it is back, whatever it was doing meanwhile.

Celery tells the broker that a task was taken as a process begins it. If Redis is away at that moment the word is lost,
and Celery counts the task as still to be acknowledged: once as many are as it may fetch ahead, it fetches none, and as
it waits for nothing it never learns that its connection is gone. Seen with every process busy as Redis was restarted:
the worker lived, its heart beat, and it took no task any more. So whoever loses a word says so, and the worker
connects anew.
"""

from __future__ import annotations

import logging
from typing import Any

from celery import bootsteps
from celery.worker import request

logger = logging.getLogger(__name__)

LOOK_EVERY_SECONDS = 2.0
_lost_words = 0


class _Noting(logging.LoggerAdapter[logging.Logger]):
    """Passes on what is logged, and notes that an acknowledgement was lost."""

    def critical(self, msg: object, *args: Any, **kwargs: Any) -> None:
        """Note it; this is what Celery says when the broker did not hear it."""
        global _lost_words
        _lost_words += 1
        super().critical(msg, *args, **kwargs)


class Request(request.Request):
    """A task that was fetched; what is lost of its acknowledgement is noted."""

    def acknowledge(self) -> None:
        """Tell the broker that the task was taken."""
        if not self.acknowledged:
            self._on_ack(_Noting(logger, {}), self._connection_errors)  # type: ignore[attr-defined]  # no stubs
            self.acknowledged = True


class ConnectAnew(bootsteps.StartStopStep):
    """Looks now and then whether a word to the broker was lost, and breaks the connection if so."""

    requires = ("celery.worker.consumer.tasks:Tasks",)

    def __init__(self, consumer: Any, **options: Any) -> None:
        super().__init__(consumer, **options)
        self._timer: Any = None

    def start(self, consumer: Any) -> None:
        """Begin to look, on this connection."""
        self._timer = consumer.timer.call_repeatedly(LOOK_EVERY_SECONDS, self.look)

    def stop(self, consumer: Any) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()

    def look(self) -> None:
        """Break the connection if the broker missed a word on it; the worker then connects anew.

        Raises: ConnectionResetError, which the worker's loop takes for a lost connection.
        """
        global _lost_words
        if _lost_words:
            count, _lost_words = _lost_words, 0
            raise ConnectionResetError(f"{count} acknowledgements were lost: the broker was away")
