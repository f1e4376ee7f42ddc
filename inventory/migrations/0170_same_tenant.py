"""No row of one tenant points to a row of another: each such foreign key carries the tenant along.

A key to a row's id alone lets a line of one tenant promise from a level of another, and neither would ever see it.
`(level_id, tenant_id)` to `(id, tenant_id)` refuses that, and takes the place of the plain key, so that a write asks no
more than before. What Django knows of the key stays as it is: it only ever looks for the column.

A new model ties its own keys by `tie(…)` of its migration; tests/test_same_tenant.py names those that are not tied.
Rows that break this already stop the migration, which names the key: they have to be looked at by a person.
"""

from django.db import migrations

TIE = """
CREATE FUNCTION inventory_tie_to_tenant(p_table regclass, p_column text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    plain record;
    own_name text := split_part(p_table::text, '_', 2);
BEGIN
    SELECT c.conname AS name, c.confrelid::regclass AS target INTO STRICT plain
    FROM pg_constraint c JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = c.conkey[1]
    WHERE c.conrelid = p_table AND c.contype = 'f' AND cardinality(c.conkey) = 1 AND a.attname = p_column;
    IF NOT EXISTS (SELECT FROM pg_constraint WHERE conrelid = plain.target AND conname LIKE '%\\_is\\_of\\_one\\_tenant') THEN
        EXECUTE format('ALTER TABLE %s ADD CONSTRAINT %I UNIQUE (id, tenant_id)', plain.target,
                       split_part(plain.target::text, '_', 2) || '_is_of_one_tenant');
    END IF;
    EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I, ADD CONSTRAINT %I FOREIGN KEY (%I, tenant_id)
                    REFERENCES %s (id, tenant_id) DEFERRABLE INITIALLY DEFERRED', p_table, plain.name,
                   own_name || '_' || regexp_replace(p_column, '_id$', '') || '_is_of_its_tenant', p_column, plain.target);
END $$
"""
UNTIE = """
CREATE FUNCTION inventory_untie_from_tenant(p_table regclass, p_column text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    tied record;
BEGIN
    SELECT c.conname AS name, c.confrelid::regclass AS target INTO STRICT tied
    FROM pg_constraint c JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = c.conkey[1]
    WHERE c.conrelid = p_table AND c.contype = 'f' AND cardinality(c.conkey) = 2 AND a.attname = p_column;
    EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I, ADD CONSTRAINT %I FOREIGN KEY (%I) REFERENCES %s (id)
                    DEFERRABLE INITIALLY DEFERRED', p_table, tied.name,
                   p_table::text || '_' || p_column || '_fk', p_column, tied.target);
    IF NOT EXISTS (SELECT FROM pg_constraint WHERE confrelid = tied.target AND cardinality(conkey) = 2) THEN
        EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I', tied.target,
                       split_part(tied.target::text, '_', 2) || '_is_of_one_tenant');
    END IF;
END $$
"""


def tie(table: str, *columns: str) -> migrations.RunSQL:
    """Let these foreign keys of a table accept rows of its own tenant alone."""
    forth, back = (
        [f"SELECT {function}('{table}', '{column}')" for column in columns]
        for function in ("inventory_tie_to_tenant", "inventory_untie_from_tenant")
    )
    return migrations.RunSQL(forth, back)


class Migration(migrations.Migration):
    dependencies = [("inventory", "0163_own_ledger")]
    operations = [
        migrations.RunSQL(TIE, "DROP FUNCTION inventory_tie_to_tenant(regclass, text)"),
        migrations.RunSQL(UNTIE, "DROP FUNCTION inventory_untie_from_tenant(regclass, text)"),
        tie("inventory_variant", "product_id", "item_id"),
        tie("inventory_stocklevel", "item_id", "location_id"),
        tie("inventory_stockmovement", "level_id"),
        tie("inventory_reservationline", "reservation_id", "variant_id", "level_id"),
        tie("inventory_holdpush", "line_id"),
        tie("inventory_stockthreshold", "variant_id", "location_id"),
        tie("inventory_stockout", "variant_id"),
    ]
