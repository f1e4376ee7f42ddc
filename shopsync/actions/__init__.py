"""What shopsync writes: the inbox, tenants and their keys, alerts."""
