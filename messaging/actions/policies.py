"""Settings of sending, kept by owners: who messages are from, the hours of the day, batches and caps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.utils import timezone

from audit.actions import record
from config.infra import tenancy
from messaging.actions.campaigns import mind_campaigns_of
from messaging.actions.frequencies import count_earlier, hold_policy
from messaging.models import QuietHours, Sender, SendingPolicy

Setting = Sender | QuietHours | SendingPolicy


@transaction.atomic
def save_setting(row: Setting, values: Mapping[str, Any], *, actor: str) -> Setting:
    """Write a new row of settings, or change one, and note that it was; what is not in `values` stays. There is one
    sending policy: whoever writes the first one at the same moment as somebody else changes theirs.

    Raises: ValidationError with sentences by field.
    """
    if isinstance(row, SendingPolicy):
        hold_policy()
        row = SendingPolicy.objects.first() or row
    verb = "created" if row.pk is None else "updated"
    row.tenant_id = tenancy.current_tenant_id()
    for name, value in values.items():
        setattr(row, name, value)
    if isinstance(row, SendingPolicy):
        row.updated_at = timezone.now()
    row.full_clean()
    if isinstance(row, SendingPolicy):
        count_earlier(row)
    try:
        with transaction.atomic():
            if verb == "created":
                row.save()
            else:  # what somebody else changed meanwhile stays
                row.save(update_fields=[*values, *(["updated_at"] if isinstance(row, SendingPolicy) else [])])
    except IntegrityError as error:
        row.full_clean()  # by now it sees what somebody else wrote at this moment, and names the field
        raise ValidationError("Somebody else wrote the same at this moment; look, then try again.") from error
    if isinstance(row, Sender):
        mind_campaigns_of(row)
    record(name=f"{_noun(row)}.{verb}", subject=f"{_noun(row)}:{row.pk}", actor=actor, data={"fields": sorted(values)})
    return row


@transaction.atomic(savepoint=False)
def remove_hours(row: QuietHours, *, actor: str) -> None:
    """Take hours away: those of the country, or the default's, hold there again."""
    subject = f"quiet_hours:{row.pk}"
    row.delete()
    record(name="quiet_hours.deleted", subject=subject, actor=actor, data={"country": row.country})


def _noun(row: Setting) -> str:
    return str(row._meta.verbose_name).replace(" ", "_").lower()
