"""A reply's contact is of its own tenant; what was called before has the number that it was called from."""

from importlib import import_module

from django.db import migrations

tie = import_module("inventory.migrations.0170_same_tenant").tie

SENDERS = """
UPDATE messaging_message m SET sender = c.sender FROM shopsync_connection c
WHERE c.id = m.connection_id AND m.attempt_id IS NOT NULL AND m.sender = '' AND c.sender <> ''
"""


class Migration(migrations.Migration):
    dependencies = [("messaging", "0050_replies")]
    operations = [
        migrations.RunSQL(SENDERS, migrations.RunSQL.noop),
        # Keys are checked at the end of a transaction: what was written above has to be done with before a table is altered.
        migrations.RunSQL("SET CONSTRAINTS ALL IMMEDIATE", migrations.RunSQL.noop),
        tie("messaging_inboundmessage", "contact_id"),
    ]
