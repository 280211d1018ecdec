"""What some tests need beside the package: skipped where it is missing, unless it is required.

`MKT_REQUIRE` lists needs, separated by commas (`MKT_REQUIRE=shared,postgres`); a test that lacks
one of them fails instead of being skipped.
"""

import os
import shutil
import subprocess
from pathlib import Path
from typing import NoReturn

import pytest

SHARED = Path(__file__).parents[2] / "shared" / "data"
"""Real photos, label vectors and a backbone, beside the repository; not distributed with it."""


def skip_or_fail(need: str, reason: str) -> NoReturn:
    """Skip the running test; fail it if `MKT_REQUIRE` names the need."""
    if need in os.environ.get("MKT_REQUIRE", "").split(","):
        pytest.fail(f"MKT_REQUIRE names {need}, but {reason}", pytrace=False)
    pytest.skip(reason)


def shared(name: str) -> Path:
    """Return a file or folder of the shared data; skip or fail the test where it is missing."""
    path = SHARED / name
    if not path.exists():
        skip_or_fail("shared", f"there is no ../shared/data/{name}")
    return path


def imagemagick() -> str:
    """Return ImageMagick's command to convert a file; skip or fail the test where it is missing."""
    for name in ("magick", "convert"):
        command = shutil.which(name)
        if command is not None:
            said = subprocess.run([command, "-version"], capture_output=True, text=True).stdout
            if said.startswith("Version: ImageMagick"):
                return command
    skip_or_fail("imagemagick", "ImageMagick is not installed")


def chromium() -> str:
    """Return the path of Chromium; skip or fail the test where it is missing."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if (path := shutil.which(name)) is not None:
            return path
    skip_or_fail("chromium", "Chromium is not installed")


def npm() -> str:
    """Return the path of npm; skip or fail the test where it is missing."""
    if (path := shutil.which("npm")) is not None:
        return path
    skip_or_fail("node", "Node.js with npm is not installed")
