"""The inbox is vacuumed eagerly: its rows change often, and claims read its partial indexes."""

from django.db import migrations

VACUUM = "ALTER TABLE shopsync_webhookevent SET (autovacuum_vacuum_scale_factor = 0.01, autovacuum_analyze_scale_factor = 0.02)"


class Migration(migrations.Migration):
    dependencies = [("shopsync", "0001_initial")]
    operations = [migrations.RunSQL(VACUUM, migrations.RunSQL.noop)]
