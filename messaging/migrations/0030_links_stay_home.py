"""Links and clicks are of one tenant with what they hang on."""

from importlib import import_module

from django.db import migrations

tie = import_module("inventory.migrations.0170_same_tenant").tie


class Migration(migrations.Migration):
    dependencies = [("messaging", "0022_lifted_why"), ("inventory", "0180_reservations_hold")]
    operations = [
        tie("messaging_shortlink", "message_id"),
        tie("messaging_click", "link_id", "contact_id"),
    ]
