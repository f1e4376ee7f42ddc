"""No parcels hold more of a line than the line has, whoever packs them; what was voided stays voided.

The line is locked before the sum is read, so that two who pack at once can't both see the last unit. Calls to carriers
are vacuumed eagerly: their rows change often, and claims read their partial indexes.
"""

from django.db import migrations

GUARD = """
CREATE FUNCTION orders_guard_shipment_line() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    has bigint;
    packed bigint;
BEGIN
    SELECT line.current_quantity + line.refunded_quantity INTO has
    FROM orders_orderline line JOIN orders_shipment shipment ON shipment.order_id = line.order_id
    WHERE line.id = NEW.line_id AND shipment.id = NEW.shipment_id AND shipment.tenant_id = NEW.tenant_id
    FOR NO KEY UPDATE OF line;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'line % is not of the order of shipment %', NEW.line_id, NEW.shipment_id
            USING ERRCODE = 'check_violation', CONSTRAINT = 'shipmentline_is_of_its_shipments_order';
    END IF;
    SELECT coalesce(sum(row.quantity), 0) INTO packed
    FROM orders_shipmentline row JOIN orders_shipment shipment ON shipment.id = row.shipment_id
    WHERE row.line_id = NEW.line_id AND shipment.status <> 'voided';
    IF packed > has THEN
        RAISE EXCEPTION 'parcels hold % of line %, which has %', packed, NEW.line_id, has
            USING ERRCODE = 'check_violation', CONSTRAINT = 'shipmentline_sends_no_more_than_the_line_has';
    END IF;
    RETURN NULL;
END $$
"""
KEEP_VOIDED = """
CREATE FUNCTION orders_keep_voided() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'shipment % was voided, and its units may be in another parcel', OLD.id
        USING ERRCODE = 'check_violation', CONSTRAINT = 'shipment_stays_voided';
END $$
"""
TRIGGERS = """
CREATE TRIGGER shipmentline_is_guarded AFTER INSERT OR UPDATE OF quantity, line_id ON orders_shipmentline
FOR EACH ROW WHEN (NEW.line_id IS NOT NULL) EXECUTE FUNCTION orders_guard_shipment_line();
CREATE TRIGGER shipment_stays_voided BEFORE UPDATE OF status ON orders_shipment
FOR EACH ROW WHEN (OLD.status = 'voided' AND NEW.status <> 'voided') EXECUTE FUNCTION orders_keep_voided();
"""
DROP_TRIGGERS = """
DROP TRIGGER shipmentline_is_guarded ON orders_shipmentline;
DROP TRIGGER shipment_stays_voided ON orders_shipment;
"""
VACUUM = (
    "ALTER TABLE orders_shipmentcall SET (autovacuum_vacuum_scale_factor = 0.01, autovacuum_analyze_scale_factor = 0.02)"
)


class Migration(migrations.Migration):
    dependencies = [("orders", "0201_shipments")]
    operations = [
        migrations.RunSQL(GUARD, "DROP FUNCTION orders_guard_shipment_line()"),
        migrations.RunSQL(KEEP_VOIDED, "DROP FUNCTION orders_keep_voided()"),
        migrations.RunSQL(TRIGGERS, DROP_TRIGGERS),
        migrations.RunSQL(VACUUM, migrations.RunSQL.noop),
    ]
