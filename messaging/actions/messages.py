"""Single messages: written for one contact, by the API or a person; and what an operator decides about unknown ones."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.db import transaction
from django.utils import timezone

from audit.actions import record
from config.infra import tenancy, work
from messaging.actions.charges import release_messages, settle_messages
from messaging.actions.flows import connection_of
from messaging.actions.frequencies import uncount_sends
from messaging.actions.prices import country_of
from messaging.actions.reports import NOT_SENT
from messaging.actions.returning import admit
from messaging.actions.unsubscribes import unsubscribe_url
from messaging.emails import render_email
from messaging.encoding import split_sms
from messaging.models import Contact, Message, MessageBody, Sender, TemplateVersion
from messaging.models.contacts import Channel
from messaging.queries import marketing_address
from messaging.rendering import MAX_TEXT, MissingValue, TemplateError, render_text, values_of
from shopsync.actions.refusals import InvalidInput
from shopsync.models import Tenant

Purpose = Message.Purpose


class MessageError(ValueError):
    """A message can't be settled or sent again as it stands; the message says why."""


class InvalidMessage(InvalidInput, MessageError):  # noqa: N818  (of what was asked for, not of how things stand)
    """A message can't be written as asked, whatever the state of any."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A message to one contact: a text, or a version of a template (an e-mail always). `sender` is the value of one
    that is registered; empty: the connection's own."""

    contact_id: int
    channel: str
    text: str = ""
    template_version_id: int | None = None
    purpose: str = Purpose.MARKETING
    trigger: str = ""
    sender: str = ""


@transaction.atomic(savepoint=False)
def send_single(*, draft: Draft, actor: str) -> Message:
    """Write a message to one contact; it goes the way of all others: consent, credits, limits, unknowns.

    Raises: InvalidMessage.
    """
    contact = Contact.objects.filter(pk=draft.contact_id).first()
    if contact is None:
        raise InvalidMessage("contact_id", f"There is no contact {draft.contact_id}.")
    address = _address(contact, draft)
    if not address:
        raise InvalidMessage("contact_id", f"The contact can't be reached by {draft.channel}.")
    sender = _sender(draft, country=country_of(phone=address, known=contact.country)) if draft.sender else None
    message = Message(
        contact=contact,
        channel=draft.channel,
        address=address,
        purpose=draft.purpose,
        trigger=draft.trigger[:120],
        sender=draft.sender,
        connection=sender.connection if sender else None,
        priority=0,
    )
    body = None
    if draft.channel == Channel.EMAIL:
        body = _write_email(message, draft)
    else:
        message.text = _text(message, draft)
    work.add([message])
    if body is not None:
        body.save()
    data = {"channel": draft.channel, "purpose": draft.purpose}
    record(name="message.written", subject=f"message:{message.pk}", actor=actor, data=data)
    return message


def _address(contact: Contact, draft: Draft) -> str:
    """Say where the message goes: marketing to the address that was agreed to, all else to the contact's own."""
    is_marketing = draft.purpose == Purpose.MARKETING
    return marketing_address(contact, draft.channel) if is_marketing else contact.address_on(draft.channel)


def _sender(draft: Draft, *, country: str) -> Sender:
    """Find who the message is from: of two of one value, the one for the recipient's country.

    Raises: InvalidMessage.
    """
    known = Sender.objects.select_related("connection").filter(value=draft.sender).order_by("-country", "pk")
    if not known:
        sentence = f"There is no sender {draft.sender}: name one that /api/v1/senders lists, or leave it out."
        raise InvalidMessage("sender", sentence)
    fitting = [one for one in known if one.channel == draft.channel]
    if not fitting:
        raise InvalidMessage("sender", f"{draft.sender} is a sender for {known[0].channel}, not for {draft.channel}.")
    active = [one for one in fitting if one.is_active]
    if not active:
        raise InvalidMessage("sender", f"The sender {draft.sender} was put away: name another, or use it again.")
    found = next((one for one in active if one.country in {"", country}), None)
    if found is None:
        where = ", ".join(one.country for one in active)
        sentence = f"The sender {draft.sender} is for {where} alone, and the contact is not there: name another."
        raise InvalidMessage("sender", sentence)
    return found


def _text(message: Message, draft: Draft) -> str:
    if draft.channel != Channel.SMS:
        raise InvalidMessage("channel", f"Single messages go by sms and email, not by {draft.channel}.")
    if bool(draft.text.strip()) == (draft.template_version_id is not None):
        raise InvalidMessage("text", "Give either a text or a template_version_id.")
    text = draft.text.strip()
    if draft.template_version_id is not None:
        version = _version(draft, draft.template_version_id)
        try:
            text = render_text(version.body, _values(message), defaults=version.defaults)
        except TemplateError as error:
            raise _unwritten(error) from error
    if not text or len(text) > MAX_TEXT:
        raise InvalidMessage("text", f"1 to {MAX_TEXT} characters are needed.")
    try:
        split_sms(text)
    except ValueError as error:
        raise InvalidMessage("text", str(error)) from error
    return text


