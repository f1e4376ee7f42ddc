"""Levels that nobody counts know what was sold from them, and its lines know that no count had it off."""

from django.db import migrations

SOLD = """
SELECT set_config('shopsync.movement_reason', 'corrected', true);
UPDATE inventory_stocklevel AS l SET committed = a.committed
FROM (SELECT level_id, sum(committed)::bigint AS committed FROM orders_allocation GROUP BY level_id) a
JOIN inventory_stocklevel v ON v.id = a.level_id
JOIN shopsync_tenant t ON t.id = v.tenant_id AND t.stock_authority = 'shopsync'
WHERE l.id = a.level_id AND l.available IS NULL AND l.committed IS DISTINCT FROM a.committed;
UPDATE orders_commitment AS c SET counted_before = a.taken
FROM (SELECT n.commitment_id, sum(n.committed + n.gone)::bigint AS taken
      FROM orders_allocation n JOIN inventory_stocklevel l ON l.id = n.level_id
      JOIN inventory_inventoryitem i ON i.id = l.item_id AND i.counted_at IS NULL
      JOIN shopsync_tenant t ON t.id = n.tenant_id AND t.stock_authority = 'shopsync'
      GROUP BY n.commitment_id) a
WHERE c.id = a.commitment_id AND c.counted_before = 0
"""


class Migration(migrations.Migration):
    dependencies = [("orders", "0311_paid_by_hand"), ("inventory", "0163_own_ledger")]
    operations = [migrations.RunSQL(SOLD, migrations.RunSQL.noop)]
