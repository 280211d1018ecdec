"""`mkt import-mkt`: the command; tests/models/test_import_mkt.py has what it makes."""

from pathlib import Path

from mkt_search.models.checkpoint import read_meta
from tests.command_line import mkt
from tests.released_mkt import tiny_release


def test_a_checkpoint_is_made_and_its_use_named(tmp_path: Path) -> None:
    release = tiny_release(tmp_path)
    out = tmp_path / "mkt"
    result = mkt("import-mkt", *release.options, "--out", out)
    assert read_meta(out).prompt is not None
    assert f"wrote {out}; use it with `mkt index --model {out} PHOTOS`" in result.stderr


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    result = mkt("import-mkt", "--out", tmp_path / "mkt", code=2)
    assert "Missing option '--image-checkpoint'" in result.stderr
