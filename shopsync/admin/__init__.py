"""The admin of tenants, people, the inbox and the trail; and the base that every app's admin inherits."""

from shopsync.admin import alerts, digests, inbox, people, schedules, settings, trail

__all__ = ["alerts", "digests", "inbox", "people", "schedules", "settings", "trail"]
