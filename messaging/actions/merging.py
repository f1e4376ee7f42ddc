"""Merging an import's rows into contacts: batch by batch, in sets; each batch is one transaction."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from django.db import connection

from audit.actions import Value, record
from messaging.actions.contacts import lock_contacts
from messaging.actions.suppressions import key_pads
from messaging.identity import OWN_KINDS, Identity
from messaging.imports import Placed, place_rows
from messaging.models import ContactImport
from shopsync.shopify import version

# The identities of a batch's rows, in the order of identity.KINDS.
_IDENTITIES = """CROSS JOIN LATERAL (VALUES ('shopify_customer', r.shopify_id), ('external', r.external_id),
    ('email', r.email), ('phone', r.phone), ('whatsapp', r.whatsapp)) v (kind, value)"""
_BATCH = "r.source_id = %(source)s AND r.number BETWEEN %(first)s AND %(last)s AND NOT r.is_refused"
_OWNERS = f"""
SELECT DISTINCT i.kind, i.value, i.contact_id FROM messaging_importrow r {_IDENTITIES}
JOIN messaging_contactidentity i ON i.tenant_id = r.tenant_id AND i.kind = v.kind AND i.value = v.value
WHERE {_BATCH} AND v.value <> ''"""  # noqa: S608
_ROWS = f"SELECT number, shopify_id, external_id, email, phone, whatsapp FROM messaging_importrow r WHERE {_BATCH} ORDER BY 1"  # noqa: E501, S608
_NEW_IDS = "SELECT nextval(pg_get_serial_sequence('messaging_contact', 'id')) FROM generate_series(1, %s)"
# An identity that is somebody else's stays theirs: it is not taken, and the row's note says so.
_PLACE = f"""
UPDATE messaging_importrow r SET contact_id = p.contact_id, action = p.action,
    email = CASE WHEN p.others LIKE '%%email%%' THEN '' ELSE r.email END,
    phone = CASE WHEN p.others LIKE '%%phone%%' THEN '' ELSE r.phone END,
    whatsapp = CASE WHEN p.others LIKE '%%whatsapp%%' THEN '' ELSE r.whatsapp END,
    problem = CASE WHEN p.others = '' OR p.action = 'skip' THEN r.problem
                   ELSE concat_ws('; ', nullif(r.problem, ''), 'left out, as of another contact: ' || p.others) END
FROM unnest(%(numbers)s::int[], %(contacts)s::bigint[], %(actions)s::text[], %(others)s::text[])
     AS p (number, contact_id, action, others)
WHERE {_BATCH} AND r.number = p.number"""  # noqa: S608
_TEXTS = ("first_name", "last_name", "email", "phone", "country", "region", "locale", "timezone")


def _newest(name: str) -> str:
    return f"coalesce((array_agg(r.{name} ORDER BY r.number DESC) FILTER (WHERE r.{name} <> ''))[1], '') AS {name}"


# What a batch's rows say of each contact: later rows over earlier ones, attributes by name, all the tags.
_FOLDED = f"""
WITH folded AS (
    SELECT r.contact_id, bool_or(r.action = 'create') AS is_new, {", ".join(map(_newest, _TEXTS))},
           messaging_merged(r.attributes ORDER BY r.number) AS attributes, messaging_joined(r.tags) AS tags
    FROM messaging_importrow r WHERE {_BATCH} AND r.action IN ('create', 'merge') GROUP BY r.contact_id)"""  # noqa: S608
_VERSIONS = ", ".join(f"'{name}', CASE WHEN f.{name} <> '' THEN %(version)s END" for name in _TEXTS)
_CREATE = f"""{_FOLDED}
INSERT INTO messaging_contact (id, tenant_id, {", ".join(_TEXTS)}, attributes, tags, field_versions, updated_at)
SELECT f.contact_id, %(tenant)s, {", ".join(f"f.{name}" for name in _TEXTS)}, f.attributes,
       ARRAY(SELECT DISTINCT t.tag FROM unnest(f.tags) AS t (tag) ORDER BY t.tag),
       jsonb_strip_nulls(jsonb_build_object({_VERSIONS})), now()
