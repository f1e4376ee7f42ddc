"""What is declared to run by the clock; the rows that it becomes are shopsync's."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Schedule:
    """One task and when it runs: every so many seconds, or by the five fields of a cron line in UTC.

    grace_seconds: how late a run may be before an alert is raised.
    """

    name: str
    task: str
    grace_seconds: int
    every_seconds: int | None = None
    cron: str | None = None

    def __post_init__(self) -> None:
        """Refuse what says twice, or never, when to run.

        Raises: ValueError.
        """
        if (self.every_seconds is None) == (self.cron is None):
            raise ValueError(f"schedule {self.name}: give either every_seconds or cron")
        if self.cron is not None and len(self.cron.split()) != 5:
            raise ValueError(f"schedule {self.name}: a cron line has five fields, not {self.cron!r}")

    @property
    def when(self) -> str:
        """Write down when it runs, to tell later whether somebody changed it."""
        return f"every {self.every_seconds} s" if self.every_seconds else f"cron {self.cron}"

    @property
    def expire_seconds(self) -> int:
        """Return how long a message that nobody took may wait: a later one says the same."""
        return self.every_seconds or 3600
