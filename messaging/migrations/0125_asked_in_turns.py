"""Reports of unknown ids are asked about in turns: when each was last."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("messaging", "0110_accounts_of_all")]
    operations = [
        migrations.AddField(
            "deliveryreport",
            "asked_at",
            models.DateTimeField(
                blank=True, help_text="when the provider was last asked whose it is, while nobody knew", null=True
            ),
        )
    ]
