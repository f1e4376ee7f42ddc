"""`manage.py verify_credits`: prove that every tenant's credits are what their ledger says, or say where not."""

from __future__ import annotations

from messaging.models import CreditTransaction
from messaging.queries import find_credit_drift
from shopsync.management.proofs import ProofCommand
from shopsync.models import Tenant


class Command(ProofCommand):
    """Compare balances with their entries, and the entries of each transaction with each other."""

    help = "Prove that every balance of credits is what its entries add up to; exits 1 and names what differs."
    counted, proved = "transactions", "are what their ledgers say"

    def find(self, tenant: Tenant) -> tuple[int, list[str]]:
        """Compare a tenant's ledger."""
        lines = [
            f"{drift.subject}: {drift.found}, not {drift.expected}: {drift.problem}"
            for drift in find_credit_drift(tenant_id=tenant.pk)
        ]
        return CreditTransaction.objects.count(), lines
