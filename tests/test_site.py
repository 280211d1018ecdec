"""The site of the documents is built without a warning."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from tests.require import skip_or_fail

ROOT = Path(__file__).parent.parent


@pytest.mark.slow
def test_every_document_is_a_page_and_every_link_leads_somewhere(tmp_path: Path) -> None:
    if importlib.util.find_spec("zensical") is None:
        skip_or_fail("zensical", "Zensical is not installed")
    build = [sys.executable, ROOT / "scripts" / "site", tmp_path / "site"]
    done = subprocess.run(build, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    pages = {page.stem for page in (tmp_path / "site").glob("*.html")}
    documents = {path.stem for path in (ROOT / "docs").glob("*.md")}
    assert pages >= documents | {"index", "changelog"}
    assert 'href="guide.html"' in (tmp_path / "site" / "index.html").read_text(encoding="utf-8")
