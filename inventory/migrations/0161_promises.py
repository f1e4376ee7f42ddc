"""The reservation in one statement, anew: each line and what its level holds are one row of the view `inventory_promise`.

Its trigger writes the line, and the level's `held` and `promised` in one UPDATE, where a line by itself would change the
level once more (0160_promised): everybody waits for a hot level. It writes both or nothing, whoever inserts into it.

Too little at the last moment is an error (RS001) and ends the statement's transaction: inside a block that could undo it,
each promise would be two transactions to PostgreSQL. inventory.actions.at_once takes it for "go the long way".
"""

import importlib

from django.db import migrations

BEFORE = importlib.import_module("inventory.migrations.0007_reserve_at_once").FUNCTION
VIEW = """
CREATE VIEW inventory_promise AS
SELECT tenant_id, reservation_id, variant_id, level_id, quantity, true AS is_limited FROM inventory_reservationline
"""
PROMISE = """
CREATE FUNCTION inventory_write_promise() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO inventory_reservationline (tenant_id, reservation_id, variant_id, level_id, quantity, held)
    VALUES (NEW.tenant_id, NEW.reservation_id, NEW.variant_id, NEW.level_id, NEW.quantity, NEW.quantity);
    UPDATE inventory_stocklevel
    SET held = held + NEW.quantity, promised = promised + NEW.quantity, updated_at = clock_timestamp()
    WHERE id = NEW.level_id AND tenant_id = NEW.tenant_id
      AND (available IS NULL OR NOT NEW.is_limited OR available - held >= NEW.quantity);
    IF NOT FOUND THEN
        RAISE EXCEPTION 'too little is left on level %', NEW.level_id USING ERRCODE = 'RS001';
    END IF;
    RETURN NEW;
END $$
"""
TRIGGER = """
CREATE TRIGGER promise_is_a_line_and_its_hold INSTEAD OF INSERT ON inventory_promise
FOR EACH ROW EXECUTE FUNCTION inventory_write_promise()
"""
FUNCTION = """
CREATE OR REPLACE FUNCTION inventory_reserve_at_once(
    p_tenant bigint, p_key text, p_digest text, p_reference text, p_actor text, p_expires_at timestamptz,
    p_variants bigint[], p_quantities bigint[], p_may_split boolean
) RETURNS inventory_reservation LANGUAGE plpgsql AS $$
DECLARE
    made inventory_reservation;
    spot record;
    levels bigint[] := '{}'; limits boolean[] := '{}'; places bigint[] := '{}';
    units bigint := 0;
    by_level int[] := '{1}';
    line int;
BEGIN
    -- 1. Who counts: locked before any level, so that no hand-over comes between.
    PERFORM FROM shopsync_tenant WHERE id = p_tenant AND NOT (push_holds AND stock_authority = 'shopify') FOR SHARE;
    IF NOT FOUND THEN RETURN NULL; END IF;
    -- 2. The level of each variant, if it has just one, and that is enough as it seems.
    FOR line IN 1 .. cardinality(p_variants) LOOP
        SELECT count(*) AS found, min(l.id) AS level_id, min(l.location_id) AS location_id,
               bool_and(v.policy <> 'continue') AS is_limited, min(l.available - l.held) AS sellable INTO spot
        FROM inventory_variant v JOIN inventory_stocklevel l ON l.item_id = v.item_id
        JOIN inventory_location p ON p.id = l.location_id AND p.is_active
        WHERE v.id = p_variants[line] AND v.tenant_id = p_tenant AND v.removed_at IS NULL;
        IF spot.found <> 1 OR spot.level_id = ANY (levels) OR (spot.is_limited AND spot.sellable < p_quantities[line])
           OR NOT (p_may_split OR spot.location_id = ALL (places)) THEN
            RETURN NULL;
        END IF;
        levels := levels || spot.level_id; limits := limits || spot.is_limited; places := places || spot.location_id;
        units := units + p_quantities[line];
    END LOOP;
    -- 3. The key: who comes second waits here for the first. The event.
    INSERT INTO inventory_reservation (tenant_id, idempotency_key, request_digest, status, reference, actor,
                                       settles_by, expires_at)
    VALUES (p_tenant, p_key, p_digest, 'active', p_reference, p_actor, '', p_expires_at)
    ON CONFLICT (tenant_id, idempotency_key) DO NOTHING RETURNING * INTO made;
    IF NOT FOUND THEN RETURN NULL; END IF;
    INSERT INTO audit_auditevent (tenant_id, name, subject, actor, data)
    VALUES (p_tenant, 'reservation.created', 'reservation:' || made.id, p_actor,
            jsonb_build_object('lines', cardinality(levels), 'units', units));
    PERFORM set_config('shopsync.movement_reason', 'reserved', true),
            set_config('shopsync.movement_reference', 'reservation:' || made.id, true),
            set_config('shopsync.movement_actor', left(p_actor, 120), true);
    -- 4. The lines, and late, since everybody waits for them, the levels, by primary key. Their movements are the trigger's.
    IF cardinality(levels) > 1 THEN
        SELECT array_agg(n ORDER BY levels[n]) INTO by_level FROM generate_subscripts(levels, 1) n;
    END IF;
    FOREACH line IN ARRAY by_level LOOP
        INSERT INTO inventory_promise (tenant_id, reservation_id, variant_id, level_id, quantity, is_limited)
        VALUES (p_tenant, made.id, p_variants[line], levels[line], p_quantities[line], limits[line]);
    END LOOP;
    RETURN made;
END $$
"""


class Migration(migrations.Migration):
    dependencies = [("inventory", "0160_promised")]
    operations = [
        migrations.RunSQL(VIEW, "DROP VIEW inventory_promise"),
        migrations.RunSQL(PROMISE, "DROP FUNCTION inventory_write_promise()"),
        migrations.RunSQL(TRIGGER, "DROP TRIGGER promise_is_a_line_and_its_hold ON inventory_promise"),
        migrations.RunSQL(FUNCTION, BEFORE.replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION")),
    ]
