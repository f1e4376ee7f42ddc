"""No order, nor what hangs on it, points to a row of another tenant (inventory/migrations/0170_same_tenant.py)."""

import importlib

from django.db import migrations

tie = importlib.import_module("inventory.migrations.0170_same_tenant").tie


class Migration(migrations.Migration):
    dependencies = [("orders", "0330_void_told_at"), ("inventory", "0170_same_tenant")]
    operations = [
        tie("orders_order", "reservation_id"),
        tie("orders_orderline", "order_id", "variant_id"),
        tie("orders_commitment", "line_id", "item_id"),
        tie("orders_allocation", "commitment_id", "level_id"),
        tie("orders_refund", "order_id"),
        tie("orders_refundline", "refund_id", "line_id"),
        tie("orders_fulfillment", "order_id"),
        tie("orders_shipment", "order_id", "connection_id"),
        tie("orders_shipmentline", "shipment_id", "line_id"),
        tie("orders_trackingevent", "shipment_id"),
        tie("orders_shipmentcall", "shipment_id"),
        tie("orders_payment", "connection_id", "order_id"),
        tie("orders_paymentevent", "connection_id"),
        tie("orders_gatewayrefund", "payment_id", "connection_id"),
        tie("orders_dispute", "payment_id", "connection_id"),
        tie("orders_paymentcall", "payment_id", "refund_id"),
        tie("orders_paymentmismatch", "order_id", "payment_id"),
    ]
