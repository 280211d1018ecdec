"""The Python snippets of README and docs run as written.

The blocks of a document run one after another, in a folder with:

    mkt-demo/            photos of the demo world, and a library of them (mkt-demo/.mkt)
    Pictures/            more of them, without a library; also ~/Pictures
    photos/, labels.json labelled photos
    labels.txt           a vocabulary
    stage1/, stage2/     copies of the demo checkpoint, and clip/, whose text tower they use

A block fenced as `py` is shown and not run.
"""

import json
import re
import shutil
from pathlib import Path

import pytest

from mkt_search import Library
from mkt_search.demo.scenes.photos import LIBRARY_SEED, write_photos
from mkt_search.models.build import DEMO_CHECKPOINT, DEMO_CLIP

ROOT = Path(__file__).parent.parent
FENCE = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
DOCUMENTS = [
    path
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
    if FENCE.search(path.read_text(encoding="utf-8"))
]
SIDE = 128

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder, to copy for each document."""
    home = tmp_path_factory.mktemp("snippets") / "home"
    write_photos(home / "Pictures", range(LIBRARY_SEED, LIBRARY_SEED + 16), side=SIDE)
    labels = write_photos(home / "photos", range(160), side=SIDE)
    (home / "labels.json").write_text(json.dumps(labels))
    (home / "labels.txt").write_text("red star\nblue ball\n")
    shutil.copytree(DEMO_CLIP, home / "clip")
    for stage in ("stage1", "stage2"):
        shutil.copytree(DEMO_CHECKPOINT, home / stage)
    shutil.copytree(home / "Pictures", home / "mkt-demo")
    with Library.create(home / "mkt-demo") as library:
        library.index(model="demo")
    return home


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_snippets_of_a_document_run(
    document: Path, prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = shutil.copytree(prepared, tmp_path / "home")
    monkeypatch.chdir(home)
    monkeypatch.setenv("HOME", str(home))
    names: dict[str, object] = {"__name__": "__main__"}
    for number, block in enumerate(FENCE.findall(document.read_text(encoding="utf-8")), start=1):
        exec(compile(block, f"{document.name}, Python block {number}", "exec"), names)
