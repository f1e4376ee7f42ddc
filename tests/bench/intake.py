"""(a) Intake: acknowledged deliveries per second through gunicorn, beside a bare WSGI floor in the same run."""

from __future__ import annotations

import os
import statistics
from pathlib import Path
from typing import Any

from tests.bench.load import Load, run_load
from tests.bench.servers import SHOP, gunicorn, machine

ROUNDS = int(os.environ.get("BENCH_ROUNDS", "5"))
REQUESTS = int(os.environ.get("BENCH_REQUESTS", "4000"))


def measure(folder: Path) -> dict[str, Any]:
    """Interleave rounds of ours and of the floor; print each, return medians and spread."""
    from django.conf import settings

    found: dict[str, list[float]] = {"ours": [], "floor": []}
    with (
        gunicorn("config.wsgi:application", folder) as ours,
        gunicorn("tests.bench.floor_wsgi:application", folder, process="floor") as floor,
    ):
        for number in range(ROUNDS + 1):
            for name, port in (("ours", ours), ("floor", floor)):
                load = _round(port, settings.SHOPIFY_API_SECRET)
                if number:  # the first round warms up
                    found[name].append(load.per_second)
                    print(f"  round {number} {name}: {load.per_second:,.0f}/s", flush=True)
    ours_median, floor_median = statistics.median(found["ours"]), statistics.median(found["floor"])
    return {
        "path": "intake",
        "unit": "acknowledged deliveries/s",
        "ours": round(ours_median),
        "floor": round(floor_median),
        "peer": None,
        "ratio_floor": round(ours_median / floor_median, 3),
        "ratio_peer": None,
        "rounds": {name: [round(value) for value in values] for name, values in found.items()},
        "machine": machine(),
    }


def _round(port: int, secret: str) -> Load:
    load = run_load(port=port, secret=secret, shop=SHOP, connections=16, requests=REQUESTS)
    if load.others:
        raise SystemExit(f"{load.others} deliveries were not acknowledged; the figures would mean nothing")
    return load
