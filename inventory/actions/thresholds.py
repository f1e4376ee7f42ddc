"""Thresholds: when a variant is low, as people and merchants' systems say. Looking at the stock is `watching`'s."""

from __future__ import annotations

from django.db import IntegrityError, transaction

from audit.actions import record
from inventory.actions.stock import NotStocked
from inventory.models import Location, StockThreshold, Variant
from shopsync.actions.alerts import close_alert
from shopsync.actions.refusals import InvalidInput

LOW = "stock.low"


class ThresholdError(InvalidInput):
    """A threshold can't be as asked."""

    def __init__(self, message: str, *, field: str) -> None:
        super().__init__(field, message)


class NoBand(ThresholdError):  # noqa: N818
    """It would recover where it is low already: then each sale and each return would be an alert."""

    def __init__(self, low_at: int, recovered_at: int) -> None:
        sentence = f"It must recover at more units than it is low at: {recovered_at} is not more than {low_at}."
        super().__init__(sentence, field="recovered_at")


class ThresholdExists(ThresholdError):  # noqa: N818
    """There is one of this variant and location."""

    def __init__(self) -> None:
        super().__init__(
            "There is a threshold of this variant and location already: change that one.", field="variant_id"
        )


def subject_of(threshold_id: int) -> str:
    """Name a threshold in alerts and the trail."""
    return f"threshold:{threshold_id}"


@transaction.atomic
def make_threshold(
    *, variant_id: int, location_id: int | None, low_at: int, recovered_at: int, actor: str
) -> StockThreshold:
    """Say when a variant is low, at a location or over all active ones; the next look raises what is low already.

    Raises: NotStocked for an unknown variant or location, NoBand, ThresholdExists.
    """
    _ensure_band(low_at, recovered_at)
    if not Variant.objects.filter(pk=variant_id).exists():
        raise NotStocked(f"Variant {variant_id} is unknown.", field="variant_id")
    if location_id is not None and not Location.objects.filter(pk=location_id).exists():
        raise NotStocked(f"Location {location_id} is unknown.", field="location_id")
    threshold = StockThreshold(variant_id=variant_id, location_id=location_id, low_at=low_at, recovered_at=recovered_at)
    try:
        with transaction.atomic():
            threshold.save(force_insert=True)
    except IntegrityError as error:
        raise ThresholdExists from error
    note_threshold(threshold, done="created", actor=actor)
    return StockThreshold.objects.get(pk=threshold.pk)


@transaction.atomic
def change_threshold(*, threshold_id: int, low_at: int | None, recovered_at: int | None, actor: str) -> StockThreshold:
    """Change the marks (null: as it is); what is low stays so until it reaches the new `recovered_at`.

    Raises: StockThreshold.DoesNotExist, NoBand.
    """
    threshold = StockThreshold.objects.select_for_update().get(pk=threshold_id)
    before = (threshold.low_at, threshold.recovered_at)
    threshold.low_at = threshold.low_at if low_at is None else low_at
    threshold.recovered_at = threshold.recovered_at if recovered_at is None else recovered_at
    _ensure_band(threshold.low_at, threshold.recovered_at)
    if (threshold.low_at, threshold.recovered_at) != before:
        threshold.save(update_fields=["low_at", "recovered_at"])
        note_threshold(threshold, done="updated", actor=actor)
    return threshold


@transaction.atomic
def remove_threshold(*, threshold_id: int, actor: str) -> None:
    """Take a threshold away, and close its alert.

    Raises: StockThreshold.DoesNotExist.
    """
    threshold = StockThreshold.objects.select_for_update().get(pk=threshold_id)
    note_threshold(threshold, done="deleted", actor=actor)
    threshold.delete()
    close_alert(kind=LOW, subject=subject_of(threshold_id))


def note_threshold(threshold: StockThreshold, *, done: str, actor: str) -> None:
    """Record what became of a threshold."""
    data = {
        "variant_id": threshold.variant_id,
        "location_id": threshold.location_id,
        "low_at": threshold.low_at,
        "recovered_at": threshold.recovered_at,
    }
    record(name=f"stock_threshold.{done}", subject=subject_of(threshold.pk), actor=actor, data=data)


def _ensure_band(low_at: int, recovered_at: int) -> None:
    if recovered_at <= low_at:
        raise NoBand(low_at, recovered_at)
