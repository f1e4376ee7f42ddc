"""`manage.py publish_automation`: what a tenant sends when something happens, as a new version."""

from __future__ import annotations

from argparse import ArgumentParser

from django.core.management.base import BaseCommand, CommandError

from config.infra import tenancy
from messaging.actions.automations import publish_automation
from messaging.models.contacts import Channel
from messaging.rendering import TemplateError
from shopsync.models import Tenant


class Command(BaseCommand):
    help = "Publish an automation of a tenant: from now on this text is sent when the event happens."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare whose automation, on what, with which text."""
        parser.add_argument("shop_domain", help="the tenant, as name.myshopify.com")
        parser.add_argument("--name", required=True, help="an existing name gets its next version")
        parser.add_argument("--event", default="order.paid", help="the audit event that triggers it")
        parser.add_argument("--channel", default="sms", choices=Channel.values)
        parser.add_argument("--template", required=True, help="Liquid, e.g. 'Thank you, {{ contact.first_name }}!'")

    def handle(self, *args: object, **options: str) -> None:
        """Publish the version and say its number."""
        tenant = Tenant.objects.filter(shop_domain=options["shop_domain"].lower()).first()
        if tenant is None:
            raise CommandError(f"no tenant is called {options['shop_domain']}; make it with manage.py create_tenant")
        fields = {"trigger_event": options["event"], "channel": options["channel"], "template": options["template"]}
        try:
            with tenancy.tenant_scope(tenant.pk):
                version = publish_automation(name=options["name"], actor="manage.py", **fields)
        except TemplateError as error:
            raise CommandError(str(error)) from error
        self.stdout.write(f"{options['name']} of {tenant.shop_domain}: version {version.number}")
