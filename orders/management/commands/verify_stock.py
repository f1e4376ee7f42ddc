"""`manage.py verify_stock`: prove ledger = level for every row of every tenant, or say where not."""

from __future__ import annotations

from inventory.models import StockLevel
from inventory.queries import Drift
from orders.actions.verification import verify_stock
from shopsync.management.proofs import ProofCommand
from shopsync.models import Tenant


class Command(ProofCommand):
    """Compare levels with their ledger and their reservations."""

    help = "Prove that every level is what its ledger and its reservations say; exits 1 and names what differs."
    counted, proved = "levels", "are what their ledgers say"

    def find(self, tenant: Tenant) -> tuple[int, list[str]]:
        """Compare a tenant's levels."""
        return StockLevel.objects.count(), [_line(drift) for drift in verify_stock(actor="verify_stock")]


def _line(drift: Drift) -> str:
    where = f"level {drift.level_id}, {drift.state or 'numbering'}"
    return f"{where}: level {drift.level}, ledger {drift.ledger}: {drift.problem}"
