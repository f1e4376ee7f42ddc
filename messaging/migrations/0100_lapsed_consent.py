"""Consent is for an address: where a contact's own was changed away from it since, it has lapsed.

Kept by trigger, since a profile is changed by Shopify, the API, the admin and imports. Of a change and a statement that
arrive in either order the newer counts: both compare the profile's version with the statement's. A profile that is told
again has a newer version of the same address, so that an older statement about another one that comes after it has lapsed
too: that errs towards silence. A WhatsApp number is nowhere on a profile but in the consent itself; it lapses with the
phone when it was that.

A stranger's word ends nobody's subscription: what a form has, and nobody confirmed, is in the ledger, and does not take
the place of a consent for another address that holds.
"""

from django.db import migrations, models

STATE = """
CREATE OR REPLACE FUNCTION messaging_state_consent() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    lapsed timestamptz;
BEGIN
    SELECT clock_timestamp() INTO lapsed
    FROM messaging_contact c, (VALUES ('sms', 'phone'), ('email', 'email')) AS v(channel, field)
    WHERE c.id = NEW.contact_id AND v.channel = NEW.channel AND NEW.address <> ''
      AND NEW.address <> CASE v.field WHEN 'phone' THEN c.phone ELSE c.email END
      AND (c.field_versions ->> v.field) COLLATE "C" > NEW.source_version;
    INSERT INTO messaging_consentstate AS s (tenant_id, contact_id, channel, state, address, source_version, entry_id,
        lapsed_at)
    VALUES (NEW.tenant_id, NEW.contact_id, NEW.channel, NEW.state, NEW.address, NEW.source_version, NEW.id, lapsed)
    ON CONFLICT (contact_id, channel) DO UPDATE SET state = EXCLUDED.state, address = EXCLUDED.address,
        source_version = EXCLUDED.source_version, entry_id = EXCLUDED.entry_id, lapsed_at = EXCLUDED.lapsed_at
    WHERE s.source_version < EXCLUDED.source_version
      AND NOT (NEW.source LIKE 'form:%' AND NEW.state = 'pending' AND s.state = 'subscribed' AND s.lapsed_at IS NULL
               AND s.address NOT IN ('', NEW.address));
    RETURN NULL;
END $$
"""
OLD_STATE = """
CREATE OR REPLACE FUNCTION messaging_state_consent() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO messaging_consentstate AS s (tenant_id, contact_id, channel, state, address, source_version, entry_id)
    VALUES (NEW.tenant_id, NEW.contact_id, NEW.channel, NEW.state, NEW.address, NEW.source_version, NEW.id)
    ON CONFLICT (contact_id, channel) DO UPDATE SET state = EXCLUDED.state, address = EXCLUDED.address,
        source_version = EXCLUDED.source_version, entry_id = EXCLUDED.entry_id
    WHERE s.source_version < EXCLUDED.source_version;
    RETURN NULL;
END $$
"""
LAPSE = """
CREATE FUNCTION messaging_lapse_consent() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE messaging_consentstate s
    SET lapsed_at = CASE WHEN s.address = v.own THEN NULL ELSE clock_timestamp() END
    FROM (VALUES ('sms', 'phone', OLD.phone, NEW.phone), ('whatsapp', 'phone', OLD.phone, NEW.phone),
                 ('email', 'email', OLD.email, NEW.email)) AS v(channel, field, was, own)
    WHERE s.contact_id = NEW.id AND s.channel = v.channel AND v.was <> v.own AND s.address <> ''
      AND (s.address = v.own
           OR s.address = v.was AND (NEW.field_versions ->> v.field) COLLATE "C" > s.source_version);
    RETURN NULL;
END $$
"""
TRIGGER = """
CREATE TRIGGER contact_lapses_consent AFTER UPDATE OF phone, email ON messaging_contact FOR EACH ROW
WHEN ((OLD.phone, OLD.email) IS DISTINCT FROM (NEW.phone, NEW.email)) EXECUTE FUNCTION messaging_lapse_consent();
"""

class Migration(migrations.Migration):
    dependencies = [("messaging", "0091_clicks_stay_home")]
    operations = [
        migrations.AddField(
            "consentstate",
            "lapsed_at",
            models.DateTimeField(
                null=True, blank=True, help_text="since when the contact has another address than the one it names"
            ),
        ),
        migrations.RunSQL(STATE, OLD_STATE),
        migrations.RunSQL(LAPSE, "DROP FUNCTION messaging_lapse_consent()"),
        migrations.RunSQL(TRIGGER, "DROP TRIGGER contact_lapses_consent ON messaging_contact"),
    ]
