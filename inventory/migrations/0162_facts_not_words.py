"""The guard against overselling goes by what the rows say, whatever reason the ledger is told.

More may be held than there is, and `available` may fall below what is held, where the rows show why that is true:

- a live variant of the item may be sold below zero (policy `continue`); it stays so until the transaction ends;
- units that were promised before change their form: set aside in Shopify, or sold and not sent, and held from now on;
- where we count, `on_hand` falls with `available`, or begins with it: the units are not there, which no promise does;
- where Shopify counts, `available` is what it last said (`mirrored_available`); untracked is nothing else, either.

Asked at each change, and again when the transaction ends, of those that were let pass: what was changed to and fro
within it opens nothing. Nor does lending a level to another item.
"""

import importlib

from django.db import migrations

BEFORE = importlib.import_module("inventory.migrations.0006_handover").GUARD
GUARD = """
CREATE OR REPLACE FUNCTION inventory_refuse_overselling() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    is_new boolean := TG_OP = 'INSERT';
    raised bigint := NEW.held - CASE WHEN is_new THEN 0 ELSE OLD.held END;
    -- How much more is short than was; null: nothing was counted before.
    grown bigint := CASE WHEN NOT is_new THEN (NEW.held - NEW.available) - (OLD.held - OLD.available) END;
    authority text;
BEGIN
    -- 1. What is short is not new, or is over when the transaction ends.
    IF TG_WHEN = 'AFTER' AND NOT EXISTS (
        SELECT FROM inventory_stocklevel WHERE id = NEW.id AND (available IS NULL OR held > available))
    THEN
        RETURN NULL;
    END IF;
    IF NEW.available IS NULL AND (is_new OR OLD.available IS NULL) OR raised <= 0 AND (is_new OR grown <= 0) THEN
        RETURN NEW;
    END IF;
    -- 2. Promised before, in another form.
    IF raised > 0 AND grown <= 0 AND (
        coalesce(OLD.committed, 0) - coalesce(NEW.committed, 0) >= raised
        OR raised <= (SELECT sum(pushed) FROM inventory_reservationline WHERE level_id = NEW.id))
    THEN
        RETURN NEW;
    END IF;
    -- 3. A count says so.
    SELECT stock_authority INTO authority FROM shopsync_tenant WHERE id = NEW.tenant_id;
    IF authority = 'shopify' AND NEW.mirrored_at IS NOT NULL AND raised <= 0
       AND NEW.available IS NOT DISTINCT FROM NEW.mirrored_available
    THEN
        RETURN NEW;
    END IF;
    IF NEW.available IS NULL THEN
        RAISE EXCEPTION 'level % is counted: to promise from it without end would oversell it', NEW.id
            USING ERRCODE = 'check_violation', CONSTRAINT = 'stocklevel_stays_counted', TABLE = 'inventory_stocklevel';
    END IF;
    IF authority = 'shopsync' AND raised = 0 AND (
        OLD.available IS NULL AND NEW.on_hand IS DISTINCT FROM OLD.on_hand AND NEW.on_hand >= NEW.available
        OR coalesce(OLD.on_hand, 0) - coalesce(NEW.on_hand, 0) >= OLD.available - NEW.available)
    THEN
        RETURN NEW;
    END IF;
    -- 4. It may be oversold: who changes that waits until this is over.
    PERFORM FROM inventory_variant WHERE item_id = NEW.item_id AND policy = 'continue' AND removed_at IS NULL
    ORDER BY id FOR SHARE;
    IF FOUND THEN
        RETURN NEW;
    END IF;
    IF raised > 0 THEN
        RAISE EXCEPTION 'holding % of % available would oversell level %', NEW.held, NEW.available, NEW.id
            USING ERRCODE = 'check_violation', CONSTRAINT = 'stocklevel_holds_no_more_than_available',
                  TABLE = 'inventory_stocklevel';
    END IF;
    RAISE EXCEPTION 'taking level % to % with % held would oversell it', NEW.id, NEW.available, NEW.held
        USING ERRCODE = 'check_violation', CONSTRAINT = 'stocklevel_sells_no_more_than_available',
              TABLE = 'inventory_stocklevel';
END $$
"""
KEEP = """
CREATE FUNCTION inventory_refuse_other_item() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'level % is of one item of one tenant: make another level', NEW.id
        USING ERRCODE = 'check_violation', CONSTRAINT = 'stocklevel_stays_of_its_item', TABLE = 'inventory_stocklevel';
END $$
"""
TRIGGERS = """
DROP TRIGGER stocklevel_refuses_overselling ON inventory_stocklevel;
CREATE TRIGGER stocklevel_refuses_overselling BEFORE INSERT OR UPDATE OF available, held ON inventory_stocklevel
FOR EACH ROW WHEN (NEW.available IS NULL OR NEW.held > NEW.available) EXECUTE FUNCTION inventory_refuse_overselling();
CREATE CONSTRAINT TRIGGER stocklevel_ends_without_overselling AFTER UPDATE OF available, held ON inventory_stocklevel
DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
WHEN (NEW.available IS NULL AND OLD.available IS NOT NULL OR NEW.held > NEW.available
      AND (OLD.available IS NULL OR NEW.held - NEW.available > OLD.held - OLD.available))
EXECUTE FUNCTION inventory_refuse_overselling();
CREATE CONSTRAINT TRIGGER stocklevel_begins_without_overselling AFTER INSERT ON inventory_stocklevel
DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (NEW.held > 0 AND NEW.held > NEW.available)
EXECUTE FUNCTION inventory_refuse_overselling();
CREATE TRIGGER stocklevel_stays_of_its_item BEFORE UPDATE OF item_id, tenant_id ON inventory_stocklevel
FOR EACH ROW WHEN (NEW.item_id <> OLD.item_id OR NEW.tenant_id <> OLD.tenant_id)
EXECUTE FUNCTION inventory_refuse_other_item();
"""
UNDO = """
DROP TRIGGER stocklevel_stays_of_its_item ON inventory_stocklevel;
DROP TRIGGER stocklevel_ends_without_overselling ON inventory_stocklevel;
DROP TRIGGER stocklevel_begins_without_overselling ON inventory_stocklevel;
"""


class Migration(migrations.Migration):
    dependencies = [("inventory", "0161_promises")]
    operations = [
        migrations.RunSQL(GUARD, BEFORE),
        migrations.RunSQL(KEEP, "DROP FUNCTION inventory_refuse_other_item()"),
        migrations.RunSQL(TRIGGERS, UNDO),
    ]
