"""A difference between payments and orders can be explained by a person."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("orders", "0340_same_tenant")]
    operations = [
        migrations.AddField(
            model_name="paymentmismatch",
            name="accepted_at",
            field=models.DateTimeField(blank=True, help_text="since when it is explained, as it stands", null=True),
        ),
        migrations.AddField(
            model_name="paymentmismatch", name="accepted_by", field=models.CharField(blank=True, default="", max_length=150),
            preserve_default=False,
        ),
        migrations.AddField(
            model_name="paymentmismatch",
            name="note",
            field=models.CharField(blank=True, default="", help_text="why it is all right as it stands", max_length=500),
            preserve_default=False,
        ),
    ]
