"""`manage.py reconcile_payments`: compare payments with orders now, and say what differs."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from config.infra import tenancy
from orders.actions.reconciliation import reconcile_payments
from shopsync.models import Tenant


class Command(BaseCommand):
    """Compare payments with orders."""

    help = "Compare payments with orders, list what differs, and open or close the rows of the admin accordingly."

    def add_arguments(self, parser: CommandParser) -> None:
        """Take one tenant, or all."""
        parser.add_argument("--tenant", help="one shop's domain, e.g. name.myshopify.com; without it, all of them")

    def handle(self, *args: Any, **options: Any) -> None:
        """Compare and print; what differs is a finding, not a failure."""
        tenants = Tenant.objects.order_by("pk")
        if options["tenant"]:
            tenants = tenants.filter(shop_domain=options["tenant"].strip().lower())
            if not tenants.exists():
                raise CommandError(f"No tenant {options['tenant']}; list them in the admin.")
        differ = 0
        for tenant in tenants:
            with tenancy.tenant_scope(tenant.pk):
                done = reconcile_payments(now=timezone.now(), settle=timedelta(), actor="reconcile_payments")
            for one in done.findings:
                self.stdout.write(f"{tenant}: {one.kind}: {one.detail}")
            differ += len(done.findings)
        self.stdout.write(f"{differ} differences in {len(tenants)} tenants")
