"""Recognise a body that belongs to another tenant, also when both arrive at the same instant.

The function is volatile, so that its query sees what was committed while it waited for the lock on this body: deliveries of
one body are stored one after the other.
"""

from django.db import migrations, models

FUNCTION = """
CREATE FUNCTION shopsync_body_is_foreign(body_digest varchar, own_tenant_id bigint) RETURNS boolean
LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('body:' || body_digest, 0));
    RETURN EXISTS (SELECT 1 FROM shopsync_webhookevent
                   WHERE digest = body_digest AND tenant_id <> own_tenant_id AND source = 'shopify');
END $$
"""


class Migration(migrations.Migration):
    dependencies = [("shopsync", "0002_vacuum")]
    operations = [
        migrations.AddField(
            model_name="webhookevent",
            name="is_foreign",
            field=models.BooleanField(db_default=False, default=False, help_text="the body is another tenant's"),
        ),
        migrations.RunSQL(FUNCTION, "DROP FUNCTION shopsync_body_is_foreign(varchar, bigint)"),
    ]
