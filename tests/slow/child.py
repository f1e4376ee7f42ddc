"""Sets up what the crash proofs run on, in a process of its own: `python -m tests.slow.child BASE_URL SANDBOX_URL`."""

from __future__ import annotations

import sys

import django

django.setup()

from django.core.management import call_command

from config.infra import tenancy
from config.local import deliveries
from messaging.models import Automation, AutomationVersion
from shopsync.actions.tenants import connect_service, create_api_key, create_tenant
from tests.factories import stock_variant
from tests.slow.crash import SHOPS, STOCK_KEY, STOCK_SHOP, STOCK_UNITS

TEMPLATE = "Thanks: {{ order.name }}"


def main(base_url: str, sandbox_url: str) -> None:
    call_command("migrate", verbosity=0)
    for shop_domain in SHOPS:
        tenant = create_tenant(shop_domain=shop_domain, name="Crash", actor="test", country="GR", currency="EUR")
        account = f"account-{tenant.pk}"
        with tenancy.tenant_scope(tenant.pk):
            fields = {"base_url": sandbox_url, "account_id": account, "sender": "Shop", "api_key": "sandbox"}
            connection = connect_service(service="mitto", actor="test", **fields)
            automation = Automation(name="thanks", trigger_event="order.paid")
            automation.save()
            version = AutomationVersion(
                automation=automation, number=1, channel="sms", template="Thanks: {{ order.name }}"
            )
            version.save()
        url = f"{base_url}/webhooks/mitto/dlr/{connection.token}"
        deliveries.register_reports(sandbox_url, account_id=account, url=url)
    shop = create_tenant(shop_domain=STOCK_SHOP, name="Stock", actor="test", currency="EUR", stock_authority="shopsync")
    with tenancy.tenant_scope(shop.pk):
        create_api_key(name="test", actor="test", secret=STOCK_KEY)
        stock_variant(STOCK_UNITS)


if __name__ == "__main__":
    main(*sys.argv[1:])
