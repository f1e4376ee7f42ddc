"""The peer of the processing benchmark: what a Django team would write, one Celery task per delivery."""

from __future__ import annotations

from django.db import transaction
from django.utils import timezone

from config.celery import app
from config.infra import tenancy
from shopsync.actions.inbox import handle
from shopsync.models import WebhookEvent


@app.task(name="bench.process_one", ignore_result=True)
def process_one(row_id: int) -> None:
    """Handle one stored delivery and mark it done, in one transaction."""
    with tenancy.all_tenants(reason="bench"):
        row = WebhookEvent.objects.get(pk=row_id)
    with tenancy.tenant_scope(row.tenant_id), transaction.atomic():
        handle(row)
        WebhookEvent.objects.filter(pk=row_id).update(status="done", finished_at=timezone.now())
