"""Each sidecar belongs to one photo, or to none."""

from pathlib import Path

import pytest

from mkt_search.xmp.sidecars import find_sidecars, is_sidecar, pair, sidecars_in


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ("a.jpg a.jpg.xmp", {"a.jpg": ["a.jpg.xmp"]}),
        ("a.jpg a.xmp", {"a.jpg": ["a.xmp"]}),
        ("a.jpg a.xmp a.jpg.xmp", {"a.jpg": ["a.jpg.xmp", "a.xmp"]}),
        ("a.CR2 a.XMP", {"a.CR2": ["a.XMP"]}),
        ("a.CR2 a.JPG a.xmp", {"a.CR2": ["a.xmp"]}),
        ("a.CR2 a.JPG a.CR2.xmp a.JPG.xmp", {"a.CR2": ["a.CR2.xmp"], "a.JPG": ["a.JPG.xmp"]}),
        ("a.png a.jpg a.xmp", {}),
        ("a.NEF a.CR2 a.jpg a.xmp", {}),
        ("a.jpg b.xmp .xmp a_01.jpg.xmp", {}),
        ("a.mp4 a.xmp", {}),
        ("a.b.jpg a.b.xmp a.xmp", {"a.b.jpg": ["a.b.xmp"]}),
    ],
)
def test_sidecars_are_paired_in_both_schemes(names: str, expected: dict[str, list[str]]) -> None:
    assert pair(names.split()) == expected


def test_a_folder_named_like_a_sidecar_is_none(tmp_path: Path) -> None:
    for name in ("a.jpg.xmp", "b"):
        (tmp_path / name).mkdir()
    for name in ("a.jpg", "a.xmp", "b.jpg", "b.xmp"):
        (tmp_path / name).touch()
    assert find_sidecars(tmp_path / "a.jpg") == [tmp_path / "a.xmp"]
    assert sidecars_in(tmp_path)["b.jpg"] == [tmp_path / "b.xmp"]
    assert find_sidecars(tmp_path / "c.jpg") == []


def test_a_sidecar_is_known_by_its_suffix() -> None:
    assert is_sidecar("a.JPG.XMP") and is_sidecar("a.xmp") and not is_sidecar("xmp.jpg")
