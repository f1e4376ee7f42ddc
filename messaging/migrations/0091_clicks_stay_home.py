"""A click is of its campaign's tenant; those that are there already name the campaign of their message."""

from importlib import import_module

from django.db import migrations

tie = import_module("inventory.migrations.0170_same_tenant").tie
NAME = """
UPDATE messaging_click c SET campaign_id = m.campaign_id FROM messaging_shortlink l JOIN messaging_message m
    ON m.id = l.message_id WHERE l.id = c.link_id AND m.campaign_id IS NOT NULL"""


class Migration(migrations.Migration):
    dependencies = [("messaging", "0090_clicks_and_ends")]
    operations = [tie("messaging_click", "campaign_id"), migrations.RunSQL(NAME, migrations.RunSQL.noop)]
