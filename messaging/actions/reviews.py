"""What a person decides about replies: what a near miss asks for, and whose an unrouted one is."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import Count, Min, QuerySet

from audit.actions import record
from config.infra import tenancy, work
from messaging.actions.opt_outs import GIVEN_UP, act_on, count_possibly_sent, lock_address, opt_in, opt_out
from messaging.actions.replies import NO_PHONE, read_kind
from messaging.models import InboundMessage
from shopsync.actions.alerts import close_alert, raise_alert
from shopsync.actions.refusals import InvalidInput
from shopsync.models import Alert, Membership, Tenant, User, WebhookEvent

Decision, Kind, Review = InboundMessage.Decision, InboundMessage.Kind, InboundMessage.Review
WAITING = "replies.review"
LOST = "replies.unreadable"
SUBJECT = "replies"
UNREAD = (work.Status.QUARANTINED, work.Status.BURIED)
TOLD_FOR = timedelta(days=7)  # what can't be read stays among the dead letters; nobody is told of it for ever
LOOKED_AT_AFTER = timedelta(minutes=15)
RECOUNTED_FOR = timedelta(minutes=3)  # longer than the transaction that begins a call can last


class ReplyError(ValueError):
    """A reply can't be decided on or assigned as it stands; the message says why."""


class InvalidReply(InvalidInput, ReplyError):  # noqa: N818  (of what was asked for, not of how things stand)
    """What was asked for is nothing to do with a reply."""


@transaction.atomic(savepoint=False)
def decide_reply(*, reply_id: int, decision: str, actor: str, now: datetime) -> InboundMessage:
    """Decide what a reply asks for: `optout` acts as STOP and `optin` as START would have; `nothing` does nothing.

    Raises: InvalidReply, ReplyError; InboundMessage.DoesNotExist.
    """
    reply = _lock(reply_id)
    if decision not in Decision.values:
        raise InvalidReply("decision", f"One of {', '.join(Decision.values)} is needed.")
    if reply.review != Review.OPEN:
        raise ReplyError("Nothing is to be decided about this reply.")
    if decision != Decision.NOTHING and not reply.routed_by:
        raise ReplyError("Nobody knows whose it is: it has to be assigned to a tenant first.")
    reply.review, reply.decision, reply.decided_by, reply.decided_at = Review.DONE, decision, actor[:120], now
    reply.save(update_fields=["review", "decision", "decided_by", "decided_at"])
    if decision == Decision.OPTOUT:
        opt_out(reply, actor=actor, moment=reply.received_at, now=now)
    elif decision == Decision.OPTIN:
        opt_in(reply, actor=actor, moment=reply.received_at, now=now)
        if reply.note == GIVEN_UP:
            raise ReplyError("The contact gave this number up: give it the number again, then decide.")
    record(name="reply.decided", subject=f"reply:{reply.pk}", actor=actor, data={"decision": decision})
    return reply


@transaction.atomic(savepoint=False)
def assign_reply(*, reply_id: int, tenant_id: int, actor: str, now: datetime) -> InboundMessage:
    """Say whose an unrouted reply is: it becomes that tenant's, and does what it asks for as if routed there at once.

    Raises: ReplyError; InboundMessage.DoesNotExist; Tenant.DoesNotExist.
    """
    reply = _lock(reply_id)
    if reply.routed_by:
        raise ReplyError("It is somebody's already.")
    tenant = Tenant.objects.get(pk=tenant_id)
    moved = InboundMessage.objects.filter(pk=reply.pk)
    moved.update(tenant=tenant, contact=None, routed_by=InboundMessage.RoutedBy.OPERATOR)
    record(name="reply.assigned", subject=f"reply:{reply.pk}", actor=actor, data={"to": tenant.shop_domain})
    with tenancy.tenant_scope(tenant.pk):
        reply = InboundMessage.objects.get(pk=reply_id)
        read_kind(reply)
        is_phone = reply.note != NO_PHONE
        reply.review = Review.OPEN if reply.kind == Kind.REVIEW and is_phone else ""
        reply.decision = ""
        reply.save(update_fields=["kind", "keyword", "review", "decision"])
        record(name="reply.received", subject=f"reply:{reply.pk}", actor=actor, data={"kind": reply.kind})
        if is_phone:
            act_on(reply, actor=actor, now=now)
    return reply


