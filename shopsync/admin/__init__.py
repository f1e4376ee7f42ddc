"""The admin of tenants, people, the inbox and the trail; and the base that every app's admin inherits."""

from shopsync.admin import inbox, people, settings, trail

__all__ = ["inbox", "people", "settings", "trail"]
