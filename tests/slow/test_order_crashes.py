"""Two hundred forked children are killed inside order creation: no order without its reservation, nor the reverse."""

from __future__ import annotations

import os
import random
import signal
import time
from decimal import Decimal

import pytest
from django.db import connection, connections
from django.utils import timezone

from audit.models import AuditEvent
from config.infra import tenancy
from inventory.models import Reservation, ReservationLine, StockLevel
from orders.actions.placing import NewLine, NewOrder, place_order
from orders.models import Commitment, Order, OrderLine
from tests.factories import make_tenant, stock_variant

pytestmark = [pytest.mark.slow, pytest.mark.django_db(transaction=True)]
CHILDREN = 200


def place(tenant_id: int, variant_ids: list[int], *, is_paid: bool) -> None:
    lines = tuple(NewLine(variant_id=pk, quantity=1, price_amount=Decimal(1)) for pk in variant_ids)
    with tenancy.tenant_scope(tenant_id):
        place_order(new=NewOrder(lines=lines, is_paid=is_paid), actor="test", now=timezone.now())


def die_at_statement(number: int):
    """Make a wrapper of every statement that kills this process before the given one."""
    seen = 0

    def wrapper(execute, sql, params, many, context):
        nonlocal seen
        seen += 1
        if seen == number:
            os.kill(os.getpid(), signal.SIGKILL)
        return execute(sql, params, many, context)

    return wrapper


def fork(job) -> int:
    """Run a job in a child with a connection of its own; the child never returns."""
    pid = os.fork()
    if pid == 0:
        try:
            connections.close_all()
            job()
        finally:
            os._exit(0)
    return pid


@pytest.mark.parametrize("authority", ["shopify", "shopsync"])
def test_no_order_without_its_reservation_and_no_reservation_without_its_order(authority):
    seed = int(os.environ.get("CRASH_SEED", "0")) or random.randrange(10**6)
    print(f"CRASH_SEED={seed}")
    chance = random.Random(seed)
    tenant = make_tenant(stock_authority=authority)
    with tenancy.tenant_scope(tenant.pk):
        variants = [stock_variant(1000)[0].pk for _ in range(3)]
    connection.close()  # a child must not share it
    killed = 0
    for number in range(CHILDREN):
        is_paid = bool(number % 2)

        def by_itself(is_paid: bool = is_paid, statement: int = chance.randint(1, 30)) -> None:
            with connection.execute_wrapper(die_at_statement(statement)):
                place(tenant.pk, variants, is_paid=is_paid)

        def by_us(is_paid: bool = is_paid) -> None:
            while True:
                place(tenant.pk, variants, is_paid=is_paid)

        if number % 4:
            _, status = os.waitpid(fork(by_itself), 0)
        else:
            pid = fork(by_us)
            time.sleep(chance.uniform(0.01, 0.15))  # the moment is the chance
            os.kill(pid, signal.SIGKILL)
            _, status = os.waitpid(pid, 0)
        killed += os.WIFSIGNALED(status)
    print(f"{killed} of {CHILDREN} were killed")
    assert killed > CHILDREN / 2
    with tenancy.tenant_scope(tenant.pk):
        wait_for_the_dead()
        orders = set(Order.objects.values_list("reservation_id", flat=True))
        assert orders == set(Reservation.objects.values_list("pk", flat=True))
        assert OrderLine.objects.count() == Commitment.objects.count() == 3 * len(orders)
        assert AuditEvent.objects.filter(name="order.created").count() == len(orders)
        paid = Order.objects.filter(financial_status="paid")
        assert AuditEvent.objects.filter(name="order.paid").count() == paid.count()
        assert set(paid.values_list("stock_state", flat=True)) <= {"committed"}
        held = sum(ReservationLine.objects.values_list("held", flat=True))
        assert sum(StockLevel.objects.values_list("held", flat=True)) == held
        print(f"{len(orders)} orders were placed, each with its reservation")


def wait_for_the_dead() -> None:
    """Wait until PostgreSQL has noticed that the killed are gone: until then their rows may be locked."""
    deadline = time.monotonic() + 30
    query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state LIKE '%in transaction%'"
    while time.monotonic() < deadline:
        with connection.cursor() as cursor:
            cursor.execute(query)
            if cursor.fetchone() == (0,):
                return
        time.sleep(0.05)
    raise AssertionError("a transaction of a killed process is still open")
