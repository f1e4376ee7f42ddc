"""What was left: identities, consents, segments, credits, attempts and reports point to rows of their own tenant alone."""

from importlib import import_module

from django.db import migrations

tie = import_module("inventory.migrations.0170_same_tenant").tie


class Migration(migrations.Migration):
    dependencies = [("messaging", "0051_replies_stay_home")]
    operations = [
        tie("messaging_contactidentity", "contact_id"),
        tie("messaging_consententry", "contact_id"),
        tie("messaging_consentstate", "contact_id", "entry_id"),
        tie("messaging_segmentmember", "segment_id", "contact_id"),
        tie("messaging_automationversion", "automation_id"),
        tie("messaging_creditentry", "transaction_id", "account_id"),
        tie("messaging_attempt", "connection_id"),
        tie("messaging_deliveryreport", "connection_id", "message_id"),
    ]
