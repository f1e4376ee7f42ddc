"""How often an address is written to by campaigns: counted as a call begins, given back when nothing was sent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from django.db import connection

from config.infra import tenancy
from messaging.actions.suppressions import address_key
from messaging.models import SendingPolicy


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


def count_sends(rows: Sequence[Recipient]) -> set[int]:
    """Count one message to each address; return the ids of those over the tenant's cap, which were not counted.

    Without a cap nothing is counted. An address that stands twice among the rows is counted once.
    """
    policy = SendingPolicy.objects.first()
    if policy is None or policy.cap_messages is None or not rows:
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