FROM folded f WHERE f.is_new"""  # noqa: S608


def _is_newer(name: str) -> str:
    return f"f.{name} <> '' AND coalesce(c.field_versions ->> '{name}', '') COLLATE \"C\" <= %(version)s"


_MERGE = f"""{_FOLDED}
UPDATE messaging_contact c SET
    {", ".join(f"{name} = CASE WHEN {_is_newer(name)} THEN f.{name} ELSE c.{name} END" for name in _TEXTS)},
    field_versions = c.field_versions || jsonb_strip_nulls(jsonb_build_object(
        {", ".join(f"'{name}', CASE WHEN {_is_newer(name)} THEN %(version)s END" for name in _TEXTS)})),
    attributes = c.attributes || f.attributes,
    tags = ARRAY(SELECT DISTINCT tag FROM unnest(c.tags || f.tags::varchar[]) AS t (tag) ORDER BY tag),
    updated_at = now()
FROM folded f WHERE c.id = f.contact_id AND NOT f.is_new"""  # noqa: S608
_IDENTIFY = f"""
INSERT INTO messaging_contactidentity (tenant_id, contact_id, kind, value)
SELECT DISTINCT r.tenant_id, r.contact_id, v.kind, v.value FROM messaging_importrow r {_IDENTITIES}
WHERE {_BATCH} AND r.action IN ('create', 'merge') AND v.value <> ''
ON CONFLICT (tenant_id, kind, value) DO NOTHING"""  # noqa: S608
_STATED = f"""
SELECT r.*, c.key AS channel, c.value AS state,
       CASE c.key WHEN 'email' THEN r.email WHEN 'sms' THEN r.phone
                  ELSE coalesce(nullif(r.whatsapp, ''), r.phone) END AS address
FROM messaging_importrow r, jsonb_each_text(r.consents) c
WHERE {_BATCH} AND r.action IN ('create', 'merge') AND r.consents <> '{{}}'"""  # noqa: S608
# Opting out is the person's own word: a file that says otherwise is told so, and changes nothing.
_OPTED_OUT = f"""
WITH said AS ({_STATED}), refused AS (
    SELECT s.number, array_agg(s.channel::text) AS channels,
           string_agg(s.channel, ', ' ORDER BY s.channel) FILTER (WHERE s.state = 'subscribed') AS told FROM said s
    JOIN messaging_consentstate o ON o.contact_id = s.contact_id AND o.channel = s.channel
    WHERE s.state <> 'unsubscribed' AND o.state = 'unsubscribed' GROUP BY s.number)
UPDATE messaging_importrow r SET consents = r.consents - f.channels,
    problem = concat_ws('; ', nullif(r.problem, ''), 'its consent was not taken: unsubscribed from ' || f.told)
FROM refused f WHERE {_BATCH} AND r.number = f.number"""  # noqa: S608
_SUPPRESSED = f"""
WITH found AS (
    SELECT r.number, string_agg(DISTINCT a.channel, ', ' ORDER BY a.channel) AS channels
    FROM messaging_importrow r
    CROSS JOIN LATERAL (VALUES ('email', r.email), ('sms', r.phone), ('whatsapp', r.phone), ('whatsapp', r.whatsapp))
         a (channel, address)
    JOIN messaging_suppression o ON o.tenant_id = r.tenant_id AND o.channel = a.channel AND o.lifted_at IS NULL
     AND o.address_key = messaging_address_key(%(inner)s, %(outer)s, a.channel, a.address)
    WHERE {_BATCH} AND a.address <> '' GROUP BY r.number)
