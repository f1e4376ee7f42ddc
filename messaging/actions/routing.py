"""Whose a reply is: by the number it went to, else by the conversation; who else wrote from that number; and who shares
an account of a provider."""

from __future__ import annotations

import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from django.conf import settings
from django.db.models import Max, Q, QuerySet

from config.infra import tenancy
from config.infra.transactions import lock_name
from messaging.inbound import numbers_of
from messaging.models import InboundMessage, Message, Sender
from messaging.models.contacts import Channel
from shopsync.models import Connection
from shopsync.webhooks import body_digest

RoutedBy = InboundMessage.RoutedBy


@dataclass(slots=True)
class Conversation:
    """What a tenant called an address for: the contacts written to, and when last (None: nothing that got out)."""

    contact_ids: set[int] = field(default_factory=set)
    last_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Route:
    """Whose a reply is (None: nobody knows), and what says so."""

    tenant_id: int | None
    by: str


def recipient_of(given: str, *, address: str, via: Connection) -> str:
    """Return the number that a reply went to: the one given, else the one that the tenant where it arrived wrote to the
    address from last, else its connection's own."""
    if given:
        return given
    called = Message.objects.filter(address=address, channel=Channel.SMS, attempt__isnull=False).exclude(sender="")
    return called.order_by("-started_at", "-pk").values_list("sender", flat=True).first() or via.sender


@dataclass(frozen=True, slots=True)
class Account:
    """The connections, of whatever tenant, that hold the key of one provider account: what arrives by one of them may
    concern all of them, and nobody else."""

    connection_ids: frozenset[int]
    tenant_ids: frozenset[int]


def account_of(connection_id: int) -> Account:
    """Find who shares the provider account of a connection: the same service, address, account and secret. Without a
    secret a connection shares with nobody.

    A call-back address is a tenant's own to know; were a number or a provider's id alone enough, its owner could post a
    STOP in the name of another tenant's customer, or a report of another tenant's message.
    """
    with tenancy.all_tenants(reason="a number is shared by those who hold the key of its provider account"):
        via = Connection.objects.get(pk=connection_id)
        rows = list(_alike(via).only("tenant_id", "api_key"))
    shared = [row for row in rows if via.api_key and hmac.compare_digest(row.api_key.encode(), via.api_key.encode())]
    return Account(
        frozenset({via.pk, *(row.pk for row in shared)}), frozenset({via.tenant_id, *(row.tenant_id for row in shared)})
    )


def may_share(connection_id: int) -> list[int]:
    """List the connections that look like one of this connection's account, itself included, whatever their secrets:
    opening those of many takes its time, and is rarely needed."""
    with tenancy.all_tenants(reason="what looks like one account is told apart by its key"):
        return list(_alike(Connection.objects.get(pk=connection_id)).values_list("pk", flat=True))


def lock_account(connection_id: int, *, shared: bool = False) -> None:
    """Wait for whoever works on the reports of a connection's account; held until the transaction ends."""
    via = Connection.objects.get(pk=connection_id)
    parts = "\x00".join([via.service, via.base_url, via.account_id, via.api_key or str(via.pk)])
    lock_name(f"reports:{body_digest(settings.DIGEST_KEY, parts.encode())}", shared=shared)


def _alike(via: Connection) -> QuerySet[Connection]:
    return Connection.objects.filter(service=via.service, base_url=via.base_url, account_id=via.account_id)


def conversations_with(*, address: str, recipient: str, came_by: int) -> dict[int, Conversation]:
    """Find which tenants of the account that a reply came by wrote to its address from its number, whatever became of
    it."""
    found: dict[int, Conversation] = {}
    account = account_of(came_by)
    with tenancy.all_tenants(reason="a reply concerns every tenant that wrote from its number"):
        called = Message.objects.filter(
            address=address,
            channel=Channel.SMS,
            attempt__connection_id__in=account.connection_ids,
            sender__in=numbers_of(recipient),
        )
        got_out = ~Q(outcome__in=(Message.Outcome.FAILED, Message.Outcome.SKIPPED))
        rows = list(
            called.values_list("tenant_id", "contact_id").annotate(at=Max("started_at", filter=got_out)).order_by()
        )
    for tenant_id, contact_id, at in rows:
        one = found.setdefault(tenant_id, Conversation())
        one.contact_ids.add(contact_id)
        one.last_at = max(filter(None, (one.last_at, at)), default=None)
    return found


def route_reply(*, recipient: str, conversations: Mapping[int, Conversation], came_by: int) -> Route:
    """Say whose a reply to this number is: the one tenant of its account that has it for replies, else the one that
    wrote last."""
    owners = _owners_of(numbers_of(recipient), account_of(came_by))
    if len(owners) == 1:
        return Route(owners[0], RoutedBy.NUMBER)
    heard = {tenant_id: one.last_at for tenant_id, one in conversations.items() if one.last_at is not None}
    if heard:
        return Route(max(heard, key=lambda tenant_id: (heard[tenant_id], tenant_id)), RoutedBy.CONVERSATION)
    return Route(None, "")


def _owners_of(numbers: Sequence[str], account: Account) -> list[int]:
    with tenancy.all_tenants(reason="the table of numbers says whose a reply is"):
        rows = Sender.objects.filter(channel=Channel.SMS, is_two_way=True, is_active=True, value__in=numbers)
        rows = rows.filter(tenant_id__in=account.tenant_ids)
        return sorted(set(rows.values_list("tenant_id", flat=True)))


def answering_sender(recipient: str) -> str:
    """Return the tenant's sender that an answer can come from: the number that was written to, if it goes through the
    channel's own connection; else empty, which is the connection's own."""
    rows = Sender.objects.filter(
        channel=Channel.SMS, is_active=True, connection__isnull=True, value__in=numbers_of(recipient)
    )
    return rows.order_by("pk").values_list("value", flat=True).first() or ""
