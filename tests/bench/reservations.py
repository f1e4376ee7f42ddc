"""(c) Reservations per second by 32 clients on two processes, beside the barest correct SQL in the same run."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.bench.servers import ROOT, SHOP, machine

ROUNDS = int(os.environ.get("BENCH_ROUNDS", "5"))
SECONDS = int(os.environ.get("BENCH_SECONDS", "5"))
PROCESSES, THREADS = 2, 16
VARIANTS = 1000
UNITS = 10**9


def measure_hot(folder: Path) -> dict[str, Any]:
    """Let all clients reserve one variant."""
    return _measure("reservations, one hot variant", variants=1)


def measure_spread(folder: Path) -> dict[str, Any]:
    """Let the clients reserve one of a thousand variants each time."""
    return _measure("reservations, 1,000 variants", variants=VARIANTS)


def _measure(path: str, *, variants: int) -> dict[str, Any]:
    _stock()
    found: dict[str, list[float]] = {"ours": [], "floor": []}
    for number in range(1, ROUNDS + 1):
        for mode, rates in found.items():
            rates.append(_run(mode, variants))
            print(f"  round {number} {mode}: {rates[-1]:,.0f}/s", flush=True)
    ours, floor = statistics.median(found["ours"]), statistics.median(found["floor"])
    return {
        "path": path,
        "unit": f"reservations/s, {PROCESSES * THREADS} clients",
        "ours": round(ours),
        "floor": round(floor),
        "peer": None,
        "ratio_floor": round(ours / floor, 3),
        "ratio_peer": None,
        "rounds": {name: [round(value) for value in values] for name, values in found.items()},
        "machine": machine(),
    }


def _stock() -> None:
    """Make the variants and their levels, once."""
    from config.infra import tenancy
    from inventory.models import StockLevel
    from shopsync.models import Tenant
    from tests.factories import stock_variant

    with tenancy.tenant_scope(Tenant.objects.get(shop_domain=SHOP).pk):
        if not StockLevel.objects.exists():
            for _ in range(VARIANTS):
                stock_variant(UNITS)


def _run(mode: str, variants: int) -> float:
    arguments = [sys.executable, "-m", "tests.bench.reserver", mode, str(variants), str(THREADS), str(SECONDS)]
    crew = [
        subprocess.Popen(arguments, cwd=ROOT, env=os.environ, stdout=subprocess.PIPE, text=True)
        for _ in range(PROCESSES)
    ]
    answers = [process.communicate(timeout=SECONDS + 120)[0] for process in crew]
    assert all(process.returncode == 0 for process in crew), answers
    return sum(float(answer.split()[-1]) for answer in answers)
