"""A contact's lifecycle goes forward alone: consent makes a subscriber, an order a customer; imports fold rows in SQL."""

from importlib import import_module

from django.db import migrations

tie = import_module("inventory.migrations.0170_same_tenant").tie

# A writer that read the contact before somebody else moved it on may write back what it read: the further step stays.
FORWARD = """
CREATE FUNCTION messaging_keep_lifecycle() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    steps text[] := ARRAY['lead', 'subscriber', 'customer'];
BEGIN
    IF array_position(steps, NEW.lifecycle::text) < array_position(steps, OLD.lifecycle::text) THEN
        NEW.lifecycle := OLD.lifecycle;
    END IF;
    RETURN NEW;
END $$
"""
KEEP = """
CREATE TRIGGER contact_lifecycle_goes_forward BEFORE UPDATE OF lifecycle ON messaging_contact
FOR EACH ROW WHEN (OLD.lifecycle IS DISTINCT FROM NEW.lifecycle) EXECUTE FUNCTION messaging_keep_lifecycle();
"""
# Whoever subscribed once is no lead any more, whatever they said later: so any order of statements ends the same.
SUBSCRIBE = """
CREATE FUNCTION messaging_make_subscriber() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE messaging_contact SET lifecycle = 'subscriber' WHERE id = NEW.contact_id AND lifecycle = 'lead';
    RETURN NULL;
END $$
"""
MAKE = """
CREATE TRIGGER consententry_makes_subscriber AFTER INSERT ON messaging_consententry
FOR EACH ROW WHEN (NEW.state = 'subscribed') EXECUTE FUNCTION messaging_make_subscriber();
"""
FILL = """
UPDATE messaging_contact c SET lifecycle = 'subscriber' WHERE lifecycle = 'lead'
   AND EXISTS (SELECT 1 FROM messaging_consententry e WHERE e.contact_id = c.id AND e.state = 'subscribed');
UPDATE messaging_contact c SET lifecycle = 'customer' FROM (
    SELECT coalesce(i1.contact_id, i2.contact_id, i3.contact_id) AS id FROM orders_order o
    LEFT JOIN messaging_contactidentity i1 ON i1.tenant_id = o.tenant_id AND i1.kind = 'shopify_customer'
          AND i1.value = o.customer_shopify_id::text
    LEFT JOIN messaging_contactidentity i2 ON i2.tenant_id = o.tenant_id AND i2.kind = 'email' AND i2.value = o.email
    LEFT JOIN messaging_contactidentity i3 ON i3.tenant_id = o.tenant_id AND i3.kind = 'phone' AND i3.value = o.phone
    WHERE NOT o.is_test
) buyer WHERE c.id = buyer.id AND c.lifecycle <> 'customer';
"""
# What several rows of a file say of one person, joined in one pass: attributes by name, tags all together.
AGGREGATES = """
CREATE AGGREGATE messaging_merged(jsonb) (sfunc = jsonb_concat, stype = jsonb, initcond = '{}');
CREATE FUNCTION messaging_array_cat(text[], text[]) RETURNS text[] LANGUAGE sql IMMUTABLE AS $$ SELECT $1 || $2 $$;
CREATE AGGREGATE messaging_joined(text[]) (sfunc = messaging_array_cat, stype = text[], initcond = '{}');
"""
NO_AGGREGATES = """
DROP AGGREGATE messaging_joined(text[]);
DROP FUNCTION messaging_array_cat(text[], text[]);
DROP AGGREGATE messaging_merged(jsonb);
"""
VACUUM = """
ALTER TABLE messaging_importrow SET (autovacuum_vacuum_scale_factor = 0.01, autovacuum_analyze_scale_factor = 0.02);
ALTER TABLE messaging_contactimport SET (autovacuum_vacuum_scale_factor = 0.01, autovacuum_analyze_scale_factor = 0.02);
"""


class Migration(migrations.Migration):
    dependencies = [
        ("messaging", "0020_imports_and_forms"),
        ("inventory", "0180_reservations_hold"),
        ("orders", "0340_same_tenant"),
    ]
    operations = [
        migrations.RunSQL(FORWARD, "DROP FUNCTION messaging_keep_lifecycle()"),
        migrations.RunSQL(KEEP, "DROP TRIGGER contact_lifecycle_goes_forward ON messaging_contact"),
        migrations.RunSQL(SUBSCRIBE, "DROP FUNCTION messaging_make_subscriber()"),
        migrations.RunSQL(MAKE, "DROP TRIGGER consententry_makes_subscriber ON messaging_consententry"),
        migrations.RunSQL(FILL, migrations.RunSQL.noop),
        migrations.RunSQL(AGGREGATES, NO_AGGREGATES),
        migrations.RunSQL(VACUUM, migrations.RunSQL.noop),
        tie("messaging_contactimport", "segment_id"),
        tie("messaging_importchunk", "source_id"),
        tie("messaging_importrow", "source_id"),
    ]
