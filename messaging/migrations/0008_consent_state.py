"""The newest statement of consent is kept by trigger; and an address's key can be made in SQL."""

from django.db import migrations

STATE = """
CREATE FUNCTION messaging_state_consent() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO messaging_consentstate AS s (tenant_id, contact_id, channel, state, address, source_version, entry_id)
    VALUES (NEW.tenant_id, NEW.contact_id, NEW.channel, NEW.state, NEW.address, NEW.source_version, NEW.id)
    ON CONFLICT (contact_id, channel) DO UPDATE SET state = EXCLUDED.state, address = EXCLUDED.address,
        source_version = EXCLUDED.source_version, entry_id = EXCLUDED.entry_id
    WHERE s.source_version < EXCLUDED.source_version;
    RETURN NULL;
END $$
"""
# HMAC-SHA256 over "channel|address", with the key's pads given: PostgreSQL has sha256() in its core, and no hmac().
KEY = """
CREATE FUNCTION messaging_address_key(p_inner bytea, p_outer bytea, p_channel text, p_address text) RETURNS bytea
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS
$$ SELECT sha256(p_outer || sha256(p_inner || convert_to(p_channel || '|' || p_address, 'UTF8'))) $$
"""
FILL = """
INSERT INTO messaging_consentstate (tenant_id, contact_id, channel, state, address, source_version, entry_id)
SELECT DISTINCT ON (contact_id, channel) tenant_id, contact_id, channel, state, address, source_version, id
FROM messaging_consententry ORDER BY contact_id, channel, source_version DESC
"""
TRIGGER = """
CREATE TRIGGER consententry_states_consent AFTER INSERT ON messaging_consententry
FOR EACH ROW EXECUTE FUNCTION messaging_state_consent();
"""


class Migration(migrations.Migration):
    dependencies = [("messaging", "0007_people")]
    operations = [
        migrations.RunSQL(STATE, "DROP FUNCTION messaging_state_consent()"),
        migrations.RunSQL(KEY, "DROP FUNCTION messaging_address_key(bytea, bytea, text, text)"),
        migrations.RunSQL(FILL, migrations.RunSQL.noop),
        migrations.RunSQL(TRIGGER, "DROP TRIGGER consententry_states_consent ON messaging_consententry"),
    ]
