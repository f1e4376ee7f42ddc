"""Digests are vacuumed eagerly: their rows change often, and claims read their partial indexes."""

from django.db import migrations

VACUUM = "ALTER TABLE shopsync_digest SET (autovacuum_vacuum_scale_factor = 0.01, autovacuum_analyze_scale_factor = 0.02)"


class Migration(migrations.Migration):
    dependencies = [("shopsync", "0006_digests")]
    operations = [migrations.RunSQL(VACUUM, migrations.RunSQL.noop)]
