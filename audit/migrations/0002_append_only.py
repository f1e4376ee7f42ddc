"""The trail is append-only, and the outbox's table is vacuumed eagerly."""

from django.db import migrations

FUNCTION = """
CREATE FUNCTION shopsync_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only: % refused', TG_TABLE_NAME, TG_OP USING ERRCODE = 'restrict_violation';
END $$
"""
TRIGGER = """
CREATE TRIGGER auditevent_is_append_only BEFORE UPDATE OR DELETE ON audit_auditevent
FOR EACH ROW EXECUTE FUNCTION shopsync_refuse_change()
"""
VACUUM = "ALTER TABLE audit_eventdelivery SET (autovacuum_vacuum_scale_factor = 0.01, autovacuum_analyze_scale_factor = 0.02)"


class Migration(migrations.Migration):
    dependencies = [("audit", "0001_initial")]
    operations = [
        migrations.RunSQL(FUNCTION, "DROP FUNCTION shopsync_refuse_change()"),
        migrations.RunSQL(TRIGGER, "DROP TRIGGER auditevent_is_append_only ON audit_auditevent"),
        migrations.RunSQL(VACUUM, migrations.RunSQL.noop),
    ]
