"""What a hand-over of the count needs: which of a line's units had left before the present count began, and when
parcels of Shopify's were made."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("orders", "0202_shipments_guard")]
    operations = [
        migrations.AddField(
            model_name="commitment",
            name="counted_before",
            field=models.PositiveBigIntegerField(
                db_default=0, default=0, help_text="units that had left before the present count began"
            ),
        ),
        migrations.AddField(
            model_name="commitment",
            name="counted_gross",
            field=models.PositiveBigIntegerField(
                blank=True, help_text="the same, before what came back by then; null: not asked yet", null=True
            ),
        ),
        migrations.AddField(
            model_name="fulfillment",
            name="sent_at",
            field=models.DateTimeField(blank=True, null=True),
        ),
    ]
