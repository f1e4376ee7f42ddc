"""The clock's scheduler: schedules are rows, and the ones it knows go on while the database is away."""

from __future__ import annotations

import datetime
import logging
from typing import Any

from django.db import DatabaseError, InterfaceError
from django_celery_beat.schedulers import DatabaseScheduler

logger = logging.getLogger(__name__)


class Scheduler(DatabaseScheduler):  # type: ignore[misc]  # it has no types
    """Reads its schedules anew once the database answers again; the library's lets the process end."""

    def all_as_schedule(self) -> Any:
        """Read all schedules; without a database keep those that are known.

        Raises: DatabaseError, InterfaceError when none is known yet.
        """
        try:
            return super().all_as_schedule()
        except (DatabaseError, InterfaceError) as error:
            if not self._schedule:
                raise
            logger.warning("the schedules can't be read, those that are known go on: %s", error)
            self._last_full_sync = datetime.datetime.min  # noqa: DTZ901  naive, as the library's: read them at the next look
            return self._schedule
