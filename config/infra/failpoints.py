"""Named fail-points: places where a crash test may kill this very process, and nowhere else.

Armed by a file of the fail-point's name in the folder SHOPSYNC_FAILPOINTS names; whoever removes the file dies by
SIGKILL, so one file is one kill. Without that variable (production) a fail-point is one dictionary look-up at import.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

_folder = os.environ.get("SHOPSYNC_FAILPOINTS") if os.environ.get("SHOPSYNC_ENV") == "test" else None


def failpoint(name: str) -> None:
    """Die here if a test armed this point."""
    if _folder is None:
        return
    try:
        (Path(_folder) / name).unlink()
    except FileNotFoundError:
        return
    os.kill(os.getpid(), signal.SIGKILL)
