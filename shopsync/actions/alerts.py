"""Alerts: raise, count, close, acknowledge. An alert is a row; who is told of it, and how, is the digests' business."""

from __future__ import annotations

from django.db import connection, models, transaction
from django.db.models.functions import Now

from audit.actions import Value, record
from config.infra import tenancy
from shopsync.models import Alert

# A unique index decides who opens it: the others count. The worst severity stays, the newest sentence is shown.
_RAISE = """
INSERT INTO shopsync_alert AS alert (tenant_id, kind, subject, message, severity, count, opened_at, last_seen_at,
                                     acknowledged_by)
VALUES (%s, %s, %s, %s, %s, 1, clock_timestamp(), clock_timestamp(), '')
ON CONFLICT (tenant_id, kind, subject) WHERE closed_at IS NULL DO UPDATE SET
    count = alert.count + 1, last_seen_at = clock_timestamp(), message = EXCLUDED.message,
    severity = CASE WHEN alert.severity = 'critical' THEN 'critical' ELSE EXCLUDED.severity END
RETURNING id, count"""


@transaction.atomic(savepoint=False)
def raise_alert(*, kind: str, subject: str, message: str, severity: str = "warning") -> None:
    """Open an alert of the tenant in scope (or of the system when none is), or count it once more if it is open
    already.

    kind: dotted, e.g. `stock.low`; subject: what it is about, e.g. `level:12`; severity: `warning` or `critical`, and
    an open alert never becomes milder. The open alert stays locked until the caller's transaction ends: raise late
    in it, and several sorted by kind and subject.

    Raises: IntegrityError for a severity or kind that the constraints refuse.
    """
    with connection.cursor() as cursor:
        cursor.execute(_RAISE, [tenancy.tenant_id_or_none(), kind, subject, message, severity])
        alert_id, count = cursor.fetchone()
    if count == 1:  # once for each opening: a repetition is a number in the row, not another event
        data = {"kind": kind, "subject": subject, "severity": severity}
        record(name="alert.raised", subject=f"alert:{alert_id}", actor="system", data=data)


@transaction.atomic
def close_alert(*, kind: str, subject: str) -> bool:
    """Close the open alert, if there is one; say whether there was."""
    tenant_id = tenancy.tenant_id_or_none()
    whose = models.Q(tenant_id__isnull=True) if tenant_id is None else models.Q(tenant_id=tenant_id)
    with tenancy.all_tenants(reason="close an alert, of a tenant or of the system"):
        rows = Alert.objects.filter(whose, kind=kind, subject=subject)
    return close_alerts(rows=rows, actor="system") > 0


@transaction.atomic
def close_alerts(*, rows: models.QuerySet[Alert], actor: str) -> int:
    """Close those of these alerts that are open, each recorded where it belongs; return how many.

    What is still wrong is raised again, as a new alert.
    """
    closed = _lock(rows, closed_at__isnull=True)
    rows.filter(pk__in=[alert.pk for alert in closed]).update(closed_at=Now())
    _record("alert.closed", closed, actor)
    return len(closed)


@transaction.atomic
def acknowledge_alerts(*, rows: models.QuerySet[Alert], actor: str) -> int:
    """Note who looks after those of these alerts that are open and nobody's yet; return how many."""
    taken = _lock(rows, closed_at__isnull=True, acknowledged_at__isnull=True)
    rows.filter(pk__in=[alert.pk for alert in taken]).update(acknowledged_by=actor, acknowledged_at=Now())
    _record("alert.acknowledged", taken, actor)
    return len(taken)


def _lock(rows: models.QuerySet[Alert], **which: bool) -> list[Alert]:
    return list(rows.filter(**which).select_for_update(of=("self",)).order_by("pk"))


def _record(name: str, alerts: list[Alert], actor: str) -> None:
    for alert in alerts:
        scope = tenancy.no_scope() if alert.tenant_id is None else tenancy.tenant_scope(alert.tenant_id)
        data: dict[str, Value] = {"kind": alert.kind, "subject": alert.subject, "count": alert.count}
        with scope:
            record(name=name, subject=f"alert:{alert.pk}", actor=actor, data=data)
