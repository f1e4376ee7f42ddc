"""Every state of a level has its ledger, and the database refuses to promise what is not there.

Raising `held` above `available` is refused unless the level is untracked or its variant's policy is `continue`. Where we
count (stock_authority `shopsync`), taking `available` below `held` is refused too, unless the reason tells what is true
already: a count, a snapshot, a parcel that left, a hand-over.
"""

from django.db import migrations

STATES = "available held on_hand committed incoming reserved damaged safety_stock quality_control".split()
_CHANGES = " + ".join(f"(NEW.{state} IS DISTINCT FROM OLD.{state})::int" for state in STATES)
_FIRST = " + ".join(
    "(NEW.held <> 0)::int" if state == "held" else f"(NEW.{state} IS NOT NULL)::int" for state in STATES
)
COUNT = f"""
CREATE OR REPLACE FUNCTION inventory_count_movement() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        NEW.movement_count := {_FIRST};
    ELSE
        NEW.movement_count := OLD.movement_count + {_CHANGES};
    END IF;
    RETURN NEW;
END $$
"""
_VALUES = ", ".join(
    f"({place}, '{state}', CASE WHEN TG_OP = 'UPDATE' THEN OLD.{state}{' ELSE 0' if state == 'held' else ''} END, NEW.{state})"
    for place, state in enumerate(STATES)
)
WRITE = f"""
CREATE OR REPLACE FUNCTION inventory_write_movement() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND NEW.movement_count = OLD.movement_count THEN
        RETURN NULL;
    END IF;
    INSERT INTO inventory_stockmovement (tenant_id, level_id, sequence, state, delta, before, after, reason, reference, actor)
    SELECT NEW.tenant_id, NEW.id, NEW.movement_count + 1 - row_number() OVER (ORDER BY place DESC), state,
           coalesce(is_now, 0) - coalesce(was, 0), was, is_now,
           coalesce(nullif(current_setting('shopsync.movement_reason', true), ''), 'unexplained'),
           coalesce(current_setting('shopsync.movement_reference', true), ''),
           coalesce(nullif(current_setting('shopsync.movement_actor', true), ''), session_user)
    FROM (VALUES {_VALUES}) AS change(place, state, was, is_now)
    WHERE was IS DISTINCT FROM is_now;
    RETURN NULL;
END $$
"""
GUARD = """
CREATE FUNCTION inventory_refuse_overselling() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    was_held bigint := CASE WHEN TG_OP = 'UPDATE' THEN OLD.held ELSE 0 END;
    raises_held boolean := NEW.held > was_held;
    grows_shortfall boolean := TG_OP = 'UPDATE' AND NEW.held - NEW.available > OLD.held - OLD.available;
BEGIN
    IF NEW.available IS NULL OR NEW.held <= NEW.available OR NOT (raises_held OR coalesce(grows_shortfall, false)) THEN
        RETURN NEW;
    END IF;
    IF EXISTS (SELECT 1 FROM inventory_variant WHERE item_id = NEW.item_id AND policy = 'continue') THEN
        RETURN NEW;
    END IF;
    IF raises_held THEN
        RAISE EXCEPTION 'holding % of % available would oversell level %', NEW.held, NEW.available, NEW.id
            USING ERRCODE = 'check_violation', CONSTRAINT = 'stocklevel_holds_no_more_than_available',
                  TABLE = 'inventory_stocklevel';
    END IF;
    IF coalesce(current_setting('shopsync.movement_reason', true), '')
            NOT IN ('snapshot', 'adjusted', 'shipped', 'handed_over')
       AND (SELECT stock_authority FROM shopsync_tenant WHERE id = NEW.tenant_id) = 'shopsync' THEN
        RAISE EXCEPTION 'taking level % to % with % held would oversell it', NEW.id, NEW.available, NEW.held
            USING ERRCODE = 'check_violation', CONSTRAINT = 'stocklevel_sells_no_more_than_available',
                  TABLE = 'inventory_stocklevel';
    END IF;
    RETURN NEW;
END $$
"""
TRIGGER = """
CREATE TRIGGER stocklevel_refuses_overselling BEFORE INSERT OR UPDATE OF available, held ON inventory_stocklevel
FOR EACH ROW EXECUTE FUNCTION inventory_refuse_overselling();
"""


class Migration(migrations.Migration):
    dependencies = [("inventory", "0004_reservations"), ("shopsync", "0008_push_holds")]
    operations = [
        migrations.RunSQL(COUNT, migrations.RunSQL.noop),
        migrations.RunSQL(WRITE, migrations.RunSQL.noop),
        migrations.RunSQL(GUARD, "DROP FUNCTION inventory_refuse_overselling()"),
        migrations.RunSQL(TRIGGER, "DROP TRIGGER stocklevel_refuses_overselling ON inventory_stocklevel"),
        migrations.RunSQL(
            "ALTER TABLE inventory_holdpush SET (autovacuum_vacuum_scale_factor = 0.01)",
            "ALTER TABLE inventory_holdpush RESET (autovacuum_vacuum_scale_factor)",
        ),
    ]
