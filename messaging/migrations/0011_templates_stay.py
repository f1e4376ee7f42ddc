"""A version of a template is never changed, and is of its template's tenant."""

from importlib import import_module

from django.db import migrations

tie = import_module("inventory.migrations.0170_same_tenant").tie

STAYS = """
CREATE TRIGGER templateversion_is_append_only BEFORE UPDATE OR DELETE ON messaging_templateversion
FOR EACH ROW EXECUTE FUNCTION shopsync_refuse_change();
"""


class Migration(migrations.Migration):
    dependencies = [("messaging", "0010_templates"), ("inventory", "0180_reservations_hold"), ("audit", "0002_append_only")]
    operations = [
        migrations.RunSQL(STAYS, "DROP TRIGGER templateversion_is_append_only ON messaging_templateversion"),
        tie("messaging_templateversion", "template_id"),
    ]
