"""Freezing: a campaign's audience becomes rows, one per contact, in one statement."""

from __future__ import annotations

from typing import Any

from django.db import connection

from config.infra.plans import analyze_grown, plan_anew
from messaging.actions.segments import compiled
from messaging.actions.suppressions import key_pads
from messaging.models import Campaign, Message, SendingPolicy

OWN = {"sms": "c.phone", "whatsapp": "c.phone", "email": "c.email"}  # a contact's own address on a channel
# Where it is written to: at the address that was agreed to, unless its own was changed away from that since.
ADDRESS = "CASE WHEN s.address <> '' AND s.lapsed_at IS NULL THEN s.address ELSE {own} END"

# Why a contact is not written to, or '' when it is; the first that holds. Who is held out is a matter of both ids, so
# that a person is not held out of every campaign, and freezing twice would hold out the same.
_CHOSEN = """
SELECT c.id AS contact_id, {address} AS address,
       CASE WHEN {address} = '' THEN 'no_address'
            WHEN x.id IS NOT NULL THEN 'suppressed'
            WHEN s.state = 'unsubscribed' THEN 'unsubscribed'
            WHEN s.state IS DISTINCT FROM 'subscribed' OR s.lapsed_at IS NOT NULL THEN 'no_consent'
            WHEN ('x' || substr(md5(%(campaign)s::text || ':' || c.id::text), 1, 8))::bit(32)::bigint %% 10000
                 < %(held_out)s THEN 'held_out'
            WHEN (SELECT count(*) FROM unnest(f.moments) m WHERE m > now() - make_interval(hours => %(hours)s))
                 >= %(most)s THEN 'frequency_cap'
            ELSE '' END AS reason
FROM ({audience}) a JOIN messaging_contact c ON c.id = a.id
LEFT JOIN messaging_consentstate s ON s.contact_id = c.id AND s.channel = %(channel)s
LEFT JOIN LATERAL (SELECT messaging_address_key(%(inner)s, %(outer)s, %(channel)s, {address}) AS key) k ON TRUE
LEFT JOIN messaging_suppression x ON x.tenant_id = %(tenant)s AND x.channel = %(channel)s AND x.lifted_at IS NULL
      AND x.address_key = k.key
LEFT JOIN messaging_frequency f ON f.tenant_id = %(tenant)s AND f.channel = %(channel)s AND f.address_key = k.key
WHERE %(of)s = 1 OR (hashtextextended({address}, 0) & 9223372036854775807) %% %(of)s = %(part)s"""
# Of several contacts with one address the first gets the message; the others' rows say why they don't.
RECIPIENTS = (
    """
SELECT contact_id, address, CASE WHEN reason = '' AND row_number() OVER (
           PARTITION BY address, reason = '' ORDER BY contact_id) > 1 THEN 'duplicate_address' ELSE reason END AS reason
FROM ("""
    + _CHOSEN
    + ") chosen"
)

_FREEZE = """
INSERT INTO messaging_message (tenant_id, campaign_id, contact_id, channel, address, status, outcome, reason,
    finished_at, lane, priority, attempts, due_at, blocker, last_error, created_at, trigger, sender, text, reference,
    provider_id)
SELECT %(tenant)s, %(campaign)s, contact_id, %(channel)s, address, CASE WHEN reason = '' THEN 'ready' ELSE 'done' END,
    CASE WHEN reason = '' THEN '' ELSE 'skipped' END, reason, CASE WHEN reason = '' THEN NULL ELSE now() END,
    '', 1, 0, now(), '', '', now(), '', '', '', gen_random_uuid(), ''
FROM ({recipients}) r
"""


_LONGER = "SET LOCAL statement_timeout = '220s'"  # a million take 40 s; the task that freezes has 240 s


def freeze(campaign: Campaign) -> int:
    """Write one row per contact of the campaign's audience, of who is not written to as well; return how many.

    Call it in the transaction that moves the campaign to `sending`, with its row locked.
    """
    sql, parameters = recipients_of(campaign)
    plan_anew()
    with connection.cursor() as cursor:
        cursor.execute(_LONGER)
        cursor.execute(_FREEZE.format(recipients=sql), parameters)
        count = int(cursor.rowcount)
    analyze_grown(Message._meta.db_table, by=count)  # those who prepare and send may have started when it was small
    return count


def recipients_of(campaign: Campaign, *, part: int = 0, of: int = 1) -> tuple[str, dict[str, Any]]:
    """Return the query for a campaign's contacts (contact_id, address, reason; '' for those it is sent to).

    Of several parts each contact is in one, beside all others of its address.
    """
    audience = compiled(campaign.segment)
    policy = SendingPolicy.objects.first()
    inner, outer = key_pads()
    parameters = {
        **audience.parameters,
        "tenant": campaign.tenant_id,
        "campaign": campaign.pk,
        "channel": campaign.channel,
        "held_out": int(campaign.holdout_percent * 100),
        "hours": policy.cap_hours if policy else 24,
        "most": policy.cap_messages if policy and policy.cap_messages else 1_000_000,
        "inner": inner,
        "outer": outer,
        "part": part,
        "of": of,
    }
    address = ADDRESS.format(own=OWN[campaign.channel])
    return RECIPIENTS.format(address=address, audience=audience.sql), parameters
