"""Orders that wait too long: what a tenant calls too long, and the look that tells how many there are."""

from __future__ import annotations

from datetime import datetime
from functools import partial

from django.db import IntegrityError, transaction
from django.db.models import Count, F, Window

from audit.actions import Value, record
from config.infra import tenancy
from config.infra.transactions import retrying_atomic
from orders.models import Order, OrderWatch
from orders.queries import only_overdue
from shopsync.actions.alerts import close_alert, raise_alert
from shopsync.actions.refusals import InvalidInput

_WORDS = {"unpaid": "not paid", "unfulfilled": "not sent in full"}


class WatchExists(InvalidInput):
    """The tenant has a watch of this kind."""

    def __init__(self, kind: str) -> None:
        super().__init__("kind", f"There is a watch of the kind {kind} already: change its hours.")


@transaction.atomic
def make_watch(*, kind: str, hours: int, actor: str) -> OrderWatch:
    """Say how long orders may wait; the next look tells of those that have waited longer.

    Raises: WatchExists.
    """
    watch = OrderWatch(kind=kind, hours=hours)
    try:
        with transaction.atomic():
            watch.save(force_insert=True)
    except IntegrityError as error:
        raise WatchExists(kind) from error
    _note(watch, "created", actor)
    return OrderWatch.objects.get(pk=watch.pk)


@transaction.atomic
def change_watch(*, watch_id: int, hours: int, actor: str) -> OrderWatch:
    """Change how long orders may wait.

    Raises: OrderWatch.DoesNotExist.
    """
    watch = OrderWatch.objects.select_for_update().get(pk=watch_id)
    if watch.hours != hours:
        watch.hours = hours
        watch.save(update_fields=["hours"])
        _note(watch, "updated", actor)
    return watch


@transaction.atomic
def remove_watch(*, watch_id: int, actor: str) -> None:
    """Let orders of this kind wait as long as they like, and close the alert.

    Raises: OrderWatch.DoesNotExist.
    """
    watch = OrderWatch.objects.select_for_update().get(pk=watch_id)
    _note(watch, "deleted", actor)
    watch.delete()
    close_alert(kind=f"orders.{watch.kind}", subject=f"tenant:{watch.tenant_id}")


def _note(watch: OrderWatch, done: str, actor: str) -> None:
    data: dict[str, Value] = {"kind": watch.kind, "hours": watch.hours}
    record(name=f"order_watch.{done}", subject=f"order_watch:{watch.pk}", actor=actor, data=data)


def watch_orders_everywhere(*, now: datetime) -> int:
    """Look at the orders of each tenant that has a watch, in its own scope; return how many orders wait too long."""
    with tenancy.all_tenants(reason="find the tenants whose orders are watched"):
        tenants = list(OrderWatch.objects.order_by("tenant_id").values_list("tenant_id", flat=True).distinct())
    return tenancy.for_each(tenants, partial(watch_orders, now=now))


@retrying_atomic
def watch_orders(*, now: datetime) -> int:
    """Raise one alert for each kind of which orders wait too long, close it where none does; return how many do.

    The watches stay locked to the end, so one look goes after the other, and none tells of a watch that is gone.
    """
    watches = list(OrderWatch.objects.select_for_update().order_by("pk"))
    return sum(_look(watch, now=now) for watch in sorted(watches, key=lambda watch: watch.kind))


def _look(watch: OrderWatch, *, now: datetime) -> int:
    kind, subject = f"orders.{watch.kind}", f"tenant:{watch.tenant_id}"
    rows = only_overdue(Order.objects.all(), kind=watch.kind, now=now)
    counted = rows.annotate(many=Window(Count("pk")), since=F("waits_since")).order_by("since", "pk")
    oldest = counted.values_list("many", "since", "pk", "name").first()
    if oldest is None:
        close_alert(kind=kind, subject=subject)
        return 0
    many, since, pk, name = oldest
    message = (
        f"{many} {'order is' if many == 1 else 'orders are'} {_WORDS[watch.kind]} after {watch.hours} hours;"
        f" the oldest is {name or f'order {pk}'}, since {since:%Y-%m-%d %H:%M} UTC."
        f" List them: Shop, Orders, filter overdue; or GET /api/v1/orders?overdue={watch.kind}."
    )
    raise_alert(kind=kind, subject=subject, message=message)
    return int(many)
