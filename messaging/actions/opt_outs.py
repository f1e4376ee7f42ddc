"""What a reply does: STOP, START and HELP, for every tenant that wrote from the number, under a lock on the address.

Of two replies that contradict each other the later one holds, in whatever order they are worked on. An opt-out counts
from when it reached us, an opt-in from when it was sent: late news never lifts what a person asked for since.

A number that a contact gave up speaks for it no more: STOP from there silences that number alone, START is left to a
person.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime

from django.db.models import Q, QuerySet

from config.infra import tenancy
from config.infra.transactions import lock_name
from messaging.actions.answers import answer_help, confirm_opt_out
from messaging.actions.consent import State, state_consent
from messaging.actions.contacts import Profile, ensure_contact
from messaging.actions.routing import Conversation, conversations_with
from messaging.actions.suppressions import lift_suppression, suppress
from messaging.inbound import numbers_of
from messaging.models import ConsentEntry, ConsentState, Contact, ContactIdentity, InboundMessage, Message, Suppression
from messaging.models.contacts import Channel

Kind, Review = InboundMessage.Kind, InboundMessage.Review
SOURCE = "reply"
OVERTAKEN = "a later reply says otherwise: nothing was done"
LATE = "sent before an opt-out, and arrived after it: decide"
GIVEN_UP = "the contact gave this number up, so nobody was subscribed: give it the number again, then decide"
FIELDS = ("contact", "effect", "effective_at", "acted_at", "possibly_sent", "note", "review")


def lock_address(address: str) -> None:
    """Wait for whoever else works on replies of this address, for any tenant; held until the transaction ends."""
    lock_name(f"reply:{address}")


def act_on(reply: InboundMessage, *, actor: str, now: datetime) -> None:
    """Do what a reply asks for, if it asks; `reply` is routed and its tenant in scope. Hold the lock on its address."""
    if reply.kind == Kind.OPTOUT:
        opt_out(reply, actor=actor, moment=reply.received_at, now=now)
    elif reply.kind == Kind.OPTIN:
        opt_in(reply, actor=actor, moment=min(reply.sent_at or reply.received_at, reply.received_at), now=now)
    elif reply.kind == Kind.HELP:
        reply.contact = _make_contact(reply.address, actor)
        answered = answer_help(reply, now=now)
        note = "" if answered else "it was answered a moment ago"
        _note(reply, effect="help", moment=reply.received_at, note=note, now=now)
    else:
        reply.contact = known_contact(reply.address)
        reply.save(update_fields=["contact"])


def opt_out(reply: InboundMessage, *, actor: str, moment: datetime, now: datetime) -> None:
    """Suppress the address and state it, for every tenant that wrote from the number and the reply's own; confirm it
    once, from the reply's tenant, if that is news."""
    reply.contact = _make_contact(reply.address, actor)
    if _effects(reply, "optin").filter(effective_at__gt=moment).exists():
        _note(reply, effect="nothing", moment=moment, note=OVERTAKEN, now=now)
        return
    conversations = conversations_with(address=reply.address, recipient=reply.recipient, came_by=reply.came_by)
    for tenant_id in sorted({reply.tenant_id, *conversations}):
        with tenancy.tenant_scope(tenant_id):
            is_news = suppress(
                channel=Channel.SMS,
                addresses=[reply.address],
                reason=Suppression.Reason.STOP,
                source=f"reply:{reply.pk}",
                actor=actor,
            )
            for contact in _people(reply.address, conversations, tenant_id):
                if not _is_elsewhere(contact, reply.address):
                    _state(contact, reply, state=State.UNSUBSCRIBED, moment=moment, actor=actor)
            if is_news and tenant_id == reply.tenant_id:
                confirm_opt_out(reply)
    reply.possibly_sent = count_possibly_sent(reply, now=now)
    _note(reply, effect="optout", moment=moment, note="", now=now)


def opt_in(reply: InboundMessage, *, actor: str, moment: datetime, now: datetime) -> None:
    """Lift what STOP suppressed, for every tenant that wrote from the number; subscribe with the reply's own, and with
    those whose STOP is lifted: a YES to one shop is no consent to another that was never told to stop. A tenant whose
    contact gave the number up is left as it is, and where that is the reply's own, a person is asked."""
    reply.contact = _make_contact(reply.address, actor)
    newer = _effects(reply, "optout").filter(effective_at__gte=moment)
    if newer.exists():
        is_late = not newer.filter(effective_at__gte=reply.received_at).exists()
        reply.review = Review.OPEN if is_late else reply.review
        _note(reply, effect="nothing", moment=moment, note=LATE if is_late else OVERTAKEN, now=now)
        return
    conversations = conversations_with(address=reply.address, recipient=reply.recipient, came_by=reply.came_by)
    started = set[int]()
    for tenant_id in sorted({reply.tenant_id, *conversations}):
        with tenancy.tenant_scope(tenant_id):
            people = _people(reply.address, conversations, tenant_id)
            people = [contact for contact in people if not _gave_up(contact, reply.address)]
            if not people:
                continue
            started.add(tenant_id)
            reasons = (Suppression.Reason.STOP,)
            lifted = lift_suppression(channel=Channel.SMS, address=reply.address, actor=actor, now=now, reasons=reasons)
            if not lifted and tenant_id != reply.tenant_id:
                continue
            for contact in people:
                _state(contact, reply, state=State.SUBSCRIBED, moment=moment, actor=actor)
    is_own = reply.tenant_id in started
    if not is_own and not reply.decision:
        reply.review = Review.OPEN
    note = _still_suppressed(reply.address) if is_own else GIVEN_UP
    _note(reply, effect="optin" if started else "nothing", moment=moment, note=note, now=now)


