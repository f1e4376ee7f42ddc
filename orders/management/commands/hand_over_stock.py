"""`manage.py hand_over_stock`: let Shopify, or us, count a tenant's stock from now on."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from config.infra import tenancy
from orders.actions.handover import HandOverError, hand_over
from shopsync.models import Tenant


class Command(BaseCommand):
    """Hand the count over."""

    help = "Hand the count of a tenant's stock to shopify or to shopsync; exits 1 and says why if it can't be done now."

    def add_arguments(self, parser: CommandParser) -> None:
        """Take whose, and to whom."""
        parser.add_argument("shop_domain", help="name.myshopify.com")
        parser.add_argument("--to", required=True, choices=Tenant.StockAuthority.values)

    def handle(self, *args: Any, **options: Any) -> None:
        """Do it, and say what it did."""
        tenant = Tenant.objects.filter(shop_domain=options["shop_domain"].strip().lower()).first()
        if tenant is None:
            raise CommandError(f"No tenant {options['shop_domain']}; list them in the admin.")
        with tenancy.tenant_scope(tenant.pk):
            try:
                done = hand_over(to=options["to"], actor="hand_over_stock", now=timezone.now())
            except HandOverError as error:
                raise CommandError(str(error)) from error
        self.stdout.write(f"{tenant}: {done.levels} levels are counted by {done.authority} from now on")
        if done.held_units:
            self.stdout.write(f"{done.held_units} units of our own orders are held beside Shopify's count")
