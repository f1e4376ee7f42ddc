"""An automation writes once about an event, whatever was published since.

Of messages that two versions made about one event before, the first keeps the trigger; the others name their version too.
"""

from importlib import import_module

import django.db.models.deletion
from django.db import migrations, models
from django.db.models import Q

tie = import_module("inventory.migrations.0170_same_tenant").tie
NAME = """
UPDATE messaging_message m SET automation_id = v.automation_id, trigger = CASE WHEN r.place = 1 THEN m.trigger
    ELSE left(m.trigger, 80) || ' (again, message ' || m.id || ')' END
FROM messaging_automationversion v, (
    SELECT m.id, row_number() OVER (PARTITION BY v.automation_id, m.trigger ORDER BY m.id) AS place
    FROM messaging_message m JOIN messaging_automationversion v ON v.id = m.automation_version_id) r
WHERE v.id = m.automation_version_id AND r.id = m.id"""


class Migration(migrations.Migration):
    dependencies = [("messaging", "0101_cost_is_what_is_paid")]
    operations = [
        migrations.AddField(
            "message",
            "automation",
            models.ForeignKey(
                null=True,
                blank=True,
                db_index=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to="messaging.automation",
            ),
        ),
        migrations.RemoveConstraint("message", "message_is_sent_once_per_automation_and_trigger"),
        migrations.RunSQL(NAME, migrations.RunSQL.noop),
        migrations.RunSQL("SET CONSTRAINTS ALL IMMEDIATE; SET CONSTRAINTS ALL DEFERRED", migrations.RunSQL.noop),
        tie("messaging_message", "automation_id"),
        migrations.AddConstraint(
            "message",
            models.UniqueConstraint(
                fields=("automation", "trigger"),
                name="message_is_sent_once_per_automation_and_trigger",
                condition=Q(automation__isnull=False),
            ),
        ),
        migrations.AddConstraint(
            "message",
            models.CheckConstraint(
                name="message_names_its_automation",
                condition=Q(automation__isnull=True, automation_version__isnull=True)
                | Q(automation__isnull=False, automation_version__isnull=False),
            ),
        ),
    ]
