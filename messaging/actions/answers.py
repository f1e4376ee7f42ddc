"""The answers to replies: one that confirms an opt-out, one that helps; the tenant's words or ours."""

from __future__ import annotations

from datetime import datetime, timedelta

from config.infra import tenancy, work
from messaging.actions.routing import answering_sender
from messaging.encoding import split_sms
from messaging.models import InboundMessage, Message, SendingPolicy
from messaging.models.contacts import Channel
from shopsync.models import Tenant

STOP_ANSWER = "{name}: you are unsubscribed and get no more messages from us. Reply START to get them again."
HELP_ANSWER = "{name}: you get our messages because you signed up. Reply STOP to get no more of them."
HELP_AGAIN_AFTER = timedelta(minutes=10)  # two machines that ask each other for help stop here
Purpose = Message.Purpose


def confirm_opt_out(reply: InboundMessage) -> None:
    """Queue the one message that confirms an opt-out; it is sent although the address is suppressed."""
    policy = SendingPolicy.objects.first()
    text = (policy.stop_answer if policy else "") or STOP_ANSWER
    _answer(reply, text, purpose=Purpose.CONFIRMATION)


def answer_help(reply: InboundMessage, *, now: datetime) -> bool:
    """Queue the answer to HELP, unless there was one a moment ago; say whether it was queued."""
    since = now - HELP_AGAIN_AFTER
    lately = Message.objects.filter(contact=reply.contact, trigger__startswith="help:", created_at__gt=since)
    if lately.exists():
        return False
    policy = SendingPolicy.objects.first()
    text = (policy.help_answer if policy else "") or HELP_ANSWER
    _answer(reply, text, purpose=Purpose.TRANSACTIONAL)
    return True


def _answer(reply: InboundMessage, text: str, *, purpose: str) -> None:
    assert reply.contact_id is not None  # whoever asks for something is made a contact
    message = Message(
        contact_id=reply.contact_id,
        channel=Channel.SMS,
        address=reply.address,
        sender=answering_sender(reply.recipient),
        text=text.replace("{name}", _name(text)),
        purpose=purpose,
        trigger=f"{'reply' if purpose == Purpose.CONFIRMATION else 'help'}:{reply.pk}",
        priority=0,
    )
    work.add([message])


def _name(text: str) -> str:
    """Return the tenant's name; where it alone would turn a plain text to UCS-2, the name of its shop's domain."""
    tenant = Tenant.objects.get(pk=tenancy.current_tenant_id())
    domain = tenant.shop_domain.partition(".")[0]
    name = tenant.name or domain
    turns = split_sms(text).encoding == "GSM-7" and split_sms(name).encoding != "GSM-7"
    return domain if turns else name