def count_possibly_sent(reply: InboundMessage, *, now: datetime) -> int:
    """Count the tenant's messages to a reply's address that were being called when it came, or were begun since."""
    called = Message.objects.filter(address=reply.address, channel=Channel.SMS, attempt__isnull=False)
    called = called.exclude(purpose=Message.Purpose.CONFIRMATION)
    called = called.exclude(outcome__in=(Message.Outcome.FAILED, Message.Outcome.SKIPPED))
    since = Q(started_at__gte=reply.received_at) | Q(attempt__closed_at__gte=reply.received_at)
    since |= Q(attempt__closed_at__isnull=True, status="leased")
    return called.filter(since, started_at__lte=now).count()


def known_contact(address: str) -> Contact | None:
    """Find the tenant's contact with this phone."""
    owner = ContactIdentity.objects.filter(kind=ContactIdentity.Kind.PHONE, value=address).select_related("contact")
    identity = owner.first()
    return None if identity is None else identity.contact


def _make_contact(address: str, actor: str) -> Contact:
    contact = ensure_contact(profile=Profile(customer_shopify_id=None, email="", phone=address), actor=actor)
    assert contact is not None  # it has a phone
    return contact


def _people(address: str, conversations: Mapping[int, Conversation], tenant_id: int) -> Iterable[Contact]:
    """List the tenant's contacts that a reply speaks for: who was written to there, and whose phone it is."""
    ids = set(conversations[tenant_id].contact_ids) if tenant_id in conversations else set[int]()
    owner = known_contact(address)
    if owner is not None:
        ids.add(owner.pk)
    return Contact.objects.filter(pk__in=ids).order_by("pk")


def _is_elsewhere(contact: Contact, address: str) -> bool:
    """Is neither the contact's phone nor its consent this number? Then a word from there is not about its own."""
    known = ConsentState.objects.filter(contact=contact, channel=Channel.SMS, address=address)
    return contact.phone != address and not known.exists()


def _gave_up(contact: Contact, address: str) -> bool:
    """Has the contact another phone, or none, and has not agreed to this number since?"""
    if contact.phone == address:
        return False
    agreed, at = (State.SUBSCRIBED, State.PENDING), {"contact": contact, "channel": Channel.SMS, "address": address}
    since = ConsentEntry.objects.filter(source_version__gt=contact.field_versions.get("phone", ""), **at)
    holds = ConsentState.objects.filter(lapsed_at__isnull=True, **at)
    return not (since.filter(state__in=agreed).exists() or holds.filter(state__in=agreed).exists())


def _state(contact: Contact, reply: InboundMessage, *, state: str, moment: datetime, actor: str) -> None:
    """Add to the ledger what a reply says, unless that is the state already."""
    same = ConsentState.objects.filter(contact=contact, channel=Channel.SMS, state=state, address=reply.address)
    if same.filter(lapsed_at__isnull=True).exists():
        return
    state_consent(
        contact=contact,
        channel=Channel.SMS,
        state=state,
        source=SOURCE,
        stated_at=moment,
        actor=actor,
        address=reply.address,
        text_shown=reply.text if state == State.SUBSCRIBED else "",
        proof={"reply": reply.pk},
        opt_in_level="single_opt_in" if state == State.SUBSCRIBED else "",
    )


def _effects(reply: InboundMessage, effect: str) -> QuerySet[InboundMessage]:
    """Find what other replies of this address to this number did, whosever they are."""
    with tenancy.all_tenants(reason="of two replies to one number the later one holds, whosever they are"):
        rows = InboundMessage.objects.filter(address=reply.address, recipient__in=numbers_of(reply.recipient))
        return rows.filter(effect=effect).exclude(pk=reply.pk)


def _still_suppressed(address: str) -> str:
    """Say why an address is not written to although it asked to be; empty when it is."""
    from_before = Suppression.objects.filter(channel=Channel.SMS, address=address, lifted_at__isnull=True).first()
    return f"it stays suppressed: {from_before.get_reason_display()}" if from_before else ""


def _note(reply: InboundMessage, *, effect: str, moment: datetime, note: str, now: datetime) -> None:
    reply.effect, reply.effective_at, reply.acted_at, reply.note = effect, moment, now, note
    reply.save(update_fields=FIELDS)
