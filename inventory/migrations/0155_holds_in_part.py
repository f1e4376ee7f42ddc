"""Holds are given back in part: several calls back for one line, and lines of which nothing is left."""

from django.db import migrations, models
from django.db.models import Q


class Migration(migrations.Migration):
    dependencies = [("inventory", "0152_of_orders")]

    operations = [
        migrations.RemoveConstraint("holdpush", "holdpush_is_one_each_way"),
        migrations.AddConstraint(
            "holdpush",
            models.UniqueConstraint(
                fields=("line",), name="holdpush_sets_a_line_aside_once", condition=Q(direction="hold")
            ),
        ),
        migrations.RemoveConstraint("reservationline", "reservationline_reserves_something"),
    ]
