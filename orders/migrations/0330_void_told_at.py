"""A parcel knows the time of the carrier's newest word on its label's refund."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("orders", "0320_sold_untracked")]
    operations = [
        migrations.AddField(
            model_name="shipment",
            name="void_told_at",
            field=models.DateTimeField(blank=True, help_text="the time of the carrier's newest word on it", null=True),
        ),
    ]
