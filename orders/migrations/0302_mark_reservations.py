"""Mark the reservations that orders of ours hold their units by."""

from django.db import migrations

MARK = """
UPDATE inventory_reservation SET is_of_order = true FROM orders_order o WHERE o.reservation_id = inventory_reservation.id
"""


class Migration(migrations.Migration):
    dependencies = [("orders", "0301_watches"), ("inventory", "0152_of_orders")]
    operations = [migrations.RunSQL(MARK, migrations.RunSQL.noop)]
