"""The database refuses a refund of ours beyond what is left of its payment, and vacuums the calls eagerly.

Refunds that the gateway reports are true already and are not refused; the sum of a payment's own is held by
payment_refunds_no_more_than_captured.
"""

from django.db import migrations

GUARD = """
CREATE FUNCTION orders_refuse_overrefunding() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    captured numeric;
    promised numeric;
BEGIN
    SELECT amount_captured INTO captured FROM orders_payment WHERE id = NEW.payment_id FOR UPDATE;
    SELECT coalesce(sum(amount), 0) INTO promised FROM orders_gatewayrefund
    WHERE payment_id = NEW.payment_id AND status IN ('requested', 'pending', 'succeeded');
    IF promised + NEW.amount > captured THEN
        RAISE EXCEPTION 'refunding % with % promised of % captured would give back too much of payment %',
            NEW.amount, promised, captured, NEW.payment_id
            USING ERRCODE = 'check_violation', CONSTRAINT = 'gatewayrefund_gives_back_no_more_than_captured',
                  TABLE = 'orders_gatewayrefund';
    END IF;
    RETURN NEW;
END $$
"""
TRIGGER = """
CREATE TRIGGER gatewayrefund_refuses_overrefunding BEFORE INSERT ON orders_gatewayrefund
FOR EACH ROW WHEN (NEW.is_ours) EXECUTE FUNCTION orders_refuse_overrefunding();
"""


class Migration(migrations.Migration):
    dependencies = [("orders", "0101_payments")]
    operations = [
        migrations.RunSQL(GUARD, "DROP FUNCTION orders_refuse_overrefunding()"),
        migrations.RunSQL(TRIGGER, "DROP TRIGGER gatewayrefund_refuses_overrefunding ON orders_gatewayrefund"),
        migrations.RunSQL(
            "ALTER TABLE orders_paymentcall SET (autovacuum_vacuum_scale_factor = 0.01)",
            "ALTER TABLE orders_paymentcall RESET (autovacuum_vacuum_scale_factor)",
        ),
    ]
