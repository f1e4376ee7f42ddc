"""The look at the stock, every minute: what became low or short, what ran out, and what can be bought again.

Levels are read, never locked. One look at a tenant goes after the other, by an advisory lock; so of two at once the
second finds nothing left to tell.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial

from django.db.models.functions import Now

from audit.actions import record
from config.infra import tenancy
from config.infra.transactions import lock_name, retrying_atomic
from inventory.actions.thresholds import LOW, subject_of
from inventory.models import StockOut, StockThreshold
from inventory.queries import StockStep, Turn, find_shortfalls, find_steps, find_turns, tenants_with_news
from shopsync.actions.alerts import close_alert, raise_alert

SHORT = "stock.short"
# A unit that comes back and is taken at once, by a backorder or by the next cart, is not back in stock.
SETTLES_AFTER = timedelta(seconds=45)
BATCH = 500


def watch_stock_everywhere(*, now: datetime) -> int:
    """Look at every tenant's stock, each of whose there is news in its own scope; return how much there was to tell."""
    with tenancy.all_tenants(reason="find the tenants of whose stock there is news"):
        tenants = tenants_with_news(settled=now - SETTLES_AFTER)
    return tenancy.for_each(tenants, partial(watch_stock, now=now))


def watch_stock(*, now: datetime) -> int:
    """Look at the stock of the tenant in scope, in transactions of at most BATCH news; return how many there were."""
    looks: tuple[Callable[[], int], ...] = (_turn_thresholds, _tell_shortfalls, partial(_follow_stock_outs, now=now))
    return sum(_until_nothing_is_left(look) for look in looks)


def _until_nothing_is_left(look: Callable[[], int]) -> int:
    told = 0
    while True:
        found = look()
        told += found
        if found < BATCH:
            return told


def _one_after_the_other() -> int:
    """Wait until nobody else looks at this tenant's stock; held until the transaction ends. Returns the tenant."""
    tenant_id = tenancy.current_tenant_id()
    lock_name(f"watch_stock:{tenant_id}")
    return tenant_id


@retrying_atomic
def _turn_thresholds() -> int:
    found = find_turns(tenant_id=_one_after_the_other(), most=BATCH)
    rows = StockThreshold.objects.filter(pk__in=[turn.threshold_id for turn in found])
    there = set(rows.select_for_update().order_by("pk").values_list("pk", flat=True))  # or taken away meanwhile
    for is_low in (True, False):
        turned = [turn.threshold_id for turn in found if turn.is_low == is_low]
        rows.filter(pk__in=turned).update(is_low=is_low, changed_at=Now())
    for turn in sorted(found, key=lambda turn: subject_of(turn.threshold_id)):
        if not turn.is_low:
            close_alert(kind=LOW, subject=subject_of(turn.threshold_id))
        elif turn.threshold_id in there:
            raise_alert(kind=LOW, subject=subject_of(turn.threshold_id), message=_words(turn))
    return len(found)


def _words(turn: Turn) -> str:
    where = f"at {turn.location}" if turn.location else "over all active locations"
    marks = f"low at {turn.low_at}, over once there are {turn.recovered_at}"
    return f"{turn.sku} is low {where}: {turn.sellable} left to sell ({marks}). Order more."


@retrying_atomic
def _tell_shortfalls() -> int:
    found = find_shortfalls(tenant_id=_one_after_the_other(), most=BATCH)
    for one in found:  # they come sorted by subject
        if one.message is None:
            close_alert(kind=SHORT, subject=one.subject)
        else:
            raise_alert(kind=SHORT, subject=one.subject, message=one.message)
    return len(found)


@retrying_atomic
def _follow_stock_outs(*, now: datetime) -> int:
    tenant_id = _one_after_the_other()
    found = find_steps(tenant_id=tenant_id, settled=now - SETTLES_AFTER, most=BATCH)
    ids: dict[str, list[int]] = {}
    for step in found:
        ids.setdefault(step.step, []).append(step.variant_id)
    rows = StockOut.objects.all()
    ran_out = [StockOut(tenant_id=tenant_id, variant_id=variant_id, since=now) for variant_id in ids.get("out", [])]
    StockOut.objects.bulk_create(ran_out, ignore_conflicts=True)
    rows.filter(variant_id__in=ids.get("out_again", [])).update(sellable_since=None)
    rows.filter(variant_id__in=ids.get("seen", [])).update(sellable_since=now)
    for step in found:
        if step.step == "back":
            _tell_return(step)
    rows.filter(variant_id__in=[*ids.get("back", []), *ids.get("gone", [])]).delete()
    return len(found)


def _tell_return(step: StockStep) -> None:
    sellable = None if step.sellable is None else int(step.sellable)
    data = {"variant_id": step.variant_id, "item_id": step.item_id, "sellable": sellable}
    record(name="variant.replenished", subject=f"variant:{step.variant_id}", actor="system", data=data)
