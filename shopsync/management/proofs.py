"""What `manage.py verify_*` commands share: tenants chosen, each one's figures proved, what differs named."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from django.core.management.base import BaseCommand, CommandError, CommandParser

from config.infra import tenancy
from shopsync.models import Tenant


class ProofCommand(BaseCommand):
    """Prove one kind of figures for one tenant or all; exits 1 and names what differs.

    counted: what is proved ("levels"); proved: the sentence's end when all is well ("are what their ledgers say").
    """

    counted: ClassVar[str]
    proved: ClassVar[str]

    def find(self, tenant: Tenant) -> tuple[int, Sequence[str]]:
        """Return how many things were looked at of the tenant in scope, and a line for each that differs."""
        raise NotImplementedError

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
        count = problems = 0
        for tenant in tenants:
            with tenancy.tenant_scope(tenant.pk):
                looked_at, differences = self.find(tenant)
            for line in differences:
                self.stdout.write(f"{tenant}: {line}")
            count, problems = count + looked_at, problems + len(differences)
        if problems:
            raise CommandError(f"{problems} differences in {count} {self.counted} of {len(tenants)} tenants")
        self.stdout.write(f"{count} {self.counted} of {len(tenants)} tenants {self.proved}")
