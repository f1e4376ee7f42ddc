"""What a hand-over of the count needs: since when we count an item, and when Shopify's count of a level was true.

The guard lets a hand-over hold what is promised although the count that is taken over is too small: a shown shortfall.
"""

from django.db import migrations, models

GUARD = """
CREATE OR REPLACE FUNCTION inventory_refuse_overselling() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    was_held bigint := CASE WHEN TG_OP = 'UPDATE' THEN OLD.held ELSE 0 END;
    raises_held boolean := NEW.held > was_held;
    grows_shortfall boolean := TG_OP = 'UPDATE' AND NEW.held - NEW.available > OLD.held - OLD.available;
    reason text := coalesce(current_setting('shopsync.movement_reason', true), '');
BEGIN
    IF NEW.available IS NULL OR NEW.held <= NEW.available OR NOT (raises_held OR coalesce(grows_shortfall, false)) THEN
        RETURN NEW;
    END IF;
    IF reason = 'handed_over' OR EXISTS (SELECT 1 FROM inventory_variant WHERE item_id = NEW.item_id AND policy = 'continue')
    THEN
        RETURN NEW;
    END IF;
    IF raises_held THEN
        RAISE EXCEPTION 'holding % of % available would oversell level %', NEW.held, NEW.available, NEW.id
            USING ERRCODE = 'check_violation', CONSTRAINT = 'stocklevel_holds_no_more_than_available',
                  TABLE = 'inventory_stocklevel';
    END IF;
    IF reason NOT IN ('snapshot', 'adjusted', 'shipped')
       AND (SELECT stock_authority FROM shopsync_tenant WHERE id = NEW.tenant_id) = 'shopsync' THEN
        RAISE EXCEPTION 'taking level % to % with % held would oversell it', NEW.id, NEW.available, NEW.held
            USING ERRCODE = 'check_violation', CONSTRAINT = 'stocklevel_sells_no_more_than_available',
                  TABLE = 'inventory_stocklevel';
    END IF;
    RETURN NEW;
END $$
"""
# The version of a level begins with the time at which its count was true.
DATE_MIRRORS = """
UPDATE inventory_stocklevel SET mirrored_at = (left(source_version, 26) || 'Z')::timestamptz
WHERE source_version ~ '^[12][0-9]{3}-[01][0-9]-[0-3][0-9]T'
"""


class Migration(migrations.Migration):
    dependencies = [("inventory", "0005_states")]
    operations = [
        migrations.AddField(
            model_name="inventoryitem",
            name="counted_at",
            field=models.DateTimeField(
                blank=True, help_text="where we count: what left before is not in our count", null=True
            ),
        ),
        migrations.AddField(
            model_name="stocklevel",
            name="mirrored_at",
            field=models.DateTimeField(blank=True, help_text="when that was true", null=True),
        ),
        migrations.RunSQL(DATE_MIRRORS, migrations.RunSQL.noop),
        migrations.RunSQL(GUARD, migrations.RunSQL.noop),
    ]
