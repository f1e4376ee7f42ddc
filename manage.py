#!/usr/bin/env python3
"""Django's command line. With SHOPSYNC_ENV=local it starts (or finds) the embedded servers first."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def main() -> None:
    """Run a management command."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    if os.environ.get("SHOPSYNC_ENV") == "local":
        from config.local.environment import local_environment

        os.environ.update(local_environment(Path(__file__).resolve().parent / ".local"))
    from django.core.management import execute_from_command_line

    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
