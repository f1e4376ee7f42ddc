"""How often an address is written to by campaigns: counted as a call begins, given back when nothing was sent.

Without a cap nothing is counted; what was sent before there was one is counted as it is set.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from django.db import connection

from config.infra import tenancy
from config.infra.transactions import lock_name
from messaging.actions.suppressions import address_key, key_pads
from messaging.models import SendingPolicy

_CAP = "frequency:{}"  # held, shared, by every call of a tenant that begins


class Recipient(Protocol):
    """A message that is about to be sent."""

    @property
    def id(self) -> int:
        """The message's id."""

    @property
    def channel(self) -> str:
        """By what it is sent."""

    @property
    def address(self) -> str:
        """To whom."""


# One conditional statement: the row is locked as it is found, so that two calls never both take the last place. Moments
# that have left the window make room. In the order of the keys, so that two calls never wait for each other both ways.
_COUNT = """
INSERT INTO messaging_frequency AS f (tenant_id, channel, address_key, moments)
SELECT %(tenant)s, channel, key, ARRAY[now()]
FROM unnest(%(channels)s::text[], %(keys)s::bytea[]) AS t(channel, key) ORDER BY channel, key
ON CONFLICT (tenant_id, channel, address_key) DO UPDATE SET moments = array_append(
    ARRAY(SELECT m FROM unnest(f.moments) m WHERE m > now() - make_interval(hours => %(hours)s)), now())
WHERE (SELECT count(*) FROM unnest(f.moments) m WHERE m > now() - make_interval(hours => %(hours)s)) < %(most)s
RETURNING channel, address_key"""

_UNCOUNT = """
WITH counted AS (
    SELECT f.id, a.started_at FROM messaging_frequency f
    JOIN unnest(%(channels)s::text[], %(keys)s::bytea[]) AS t(channel, key)
      ON f.channel = t.channel AND f.address_key = t.key
    JOIN messaging_attempt a ON a.id = %(attempt)s
    WHERE f.tenant_id = %(tenant)s AND a.started_at = ANY(f.moments) ORDER BY f.channel, f.address_key FOR UPDATE OF f)
UPDATE messaging_frequency f SET moments = array_remove(f.moments, counted.started_at)
FROM counted WHERE f.id = counted.id"""

# Of what was sent before, as its calls counted it or would have: those begun in the window whose message did not come
# back. In the order of the keys, as above.
_COUNT_EARLIER = """
WITH sent AS (
    SELECT m.channel, messaging_address_key(%(inner)s, %(outer)s, m.channel, m.address) AS key, a.started_at
    FROM messaging_attempt a JOIN messaging_message m ON m.attempt_id = a.id
    WHERE a.tenant_id = %(tenant)s AND a.started_at > now() - make_interval(hours => %(hours)s)
      AND m.campaign_id IS NOT NULL AND m.status IN ('leased', 'unknown', 'done') AND m.outcome <> 'skipped'
      AND NOT (m.outcome = 'failed' AND m.provider_id = ''))
INSERT INTO messaging_frequency AS f (tenant_id, channel, address_key, moments)
SELECT %(tenant)s, channel, key, array_agg(started_at) FROM sent GROUP BY channel, key ORDER BY channel, key
ON CONFLICT (tenant_id, channel, address_key) DO UPDATE SET moments = ARRAY(
    SELECT DISTINCT m FROM unnest(f.moments || EXCLUDED.moments) m ORDER BY m)"""


def hold_policy() -> None:
    """Wait until nobody else writes the tenant's policy, or counts towards its cap; until the transaction ends."""
    lock_name(_CAP.format(tenancy.current_tenant_id()))


def count_earlier(policy: SendingPolicy) -> None:
    """Count what campaigns sent within the window of a cap that is about to be written: one where there was none, or
    that looks further back.

    Call it in the transaction that writes the policy, before it does: calls begin before all of that, or after.
    """
    tenant = policy.tenant_id or tenancy.current_tenant_id()
    lock_name(_CAP.format(tenant))
    before = SendingPolicy.objects.filter(pk=policy.pk, cap_messages__isnull=False).first()
    if policy.cap_messages is None or (before is not None and before.cap_hours >= policy.cap_hours):
        return
    inner, outer = key_pads()
    parameters: dict[str, Any] = {"tenant": tenant, "hours": policy.cap_hours, "inner": inner, "outer": outer}
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL statement_timeout = '220s'")  # a million take half a minute
        cursor.execute(_COUNT_EARLIER, parameters)


def count_sends(rows: Sequence[Recipient]) -> set[int]:
    """Count one message to each address; return the ids of those over the tenant's cap, which were not counted.

    Without a cap nothing is counted. An address that stands twice among the rows is counted once.
    """
    if not rows:
        return set()
    lock_name(_CAP.format(tenancy.current_tenant_id()), shared=True)  # whoever sets a cap counts these, or they see it
    policy = SendingPolicy.objects.first()
    if policy is None or policy.cap_messages is None:
        return set()
    keys = {(row.channel, address_key(row.channel, row.address)): row.id for row in rows}
    parameters: dict[str, Any] = {
        "tenant": tenancy.current_tenant_id(),
        "channels": [channel for channel, _ in keys],
        "keys": [key for _, key in keys],
        "hours": policy.cap_hours,
        "most": policy.cap_messages,
    }
    with connection.cursor() as cursor:
        cursor.execute(_COUNT, parameters)
        counted = {(channel, bytes(key)) for channel, key in cursor.fetchall()}
    return {row.id for row in rows if (row.channel, address_key(row.channel, row.address)) not in counted}


def uncount_sends(attempt_id: int, *, ids: Sequence[int]) -> None:
    """Take back what was counted for these messages as this attempt began: they were not sent."""
    parameters: dict[str, Any] = {"attempt": attempt_id, "tenant": tenancy.current_tenant_id(), "ids": list(ids)}
    with connection.cursor() as cursor:
        cursor.execute("SELECT channel, address FROM messaging_message WHERE id = ANY(%(ids)s)", parameters)
        rows = sorted((channel, address_key(channel, address)) for channel, address in cursor.fetchall())
        parameters |= {"channels": [channel for channel, _ in rows], "keys": [key for _, key in rows]}
        cursor.execute(_UNCOUNT, parameters)
