"""`make bench`: every benchmark beside its floor in the same run; writes tests/bench/results/latest.json."""

from __future__ import annotations

import json
import os
from pathlib import Path

from tests.bench.servers import SHOP, durable_servers

RESULTS = Path(__file__).resolve().parent / "results" / "latest.json"


def main() -> None:
    """Run all benchmarks and print what was measured."""
    with durable_servers() as folder:
        import django

        django.setup()
        from shopsync.actions.tenants import create_tenant
        from tests.bench import campaigns, intake, processing, reading, reservations

        create_tenant(shop_domain=SHOP, name="Bench", actor="bench", country="US")
        results = []
        for title, measure in (
            ("(a) intake", intake.measure),
            ("(b) processing", processing.measure),
            ("(c) reservations, one hot variant", reservations.measure_hot),
            ("(c) reservations, 1,000 variants", reservations.measure_spread),
            ("(e) sending", campaigns.measure_rate),
        ):
            print(title, flush=True)
            results.append(measure(folder))
            print(f"  {json.dumps(results[-1])}", flush=True)
        if os.environ.get("FULL") == "1":
            print("(d) reading, with a million orders", flush=True)
            results += reading.measure(folder)
            print("(e) a campaign of a million", flush=True)
            results += campaigns.measure_million(folder)
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
