"""Credit accounts of the tenants that were made before accounts were made with a tenant."""

from django.db import migrations

OPEN = """
INSERT INTO messaging_creditaccount (tenant_id, kind)
SELECT t.id, k.kind FROM shopsync_tenant t, unnest(ARRAY['funding', 'available', 'held', 'spent', 'house']) AS k(kind)
ORDER BY t.id ON CONFLICT (tenant_id, kind) DO NOTHING"""


class Migration(migrations.Migration):
    dependencies = [("messaging", "0102_once_per_event"), ("shopsync", "0030_email_senders")]
    operations = [migrations.RunSQL(OPEN, migrations.RunSQL.noop)]
