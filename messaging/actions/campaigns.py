"""Campaigns: written, deleted, launched, paused, resumed, cancelled, brought to their end.

Whoever changes a campaign's state locks its row; whoever sends holds its flows shared while claiming. So a pause has
taken hold when it returns: what is `calling` by then may go out, and nothing after it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from django.db import transaction
from django.utils import timezone

from audit.actions import record
from config.infra import work
from messaging.actions.flows import release_flows, stop_flows
from messaging.actions.freezing import freeze
from messaging.actions.segments import compiled, count_contacts, hold_segment
from messaging.models import Campaign, Message, Segment, Sender, TemplateVersion
from shopsync.actions.refusals import InvalidInput

Status = Campaign.Status
# Not a table of work: the bell that wakes whoever prepares and closes campaigns (progress.py).
MOVES = work.Queue(
    name="campaigns", drain_task="messaging.tasks.move_campaigns", celery_queue="maintenance", on_expiry="repeat"
)
AT_ONCE = 5_000  # contacts that are frozen and reported on while somebody waits; more are left to the steps
SENDER_INACTIVE = "sender_inactive"  # the blocker of a campaign whose sender was put away
FURTHEST = timedelta(days=36_500)  # that a campaign is planned ahead
LOCAL_LEAD = timedelta(hours=26)  # how far the first clocks of the world are ahead of the last


class CampaignError(ValueError):
    """A campaign can't be changed or moved as it stands; the message says why."""


class InvalidCampaign(InvalidInput, CampaignError):  # noqa: N818  (of what was asked for, not of how things stand)
    """What was asked for does not fit, whatever the campaign's state."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a campaign is to be; times are aware."""

    name: str
    channel: str
    segment_id: int
    template_version_id: int
    sender_id: int | None = None
    is_local_time: bool = False
    expires_at: datetime | None = None
    holdout_percent: Decimal = Decimal(0)
    keeps_quiet_hours: bool = True


@transaction.atomic(savepoint=False)
def save_campaign(*, campaign_id: int | None, plan: Plan, actor: str) -> Campaign:
    """Make a draft, or change one.

    Raises: InvalidCampaign, CampaignError, Campaign.DoesNotExist.
    """
    campaign = Campaign() if campaign_id is None else lock_campaign(campaign_id)
    if campaign.status != Status.DRAFT:
        raise CampaignError(f"The campaign is {campaign.status}: only a draft can be changed.")
    check_plan(plan)
    for field in ("name", "channel", "segment_id", "template_version_id", "sender_id"):
        setattr(campaign, field, getattr(plan, field))
    for field in ("is_local_time", "expires_at", "holdout_percent", "keeps_quiet_hours"):
        setattr(campaign, field, getattr(plan, field))
    campaign.updated_at, campaign.preflight = timezone.now(), None
    campaign.save()
    if not hold_segment(plan.segment_id):  # taken away at this moment
        raise _no_segment(plan.segment_id)
    record(name="campaign.saved", subject=f"campaign:{campaign.pk}", actor=actor, data={"channel": campaign.channel})
    return campaign


@transaction.atomic(savepoint=False)
def delete_campaign(*, campaign_id: int, actor: str) -> None:
    """Delete a draft; what was launched once is cancelled instead, and stays.

    Raises: CampaignError, Campaign.DoesNotExist.
    """
    campaign = lock_campaign(campaign_id)
    if campaign.status != Status.DRAFT or campaign.frozen_at is not None:
        raise CampaignError(f"The campaign is {campaign.status}: only a draft can be deleted.")
    record(name="campaign.deleted", subject=f"campaign:{campaign.pk}", actor=actor, data={"channel": campaign.channel})
    campaign.delete()


def check_plan(plan: Plan) -> None:
    """Look whether a campaign can be written so.

    Raises: InvalidCampaign.
    """
    if not plan.name.strip() or len(plan.name) > 100:
        raise InvalidCampaign("name", "1 to 100 characters are needed.")
    if not 0 <= plan.holdout_percent <= 90:
        raise InvalidCampaign("holdout_percent", "0 to 90.")
    if not Segment.objects.filter(pk=plan.segment_id).exists():
        raise _no_segment(plan.segment_id)
    version = TemplateVersion.objects.select_related("template").filter(pk=plan.template_version_id).first()
    if version is None:
        sentence = f"There is no version {plan.template_version_id} of a template."
        raise InvalidCampaign("template_version_id", sentence)
    if version.template.channel != plan.channel:
        sentence = f"The template is for {version.template.channel}, not {plan.channel}."
        raise InvalidCampaign("template_version_id", sentence)
    if version.template.archived_at is not None:
        raise InvalidCampaign("template_version_id", "The template is archived; take another.")
    sender = Sender.objects.filter(pk=plan.sender_id).first() if plan.sender_id is not None else None
    if plan.sender_id is not None and (sender is None or sender.channel != plan.channel or not sender.is_active):
        raise InvalidCampaign("sender_id", f"There is no active sender {plan.sender_id} for {plan.channel}.")


