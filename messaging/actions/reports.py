"""Delivery reports: in any order, twice, before our own commit, for ids nobody knows yet; a message only moves
forward."""

from __future__ import annotations

import uuid
from collections.abc import Sequence

from django.db import transaction
from django.db.models import QuerySet
from django.db.models.functions import Coalesce, Now

from config.infra.transactions import lock_name
from config.infra.work import Status
from messaging.models import DeliveryReport, Message
from messaging.webhooks import DeliveryReport as ReportSnapshot
from messaging.webhooks import UnreadableReport, parse_mitto_reports
from shopsync.shopify import Delivery, UnreadablePayloadError

# A report of one of these moves a message out of those outcomes; nothing else moves. Delivered is proof and beats
# failed.
_FORWARD = {"sent": ("",), "failed": ("", "sent"), "delivered": ("", "sent", "failed")}


@transaction.atomic(savepoint=False)
def sync_reports(*, delivery: Delivery) -> None:
    """Take Mitto's delivery reports (one or many in a body): keep each, then move its message forward.

    Raises: UnreadablePayloadError.
    """
    connection_id = delivery.connection_id
    assert connection_id is not None  # the view stores it with the token's connection
    try:
        reports = parse_mitto_reports(delivery.body)
    except UnreadableReport as error:
        raise UnreadablePayloadError(str(error)) from error
    # See sending.lock_reports: ids and reports must not pass each other unseen.
    lock_name(f"reports:{connection_id}", shared=True)
    for report in sorted(reports, key=lambda report: report.provider_id):  # one lock order for every body
        _keep(report, tenant_id=delivery.tenant_id, connection_id=connection_id)


def _keep(report: ReportSnapshot, *, tenant_id: int, connection_id: int) -> None:
    message = _find_message(report, connection_id)
    row = DeliveryReport(
        tenant_id=tenant_id,
        connection_id=connection_id,
        message=message,
        provider_id=report.provider_id,
        reference=report.reference or "",
        status=report.status,
        raw_status=report.raw_status,
        error=report.error or "",
        reported_at=report.updated_at,
    )
    DeliveryReport.objects.bulk_create([row], ignore_conflicts=True)
    if message is not None:
        _move_forward(Message.objects.filter(pk=message.pk), row)


def _find_message(report: ReportSnapshot, connection_id: int) -> Message | None:
    """Find the message by the provider's id, else by the reference that we sent along."""
    by_id = Message.objects.filter(connection_id=connection_id, provider_id=report.provider_id)
    if message := by_id.first():
        return message
    try:
        reference = uuid.UUID(report.reference or "")
    except ValueError:
        return None
    return Message.objects.filter(reference=reference, connection_id=connection_id).first()


def _move_forward(message: QuerySet[Message], report: DeliveryReport) -> None:
    """Move a message forward; a report also settles one whose call is still open or ended without an answer."""
    earlier = _FORWARD.get(report.status)
    if earlier is None:
        return  # pending, or a word nobody knows: kept with the report, moves nothing
    open_statuses = (Status.LEASED, Status.UNKNOWN, Status.READY, Status.DONE, Status.BURIED)
    movable = message.filter(outcome__in=earlier, status__in=open_statuses)
    moment = Coalesce(report.reported_at, Now()) if report.reported_at else Now()
    values: dict[str, object] = {"outcome": report.status, "status": Status.DONE, "lease_until": None}
    values |= {
        "finished_at": Now(),
        "reason": report.error[:200] if report.status == "failed" else "",
        "last_error": "",
    }
    if report.status == "delivered":
        values["delivered_at"] = moment
    movable.update(**values, blocker="")
    message.filter(sent_at__isnull=True).update(sent_at=moment)
    message.filter(provider_id="").update(provider_id=report.provider_id)


def adopt_reports(*, connection_id: int, provider_ids: Sequence[str]) -> None:
    """Apply the reports that came before their messages' ids were stored. Call inside the transaction that stores
    them."""
    orphans = DeliveryReport.objects.filter(
        connection_id=connection_id, provider_id__in=provider_ids, message__isnull=True
    )
    for report in orphans.order_by("pk"):
        message = Message.objects.filter(connection_id=connection_id, provider_id=report.provider_id)
        if found := message.first():
            report.message = found
            report.save(update_fields=["message"])
            _move_forward(message, report)
