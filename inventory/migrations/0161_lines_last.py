"""The reservation in one statement, anew: the lines come after the levels, since they add up on them (0160_promised).

Too little at the last moment is an error (RS001) and ends the statement's transaction: inside a block that could undo it,
each promise would be two transactions to PostgreSQL. inventory.actions.at_once takes it for "go the long way".
"""

from django.db import migrations

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
    -- 4. Late, since everybody waits for them: the levels, by primary key. Their movements are the trigger's.
    IF cardinality(levels) > 1 THEN
        SELECT array_agg(n ORDER BY levels[n]) INTO by_level FROM generate_subscripts(levels, 1) n;
    END IF;
    FOREACH line IN ARRAY by_level LOOP
        UPDATE inventory_stocklevel SET held = held + p_quantities[line], updated_at = clock_timestamp()
        WHERE id = levels[line]
          AND (available IS NULL OR NOT limits[line] OR available - held >= p_quantities[line]);
        IF NOT FOUND THEN
            RAISE EXCEPTION 'too little is left on level %', levels[line] USING ERRCODE = 'RS001';
        END IF;
    END LOOP;
    -- 5. The lines: they change the levels too, so not before those are locked in their order.
    INSERT INTO inventory_reservationline (tenant_id, reservation_id, variant_id, level_id, quantity, held)
    SELECT p_tenant, made.id, w.variant_id, w.level_id, w.quantity, w.quantity
    FROM unnest(p_variants, levels, p_quantities) AS w(variant_id, level_id, quantity);
    RETURN made;
END $$
"""


class Migration(migrations.Migration):
    dependencies = [("inventory", "0160_promised")]
    operations = [migrations.RunSQL(FUNCTION, migrations.RunSQL.noop)]