def _unwritten(error: TemplateError) -> InvalidMessage:
    """Say why a template gives no text for a contact."""
    sentence = f"The contact has no {error}, and the template no default for it."
    return InvalidMessage("template_version_id", sentence if isinstance(error, MissingValue) else str(error))


def _write_email(message: Message, draft: Draft) -> MessageBody:
    if draft.template_version_id is None or draft.text.strip():
        sentence = "An e-mail is written by a template: give a version of one, and no text."
        raise InvalidMessage("template_version_id", sentence)
    version = _version(draft, draft.template_version_id)
    via = connection_of(draft.channel, message.connection)
    if via is None:
        raise MessageError("There is no active connection of the service email, whose postal address the footer needs.")
    try:
        email = render_email(
            subject=version.subject,
            body=version.body,
            text=version.text,
            values=_values(message, unsubscribe_url=unsubscribe_url(reference=message.reference)),
            defaults=version.defaults,
            postal_address=via.postal_address,
        )
    except TemplateError as error:
        raise _unwritten(error) from error
    message.text = email.text
    return MessageBody(message=message, subject=email.subject, html=email.html)


def _version(draft: Draft, version_id: int) -> TemplateVersion:
    versions = TemplateVersion.objects.filter(template__channel=draft.channel)
    version = versions.filter(pk=version_id).first()
    if version is None:
        raise InvalidMessage(
            "template_version_id", f"There is no version {version_id} of a template for {draft.channel}."
        )
    return version


def _values(message: Message, *, unsubscribe_url: str = "") -> dict[str, object]:
    tenant = Tenant.objects.get(pk=tenancy.current_tenant_id())
    return values_of(message.contact, tenant_name=tenant.name, unsubscribe_url=unsubscribe_url)


@transaction.atomic(savepoint=False)
def resend_unknown(*, message_id: int, actor: str) -> Message:
    """Send a message again that nobody knows the fate of: the recipient may get it twice, and this is on record.

    A campaign that is done sends again until it is. Raises: MessageError for one that is not unknown, or whose campaign
    is cancelled or has expired; Message.DoesNotExist.
    """
    known = Message.objects.select_related("campaign").get(pk=message_id)
    expires_at = known.campaign.expires_at if known.campaign else None
    if admit([known]) or (expires_at is not None and expires_at <= timezone.now()):
        raise MessageError(
            "Its campaign is cancelled or has expired, and sends no more: say what became of it instead."
        )
    message = _lock_unknown(message_id)
    if message.campaign_id is not None and message.attempt_id is not None:
        uncount_sends(message.attempt_id, ids=[message.pk])  # whoever orders it again goes over no cap by it
    work.replay(Message.objects.filter(pk=message.pk))
    record(name="message.resent", subject=f"message:{message.pk}", actor=actor)
    message.refresh_from_db()
    return message


@transaction.atomic(savepoint=False)
def settle_unknown(*, message_id: int, was_sent: bool, actor: str, now: datetime) -> Message:
    """Say what became of an unknown message, as an operator knows it from the provider: sent and paid, or neither.

    Raises: MessageError for one that is not unknown; Message.DoesNotExist.
    """
    message = _lock_unknown(message_id)
    message.status, message.finished_at = work.Status.DONE, timezone.now()
    message.outcome = Message.Outcome.SENT if was_sent else Message.Outcome.FAILED
    message.reason = "" if was_sent else f"{NOT_SENT}{actor}"[:200]
    message.sent_at = message.started_at if was_sent else None
    message.save(update_fields=["status", "finished_at", "outcome", "reason", "sent_at"])
    reference = f"message:{message.pk}"
    if was_sent:
        settle_messages([message.pk], reference=reference, now=now)
    else:
        if message.campaign_id is not None and message.attempt_id is not None:
            uncount_sends(message.attempt_id, ids=[message.pk])
        release_messages([message.pk], reference=reference)
    record(name="message.settled", subject=reference, actor=actor, data={"was_sent": was_sent})
    return message


def _lock_unknown(message_id: int) -> Message:
    message = Message.objects.select_for_update(of=("self",)).get(pk=message_id)
    if message.status != work.Status.UNKNOWN:
        raise MessageError(f"The message is {message.state}: only an unknown one is decided on.")
    return message
