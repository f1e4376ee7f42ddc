"""Back to the queue: what surely was not sent waits again, unless its campaign is cancelled; a done one sends again.

Lock the campaigns first (`admit`), then flows and messages, the accounts of credits last (`skip_cancelled`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Protocol, TypeVar

from django.db.models import Case, F, Value, When
from django.db.models.functions import Least, Power

from config.infra import work
from config.infra.work.claims import ClockTimestamp, in_seconds
from messaging.actions.campaigns import reopen_campaign
from messaging.actions.frequencies import uncount_sends
from messaging.actions.questions import skip_messages
from messaging.models import Campaign, Message

_OPEN = (work.Status.LEASED, work.Status.UNKNOWN)
FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS = 2.0, 900.0


class OfCampaign(Protocol):
    """A message, as far as its campaign goes."""

    @property
    def campaign_id(self) -> int | None:
        """The campaign's id; None: it is of none."""


class Returning(OfCampaign, Protocol):
    """A message that comes back."""

    @property
    def id(self) -> int:
        """The message's id."""

    @property
    def sender(self) -> str:
        """Who it was from before its call; empty: the connection's own."""


R = TypeVar("R", bound=Returning)


def still_open(rows: Sequence[R], *, attempt_id: int, locks: bool = False) -> list[R]:
    """Return those that are still under the attempt that they come back from: an operator, or a report, had the last
    word on the others. Ask before the campaigns are locked, and once more, with locks, after it."""
    found = Message.objects.filter(pk__in=[row.id for row in rows], attempt_id=attempt_id, status__in=_OPEN)
    found = found.select_for_update(of=("self",)).order_by("pk") if locks else found
    ids = set(found.values_list("pk", flat=True)) if rows else set()
    return [row for row in rows if row.id in ids]


def admit(rows: Iterable[OfCampaign]) -> set[int]:
    """Lock the campaigns of messages that come back, and let those that are done send again.

    Returns the ids of those that are cancelled: what comes back of them is skipped.
    """
    ids = {row.campaign_id for row in rows if row.campaign_id is not None}
    cancelled = set[int]()
    for campaign in Campaign.objects.select_for_update(no_key=True).filter(pk__in=ids).order_by("pk"):
        if campaign.status == Campaign.Status.CANCELLED:
            cancelled.add(campaign.pk)
        elif campaign.status == Campaign.Status.DONE:
            reopen_campaign(campaign)
    return cancelled


def put_back(rows: Sequence[Returning], *, attempt_id: int, blocker: str, error: str, was_called: bool) -> None:
    """Return messages of an attempt to the queue. Those that were called and refused for now wait longer each time;
    of the others the attempt does not count."""
    if not rows:
        return
    own = [row.id for row in rows if not row.sender]  # they took the connection's as the call began
    mine = Message.objects.filter(
        pk__in=[row.id for row in rows],
        attempt_id=attempt_id,
        status__in=_OPEN,
    )
    wait = Least(Value(FIRST_WAIT_SECONDS) * Power(Value(2.0), F("attempts")), Value(LONGEST_WAIT_SECONDS))
    mine.update(
        sender=Case(When(pk__in=own, then=Value("")), default=F("sender")),
        status=work.Status.READY,
        token=None,
        attempt=None,
        started_at=None,
        lease_until=None,
        attempts=F("attempts") - (0 if was_called else 1),
        blocker=blocker[:60],
        last_error=error[:2000],
        due_at=in_seconds(wait) if was_called else ClockTimestamp(),
    )
    work.ring_after_commit(Message)


def return_rows(rows: Sequence[Returning], *, attempt_id: int, blocker: str, error: str) -> None:
    """Return messages of an attempt to the queue, or close those of cancelled campaigns: surely nothing was sent, and
    the attempt does not count, neither as a try nor towards the cap. What was decided on meanwhile stays as it is."""
    cancelled = admit(still_open(rows, attempt_id=attempt_id))
    mine = still_open(rows, attempt_id=attempt_id, locks=True)
    put_back(mine, attempt_id=attempt_id, blocker=blocker, error=error, was_called=False)
    uncount_sends(attempt_id, ids=[row.id for row in mine])
    skip_cancelled(mine, cancelled)


def skip_cancelled(rows: Sequence[Returning], cancelled: Collection[int]) -> None:
    """Complete what came back to campaigns that are cancelled, and give back what was held for it."""
    skip_messages({row.id: "cancelled" for row in rows if row.campaign_id in cancelled})