def _no_segment(segment_id: int) -> InvalidCampaign:
    return InvalidCampaign("segment_id", f"There is no segment {segment_id}.")


@transaction.atomic(savepoint=False)
def schedule_campaign(*, campaign_id: int, at: datetime | None, actor: str, now: datetime) -> Campaign:
    """Let a draft be sent at a time; None: now.

    Raises: InvalidCampaign for a time that does not fit; CampaignError, Campaign.DoesNotExist.
    """
    campaign = lock_campaign(campaign_id)
    if campaign.status != Status.DRAFT:
        raise CampaignError(f"The campaign is {campaign.status}: only a draft can be launched.")
    check_time(campaign, at=at, now=now)
    try:
        check_plan(_plan_of(campaign))
    except InvalidCampaign as error:  # the draft's, and not of what was asked for now
        raise CampaignError(f"{error.field}: {error} Change the draft first.") from error
    at = at or now
    _move(campaign, Status.SCHEDULED, actor=actor, scheduled_at=at)
    if begins_at(campaign) <= now:
        _begin_soon(campaign, actor=actor)
    return campaign


def check_time(campaign: Campaign, *, at: datetime | None, now: datetime) -> None:
    """Look whether a draft can be sent at a time; None: now.

    Raises: InvalidCampaign for a time that does not fit; CampaignError for a draft that has expired.
    """
    check_moment(at, now=now)
    if campaign.expires_at is None or campaign.expires_at > (at or now):
        return
    if campaign.expires_at <= now:
        raise CampaignError(f"The draft expired at {campaign.expires_at.isoformat()}: give it a later expires_at.")
    raise InvalidCampaign("scheduled_at", f"The draft expires before, at {campaign.expires_at.isoformat()}.")


def check_moment(at: datetime | None, *, now: datetime) -> None:
    """Look whether a moment is to come, and near enough; None: now.

    Raises: InvalidCampaign.
    """
    if at is not None and at < now:
        raise InvalidCampaign("scheduled_at", "It lies in the past: leave it out to launch now.")
    if at is not None and at > now + FURTHEST:
        raise InvalidCampaign("scheduled_at", f"It lies more than {FURTHEST.days} days ahead.")


def _plan_of(campaign: Campaign) -> Plan:
    """Read a draft's plan: what it names may have changed since it was written."""
    return Plan(**{field: getattr(campaign, field) for field in Plan.__slots__})


def begins_at(campaign: Campaign) -> datetime:
    """Say when a scheduled campaign is frozen: at its time, or when the world's first clocks show it."""
    assert campaign.scheduled_at is not None  # campaign_is_scheduled_for_a_time
    return campaign.scheduled_at - (LOCAL_LEAD if campaign.is_local_time else timedelta())


@transaction.atomic(savepoint=False)
def begin_campaign(*, campaign_id: int, now: datetime) -> int | None:
    """Freeze a scheduled campaign whose time has come; return how many rows that made, None when it is not its time, or
    somebody is at it."""
    campaign = Campaign.objects.select_for_update(no_key=True, skip_locked=True).filter(pk=campaign_id).first()
    if campaign is None or campaign.status != Status.SCHEDULED or begins_at(campaign) > now:
        return None
    return _begin(campaign, actor="schedule")


def _begin_soon(campaign: Campaign, *, actor: str) -> None:
    """Freeze a small audience while somebody waits; leave a large one to the next step of campaigns."""
    if count_contacts(compiled(campaign.segment)) <= AT_ONCE:
        _begin(campaign, actor=actor)
    else:
        work.ring_queue_after_commit(MOVES)


def _begin(campaign: Campaign, *, actor: str) -> int:
    count = freeze(campaign)
    _move(campaign, Status.SENDING, actor=actor, frozen_at=timezone.now(), recipients=count)
    work.ring_queue_after_commit(MOVES)
    return count


