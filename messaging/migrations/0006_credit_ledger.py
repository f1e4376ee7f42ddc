"""The ledger of credits keeps itself: entries write their account's balance, add up to zero, and are never changed."""

from django.db import migrations

BALANCE = """
CREATE FUNCTION messaging_post_credits() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE messaging_creditaccount SET balance = balance + NEW.amount
    WHERE id = NEW.account_id AND tenant_id = NEW.tenant_id RETURNING balance INTO NEW.balance_after;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'account % is not of tenant %', NEW.account_id, NEW.tenant_id
            USING ERRCODE = 'check_violation', CONSTRAINT = 'creditentry_is_of_its_tenants_account';
    END IF;
    RETURN NEW;
END $$
"""
SUM = """
CREATE FUNCTION messaging_balance_credits() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    made bigint; total numeric; entries bigint;
BEGIN
    IF TG_TABLE_NAME = 'messaging_creditentry' THEN made := NEW.transaction_id; ELSE made := NEW.id; END IF;
    SELECT coalesce(sum(amount), 0), count(*) INTO total, entries
    FROM messaging_creditentry WHERE transaction_id = made;
    IF total <> 0 OR entries < 2 THEN
        RAISE EXCEPTION 'the entries of a credit transaction add up to %, not to zero', total
            USING ERRCODE = 'check_violation', CONSTRAINT = 'credittransaction_adds_up_to_zero';
    END IF;
    RETURN NULL;
END $$
"""
# An account's balance is its entries' alone to change.
GUARD = """
CREATE FUNCTION messaging_guard_balance() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        NEW.balance := 0;
    ELSIF (NEW.balance IS DISTINCT FROM OLD.balance AND pg_trigger_depth() < 2)
        OR NEW.tenant_id <> OLD.tenant_id OR NEW.kind <> OLD.kind THEN
        RAISE EXCEPTION 'a balance changes by entries alone'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'creditaccount_follows_its_entries';
    END IF;
    RETURN NEW;
END $$
"""
TRIGGERS = """
CREATE TRIGGER creditentry_writes_balance BEFORE INSERT ON messaging_creditentry
FOR EACH ROW EXECUTE FUNCTION messaging_post_credits();
CREATE CONSTRAINT TRIGGER creditentry_adds_up AFTER INSERT ON messaging_creditentry
DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION messaging_balance_credits();
CREATE CONSTRAINT TRIGGER credittransaction_adds_up AFTER INSERT ON messaging_credittransaction
DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION messaging_balance_credits();
CREATE TRIGGER creditaccount_follows_its_entries BEFORE INSERT OR UPDATE ON messaging_creditaccount
FOR EACH ROW EXECUTE FUNCTION messaging_guard_balance();
CREATE TRIGGER creditentry_is_append_only BEFORE UPDATE OR DELETE ON messaging_creditentry
FOR EACH ROW EXECUTE FUNCTION shopsync_refuse_change();
CREATE TRIGGER credittransaction_is_append_only BEFORE UPDATE OR DELETE ON messaging_credittransaction
FOR EACH ROW EXECUTE FUNCTION shopsync_refuse_change();
"""
DROP = """
DROP TRIGGER creditentry_writes_balance ON messaging_creditentry;
DROP TRIGGER creditentry_adds_up ON messaging_creditentry;
DROP TRIGGER credittransaction_adds_up ON messaging_credittransaction;
DROP TRIGGER creditaccount_follows_its_entries ON messaging_creditaccount;
DROP TRIGGER creditentry_is_append_only ON messaging_creditentry;
DROP TRIGGER credittransaction_is_append_only ON messaging_credittransaction;
"""


class Migration(migrations.Migration):
    dependencies = [("messaging", "0005_credits"), ("audit", "0002_append_only")]
    operations = [
        migrations.RunSQL(BALANCE, "DROP FUNCTION messaging_post_credits()"),
        migrations.RunSQL(SUM, "DROP FUNCTION messaging_balance_credits()"),
        migrations.RunSQL(GUARD, "DROP FUNCTION messaging_guard_balance()"),
        migrations.RunSQL(TRIGGERS, DROP),
    ]