def find_assignee(*, shop_domain: str, person: User) -> Tenant | None:
    """Find the tenant of a domain that a person acts for, to assign a reply to; a superuser acts for all."""
    tenants = Tenant.objects.filter(shop_domain=shop_domain.strip().lower())
    if not person.is_superuser:
        acting = Membership.objects.filter(user=person).exclude(role=Membership.Role.VIEWER)
        tenants = tenants.filter(pk__in=acting.values("tenant_id"))
    return tenants.first()


def _lock(reply_id: int) -> InboundMessage:
    """Lock a reply of the tenant in scope: its address first, as whoever takes replies does."""
    lock_address(InboundMessage.objects.values_list("address", flat=True).get(pk=reply_id))
    return InboundMessage.objects.select_for_update(of=("self",)).get(pk=reply_id)


def watch_replies(*, now: datetime) -> int:
    """Tell of every tenant whose replies wait for a person or could not be read, close what was told of those that
    have none, and look once more what was being sent as opt-outs came; return how many wait for a decision."""
    recount_possibly_sent(now=now)
    with tenancy.all_tenants(reason="find the tenants whose replies wait for a person, or could not be read"):
        late = InboundMessage.objects.filter(review=Review.OPEN, received_at__lte=now - LOOKED_AT_AFTER)
        waiting = _count_by_tenant(late, since="received_at")
        kept = WebhookEvent.objects.filter(source="mitto", topic="inbound", status__in=UNREAD)
        lost = _count_by_tenant(kept.filter(created_at__gt=now - TOLD_FOR), since="created_at")
    _tell(WAITING, waiting, "{} replies wait for a decision, the oldest since {:%Y-%m-%d %H:%M} UTC")
    _tell(LOST, lost, "{} bodies of replies were not worked on, the oldest of {:%Y-%m-%d %H:%M} UTC: one may say STOP")
    return sum(count for count, _ in waiting.values())


def _count_by_tenant(rows: QuerySet[Any], *, since: str) -> dict[int, tuple[int, datetime]]:
    """Count rows of every tenant, with the oldest of them."""
    found = rows.values_list("tenant_id").annotate(count=Count("pk"), oldest=Min(since)).order_by()
    return {tenant_id: (count, oldest) for tenant_id, count, oldest in found}


def _tell(kind: str, found: dict[int, tuple[int, datetime]], sentence: str) -> None:
    """Raise the alert of each tenant that was found, and close those of the others."""
    with tenancy.all_tenants(reason="find the tenants that were told of replies"):
        told = set(Alert.objects.filter(kind=kind, closed_at__isnull=True).values_list("tenant_id", flat=True))
    for tenant_id in sorted(told | set(found)):
        with tenancy.tenant_scope(tenant_id):
            if tenant_id in found:
                raise_alert(kind=kind, subject=SUBJECT, message=sentence.format(*found[tenant_id]))
            else:
                close_alert(kind=kind, subject=SUBJECT)


def recount_possibly_sent(*, now: datetime) -> None:
    """Count again for the opt-outs of the last minutes: a call that began beside one was not to be seen then."""
    with tenancy.all_tenants(reason="find the opt-outs beside which calls may have begun"):
        rows = list(InboundMessage.objects.filter(effect="optout", acted_at__gt=now - RECOUNTED_FOR))
    for reply in rows:
        with tenancy.tenant_scope(reply.tenant_id):
            assert reply.acted_at is not None  # it was found by it
            count = count_possibly_sent(reply, now=reply.acted_at + timedelta(minutes=1))
            if count != reply.possibly_sent:
                InboundMessage.objects.filter(pk=reply.pk).update(possibly_sent=count)
