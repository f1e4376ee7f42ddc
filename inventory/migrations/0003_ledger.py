"""Every change of a level's quantity writes its movement, in the same transaction, whoever makes it.

The number is taken before the row is written and the movement inserted after, so that an INSERT that loses to ON CONFLICT
leaves no movement behind.
"""

from django.db import migrations

COUNT = """
CREATE FUNCTION inventory_count_movement() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        NEW.movement_count := CASE WHEN NEW.available IS NULL THEN 0 ELSE 1 END;
    ELSE
        NEW.movement_count := OLD.movement_count + CASE WHEN NEW.available IS DISTINCT FROM OLD.available THEN 1 ELSE 0 END;
    END IF;
    RETURN NEW;
END $$
"""
WRITE = """
CREATE FUNCTION inventory_write_movement() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    was bigint := CASE WHEN TG_OP = 'UPDATE' THEN OLD.available END;
BEGIN
    IF NEW.available IS DISTINCT FROM was THEN
        INSERT INTO inventory_stockmovement (tenant_id, level_id, sequence, state, delta, before, after, reason, reference, actor)
        VALUES (NEW.tenant_id, NEW.id, NEW.movement_count, 'available', coalesce(NEW.available, 0) - coalesce(was, 0), was,
                NEW.available, coalesce(nullif(current_setting('shopsync.movement_reason', true), ''), 'unexplained'),
                coalesce(current_setting('shopsync.movement_reference', true), ''),
                coalesce(nullif(current_setting('shopsync.movement_actor', true), ''), session_user));
    END IF;
    RETURN NULL;
END $$
"""
TRIGGERS = """
CREATE TRIGGER stocklevel_counts_movements BEFORE INSERT OR UPDATE ON inventory_stocklevel
FOR EACH ROW EXECUTE FUNCTION inventory_count_movement();
CREATE TRIGGER stocklevel_writes_movements AFTER INSERT OR UPDATE ON inventory_stocklevel
FOR EACH ROW EXECUTE FUNCTION inventory_write_movement();
CREATE TRIGGER stockmovement_is_append_only BEFORE UPDATE OR DELETE ON inventory_stockmovement
FOR EACH ROW EXECUTE FUNCTION shopsync_refuse_change();
"""
DROP_TRIGGERS = """
DROP TRIGGER stocklevel_counts_movements ON inventory_stocklevel;
DROP TRIGGER stocklevel_writes_movements ON inventory_stocklevel;
DROP TRIGGER stockmovement_is_append_only ON inventory_stockmovement;
"""


class Migration(migrations.Migration):
    dependencies = [("inventory", "0002_initial"), ("audit", "0002_append_only")]
    operations = [
        migrations.RunSQL(COUNT, "DROP FUNCTION inventory_count_movement()"),
        migrations.RunSQL(WRITE, "DROP FUNCTION inventory_write_movement()"),
        migrations.RunSQL(TRIGGERS, DROP_TRIGGERS),
    ]
