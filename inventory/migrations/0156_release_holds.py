"""Holds taken off many levels in one statement, each movement with the reference of its own reservation.

The lines come in the order in which they are to be released; their levels are locked. A level that is not the tenant's,
or that would hold less than nothing, ends the statement.
"""

from django.db import migrations

FUNCTION = """
CREATE FUNCTION inventory_release_holds(p_tenant bigint, p_references text[], p_levels bigint[], p_units bigint[])
RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    line record;
BEGIN
    FOR line IN SELECT * FROM unnest(p_references, p_levels, p_units) AS w(reference, level_id, units) LOOP
        PERFORM set_config('shopsync.movement_reference', line.reference, true);
        UPDATE inventory_stocklevel SET held = held - line.units, updated_at = clock_timestamp()
        WHERE id = line.level_id AND tenant_id = p_tenant;
        IF NOT FOUND THEN
            RAISE EXCEPTION 'level % is not of tenant %', line.level_id, p_tenant;
        END IF;
    END LOOP;
END $$
"""


class Migration(migrations.Migration):
    dependencies = [("inventory", "0155_holds_in_part")]
    operations = [migrations.RunSQL(FUNCTION, "DROP FUNCTION inventory_release_holds")]
