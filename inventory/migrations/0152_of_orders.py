from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("inventory", "0151_own_name")]
    operations = [
        migrations.AddField(
            model_name="reservation",
            name="is_of_order",
            field=models.BooleanField(
                db_default=False, default=False, help_text="of an order of ours, which says what becomes of it"
            ),
        ),
    ]
