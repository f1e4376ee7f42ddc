"""Automations: what happened becomes messages, one per automation and event, whatever the version."""

from __future__ import annotations

from django.db import transaction
from django.utils import timezone

from audit.actions import Event, record
from config.infra import work
from messaging.actions.contacts import ensure_contact, profile_of
from messaging.models import Automation, AutomationVersion, Contact, Message
from messaging.queries import marketing_address
from messaging.rendering import MissingValue, Names, TemplateError, check_names, check_template, render_text
from messaging.rules import Send, decide
from orders.models import Order
from shopsync.models import Tenant
from shopsync.money import format_amount

# What _render fills in.
NAMES = Names(
    frozenset(("contact.first_name", "contact.last_name", "order.name", "order.total", "order.currency", "tenant.name"))
)


def react(*, event: Event) -> None:
    """Make the messages that active automations send on this event (subscriber of order.paid).

    The constraint message_is_sent_once_per_automation_and_trigger makes a repetition harmless. An order of nobody
    (no e-mail, no phone, no customer) has nobody to write to.
    """
    order = Order.objects.get(pk=int(event.subject.partition(":")[2]))
    contact = ensure_contact(profile=profile_of(order), actor="automation")
    if contact is None:
        return
    versions = AutomationVersion.objects.filter(
        automation__trigger_event=event.name, automation__is_active=True
    ).order_by("automation_id", "-number")
    newest = versions.distinct("automation_id")
    work.add([_message(version, contact, order) for version in newest], ignore_conflicts=True)


@transaction.atomic(savepoint=False)
def publish_automation(*, name: str, trigger_event: str, channel: str, template: str, actor: str) -> AutomationVersion:
    """Publish the next version of the tenant's automation of this name, making the automation if it is new.

    Raises: TemplateError for a template that can't be parsed, or writes a name that is filled in by nobody.
    """
    check_template(template, field="template")
    check_names(template, field="template", names=NAMES)
    automation = Automation.objects.select_for_update().filter(name=name).first()
    if automation is None:
        automation = Automation(name=name, trigger_event=trigger_event)
        automation.save()
    newest = automation.versions.order_by("-number").first()
    number = newest.number + 1 if newest else 1
    version = AutomationVersion(automation=automation, number=number, channel=channel, template=template)
    version.save()
    subject = f"automation:{automation.pk}"
    record(name="automation.published", subject=subject, actor=actor, data={"name": name, "version": number})
    return version


def _message(version: AutomationVersion, contact: Contact, order: Order) -> Message:
    address = marketing_address(contact, version.channel)
    message = Message(
        tenant_id=contact.tenant_id,
        contact=contact,
        automation_id=version.automation_id,
        automation_version=version,
        trigger=f"order:{order.pk}",
        channel=version.channel,
        address=address,
        priority=0,
    )
    text, problem = _render(version, contact, order)
    decision = decide(address=address, text=text, problem=problem)
    if isinstance(decision, Send):
        message.text = decision.text
    else:
        message.status, message.outcome = work.Status.DONE, Message.Outcome.SKIPPED
        message.reason, message.finished_at = decision.reason, timezone.now()
    return message


def _render(version: AutomationVersion, contact: Contact, order: Order) -> tuple[str, str]:
    """Render the text; else say why there is none, as the message's row says it."""
    tenant = Tenant.objects.get(pk=contact.tenant_id)
    values = {
        "contact": {"first_name": contact.first_name, "last_name": contact.last_name},
        "order": {
            "name": order.name,
            "total": format_amount(order.total_amount, order.currency),
            "currency": order.currency,
        },
        "tenant": {"name": tenant.name},
    }
    try:
        return render_text(version.template, values), ""
    except MissingValue as missing:
        return "", f"missing_value: {missing}"[:200]
    except TemplateError:
        return "", "template_error"
