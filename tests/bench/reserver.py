"""One process of the reservations' benchmark: THREADS clients reserve for SECONDS, and the count is printed.

python -m tests.bench.reserver ours|floor VARIANTS THREADS SECONDS

The floor is the barest correct SQL on the same tables: one guarded UPDATE (its triggers write the ledger) and two
INSERTs in one transaction.
"""

from __future__ import annotations

import os
import random
import sys
import threading
import time
import uuid
from collections.abc import Callable

import psycopg

FLOOR = """
WITH level AS (UPDATE inventory_stocklevel SET held = held + 1, updated_at = clock_timestamp()
               WHERE id = %(level)s AND available - held >= 1 RETURNING id, tenant_id),
     reservation AS (INSERT INTO inventory_reservation
        (tenant_id, idempotency_key, request_digest, status, reference, actor, settles_by, expires_at)
        SELECT tenant_id, %(key)s, '', 'active', '', 'floor', '', now() + interval '15 min' FROM level RETURNING id)
INSERT INTO inventory_reservationline (tenant_id, reservation_id, variant_id, level_id, quantity, held)
SELECT level.tenant_id, reservation.id, %(variant)s, level.id, 1, 1 FROM level, reservation"""


def ours(places: list[tuple[int, int]]) -> Callable[[], None]:
    """Make a client that reserves one unit through the action."""
    from django.utils import timezone

    from config.infra import tenancy
    from inventory.actions.reservations import Request, Wanted, reserve
    from shopsync.models import Tenant
    from tests.bench.servers import SHOP

    tenant_id = Tenant.objects.get(shop_domain=SHOP).pk

    def run() -> None:
        variant, _ = random.choice(places)
        request = Request(lines=(Wanted(variant, 1),))
        with tenancy.tenant_scope(tenant_id):
            reserve(request=request, idempotency_key=str(uuid.uuid4()), actor="bench", now=timezone.now())

    return run


def floor(places: list[tuple[int, int]]) -> Callable[[], None]:
    """Make a client that reserves one unit by SQL alone."""
    connection = psycopg.connect(os.environ["DATABASE_URL"], autocommit=True)

    def run() -> None:
        variant, level = random.choice(places)
        written = connection.execute(FLOOR, {"level": level, "variant": variant, "key": str(uuid.uuid4())}).rowcount
        assert written == 1

    return run


def find_places(variants: int) -> list[tuple[int, int]]:
    """List so many variants with their levels."""
    query = "SELECT v.id, l.id FROM inventory_variant v JOIN inventory_stocklevel l USING (item_id) ORDER BY 1 LIMIT %s"
    with psycopg.connect(os.environ["DATABASE_URL"]) as connection:
        return connection.execute(query, [variants]).fetchall()


def main() -> None:
    """Run the clients and print how many reservations they made, per second."""
    mode, variants, threads, seconds = sys.argv[1], *map(int, sys.argv[2:5])
    import django

    django.setup()
    places = find_places(variants)
    make = {"ours": ours, "floor": floor}[mode]
    counts = [0] * threads
    began = threading.Barrier(threads + 1)
    end = [0.0]

    def client(index: int) -> None:
        run = make(places)
        run()  # the connection is open, and what is prepared is prepared
        began.wait()
        while time.perf_counter() < end[0]:
            run()
            counts[index] += 1

    crew = [threading.Thread(target=client, args=(index,)) for index in range(threads)]
    for thread in crew:
        thread.start()
    end[0] = time.perf_counter() + 3600
    began.wait()
    end[0] = time.perf_counter() + seconds
    for thread in crew:
        thread.join()
    print(sum(counts) / seconds)


if __name__ == "__main__":
    main()
