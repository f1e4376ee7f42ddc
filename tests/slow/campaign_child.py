"""Sets up what the proofs of campaigns run on: `python -m tests.slow.campaign_child SANDBOX_URL BASE_URL JSON`.

JSON is a list of tenants: {"name", "contacts", "batch_size", "credits", "launch"}. Prints a line of JSON for each.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import django

django.setup()

from django.utils import timezone

from config.infra import tenancy
from config.local import deliveries
from messaging.actions.campaigns import schedule_campaign
from messaging.models import SendingPolicy
from shopsync.models import Connection
from tests.messaging.campaigns import add_contacts, make_campaign, make_sender_tenant


def set_up(sandbox_url: str, base_url: str, number: int, wanted: dict[str, Any]) -> dict[str, Any]:
    """Make a tenant with contacts and a campaign for all of them, launched when asked for."""
    tenant = make_sender_tenant(sandbox_url, paid=wanted.get("credits", "10000000"))
    add_contacts(tenant, wanted["contacts"], first=number * 10_000_000)
    with tenancy.tenant_scope(tenant.pk):
        SendingPolicy.objects.create(batch_size=wanted["batch_size"])
        connection = Connection.objects.get(service="mitto")
    url = f"{base_url}/webhooks/mitto/dlr/{connection.token}"
    deliveries.register_reports(sandbox_url, account_id=connection.account_id, url=url)
    campaign = make_campaign(tenant, text=wanted.get("text", "Hello {{ contact.first_name }}"))
    if wanted.get("launch", True):
        with tenancy.tenant_scope(tenant.pk):
            schedule_campaign(campaign_id=campaign.pk, at=None, actor="test", now=timezone.now())
    return {"tenant": tenant.pk, "campaign": campaign.pk, "account": connection.account_id}


def main(sandbox_url: str, base_url: str, wanted: str) -> None:
    for number, tenant in enumerate(json.loads(wanted)):
        sys.stdout.write(json.dumps(set_up(sandbox_url, base_url, number, tenant)) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
