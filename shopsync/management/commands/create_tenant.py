"""`manage.py create_tenant`: make a shop known, so that its deliveries are taken in."""

from __future__ import annotations

from argparse import ArgumentParser

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError

from shopsync.actions.tenants import create_tenant
from shopsync.shopify import is_shop_domain


class Command(BaseCommand):
    help = "Create a tenant: a shop whose deliveries are taken in from now on."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare what the tenant is."""
        parser.add_argument("shop_domain", help="name.myshopify.com")
        parser.add_argument("--name", required=True, help="as customers know it")
        parser.add_argument("--country", default="", help="ISO 3166-1, for phone numbers without a prefix")
        parser.add_argument("--currency", default="USD", help="ISO 4217")
        parser.add_argument("--timezone", default="UTC", help="IANA name, e.g. Europe/Athens")

        parser.add_argument(
            "--stock-authority",
            choices=("shopify", "shopsync"),
            default="shopify",
            help="who counts the stock: Shopify (we mirror it), or we (shopsync); chosen once",
        )

    def handle(self, *args: object, **options: str) -> None:
        """Create it, and say where its deliveries go."""
        shop_domain = options["shop_domain"].lower()
        if not is_shop_domain(shop_domain):
            raise CommandError(f"{shop_domain} is no shop's name: give it as name.myshopify.com")
        fields = {name: options[name] for name in ("name", "country", "currency", "timezone", "stock_authority")}
        try:
            tenant = create_tenant(shop_domain=shop_domain, actor="manage.py", **fields)
        except ValidationError as error:
            raise CommandError("; ".join(error.messages)) from error
        self.stdout.write(f"tenant {tenant.pk}: {tenant.shop_domain}; its deliveries go to /webhooks/shopify")
