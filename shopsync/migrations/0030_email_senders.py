"""A connection's sender may be an e-mail address, and has a postal address."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("shopsync", "0009_idempotent_requests")]
    operations = [
        migrations.AlterField(
            "connection",
            "service",
            models.CharField(max_length=20, help_text="mitto, email; segment for a write key"),
        ),
        migrations.AlterField(
            "connection",
            "sender",
            models.CharField(max_length=320, blank=True, default="", help_text="who messages come from"),
        ),
        migrations.AddField(
            "connection",
            "postal_address",
            models.TextField(
                blank=True, default="", db_default="", max_length=500, help_text="the sender's, in the footer of e-mails"
            ),
        ),
    ]
