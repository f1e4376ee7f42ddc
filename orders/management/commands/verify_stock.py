"""`manage.py verify_stock`: prove ledger = level for every row of every tenant, or say where not."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from config.infra import tenancy
from inventory.models import StockLevel
from orders.actions.verification import verify_stock
from shopsync.models import Tenant


class Command(BaseCommand):
    """Compare levels with their ledger and their reservations."""

    help = "Prove that every level is what its ledger and its reservations say; exits 1 and names what differs."

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
        levels = problems = 0
        for tenant in tenants:
            with tenancy.tenant_scope(tenant.pk):
                found = verify_stock(actor="verify_stock")
                levels += StockLevel.objects.count()
            for drift in found:
                values = f"level {drift.level}, ledger {drift.ledger}"
                where = f"level {drift.level_id}, {drift.state or 'numbering'}"
                self.stdout.write(f"{tenant}: {where}: {values}: {drift.problem}")
            problems += len(found)
        if problems:
            raise CommandError(f"{problems} differences in {levels} levels of {len(tenants)} tenants")
        self.stdout.write(f"{levels} levels of {len(tenants)} tenants are what their ledgers say")
