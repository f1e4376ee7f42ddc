"""The counts of campaigns follow their messages by trigger; every key stays within its tenant; a sequence of turns."""

from importlib import import_module

from django.db import migrations

tie = import_module("inventory.migrations.0170_same_tenant").tie

# What models.Message.state says, in SQL.
STATE = """
CREATE FUNCTION messaging_state(p_status text, p_outcome text, p_flow bigint, p_started timestamptz) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN p_outcome <> '' THEN p_outcome
                WHEN p_status = 'leased' AND p_started IS NOT NULL THEN 'calling'
                WHEN p_status IN ('ready', 'leased') THEN CASE WHEN p_flow IS NULL THEN 'waiting' ELSE 'queued' END
                ELSE p_status END
$$
"""
_COUNTED = """
SELECT tenant_id, campaign_id, messaging_state(status, outcome, flow_id, started_at) AS state,
       CASE WHEN outcome = 'skipped' THEN reason ELSE '' END AS reason, {sign} AS n, parts, price
FROM {rows} WHERE campaign_id IS NOT NULL
"""
_TALLY = """
CREATE FUNCTION messaging_tally_{name}() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO messaging_campaigntally (tenant_id, campaign_id, state, reason, messages, parts, cost)
    SELECT tenant_id, campaign_id, state, reason, sum(n), sum(n * parts), sum(n * price) FROM ({counted}) moved
    GROUP BY 1, 2, 3, 4 HAVING sum(n) <> 0 OR sum(n * parts) <> 0 OR sum(n * price) <> 0;
    RETURN NULL;
END $$;
CREATE TRIGGER message_is_tallied_at_{name} AFTER {name} ON messaging_message REFERENCING {tables}
FOR EACH STATEMENT EXECUTE FUNCTION messaging_tally_{name}();
"""
_CAME, _WENT = _COUNTED.format(sign=1, rows="came"), _COUNTED.format(sign=-1, rows="went")
TALLIES = (
    _TALLY.format(name="insert", counted=_CAME, tables="NEW TABLE AS came"),
    _TALLY.format(name="update", counted=f"{_CAME} UNION ALL {_WENT}", tables="NEW TABLE AS came OLD TABLE AS went"),
    _TALLY.format(name="delete", counted=_WENT, tables="OLD TABLE AS went"),
)
DROPS = [
    sql
    for name in ("insert", "update", "delete")
    for sql in (
        f"DROP TRIGGER message_is_tallied_at_{name} ON messaging_message",
        f"DROP FUNCTION messaging_tally_{name}()",
    )
]
# The queues and flows are updated at every call: small tables whose dead rows would otherwise pile up.
VACUUM = """
ALTER TABLE messaging_sendqueue SET (fillfactor = 20, autovacuum_vacuum_threshold = 200, autovacuum_vacuum_scale_factor = 0);
ALTER TABLE messaging_campaigntally SET (autovacuum_vacuum_scale_factor = 0.05);
"""


class Migration(migrations.Migration):
    dependencies = [("messaging", "0040_campaigns"), ("inventory", "0180_reservations_hold")]
    operations = [
        migrations.RunSQL(STATE, "DROP FUNCTION messaging_state(text, text, bigint, timestamptz)"),
        *(migrations.RunSQL(tally, migrations.RunSQL.noop) for tally in TALLIES),
        migrations.RunSQL(migrations.RunSQL.noop, DROPS),
        migrations.RunSQL("CREATE SEQUENCE messaging_turn", "DROP SEQUENCE messaging_turn"),
        migrations.RunSQL(VACUUM, migrations.RunSQL.noop),
        tie("messaging_campaign", "segment_id", "template_version_id", "sender_id"),
        tie("messaging_campaigntally", "campaign_id"),
        tie("messaging_sender", "connection_id"),
        tie("messaging_sendqueue", "connection_id"),
        tie("messaging_flow", "queue_id", "campaign_id"),
        tie("messaging_messagebody", "message_id"),
        tie("messaging_message", "campaign_id", "flow_id", "contact_id", "automation_version_id", "attempt_id", "connection_id"),
    ]