@transaction.atomic(savepoint=False)
def pause_campaign(*, campaign_id: int, actor: str) -> Campaign:
    """Stop a campaign until it is resumed: when this returns, no further call of it begins.

    Raises: CampaignError, Campaign.DoesNotExist.
    """
    campaign = lock_campaign(campaign_id)
    if campaign.status not in {Status.SCHEDULED, Status.SENDING}:
        raise CampaignError(f"The campaign is {campaign.status}: there is nothing to pause.")
    _move(campaign, Status.PAUSED, actor=actor, blocker=f"paused_by:{actor}"[:60])
    stop_flows(campaign, blocker="paused")
    return campaign


@transaction.atomic(savepoint=False)
def resume_campaign(*, campaign_id: int, actor: str, now: datetime) -> Campaign:
    """Let a paused campaign go on where it stood.

    Raises: CampaignError, Campaign.DoesNotExist.
    """
    campaign = lock_campaign(campaign_id)
    if campaign.status != Status.PAUSED:
        raise CampaignError(f"The campaign is {campaign.status}, not paused.")
    if campaign.frozen_at is None:
        _move(campaign, Status.SCHEDULED, actor=actor, blocker="")
        if begins_at(campaign) <= now:
            _begin_soon(campaign, actor=actor)
        return campaign
    _move(campaign, Status.SENDING, actor=actor, blocker="")
    if mind_sender(campaign):
        release_flows(campaign)
    campaign.refresh_from_db(fields=["blocker"])
    work.ring_after_commit(Message)
    work.ring_queue_after_commit(MOVES)
    return campaign


@transaction.atomic(savepoint=False)
def cancel_campaign(*, campaign_id: int, actor: str) -> Campaign:
    """End a campaign: what is not called yet never is. Its rows are closed, and their credits given back, by and by.

    Raises: CampaignError, Campaign.DoesNotExist.
    """
    campaign = lock_campaign(campaign_id)
    if campaign.status in {Status.DONE, Status.CANCELLED}:
        raise CampaignError(f"The campaign is {campaign.status} already.")
    blocker = "closing" if campaign.frozen_at is not None else ""  # its rows are closed by and by (progress.py)
    _move(campaign, Status.CANCELLED, actor=actor, blocker=blocker, finished_at=timezone.now())
    stop_flows(campaign, blocker="cancelled")
    work.ring_queue_after_commit(MOVES)
    return campaign


@transaction.atomic
def mind_sender(campaign: Campaign) -> bool:
    """Block a campaign whose sender was put away, and let go one whose sender is back; say whether it may be sent."""
    is_active = campaign.sender is None or campaign.sender.is_active
    if is_active == (campaign.blocker != SENDER_INACTIVE):
        return is_active
    locked = lock_campaign(campaign.pk)
    if locked.status != Status.SENDING:
        return False
    locked.blocker = "" if is_active else SENDER_INACTIVE
    locked.save(update_fields=["blocker"])
    if is_active:
        release_flows(locked)
        work.ring_after_commit(Message)
    else:
        stop_flows(locked, blocker=SENDER_INACTIVE)
    return is_active


@transaction.atomic
def mind_campaigns_of(sender: Sender) -> None:
    """Block the campaigns of a sender that was just put away, or let them go: no call of theirs begins after this.

    Each is locked, also those that somebody may be about to resume: whoever does, sees the sender as it is by now.
    """
    open_ = Campaign.objects.filter(sender=sender).exclude(status__in=(Status.DRAFT, Status.CANCELLED))
    for campaign in open_.select_for_update(no_key=True).order_by("pk"):
        if campaign.status == Status.SENDING:
            mind_sender(campaign)


def reopen_campaign(campaign: Campaign) -> None:
    """Let a campaign that was done send again what came back of it: hold its row."""
    _move(campaign, Status.SENDING, actor="sending", finished_at=None)
    if mind_sender(campaign):
        release_flows(campaign)
    work.ring_queue_after_commit(MOVES)


def lock_campaign(campaign_id: int) -> Campaign:
    """Lock a campaign of the tenant in scope; rows that point to it may be written meanwhile (senders add tallies).

    Raises: Campaign.DoesNotExist.
    """
    return Campaign.objects.select_for_update(no_key=True).get(pk=campaign_id)


def _move(campaign: Campaign, status: Status, *, actor: str, recipients: int | None = None, **values: Any) -> None:
    was, campaign.status = campaign.status, status
    for name, value in values.items():
        setattr(campaign, name, value)
    campaign.updated_at = timezone.now()
    campaign.save(update_fields=["status", "updated_at", *values])
    data: dict[str, Any] = {"was": was}
    if recipients is not None:
        data["recipients"] = recipients
    record(name=f"campaign.{status.value}", subject=f"campaign:{campaign.pk}", actor=actor, data=data)
