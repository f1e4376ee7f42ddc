"""`manage.py verify_credits`: prove that every tenant's credits are what their ledger says, or say where not."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from config.infra import tenancy
from messaging.models import CreditTransaction
from messaging.queries import find_credit_drift
from shopsync.models import Tenant


class Command(BaseCommand):
    """Compare balances with their entries, and the entries of each transaction with each other."""

    help = "Prove that every balance of credits is what its entries add up to; exits 1 and names what differs."

    def add_arguments(self, parser: CommandParser) -> None:
        """Take one tenant, or all."""
        parser.add_argument("--tenant", help="one shop's domain, e.g. name.myshopify.com; without it, all of them")

    def handle(self, *args: Any, **options: Any) -> None:
        """Check, print, and fail if anything differs."""
        tenants = Tenant.objects.order_by("pk")
        if options["tenant"]:
            tenants = tenants.filter(shop_domain=options["tenant"].strip().lower())
            if not tenants.exists():
                raise CommandError(f"No tenant {options['tenant']}; list them in the admin.")
        transactions = problems = 0
        for tenant in tenants:
            found = find_credit_drift(tenant_id=tenant.pk)
            with tenancy.tenant_scope(tenant.pk):
                transactions += CreditTransaction.objects.count()
            for drift in found:
                self.stdout.write(f"{tenant}: {drift.subject}: {drift.found}, not {drift.expected}: {drift.problem}")
            problems += len(found)
        if problems:
            raise CommandError(f"{problems} differences in {transactions} transactions of {len(tenants)} tenants")
        self.stdout.write(f"{transactions} transactions of {len(tenants)} tenants are what their ledgers say")
