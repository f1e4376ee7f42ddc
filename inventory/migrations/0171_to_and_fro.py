"""A policy that is changed to and fro within one transaction opens nothing, whenever the guard is asked.

The guard asks again when the transaction ends (0162_facts_not_words), unless `SET CONSTRAINTS ALL IMMEDIATE` lets it ask
at once, while the policy is still `continue`. So whoever takes the leave away is asked as well: what became short within
this very transaction must have another reason by then. What it was before, the ledger says: a movement is of this
transaction if whoever wrote its row has not ended yet. What was oversold before stays; who asks later asks as usual.
"""

import importlib

from django.db import migrations

_BEFORE = importlib.import_module("inventory.migrations.0162_facts_not_words")
ENSURE = """
CREATE FUNCTION inventory_ensure_not_oversold(was inventory_stocklevel, level inventory_stocklevel) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    is_new boolean := was.id IS NULL;
    raised bigint := level.held - CASE WHEN is_new THEN 0 ELSE was.held END;
    -- How much more is short than was; null: nothing was counted before.
    grown bigint := CASE WHEN NOT is_new THEN (level.held - level.available) - (was.held - was.available) END;
    authority text;
BEGIN
    -- 1. What is short is not new.
    IF level.available IS NULL AND (is_new OR was.available IS NULL) OR raised <= 0 AND (is_new OR grown <= 0) THEN
        RETURN;
    END IF;
    -- 2. Promised before, in another form.
    IF raised > 0 AND grown <= 0 AND (
        coalesce(was.committed, 0) - coalesce(level.committed, 0) >= raised
        OR raised <= (SELECT sum(pushed) FROM inventory_reservationline WHERE level_id = level.id))
    THEN
        RETURN;
    END IF;
    -- 3. A count says so.
    SELECT stock_authority INTO authority FROM shopsync_tenant WHERE id = level.tenant_id;
    IF authority = 'shopify' AND level.mirrored_at IS NOT NULL AND raised <= 0
       AND level.available IS NOT DISTINCT FROM level.mirrored_available
    THEN
        RETURN;
    END IF;
    IF level.available IS NULL THEN
        RAISE EXCEPTION 'level % is counted: to promise from it without end would oversell it', level.id
            USING ERRCODE = 'check_violation', CONSTRAINT = 'stocklevel_stays_counted', TABLE = 'inventory_stocklevel';
    END IF;
    IF authority = 'shopsync' AND raised = 0 AND (
        was.available IS NULL AND level.on_hand IS DISTINCT FROM was.on_hand AND level.on_hand >= level.available
        OR coalesce(was.on_hand, 0) - coalesce(level.on_hand, 0) >= was.available - level.available)
    THEN
        RETURN;
    END IF;
    -- 4. It may be oversold: who changes that waits until this is over.
    PERFORM FROM inventory_variant WHERE item_id = level.item_id AND policy = 'continue' AND removed_at IS NULL
    ORDER BY id FOR SHARE;
    IF FOUND THEN
        RETURN;
    END IF;
    IF raised > 0 THEN
        RAISE EXCEPTION 'holding % of % available would oversell level %', level.held, level.available, level.id
            USING ERRCODE = 'check_violation', CONSTRAINT = 'stocklevel_holds_no_more_than_available',
                  TABLE = 'inventory_stocklevel';
    END IF;
    RAISE EXCEPTION 'taking level % to % with % held would oversell it', level.id, level.available, level.held
        USING ERRCODE = 'check_violation', CONSTRAINT = 'stocklevel_sells_no_more_than_available',
              TABLE = 'inventory_stocklevel';
END $$
"""
GUARD = """
CREATE OR REPLACE FUNCTION inventory_refuse_overselling() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_WHEN = 'AFTER' AND NOT EXISTS (
        SELECT FROM inventory_stocklevel WHERE id = NEW.id AND (available IS NULL OR held > available))
    THEN
        RETURN NULL;  -- it is over
    END IF;
    PERFORM inventory_ensure_not_oversold(OLD, NEW);
    RETURN NEW;
END $$
"""
# Numbers of transactions have 32 bits in rows and 64 where they can be asked about.
WROTE = """
CREATE FUNCTION inventory_wrote(p_xmin xid) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    top bigint := pg_current_xact_id()::text::bigint;
    ahead bigint := (((p_xmin::text::bigint - top) + 2147483648) & 4294967295) - 2147483648;
BEGIN
    -- A row that is seen and whose writer has not ended was written by this transaction, or a savepoint of it.
    RETURN coalesce(pg_xact_status((top + ahead)::text::xid8) = 'in progress', false);
EXCEPTION WHEN invalid_parameter_value THEN
    RETURN false;  -- so old that its number stands for one to come
END $$
"""
ASK = """
CREATE FUNCTION inventory_ask_again(level inventory_stocklevel) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    was inventory_stocklevel := level;
    promised inventory_stocklevel := level;
    begun_at bigint;
    first bigint;
    movement record;
BEGIN
    -- 1. The level as it was when the transaction began, or was made in it.
    FOR movement IN SELECT sequence, state, before, after, xmin FROM inventory_stockmovement
                    WHERE level_id = level.id ORDER BY sequence DESC LOOP
        EXIT WHEN NOT inventory_wrote(movement.xmin);
        first := movement.sequence;
        CASE movement.state
            WHEN 'available' THEN was.available := movement.before; begun_at := movement.after;
            WHEN 'held' THEN was.held := coalesce(movement.before, 0);
            WHEN 'on_hand' THEN was.on_hand := movement.before;
            WHEN 'committed' THEN was.committed := movement.before;
            ELSE NULL;
        END CASE;
    END LOOP;
    IF first = 1 THEN
        was.available := begun_at;
    END IF;
    IF first IS NULL OR level.held - level.available <= greatest(was.held - was.available, 0) THEN
        RETURN;
    END IF;
    -- 2. More is promised than there was or is.
    promised.available := greatest(was.available, level.available);
    IF was.available IS NOT NULL AND level.held > promised.available THEN
        was.available := promised.available;
        PERFORM inventory_ensure_not_oversold(was, promised);
    END IF;
    -- 3. There is less than is promised.
    was.held := level.held;
    PERFORM inventory_ensure_not_oversold(was, level);
END $$
"""
OF_POLICY = """
CREATE FUNCTION inventory_ask_policy_again() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM inventory_ask_again(l) FROM inventory_stocklevel l
    WHERE item_id = OLD.item_id AND (available IS NULL OR held > available);
    RETURN NULL;
END $$
"""
TRIGGERS = """
CREATE CONSTRAINT TRIGGER variant_denies_no_sale_of_its_own AFTER UPDATE OF policy, removed_at, item_id
ON inventory_variant DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
WHEN (OLD.policy = 'continue' AND OLD.removed_at IS NULL
      AND (NEW.policy <> 'continue' OR NEW.removed_at IS NOT NULL OR NEW.item_id IS DISTINCT FROM OLD.item_id))
EXECUTE FUNCTION inventory_ask_policy_again();
CREATE CONSTRAINT TRIGGER variant_goes_with_no_sale_of_its_own AFTER DELETE
ON inventory_variant DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
WHEN (OLD.policy = 'continue' AND OLD.removed_at IS NULL) EXECUTE FUNCTION inventory_ask_policy_again();
"""
UNDO = """
DROP TRIGGER variant_denies_no_sale_of_its_own ON inventory_variant;
DROP TRIGGER variant_goes_with_no_sale_of_its_own ON inventory_variant;
"""


class Migration(migrations.Migration):
    dependencies = [("inventory", "0170_same_tenant")]
    operations = [
        migrations.RunSQL(
            ENSURE, "DROP FUNCTION inventory_ensure_not_oversold(inventory_stocklevel, inventory_stocklevel)"
        ),
        migrations.RunSQL(GUARD, _BEFORE.GUARD),
        migrations.RunSQL(WROTE, "DROP FUNCTION inventory_wrote(xid)"),
        migrations.RunSQL(ASK, "DROP FUNCTION inventory_ask_again(inventory_stocklevel)"),
        migrations.RunSQL(OF_POLICY, "DROP FUNCTION inventory_ask_policy_again()"),
        migrations.RunSQL(TRIGGERS, UNDO),
    ]
