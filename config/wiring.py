"""The architecture on one page: which handler takes which webhook, who hears of which audit event, and who knows which
service's connections.

Dotted paths, resolved with `import_string` and proved by system checks at start-up (shopsync.E001, shopsync.E005,
audit.E001). These tables are the only inversion of control: lower apps never import higher ones. What is to run by the
clock stands here too, and its tasks are proved in the same way (shopsync.E003).
"""

from __future__ import annotations

from config.infra.schedules import Schedule

# What of Stripe's is a payment's; an endpoint there should send these.
STRIPE_TOPICS = (
    *("payment_intent.created", "payment_intent.requires_action", "payment_intent.processing"),
    *("payment_intent.amount_capturable_updated", "payment_intent.succeeded", "payment_intent.payment_failed"),
    *("payment_intent.partially_funded", "payment_intent.canceled"),
    *("charge.pending", "charge.succeeded", "charge.captured", "charge.updated", "charge.failed", "charge.expired"),
    *("charge.refunded", "charge.refund.updated", "refund.created", "refund.updated", "refund.failed"),
    *("charge.dispute.created", "charge.dispute.updated", "charge.dispute.closed"),
    *("charge.dispute.funds_withdrawn", "charge.dispute.funds_reinstated"),
)

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
        "customers_whats_app_marketing_consent/update": "messaging.actions.contacts.sync_whatsapp_consent",
        "app/uninstalled": "shopsync.actions.tenants.uninstall",
    },
    "stripe": dict.fromkeys(STRIPE_TOPICS, "orders.actions.payments.sync_stripe_event"),
    "easypost": {
        "tracker.created": "orders.actions.tracking.sync_tracker",
        "tracker.updated": "orders.actions.tracking.sync_tracker",
        "refund.successful": "orders.actions.tracking.sync_refund",
    },
    "mitto": {
        "dlr": "messaging.actions.reports.sync_reports",
        "classic_dlr": "messaging.actions.reports.sync_classic_reports",
        "inbound": "messaging.actions.replies.sync_replies",
    },
    "email": {  # by the service that posts
        "postmark": "messaging.actions.bounces.sync_postmark_event",
        "mailgun": "messaging.actions.bounces.sync_mailgun_event",
    },
}

# audit event -> its subscribers, each its own EventDelivery row; they are not ordered among each other.
EVENT_SUBSCRIBERS: dict[str, list[str]] = {
    "tenant.created": ["messaging.actions.credits.open_accounts"],
    "stock.adoption_asked": ["orders.actions.handover.adopt_orders"],
    "stock.increased": ["orders.actions.backorders.fill"],
    "location.updated": ["orders.actions.backorders.fill_from_location"],
    "reservation.expired": ["orders.actions.own_stock.note_expired"],
    "order.created": ["messaging.actions.contacts.follow_order", "orders.actions.payments.adopt_payments"],
    "order.updated": ["messaging.actions.contacts.follow_order"],
    "order.lines_cancelled": ["orders.actions.paid_orders.follow_due"],
    "order.cancelled": [
        "orders.actions.paid_orders.review_order",
        "orders.actions.authorisations.cancel_authorisations",
        "orders.actions.shipments.settle_parcels",
    ],
    "order.paid": [
        "messaging.actions.automations.react",
        "orders.actions.authorisations.cancel_authorisations",
    ],
}

# The services that a tenant may have a connection to -> what looks at one before it is kept, and says by field what
# can't be of use in it; empty where there is nothing to look at.
CONNECTION_SERVICES: dict[str, str] = {
    "easypost": "",
    "email": "messaging.accounts.wrong_with_email",
    "mitto": "messaging.accounts.wrong_with_mitto",
    "segment": "",
    "stripe": "",
}

# What runs by the clock. After each migrate these become rows that superusers edit in the admin: an interval changed
# there, or a schedule switched off, stays so. One that is taken out of here is switched off.
SCHEDULES: tuple[Schedule, ...] = (
    Schedule("campaigns", "messaging.tasks.move_campaigns", every_seconds=5, grace_seconds=60),
    Schedule("unknown messages", "messaging.tasks.settle_unknowns", every_seconds=30, grace_seconds=300),
    Schedule("look at the sending", "messaging.tasks.watch_messages", every_seconds=30, grace_seconds=300),
    Schedule("sweep", "shopsync.tasks.sweep_work", every_seconds=5, grace_seconds=60),
    Schedule("retention", "shopsync.tasks.forget_old_payloads", every_seconds=600, grace_seconds=600),
    Schedule("old imports", "messaging.tasks.forget_old_imports", cron="50 3 * * *", grace_seconds=3600),
    Schedule("expired reservations", "inventory.tasks.expire_reservations", every_seconds=10, grace_seconds=60),
    Schedule("lost holds", "inventory.tasks.settle_lost_holds", every_seconds=30, grace_seconds=120),
    Schedule("look at the stock", "inventory.tasks.watch_stock", every_seconds=60, grace_seconds=300),
    Schedule("look at the orders", "orders.tasks.watch_orders", every_seconds=300, grace_seconds=600),
    Schedule("openings of breakers", "shopsync.tasks.record_breaker_openings", every_seconds=10, grace_seconds=60),
    Schedule("proof of stock", "orders.tasks.verify_stock", cron="20 3 * * *", grace_seconds=3600),
    Schedule("lost payments", "orders.tasks.settle_lost_payments", every_seconds=30, grace_seconds=120),
    Schedule("reconciliation of payments", "orders.tasks.reconcile_payments", cron="40 3 * * *", grace_seconds=3600),
    Schedule("lost calls to carriers", "orders.tasks.settle_lost_shipping", every_seconds=30, grace_seconds=120),
    Schedule("digests", "shopsync.tasks.collect_digests", every_seconds=300, grace_seconds=900),
)
