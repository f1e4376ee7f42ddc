"""A reservation in one statement, where there is nothing to choose: each variant lies at one active location.

It does what inventory.actions.reservations does in a dozen statements, with the same locks in the same order, and
returns null with nothing done whenever that has to decide: several locations, too little, a key that was used, units to
set aside in Shopify. The guard and the ledger are the level's own triggers.
"""

from django.db import migrations

FUNCTION = """
CREATE FUNCTION inventory_reserve_at_once(
    p_tenant bigint, p_key text, p_digest text, p_reference text, p_actor text, p_expires_at timestamptz,
    p_variants bigint[], p_quantities bigint[], p_may_split boolean
) RETURNS inventory_reservation LANGUAGE plpgsql AS $$
DECLARE
    made inventory_reservation;
    spot record;
    levels bigint[] := '{}'; limits boolean[] := '{}'; places bigint[] := '{}';
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
    END LOOP;
    BEGIN
        -- 3. The key: who comes second waits here for the first. The lines, and the event.
        INSERT INTO inventory_reservation (tenant_id, idempotency_key, request_digest, status, reference, actor,
                                           settles_by, expires_at)
        VALUES (p_tenant, p_key, p_digest, 'active', p_reference, p_actor, '', p_expires_at)
        ON CONFLICT (tenant_id, idempotency_key) DO NOTHING RETURNING * INTO made;
        IF NOT FOUND THEN RETURN NULL; END IF;
        INSERT INTO inventory_reservationline (tenant_id, reservation_id, variant_id, level_id, quantity, held)
        SELECT p_tenant, made.id, w.variant_id, w.level_id, w.quantity, w.quantity
        FROM unnest(p_variants, levels, p_quantities) AS w(variant_id, level_id, quantity);
        INSERT INTO audit_auditevent (tenant_id, name, subject, actor, data)
        VALUES (p_tenant, 'reservation.created', 'reservation:' || made.id, p_actor,
                jsonb_build_object('lines', cardinality(levels), 'units', (SELECT sum(q) FROM unnest(p_quantities) q)));
        PERFORM set_config('shopsync.movement_reason', 'reserved', true),
                set_config('shopsync.movement_reference', 'reservation:' || made.id, true),
                set_config('shopsync.movement_actor', left(p_actor, 120), true);
        -- 4. Last, since everybody waits for them: the levels, by primary key. Their movements are the trigger's.
        FOR spot IN SELECT * FROM unnest(levels, p_quantities, limits) AS w(id, quantity, is_limited) ORDER BY id LOOP
            UPDATE inventory_stocklevel SET held = held + spot.quantity, updated_at = clock_timestamp()
            WHERE id = spot.id AND (available IS NULL OR NOT spot.is_limited OR available - held >= spot.quantity);
            IF NOT FOUND THEN RAISE EXCEPTION USING ERRCODE = 'RS001'; END IF;
        END LOOP;
        RETURN made;
    EXCEPTION WHEN SQLSTATE 'RS001' THEN
        RETURN NULL;  -- too little: all of this is undone
    END;
END $$
"""


class Migration(migrations.Migration):
    dependencies = [("inventory", "0006_handover"), ("audit", "0002_append_only")]
    operations = [migrations.RunSQL(FUNCTION, "DROP FUNCTION inventory_reserve_at_once")]
