"""The architecture on one page: which handler takes which webhook, and who hears of which audit event.

Dotted paths, resolved with `import_string` and proved by system checks at start-up (shopsync.E001, audit.E001). These
two tables are the only inversion of control: lower apps never import higher ones.
"""

from __future__ import annotations

# (source, topic) -> the action that takes a `Delivery`. A topic that is absent here is quarantined, not dropped.
WEBHOOK_HANDLERS: dict[str, dict[str, str]] = {
    "shopify": {
        "orders/create": "orders.actions.sync.sync_order",
        "orders/updated": "orders.actions.sync.sync_order",
        "orders/paid": "orders.actions.sync.sync_order",
        "orders/cancelled": "orders.actions.sync.sync_order",
        "orders/fulfilled": "orders.actions.sync.sync_order",
        "orders/partially_fulfilled": "orders.actions.sync.sync_order",
        "refunds/create": "orders.actions.sync.sync_refund",
        "fulfillments/create": "orders.actions.sync.sync_fulfillment",
        "fulfillments/update": "orders.actions.sync.sync_fulfillment",
        "products/create": "inventory.actions.products.sync_product",
        "products/update": "inventory.actions.products.sync_product",
        "inventory_levels/update": "inventory.actions.levels.sync_level",
        "customers/create": "messaging.actions.contacts.sync_customer",
        "customers/update": "messaging.actions.contacts.sync_customer",
        "customers_marketing_consent/update": "messaging.actions.contacts.sync_sms_consent",
        "customers_email_marketing_consent/update": "messaging.actions.contacts.sync_email_consent",
        "app/uninstalled": "shopsync.actions.tenants.uninstall",
    },
    "easypost": {
        "tracker.created": "orders.actions.tracking.sync_tracker",
        "tracker.updated": "orders.actions.tracking.sync_tracker",
        "refund.successful": "orders.actions.tracking.sync_refund",
    },
    "mitto": {
        "dlr": "messaging.actions.reports.sync_reports",
    },
}

# audit event -> its subscribers, each its own EventDelivery row; they are not ordered among each other.
EVENT_SUBSCRIBERS: dict[str, list[str]] = {
    "stock.increased": ["orders.actions.backorders.fill"],
    "order.created": ["messaging.actions.contacts.follow_order"],
    "order.updated": ["messaging.actions.contacts.follow_order"],
    "order.paid": ["messaging.actions.automations.react"],
}
