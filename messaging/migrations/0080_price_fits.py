"""A price is bounded, so that what a batch costs is a sum that credits can move."""

import django.core.validators
from django.db import migrations, models

import messaging.models.credits


class Migration(migrations.Migration):
    dependencies = [("messaging", "0070_same_tenant")]
    operations = [
        migrations.AlterField(
            model_name="price",
            name="amount",
            field=messaging.models.credits.Credits(
                decimal_places=4,
                help_text="credits for one part; 10,000 at most",
                max_digits=18,
                validators=[
                    django.core.validators.MinValueValidator(0),
                    django.core.validators.MaxValueValidator(10000),
                ],
            ),
        ),
        migrations.AddConstraint(
            model_name="price",
            constraint=models.CheckConstraint(
                condition=models.Q(("amount__lte", 10000)), name="price_fits_into_a_batch"
            ),
        ),
    ]
