"""The local commands behind the Makefile's words: python -m config.local demo|run|stop|check."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from config.embedded import EmbeddedServerError
from config.local.checks import run_checks
from config.local.demo import run_demo
from config.local.running import run_until_interrupted
from config.local.session import BusyError, say, stop_all
from config.local.stack import CHECKOUT, ProcessDiedError


def main() -> int:
    """Run one command and return its exit code; what fails is one sentence, not a traceback."""
    parser = argparse.ArgumentParser(prog="python -m config.local", description="Shopsync on one machine.")
    parser.add_argument("command", choices=("demo", "run", "stop", "check"))
    command = parser.parse_args().command
    os.environ["SHOPSYNC_ENV"] = "local"
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    state = CHECKOUT / ".local"
    try:
        return {"demo": run_demo, "run": run_until_interrupted, "stop": _stop, "check": run_checks}[command](state)
    except (BusyError, EmbeddedServerError, ProcessDiedError, TimeoutError, OSError, ValueError, RuntimeError) as error:
        say(f"{command} failed: {error}")
        return 1


def _stop(state: Path) -> int:
    ended = stop_all(state)
    say("\n".join(f"stopped {name}" for name in ended) or "nothing runs")
    return 0


if __name__ == "__main__":
    sys.exit(main())