UPDATE messaging_importrow r
SET problem = concat_ws('; ', nullif(r.problem, ''), 'stays suppressed, and is not written to: ' || f.channels)
FROM found f WHERE {_BATCH} AND r.number = f.number"""  # noqa: S608
_ANY_SUPPRESSED = (
    "SELECT EXISTS (SELECT 1 FROM messaging_suppression WHERE tenant_id = %(tenant)s AND lifted_at IS NULL)"
)
# As actions.consent.version_at() builds it.
_VERSION = """to_char(s.consent_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US')
       || CASE s.state WHEN 'unsubscribed' THEN '|9999-12-31T00:00:00.000000|0|'
                       ELSE '|1970-01-01T00:00:00.000000|0|' END
       || left(encode(sha256(convert_to(%(name)s || '|' || s.state || '|' || s.address, 'UTF8')), 'hex'), 16)"""
_STATE = f"""
INSERT INTO messaging_consententry (tenant_id, contact_id, channel, state, address, source, opt_in_level, text_shown,
                                    proof, stated_at, source_version)
SELECT s.tenant_id, s.contact_id, s.channel, s.state, s.address, %(name)s, %(level)s, %(text)s,
       %(proof)s::jsonb || jsonb_build_object('line', s.line), s.consent_at,
       {_VERSION}
FROM ({_STATED}) s WHERE s.address <> '' ORDER BY s.number
ON CONFLICT (contact_id, channel, source_version) DO NOTHING"""  # noqa: S608
# What is in the ledger by now, and not the state; of one moment, where it says something else.
_OVERTAKEN = f"""
WITH said AS (SELECT s.*, {_VERSION} AS version FROM ({_STATED}) s WHERE s.address <> ''), found AS (
    SELECT s.number, string_agg(format('%%s (%%s, %%s)', s.channel, o.state,
               to_char(coalesce(e.stated_at, e.created_at) AT TIME ZONE 'UTC', 'YYYY-MM-DD')), ', ' ORDER BY s.channel)
           AS known FROM said s
    JOIN messaging_consentstate o ON o.contact_id = s.contact_id AND o.channel = s.channel
    JOIN messaging_consententry e ON e.id = o.entry_id
    WHERE s.version COLLATE "C" < o.source_version
      AND (left(s.version, 26) <> left(o.source_version, 26) OR (s.state, s.address) <> (o.state, o.address))
    GROUP BY s.number)
UPDATE messaging_importrow r
SET problem = concat_ws('; ', nullif(r.problem, ''), 'its consent changes nothing: newer is known of ' || f.known)
FROM found f WHERE {_BATCH} AND r.number = f.number"""  # noqa: S608
# By what the batch has written: the rows that give the address of today, or the one of the consent.
_LAPSED = f"""
WITH found AS (
    SELECT r.number, string_agg(
               format('the consent for %%s has lapsed: it is for %%s, and the contact''s %%s is %%s now',
                      a.channel, o.address, a.field, coalesce(nullif(a.own, ''), 'none')),
               '; ' ORDER BY a.channel) AS told
    FROM messaging_importrow r JOIN messaging_contact c ON c.id = r.contact_id
    CROSS JOIN LATERAL (VALUES ('email', 'email', r.email, c.email), ('sms', 'phone', r.phone, c.phone),
                               ('whatsapp', 'phone', r.phone, c.phone)) a (channel, field, given, own)
    JOIN messaging_consentstate o ON o.contact_id = c.id AND o.channel = a.channel AND o.state = 'subscribed'
     AND o.lapsed_at >= now() AND a.given IN (a.own, o.address)
    WHERE {_BATCH} AND r.action = 'merge' AND a.given <> '' GROUP BY r.number)
UPDATE messaging_importrow r SET problem = concat_ws('; ', nullif(r.problem, ''), f.told)
FROM found f WHERE {_BATCH} AND r.number = f.number"""  # noqa: S608
_LIST = f"""
INSERT INTO messaging_segmentmember (tenant_id, segment_id, contact_id)
SELECT DISTINCT r.tenant_id, %(segment)s::bigint, r.contact_id FROM messaging_importrow r WHERE {_BATCH}
ON CONFLICT (segment_id, contact_id) DO NOTHING"""  # noqa: S608
_COUNT = """
SELECT count(*), count(*) FILTER (WHERE action = 'create'), count(*) FILTER (WHERE action = 'merge'),
       count(*) FILTER (WHERE action = 'skip'), count(*) FILTER (WHERE is_refused),
       count(*) FILTER (WHERE problem <> '' AND NOT is_refused)
FROM messaging_importrow WHERE source_id = %(source)s AND number BETWEEN %(first)s AND %(last)s"""
_CLEAR = """
DELETE FROM messaging_importrow
WHERE source_id = %(source)s AND number BETWEEN %(first)s AND %(last)s AND problem = ''"""
_COUNTS = ("done_count", "created_count", "merged_count", "skipped_count", "error_count", "note_count")


def merge_batch(*, source: ContactImport, size: int) -> bool:
    """Merge the next rows of an import, whose row is locked, in the caller's transaction; say whether it was the last.

    Nobody else finds or makes contacts of the tenant meanwhile. One audit event tells of the whole batch.
    """
    first = source.done_count + 1
    if first > source.read_count:
        return True
    lock_contacts(shared=False)
    parameters = _parameters(source, first, min(source.done_count + size, source.read_count))
    with connection.cursor() as cursor:
        _place(cursor, parameters, skip_known=source.duplicates == ContactImport.Duplicates.SKIP)
        for sql in (_CREATE, _MERGE, _IDENTIFY):
            cursor.execute(sql, parameters)
        if source.consent_channels:
            for sql in (_OPTED_OUT, _STATE, _OVERTAKEN):
                cursor.execute(sql, parameters)
        cursor.execute(_LAPSED, parameters)
        cursor.execute(_ANY_SUPPRESSED, parameters)
        if cursor.fetchone()[0]:
            cursor.execute(_SUPPRESSED, parameters)
        if source.segment_id is not None:
            cursor.execute(_LIST, parameters)
        cursor.execute(_COUNT, parameters)
        counts = cursor.fetchone()
        cursor.execute(_CLEAR, parameters)
    for name, count in zip(_COUNTS, counts, strict=True):
        setattr(source, name, getattr(source, name) + count)
    source.save(update_fields=_COUNTS)
    data: dict[str, Value] = dict(zip(_COUNTS, counts, strict=True))
    record(name="contacts.imported", subject=f"import:{source.pk}", actor=source.actor, data=data)
    return source.done_count >= source.read_count


def _parameters(source: ContactImport, first: int, last: int) -> dict[str, Any]:
    inner, outer = key_pads()
    proof = {"import": source.pk, "file": source.file_name, "source": source.consent_source}
    return {
        "source": source.pk,
        "tenant": source.tenant_id,
        "first": first,
        "last": last,
        "version": version(source.created_at, source.created_at, rank=0, digest=""),
        "inner": inner,
        "outer": outer,
        "name": f"import:{source.pk}",
        "level": source.opt_in_level,
        "text": source.consent_text,
        "proof": json.dumps(proof),
        "segment": source.segment_id,
    }


def _place(cursor: Any, parameters: dict[str, Any], *, skip_known: bool) -> None:
    """Decide whose each row of the batch is, and write it beside the row."""
    cursor.execute(_OWNERS, parameters)
    owners = {Identity(kind, value): contact for kind, value, contact in cursor.fetchall()}
    own = "SELECT contact_id, kind FROM messaging_contactidentity WHERE contact_id = ANY(%s) AND kind = ANY(%s)"
    cursor.execute(own, [list(set(owners.values())), list(OWN_KINDS)])
    own_kinds: dict[int, set[str]] = {}
    for contact, kind in cursor.fetchall():
        own_kinds.setdefault(contact, set()).add(kind)
    cursor.execute(_ROWS, parameters)
    rows = [(number, values) for number, *values in cursor.fetchall()]
    placed = place_rows(rows, owners=owners, own_kinds=own_kinds, skip_known=skip_known)
    ids = _new_ids(cursor, placed)
    columns = {
        "numbers": [one.number for one in placed],
        "contacts": [ids.get(one.contact, one.contact) for one in placed],
        "actions": [one.action for one in placed],
        "others": [", ".join(one.foreign) for one in placed],
    }
    cursor.execute(_PLACE, parameters | columns)


def _new_ids(cursor: Any, placed: Sequence[Placed]) -> dict[int, int]:
    """Take an id for each new contact."""
    new = [one.contact for one in placed if one.action == "create"]
    if not new:
        return {}
    cursor.execute(_NEW_IDS, [len(new)])
    return dict(zip(new, (row[0] for row in cursor.fetchall()), strict=True))
