"""Label vectors by a text tower: the same one again from wherever the checkpoint is used."""

from pathlib import Path

import numpy as np
import pytest

from mkt_search.errors import ModelError
from mkt_search.models import checkpoint
from mkt_search.models.build import open_model
from mkt_search.models.checkpoint import Prompt
from tests.tiny import tiny_clip, tiny_clip_folder, tiny_meta, tiny_student
from training.data.label_vectors import from_text_model


def test_a_weights_file_is_kept_by_its_whole_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, _, weights = tiny_clip(tmp_path / "clip").partition("/")
    monkeypatch.chdir(tmp_path)
    space = from_text_model(f"{name}/clip/{Path(weights).name}")
    assert space.prompt == Prompt(name, str(Path(weights).resolve()))


def test_a_folder_is_kept_by_its_whole_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tiny_clip_folder(tmp_path / "clip")
    monkeypatch.chdir(tmp_path)
    for spec in ("clip", "./clip", "../" + tmp_path.name + "/clip", str(folder)):
        assert from_text_model(spec).prompt == Prompt(str(folder.resolve()), "")


def test_the_vectors_of_a_folder_are_those_of_its_tower(tmp_path: Path) -> None:
    folder = tiny_clip_folder(tmp_path / "clip")
    space = from_text_model(str(folder))
    expected = open_model(folder).label_encoder().encode(["dog", "red car"])
    np.testing.assert_array_equal(space.encoder.encode(["dog", "red car"]), expected)
    assert space.knows("a label nobody trained") and space.table is None


def test_a_checkpoint_finds_the_folder_by_its_path_or_beside_itself(tmp_path: Path) -> None:
    folder = tiny_clip_folder(tmp_path / "both" / "clip")
    space = from_text_model(str(folder))
    expected = space.encoder.encode(["dog"])
    for name, prompt in (("absolute", space.prompt), ("beside", Prompt("../clip", ""))):
        made = tmp_path / "both" / name
        checkpoint.write(made, tiny_meta(prompt=prompt), tiny_student().state())
        np.testing.assert_array_equal(open_model(made).label_encoder().encode(["dog"]), expected)
    (tmp_path / "both").rename(tmp_path / "moved")
    moved = open_model(tmp_path / "moved/beside").label_encoder()
    np.testing.assert_array_equal(moved.encode(["dog"]), expected)
    with pytest.raises(ModelError, match=r"open_clip_config\.json cannot be read"):
        open_model(tmp_path / "moved/absolute").label_encoder()


def test_a_folder_that_is_no_model_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="is not a model of open_clip"):
        from_text_model(str(tmp_path))
