"""The page of proposed tags: one file with everything in it."""

from datetime import datetime
from pathlib import Path

import pytest

from mkt_search.errors import StoreError
from mkt_search.pages.proposals import Proposal, render, write
from tests.pages.test_sheet import hit, parsed, photo

NOW = datetime(2026, 5, 17, 12, 30)


def test_each_label_has_its_best_middle_and_last_photo(tmp_path: Path) -> None:
    hits = [hit(photo(tmp_path, f"{number}.jpg")) for number in range(3)]
    text = render(
        [Proposal("dog <b>", 1_200, hits), Proposal("cat", 1, hits[:1])],
        summary="1 run",
        made_at=NOW,
    )
    checker = parsed(text)
    sources = [attrs["src"] or "" for tag, attrs in checker.seen if tag == "img"]
    assert len(sources) == 4 and all(source.startswith("data:image/jpeg") for source in sources)
    assert "dog &lt;b&gt;" in text and "1,200 photos" in text and "1 photo<" in text
    places = [text.index(f">{place}<") for place in ("best", "middle", "last")]
    assert places == sorted(places)
    ids = [attrs["id"] for _, attrs in checker.seen if "id" in attrs]
    assert len(ids) == len(set(ids))
    assert not [tag for tag, _ in checker.seen if tag in ("script", "link")]


def test_a_page_that_cannot_be_written_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="cannot be written"):
        write(tmp_path / "absent" / "page.html", [], summary="", made_at=NOW)
