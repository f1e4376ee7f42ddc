"""The automation that most tests of the main job use."""

from __future__ import annotations

from config.infra import tenancy
from messaging.models import Automation, AutomationVersion
from shopsync.models import Tenant

TEMPLATE = "Thanks {{ contact.first_name }}, we have your order {{ order.name }}."


def give_thanks_automation(tenant: Tenant, template: str = TEMPLATE) -> AutomationVersion:
    """Give a tenant the SMS that thanks for a paid order."""
    with tenancy.tenant_scope(tenant.pk):
        automation = Automation.objects.create(name="thanks", trigger_event="order.paid")
        return AutomationVersion.objects.create(automation=automation, number=1, channel="sms", template=template)
