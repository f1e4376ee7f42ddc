"""Digests: collect a tenant's alerts into one e-mail (a row), and send it: claim, start, call, complete.

At most one e-mail per tenant and slot: the row's constraint decides who writes it, and one whose answer was lost is
parked as `unknown`. Only what surely was not sent is tried again.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from django.conf import settings
from django.db import transaction
from django.db.models import Q

from audit.actions import record
from config.infra import mail, tenancy, work
from config.infra.failpoints import failpoint
from config.infra.transactions import lock_name
from shopsync.actions.alerts import close_alert, raise_alert
from shopsync.models import Alert, Digest, DigestPlan, Tenant
from shopsync.models.digests import SYSTEM

logger = logging.getLogger(__name__)

REFUSED = "digest.refused"  # an alert's kind
OPS_DAILY_HOUR = 6  # UTC
LISTED = 100
NO_EMAIL_WAIT_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class _Plan:
    tenant_id: int
    name: str
    recipients: Sequence[str]
    daily_hour: int
    has_hourly_critical: bool
    local: datetime


def collect_digests(*, now: datetime) -> int:
    """Write the digests that are due: per tenant with a plan, and for ops the system's; return how many.

    daily: from the plan's hour on, by the tenant's clock, what was opened since the last digest or is still open;
    critical: at most once an hour, what was never mailed, or is open and nobody's yet.
    """
    written = 0
    with tenancy.all_tenants(reason="write the digests of every tenant, and the system's"):
        for plan in _plans(now):
            if plan.local.hour >= plan.daily_hour:
                written += _write(plan, slot=f"daily:{plan.local:%Y-%m-%d}", now=now)
            if plan.has_hourly_critical:
                written += _write(plan, slot=f"critical:{now:%Y-%m-%dT%H}", now=now, only_critical=True)
    return written


def _plans(now: datetime) -> list[_Plan]:
    found = DigestPlan.objects.filter(is_active=True).exclude(tenant__status=Tenant.Status.UNINSTALLED)
    plans = [
        _Plan(
            tenant_id=plan.tenant_id,
            name=plan.tenant.shop_domain,
            recipients=plan.recipients,
            daily_hour=plan.daily_hour,
            has_hourly_critical=plan.has_hourly_critical,
            local=_local(now, plan.tenant.timezone),
        )
        for plan in found.select_related("tenant").order_by("tenant_id")
    ]
    if settings.OPS_EMAILS:
        plans.append(_Plan(SYSTEM, "the system", settings.OPS_EMAILS, OPS_DAILY_HOUR, True, now))
    return plans


def _local(now: datetime, timezone: str) -> datetime:
    try:
        return now.astimezone(ZoneInfo(timezone))
    except (ZoneInfoNotFoundError, ValueError):
        logger.warning("no time zone is called %r; digests go by UTC", timezone)
        return now


@transaction.atomic
def _write(plan: _Plan, *, slot: str, now: datetime, only_critical: bool = False) -> int:
    """Write one digest unless its slot is taken; a quiet day is a finished row, so that the slot stays taken."""
    lock_name(f"digests:{plan.tenant_id}")
    if Digest.objects.filter(tenant_id=plan.tenant_id, slot=slot).exists():
        return 0
    rows = Alert.objects.filter(Q(tenant__isnull=True) if plan.tenant_id == SYSTEM else Q(tenant_id=plan.tenant_id))
    if only_critical:
        is_news = Q(digested_at__isnull=True) | Q(closed_at__isnull=True, acknowledged_at__isnull=True)
        rows = rows.filter(is_news, severity=Alert.Severity.CRITICAL)
    else:
        rows = rows.filter(Q(digested_at__isnull=True) | Q(closed_at__isnull=True))
    alerts = list(rows.select_for_update(of=("self",)).order_by("id"))
    if only_critical and not alerts:
        return 0
    digest = Digest(tenant_id=plan.tenant_id, slot=slot, recipients=list(plan.recipients), alert_count=len(alerts))
    digest.subject, digest.text = _words(plan, alerts)
    if not alerts:
        digest.status, digest.finished_at = work.Status.DONE, now
    Alert.objects.filter(pk__in=[alert.pk for alert in alerts]).update(digested_at=now)
    work.add([digest])
    return 1 if alerts else 0


def _words(plan: _Plan, alerts: list[Alert]) -> tuple[str, str]:
    critical = sum(alert.severity == Alert.Severity.CRITICAL for alert in alerts)
    subject = f"{len(alerts)} alert{'s' * (len(alerts) != 1)} of {plan.name}"
    subject += f" ({critical} critical)" if critical else ""
    worst_first = sorted(alerts, key=lambda alert: (not alert.is_open, alert.severity, alert.pk))
    lines = [_line(alert) for alert in worst_first[:LISTED]]
    if len(alerts) > LISTED:
        lines.append(f"… and {len(alerts) - LISTED} more.")
    where = f"{settings.PUBLIC_URL}/admin/shopsync/alert/"
    return subject[:200], "\n\n".join([*lines, f"All of them: {where}"]) + "\n"


def _line(alert: Alert) -> str:
    state = "closed" if alert.closed_at else f"looked after by {alert.acknowledged_by}" * bool(alert.acknowledged_by)
    times = f"seen {alert.count} times since {alert.opened_at:%Y-%m-%d %H:%M} UTC"
    return f"[{alert.severity}] {alert.kind} {alert.subject}\n{alert.message}\n({state or 'open'}, {times})"


def send_digests(rows: list[Digest]) -> None:
    """Send claimed digests, one call each."""
    if not mail.is_configured():
        work.hand_back(rows, blocker="no_email_url", wait_seconds=NO_EMAIL_WAIT_SECONDS)
        return
    for row in rows:
        with tenancy.tenant_scope(row.tenant_id):
            _send(row)


def _send(row: Digest) -> None:
    # 1. Start: from here on a lost process leaves the digest `unknown`.
    if not work.start([row]):
        return
    # 2. The call, outside any transaction; its Message-ID stays, so that servers recognise a repetition.
    try:
        message_id = f"<shopsync-digest-{row.pk}@{settings.PUBLIC_URL.partition('://')[2].partition(':')[0]}>"
        refused = mail.send_mail(recipients=row.recipients, subject=row.subject, text=row.text, message_id=message_id)
    except mail.MailError as error:
        _settle_failure(row, error)
        return
    failpoint("digests.called")
    # 3. Its outcome.
    try:
        with transaction.atomic():
            work.complete(row)
            if row.tenant_id != SYSTEM:
                record(name="digest.sent", subject=f"digest:{row.pk}", actor="system", data={"slot": row.slot})
            _tell_refused(row, refused)
    except work.LeaseLostError:
        logger.warning("digest %s was accepted after its lease had run out", row.pk)


def _tell_refused(row: Digest, refused: Mapping[str, int]) -> None:
    """Raise an alert, which the next digest carries to the others, while a recipient is refused."""
    with tenancy.no_scope() if row.tenant_id == SYSTEM else tenancy.tenant_scope(row.tenant_id):
        if refused:
            who = ", ".join(f"{address} ({code})" for address, code in sorted(refused.items()))
            message = f"The mail server refuses digests to {who}: correct the recipients."
            raise_alert(kind=REFUSED, subject="digests", message=message)
        else:
            close_alert(kind=REFUSED, subject="digests")


def _settle_failure(row: Digest, error: mail.MailError) -> None:
    logger.warning("digest %s: %s", row.pk, error)
    try:
        if error.unknown:
            work.park(row, error=f"no answer to the call: {error}")
        elif error.permanent:
            work.bury(row, error=str(error))
        elif error.retry_after_seconds is not None:
            wait = error.retry_after_seconds
            work.hand_back([row], blocker=error.blocker, wait_seconds=wait, surely_not_done=True)
        else:
            work.retry(row, error=str(error))
    except work.LeaseLostError:
        logger.warning("digest %s: its lease ran out before the failure was stored", row.pk)
