"""Replies as they arrive: each kept once, routed, and done what it asks for. Their texts are nobody's to log."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from audit.actions import record
from config.infra import tenancy
from messaging.actions.opt_outs import act_on, lock_address
from messaging.actions.routing import conversations_with, recipient_of, route_reply
from messaging.inbound import Inbound, Unread, parse_replies, phone_of
from messaging.keywords import read_reply
from messaging.models import InboundMessage, SendingPolicy
from messaging.webhooks import UnreadableReport
from shopsync.actions.inbox import Incoming, store_delivery
from shopsync.models import Connection, Tenant
from shopsync.shopify import Delivery, UnreadablePayloadError
from shopsync.webhooks import body_digest

Kind, Review = InboundMessage.Kind, InboundMessage.Review
ACTOR = "mitto"
NO_PHONE = "it comes from no phone number"


@dataclass(frozen=True, slots=True)
class _Arrival:
    """A reply where it arrived: who wrote, in our form, and the key by which it is kept once."""

    inbound: Inbound
    address: str
    is_phone: bool
    once_key: str


@transaction.atomic(savepoint=False)
def sync_replies(*, delivery: Delivery) -> None:
    """Take Mitto's replies (one or many in a body): keep each once, find whose it is, do what it asks for.

    What is no reply among others becomes a delivery of its own, whose turn ends in quarantine with the reason.

    Raises: UnreadablePayloadError when none can be read.
    """
    assert delivery.connection_id is not None  # the view stores it with the token's connection
    try:
        found = parse_replies(delivery.body)
    except UnreadableReport as error:
        raise UnreadablePayloadError(str(error)) from error
    via = Connection.objects.get(pk=delivery.connection_id)
    country = Tenant.objects.get(pk=delivery.tenant_id).country
    arrivals: list[_Arrival] = []
    for number, one in enumerate(found):
        if isinstance(one, Unread):
            _set_aside(one, delivery, number=number)
        else:
            arrivals.append(_arrive(one, delivery, number=number, country=country))
    for address in sorted({arrival.address for arrival in arrivals}):  # one lock order for every body
        lock_address(address)
    for arrival in arrivals:
        _take(arrival, via=via, received_at=delivery.received_at)


def _set_aside(unread: Unread, delivery: Delivery, *, number: int) -> None:
    store_delivery(
        Incoming(
            source=delivery.source,
            topic=delivery.topic,
            webhook_id=f"{delivery.id}:{number}",  # so that a delivery that is worked on again adds none
            body=unread.body,
            digest=body_digest(settings.DIGEST_KEY, unread.body),
            tenant_id=delivery.tenant_id,
            connection_id=delivery.connection_id,
        )
    )


def _arrive(inbound: Inbound, delivery: Delivery, *, number: int, country: str) -> _Arrival:
    """Name a reply by what the provider knows it by; without id and time, by the delivery that it came in."""
    phone = phone_of(inbound.sender, country=country)
    if inbound.provider_id:
        known_by = [inbound.provider_id]
    elif inbound.sent_at:
        known_by = [inbound.recipient, inbound.sent_at.isoformat()]
    else:
        known_by = [f"delivery:{delivery.id}", str(number)]
    parts = "\x00".join([*known_by, inbound.sender, inbound.text])
    key = body_digest(settings.DIGEST_KEY, parts.encode())
    return _Arrival(inbound, phone or inbound.sender, bool(phone), key)


def _take(arrival: _Arrival, *, via: Connection, received_at: datetime) -> None:
    with tenancy.all_tenants(reason="a reply is kept once, whosever it has become"):
        if InboundMessage.objects.filter(came_by=via.pk, once_key=arrival.once_key).exists():
            return
    recipient = recipient_of(arrival.inbound.recipient, address=arrival.address, via=via)
    conversations = conversations_with(address=arrival.address, recipient=recipient, came_by=via.pk)
    route = route_reply(recipient=recipient, conversations=conversations, came_by=via.pk)
    reply = InboundMessage(
        came_by=via.pk,
        provider_id=arrival.inbound.provider_id,
        once_key=arrival.once_key,
        address=arrival.address,
        recipient=recipient[:64],
        text=arrival.inbound.text,
        routed_by=route.by,
        sent_at=arrival.inbound.sent_at,
        received_at=received_at,
        note="" if arrival.is_phone else NO_PHONE,
    )
    with tenancy.tenant_scope(route.tenant_id or via.tenant_id):
        _keep(reply, acts=arrival.is_phone)


def _keep(reply: InboundMessage, *, acts: bool) -> None:
    """Write a reply for the tenant in scope, and do what it asks for if it is routed and somebody can be answered."""
    read_kind(reply)
    asks = reply.kind != Kind.CONVERSATION
    if acts and asks and (reply.kind == Kind.REVIEW or not reply.routed_by):
        reply.review = Review.OPEN
    reply.save(force_insert=True)
    data = {"kind": reply.kind, "routed_by": reply.routed_by}
    record(name="reply.received", subject=f"reply:{reply.pk}", actor=ACTOR, data=data)
    if reply.routed_by and acts:
        act_on(reply, actor=f"reply:{reply.pk}", now=timezone.now())


def read_kind(reply: InboundMessage) -> None:
    """Read what a reply asks for, in the languages of the tenant in scope and of those who wrote to that person from
    that number: an opt-out is for all of them."""
    wrote = conversations_with(address=reply.address, recipient=reply.recipient, came_by=reply.came_by)
    whose = {*wrote, tenancy.current_tenant_id()}
    with tenancy.all_tenants(reason="an opt-out is for whoever wrote from that number, in the language of each"):
        policies = SendingPolicy.objects.filter(tenant_id__in=whose)
        spoken = {
            language for languages in policies.values_list("reply_languages", flat=True) for language in languages
        }
    found = read_reply(reply.text, languages=sorted(spoken))
    reply.kind, reply.keyword = found.kind, found.keyword[:64]
