"""A level holds exactly what the lines of its reservations do, or nothing is committed.

`promised` is the sum of the lines' `held`, kept by the lines' own triggers and by nobody else. So the comparison costs
one row, however many lines a level has: summing them at every promise would make a hot variant slower with each buyer.
It is made when the transaction ends, since the level and its lines are written one after the other. What has drifted
before this is set to what the lines say, and the ledger calls it `mended`.
"""

from django.db import migrations, models

MEND = """
SELECT set_config('shopsync.movement_reason', 'mended', true);
ALTER TABLE inventory_stocklevel DISABLE TRIGGER stocklevel_refuses_overselling;
UPDATE inventory_stocklevel AS l SET promised = s.held, held = s.held
FROM (SELECT v.id, coalesce(sum(n.held), 0)::bigint AS held FROM inventory_stocklevel v
      LEFT JOIN inventory_reservationline n ON n.level_id = v.id AND n.held > 0 GROUP BY v.id) s
WHERE l.id = s.id AND (l.promised <> s.held OR l.held <> s.held);
ALTER TABLE inventory_stocklevel ENABLE TRIGGER stocklevel_refuses_overselling;
SELECT set_config('shopsync.movement_reason', '', true);
"""
# A line that is new changes its level at once: they come one by one. (Not one that a trigger writes with its level:
# 0161_promises.)
ADD = """
CREATE FUNCTION inventory_add_promise() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE inventory_stocklevel SET promised = promised + NEW.held WHERE id = NEW.level_id;
    RETURN NULL;
END $$
"""
# By statement: whoever ends a thousand promises of one level changes it once.
ADD_UP = """
CREATE FUNCTION inventory_add_up_promises() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        UPDATE inventory_stocklevel AS l SET promised = l.promised - d.held
        FROM (SELECT level_id, sum(held)::bigint AS held FROM gone GROUP BY level_id) d
        WHERE l.id = d.level_id AND d.held <> 0;
    ELSE
        UPDATE inventory_stocklevel AS l SET promised = l.promised + d.held
        FROM (SELECT level_id, sum(held)::bigint AS held
              FROM (SELECT level_id, held FROM written UNION ALL SELECT level_id, -held FROM gone) AS changed
              GROUP BY level_id) d
        WHERE l.id = d.level_id AND d.held <> 0;
    END IF;
    RETURN NULL;
END $$
"""
REFUSE_RAW = """
CREATE FUNCTION inventory_refuse_own_sum() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'promised of level % is the sum of its lines: write those', NEW.id
        USING ERRCODE = 'check_violation', CONSTRAINT = 'stocklevel_promised_is_the_sum_of_its_lines',
              TABLE = 'inventory_stocklevel';
END $$
"""
COMPARE = """
CREATE FUNCTION inventory_compare_promises() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    is_held bigint;
    is_promised bigint;
BEGIN
    SELECT held, promised INTO is_held, is_promised FROM inventory_stocklevel WHERE id = NEW.id;
    IF is_held <> is_promised THEN
        RAISE EXCEPTION 'level % holds % and the lines of its reservations %', NEW.id, is_held, is_promised
            USING ERRCODE = 'check_violation', CONSTRAINT = 'stocklevel_holds_what_its_lines_do',
                  TABLE = 'inventory_stocklevel';
    END IF;
    RETURN NULL;
END $$
"""
TRIGGERS = """
CREATE TRIGGER reservationline_adds_promises AFTER INSERT ON inventory_reservationline
FOR EACH ROW WHEN (NEW.held <> 0 AND pg_trigger_depth() = 0) EXECUTE FUNCTION inventory_add_promise();
CREATE TRIGGER reservationline_changes_promises AFTER UPDATE ON inventory_reservationline
REFERENCING OLD TABLE AS gone NEW TABLE AS written FOR EACH STATEMENT EXECUTE FUNCTION inventory_add_up_promises();
CREATE TRIGGER reservationline_takes_promises AFTER DELETE ON inventory_reservationline
REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION inventory_add_up_promises();
CREATE TRIGGER stocklevel_begins_without_promises BEFORE INSERT ON inventory_stocklevel
FOR EACH ROW WHEN (NEW.promised <> 0) EXECUTE FUNCTION inventory_refuse_own_sum();
CREATE TRIGGER stocklevel_leaves_promised_to_its_lines BEFORE UPDATE OF promised ON inventory_stocklevel
FOR EACH ROW WHEN (pg_trigger_depth() = 0 AND NEW.promised <> OLD.promised)
EXECUTE FUNCTION inventory_refuse_own_sum();
CREATE CONSTRAINT TRIGGER stocklevel_holds_what_its_lines_do AFTER INSERT OR UPDATE OF held, promised
ON inventory_stocklevel DEFERRABLE INITIALLY DEFERRED
FOR EACH ROW WHEN (NEW.held <> NEW.promised) EXECUTE FUNCTION inventory_compare_promises();
"""
# What the sum changes is no quantity: the triggers that count and write movements have nothing to do with it.
STATES = "available, held, on_hand, committed, incoming, reserved, damaged, safety_stock, quality_control"
NARROWER = f"""
DROP TRIGGER stocklevel_counts_movements ON inventory_stocklevel;
DROP TRIGGER stocklevel_writes_movements ON inventory_stocklevel;
CREATE TRIGGER stocklevel_counts_movements BEFORE INSERT OR UPDATE OF {STATES}, movement_count
ON inventory_stocklevel FOR EACH ROW EXECUTE FUNCTION inventory_count_movement();
CREATE TRIGGER stocklevel_writes_movements AFTER INSERT OR UPDATE OF {STATES}
ON inventory_stocklevel FOR EACH ROW EXECUTE FUNCTION inventory_write_movement();
"""
WIDER = """
DROP TRIGGER stocklevel_counts_movements ON inventory_stocklevel;
DROP TRIGGER stocklevel_writes_movements ON inventory_stocklevel;
CREATE TRIGGER stocklevel_counts_movements BEFORE INSERT OR UPDATE ON inventory_stocklevel
FOR EACH ROW EXECUTE FUNCTION inventory_count_movement();
CREATE TRIGGER stocklevel_writes_movements AFTER INSERT OR UPDATE ON inventory_stocklevel
FOR EACH ROW EXECUTE FUNCTION inventory_write_movement();
"""
DROP_TRIGGERS = """
DROP TRIGGER reservationline_adds_promises ON inventory_reservationline;
DROP TRIGGER reservationline_changes_promises ON inventory_reservationline;
DROP TRIGGER reservationline_takes_promises ON inventory_reservationline;
DROP TRIGGER stocklevel_begins_without_promises ON inventory_stocklevel;
DROP TRIGGER stocklevel_leaves_promised_to_its_lines ON inventory_stocklevel;
DROP TRIGGER stocklevel_holds_what_its_lines_do ON inventory_stocklevel;
"""


class Migration(migrations.Migration):
    dependencies = [("inventory", "0156_release_holds")]
    operations = [
        migrations.AddField(
            model_name="stocklevel",
            name="promised",
            field=models.BigIntegerField(
                db_default=0, default=0, editable=False, help_text="the sum of what the lines of reservations hold"
            ),
        ),
        migrations.RunSQL(MEND, migrations.RunSQL.noop),
        migrations.RunSQL(ADD, "DROP FUNCTION inventory_add_promise()"),
        migrations.RunSQL(ADD_UP, "DROP FUNCTION inventory_add_up_promises()"),
        migrations.RunSQL(REFUSE_RAW, "DROP FUNCTION inventory_refuse_own_sum()"),
        migrations.RunSQL(COMPARE, "DROP FUNCTION inventory_compare_promises()"),
        migrations.RunSQL(NARROWER, WIDER),
        migrations.RunSQL(TRIGGERS, DROP_TRIGGERS),
    ]
