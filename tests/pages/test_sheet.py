"""The contact sheet: one file with everything in it."""

import re
from datetime import datetime
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image

from mkt_search.errors import StoreError
from mkt_search.pages import sheet
from mkt_search.types import Box, Hit

NOW = datetime(2026, 5, 17, 12, 30)
VOID = {"meta", "img", "input", "rect", "path"}


class Checker(HTMLParser):
    """Collects tags and checks that each is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert tag in VOID or self.open.pop() == tag


def parsed(html: str) -> Checker:
    checker = Checker()
    checker.feed(html)
    assert not checker.open
    return checker


def photo(folder: Path, name: str, size: tuple[int, int] = (400, 300)) -> Path:
    Image.new("RGB", size, "teal").save(folder / name)
    return folder / name


def hit(path: Path, **changes: object) -> Hit:
    values: dict[str, object] = {
        "photo_id": 1,
        "path": path,
        "score": 0.5,
        "global_part": 0.2,
        "local_part": 0.3,
        "boxes": (Box(0.25, 0.5, 0.5, 1.0),),
    }
    return Hit(**{**values, **changes})  # type: ignore[arg-type]


def render(*hits: Hit, query: str = "dog") -> str:
    return sheet.render(hits, query=query, side=64, made_at=NOW)


def test_sheet_is_well_formed_and_needs_nothing_from_outside(tmp_path: Path) -> None:
    html = render(hit(photo(tmp_path, "a.jpg")), hit(tmp_path / "gone.jpg"))
    page = parsed(html)
    assert "script" not in [tag for tag, _ in page.seen]
    loaded = [a.get("src") or "" for tag, a in page.seen if tag in {"img", "link", "iframe"}]
    assert len(loaded) == 1
    assert loaded[0].startswith("data:image/jpeg;base64,")
    assert not re.search(r"https?://|@import|url\((?!#)", html)


def test_box_is_drawn_over_its_patches(tmp_path: Path) -> None:
    page = parsed(render(hit(photo(tmp_path, "a.jpg"))))
    edges = [a for tag, a in page.seen if tag == "rect" and a.get("class") == "edge"]
    assert [(e["x"], e["y"], e["width"], e["height"]) for e in edges] == [
        ("0.2500", "0.5000", "0.2500", "0.5000")
    ]


def test_photo_without_boxes_has_no_veil(tmp_path: Path) -> None:
    page = parsed(render(hit(photo(tmp_path, "a.jpg"), boxes=())))
    assert "svg" not in [tag for tag, _ in page.seen]


def test_card_shows_scores_date_size_and_copies(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0x9003] = "2024:05:17 08:09:10"
    Image.new("RGB", (4000, 3000), "teal").save(path, exif=exif)
    html = render(hit(path, copies=(tmp_path / "b.jpg",)), query="2*dog - cat")
    for text in ("2*dog - cat", "0.5000", "global 0.2000", "local 0.3000"):
        assert text in html
    assert "2024-05-17 08:09 · 4,000 × 3,000 · 1 more copy" in html


def test_missing_photo_gets_a_placeholder_with_the_reason(tmp_path: Path) -> None:
    html = render(hit(tmp_path / "gone.jpg"))
    assert "no picture" in html
    assert "the file is gone" in html


def test_broken_photo_gets_a_placeholder_with_the_reason(tmp_path: Path) -> None:
    path = photo(tmp_path, "a.jpg")
    path.write_bytes(path.read_bytes()[:400])
    thumbnail = sheet.make_thumbnail(path, 64)
    assert thumbnail.uri == ""
    assert thumbnail.reason in render(hit(path))


def test_text_is_escaped(tmp_path: Path) -> None:
    path = photo(tmp_path, "<script>alert(1)<&script>.jpg")
    html = render(hit(path), query='<b>"&')
    parsed(html)
    assert "<script>" not in html
    assert "&lt;b&gt;&#34;&amp;" in html


def test_name_with_a_line_break_stays_on_its_line(tmp_path: Path) -> None:
    assert "two\\nlines.jpg" in render(hit(photo(tmp_path, "two\nlines.jpg")))


@pytest.mark.parametrize("size", [(4000, 20), (20, 4000), (1, 1)], ids=str)
def test_odd_aspects_fit_into_their_frame(tmp_path: Path, size: tuple[int, int]) -> None:
    page = parsed(render(hit(photo(tmp_path, "a.png", size))))
    styles = [a.get("style") or "" for tag, a in page.seen if a.get("class") == "photo"]
    aspect = float(next(a["style"] or "" for t, a in page.seen if t == "figure").split()[1])
    width, height = (float(number) for number in re.findall(r"([\d.]+)%", styles[0]))
    assert max(width, height) == 100
    assert width / height * aspect == pytest.approx(size[0] / size[1], rel=0.05)


def test_empty_sheet_counts_no_photos() -> None:
    html = render()
    parsed(html)
    assert "0 photos" in html


def test_negative_part_has_no_bar(tmp_path: Path) -> None:
    html = render(hit(photo(tmp_path, "a.jpg"), score=0.1, global_part=-0.2, local_part=0.3))
    assert re.findall(r'<i class="\w+" style="width: ([\d.]+)%', html) == ["0.0", "100.0"]


def test_file_that_cannot_be_written_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="cannot be written"):
        sheet.write(tmp_path / "no" / "s.html", [], query="dog", side=64, made_at=NOW)


def test_written_file_is_the_sheet(tmp_path: Path) -> None:
    file = tmp_path / "s.html"
    sheet.write(file, [], query="dög \udcff", side=64, made_at=NOW)
    assert "dög" in file.read_text(encoding="utf-8")


def test_the_bar_shows_the_probability_if_it_is_known(tmp_path: Path) -> None:
    path = photo(tmp_path, "a.png")
    [card] = sheet.cards([hit(path, p=0.5, global_part=0.3, local_part=0.1)], 64)
    assert (card.bar(0.3), card.bar(0.1)) == pytest.approx((37.5, 12.5))
    page = sheet.render([hit(path, p=0.5)], query="dog", side=64, made_at=NOW)
    assert "p 0.50" in page
