"""What was paid by hand: of orders that were marked paid before, all that no gateway brought."""

from django.db import migrations

import orders.models.orders

FILL = """
UPDATE orders_order o SET paid_by_hand_amount = o.total_amount
WHERE o.source = 'api' AND o.paid_at IS NOT NULL
  AND NOT EXISTS (SELECT 1 FROM orders_payment p WHERE p.order_id = o.id AND p.amount_captured > 0)
"""


class Migration(migrations.Migration):
    dependencies = [("orders", "0310_authorisations")]
    operations = [
        migrations.AddField(
            model_name="order",
            name="paid_by_hand_amount",
            field=orders.models.orders.Money(
                db_default=0, help_text="what a person noted as paid, beside what gateways brought"
            ),
        ),
        migrations.RunSQL(FILL, migrations.RunSQL.noop),
    ]
