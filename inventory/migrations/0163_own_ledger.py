"""Nobody writes a level's ledger but its own trigger; and that takes the shortest way for what changes most: a hold."""

import importlib

from django.db import migrations

_BEFORE = importlib.import_module("inventory.migrations.0005_states")
_WHY = """coalesce(nullif(current_setting('shopsync.movement_reason', true), ''), 'unexplained'),
           coalesce(current_setting('shopsync.movement_reference', true), ''),
           coalesce(nullif(current_setting('shopsync.movement_actor', true), ''), session_user)"""
WRITE = f"""
CREATE OR REPLACE FUNCTION inventory_write_movement() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' THEN
        IF NEW.movement_count = OLD.movement_count THEN
            RETURN NULL;
        END IF;
        IF NEW.movement_count = OLD.movement_count + 1 AND NEW.held <> OLD.held THEN
            INSERT INTO inventory_stockmovement (tenant_id, level_id, sequence, state, delta, before, after, reason,
                                                 reference, actor)
            VALUES (NEW.tenant_id, NEW.id, NEW.movement_count, 'held', NEW.held - OLD.held, OLD.held, NEW.held,
                    {_WHY});
            RETURN NULL;
        END IF;
    END IF;
    INSERT INTO inventory_stockmovement (tenant_id, level_id, sequence, state, delta, before, after, reason, reference, actor)
    SELECT NEW.tenant_id, NEW.id, NEW.movement_count + 1 - row_number() OVER (ORDER BY place DESC), state,
           coalesce(is_now, 0) - coalesce(was, 0), was, is_now,
           {_WHY}
    FROM (VALUES {_BEFORE._VALUES}) AS change(place, state, was, is_now)
    WHERE was IS DISTINCT FROM is_now;
    RETURN NULL;
END $$
"""
REFUSE = """
CREATE FUNCTION inventory_refuse_own_movement() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'a movement is written by the change of its level: change that (level %)', NEW.level_id
        USING ERRCODE = 'restrict_violation', TABLE = 'inventory_stockmovement';
END $$
"""
TRIGGER = """
CREATE TRIGGER stockmovement_comes_from_its_level BEFORE INSERT ON inventory_stockmovement
FOR EACH ROW WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION inventory_refuse_own_movement()
"""


class Migration(migrations.Migration):
    dependencies = [("inventory", "0162_facts_not_words")]
    operations = [
        migrations.RunSQL(WRITE, _BEFORE.WRITE),
        migrations.RunSQL(REFUSE, "DROP FUNCTION inventory_refuse_own_movement()"),
        migrations.RunSQL(TRIGGER, "DROP TRIGGER stockmovement_comes_from_its_level ON inventory_stockmovement"),
    ]
