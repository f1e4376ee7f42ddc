"""A click names its campaign, and messages that went amiss are found by how and why."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("messaging", "0080_price_fits")]
    operations = [
        migrations.AddField(
            model_name="click",
            name="campaign",
            field=models.ForeignKey(
                blank=True,
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="clicks",
                to="messaging.campaign",
            ),
        ),
        migrations.AddIndex(
            model_name="click",
            index=models.Index(
                condition=models.Q(("campaign__isnull", False)),
                fields=["campaign", "link"],
                name="click_of_campaign",
            ),
        ),
        migrations.AddIndex(
            model_name="message",
            index=models.Index(
                condition=models.Q(("campaign__isnull", False), ("outcome__in", ("skipped", "failed", "unknown_final"))),
                fields=["campaign", "outcome", "-id"],
                name="message_of_campaign_amiss",
            ),
        ),
        migrations.AddIndex(
            model_name="message",
            index=models.Index(
                condition=models.Q(("reason", ""), _negated=True),
                fields=["tenant_id", "reason", "-id"],
                name="message_with_reason",
            ),
        ),
    ]
