"""Downloads: from a hub on this machine, cut half way and continued."""

import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from mkt_search.errors import ModelError
from mkt_search.models.build import open_model
from mkt_search.models.download import DownloadForbidden, HubFile
from mkt_search.models.download_policy import downloads
from mkt_search.progress import Progress
from tests.hub import CHUNK, FAIL, Hub, local_hub
from tests.tiny import tiny_clip

FILE = HubFile("owner/weights", ("weights.safetensors", "weights.bin"))
CONTENT = np.random.default_rng(0).bytes(10 * CHUNK)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with local_hub(tmp_path / "cache", monkeypatch) as served:
        served.files["owner/weights/weights.bin"] = CONTENT
        yield served


class Interrupt:
    """Raises KeyboardInterrupt at an event."""

    def __init__(self, number: int) -> None:
        self.left = number

    def __call__(self, _event: Progress) -> None:
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt


def test_a_download_is_kept_and_found_without_the_network(hub: Hub) -> None:
    assert FILE.cached is None
    path = FILE.download("some weights")
    assert path.read_bytes() == CONTENT and path.name == "weights.bin"
    hub.files.clear()
    assert FILE.cached == path


def test_the_first_name_that_the_hub_has_is_taken(hub: Hub) -> None:
    hub.files["owner/weights/weights.safetensors"] = b"safe"
    assert FILE.download("some weights").read_bytes() == b"safe"
    assert len(hub.ranges) == 1


def test_a_download_that_a_person_stopped_is_continued_by_the_next(hub: Hub) -> None:
    with pytest.raises(KeyboardInterrupt), downloads(progress=Interrupt(5)):
        FILE.download("some weights")
    assert FILE.cached is None
    assert FILE.download("some weights").read_bytes() == CONTENT
    assert hub.ranges == [0, 3 * CHUNK]  # an announcement, and four chunks, the last not written


def test_a_connection_that_is_cut_is_continued_at_once(hub: Hub) -> None:
    hub.cuts = [4 * CHUNK]
    assert FILE.download("some weights").read_bytes() == CONTENT
    assert hub.ranges == [0, 4 * CHUNK]


def test_a_download_is_announced_with_its_size_and_counted_in_megabytes(hub: Hub) -> None:
    hub.files["owner/weights/weights.bin"] = bytes(2_000_000)
    events: list[Progress] = []
    with downloads(progress=events.append):
        FILE.download("some weights", remark=" (license: MIT)")
    first, *counts, last = events
    assert first.message.startswith("downloading some weights: 2 MB from http://127.0.0.1:")
    assert first.message.endswith("/owner/weights (license: MIT)")
    assert (last.step, last.done, last.total) == ("downloading some weights, MB", 2, 2)
    assert counts[0].done == 0


def test_without_a_callback_the_log_has_the_announcement(
    hub: Hub, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        FILE.download("some weights")
    assert "downloading some weights: 0 MB from " in caplog.text


def test_offline_nothing_is_asked_of_the_network(hub: Hub) -> None:
    with (
        pytest.raises(DownloadForbidden),
        downloads(offline=True, progress=lambda _event: None),
    ):
        FILE.download("some weights")
    assert hub.ranges == []


def test_bytes_that_are_not_the_file_are_refused_and_forgotten(hub: Hub, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), downloads(progress=Interrupt(5)):
        FILE.download("some weights")
    (part,) = tmp_path.rglob("*.part")
    part.write_bytes(bytes(part.stat().st_size))
    with pytest.raises(ModelError, match="the download of some weights was damaged; run it again"):
        FILE.download("some weights")
    assert FILE.download("some weights").read_bytes() == CONTENT


@pytest.fixture
def tagged(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hub:
    """A hub that has the weights of "tiny-vit/tag"."""
    file = tiny_clip(tmp_path / "clip").partition("/")[2]
    hub.files["owner/tiny/open_clip_model.safetensors"] = Path(file).read_bytes()
    tags = {"tag": {"hf_hub": "owner/tiny/", "url": ""}}
    monkeypatch.setitem(open_clip_tags(), "tiny-vit", tags)
    return hub


def open_clip_tags() -> dict[str, dict[str, object]]:
    from open_clip.pretrained import _PRETRAINED

    return _PRETRAINED  # type: ignore[no-any-return]


def test_a_tag_of_open_clip_gives_the_model_of_its_file(tagged: Hub, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (1, 32, 32, 3), np.uint8)
    by_tag = open_model("tiny-vit/tag").photo_encoder(device="cpu").encode(pixels)
    by_file = open_model(f"tiny-vit/{tmp_path}/clip/tiny-vit.safetensors")
    expected = by_file.photo_encoder(device="cpu").encode(pixels)
    np.testing.assert_array_equal(by_tag.global_vectors, expected.global_vectors)


def test_a_hub_that_fails_is_one_sentence_with_the_way_out(tagged: Hub) -> None:
    tagged.files.clear()
    message = r'the weights "tag" of tiny-vit cannot be downloaded .*; run the command again'
    with pytest.raises(ModelError, match=message) as caught:
        _ = open_model("tiny-vit/tag").fingerprint
    assert "\n" not in str(caught.value)
    assert "use tiny-vit/PATH/TO/FILE" in str(caught.value)


def test_a_download_that_fails_half_way_is_one_sentence_and_continued_later(tagged: Hub) -> None:
    tagged.cuts = [4 * CHUNK, FAIL]
    with pytest.raises(
        ModelError, match=r"cannot be downloaded .*; run the command again"
    ) as caught:
        _ = open_model("tiny-vit/tag").fingerprint
    assert "\n" not in str(caught.value)
    assert len(open_model("tiny-vit/tag").fingerprint) == 12
    assert tagged.ranges == [0, 4 * CHUNK, 4 * CHUNK]


def test_the_tag_of_a_file_leads_nowhere_else(tagged: Hub, tmp_path: Path) -> None:
    tagged.tags["owner/tiny/open_clip_model.safetensors"] = "../../../elsewhere"
    with pytest.raises(ModelError, match="cannot be downloaded") as caught:
        _ = open_model("tiny-vit/tag").fingerprint
    assert "is not the name of a file" in str(caught.value)
    assert not list(tmp_path.rglob("elsewhere*"))
