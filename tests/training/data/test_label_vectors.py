"""Label vectors from a transformed table or a text tower."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mkt_search.errors import ModelError, TrainingError
from mkt_search.models import checkpoint
from mkt_search.models.build import open_model
from mkt_search.models.checkpoint import Prompt
from mkt_search.models.label_table import LabelTable
from tests.tiny import colour_table, tiny_clip, tiny_clip_folder, tiny_meta, tiny_student
from training.data.label_vectors import LabelSpec, open_label_space, transform_table


def table(rows: int = 50) -> LabelTable:
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(rows, 3)) * [10.0, 1.0, 0.1] + 5
    return LabelTable(tuple(map(str, range(rows))), vectors.astype(np.float32))


def spread(table: LabelTable) -> float:
    """How far the variances of the principal directions lie apart, as a logarithm."""
    return float(np.ptp(np.log(np.linalg.eigvalsh(np.cov(table.vectors.T)))))


def test_more_whitening_brings_variances_closer_together() -> None:
    centered = transform_table(table(), "center")
    partial = transform_table(table(), "whiten", power=0.25, shrink=0.01)
    full = transform_table(table(), "whiten", power=0.5, shrink=0.0)
    assert spread(centered) > 1.5 * spread(partial) > 3 * spread(full)


def test_power_0_is_centering() -> None:
    np.testing.assert_allclose(
        transform_table(table(), "whiten", power=0.0, shrink=1.0).vectors,
        transform_table(table(), "center").vectors,
        atol=1e-4,
    )


def test_directions_that_do_not_vary_need_shrinkage() -> None:
    with pytest.raises(TrainingError, match="--whiten-shrink above 0"):
        transform_table(colour_table(), "whiten", shrink=0.0)


@pytest.mark.parametrize("transform", ["none", "center", "whiten"])
def test_a_table_is_transformed_and_goes_along(tmp_path: Path, transform: Any) -> None:
    table().save(tmp_path / "table.npz")
    space = open_label_space(LabelSpec(tmp_path / "table.npz", transform=transform))
    assert space.table is space.encoder and space.prompt is None
    assert space.knows("7") and not space.knows("dog")


def test_label_vectors_of_a_text_tower_may_keep_its_lengths(tmp_path: Path) -> None:
    spec = tiny_clip(tmp_path)
    one, own = (open_label_space(LabelSpec(text_model=spec, lengths=n)) for n in ("one", "own"))
    labels = ["dog", "a red car", "label"]
    plain, long = one.encoder.encode(labels), own.encoder.encode(labels)
    lengths = np.linalg.norm(long, axis=1)
    np.testing.assert_allclose(long, plain * lengths[:, None], atol=1e-6)
    assert np.ptp(lengths) > 1e-4 and lengths[2] == pytest.approx(1)
    assert own.prompt is not None and own.prompt.lengths == "own"
    assert own.encoder.fingerprint != one.encoder.fingerprint


def test_a_text_tower_knows_any_label(tmp_path: Path) -> None:
    spec = tiny_clip(tmp_path)
    space = open_label_space(LabelSpec(text_model=spec))
    assert space.table is None and space.prompt is not None and space.knows("anything")
    expected = open_model(spec).label_encoder().encode(["red"])
    np.testing.assert_allclose(space.encoder.encode(["red"]), expected, atol=1e-6)


def test_a_weights_file_is_recorded_with_its_full_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, _, weights = tiny_clip(tmp_path / "clip").partition("/")
    monkeypatch.chdir(tmp_path)
    spec = f"{name}/clip/{Path(weights).name}"
    prompt = open_label_space(LabelSpec(text_model=spec)).prompt
    assert prompt == Prompt(name, str(Path(weights).resolve()))


def test_a_folder_is_recorded_with_its_full_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tiny_clip_folder(tmp_path / "clip")
    monkeypatch.chdir(tmp_path)
    for spec in ("clip", "./clip", "../" + tmp_path.name + "/clip", str(folder)):
        prompt = open_label_space(LabelSpec(text_model=spec)).prompt
        assert prompt == Prompt(str(folder.resolve()), "")


def test_a_checkpoint_finds_the_folder_by_its_path_or_beside_itself(tmp_path: Path) -> None:
    folder = tiny_clip_folder(tmp_path / "both" / "clip")
    space = open_label_space(LabelSpec(text_model=str(folder)))
    expected = space.encoder.encode(["dog"])
    for name, prompt in (("absolute", space.prompt), ("beside", Prompt("../clip", ""))):
        made = tmp_path / "both" / name
        checkpoint.write(made, tiny_meta(prompt=prompt), tiny_student().state())
        np.testing.assert_array_equal(open_model(made).label_encoder().encode(["dog"]), expected)
    (tmp_path / "both").rename(tmp_path / "moved")
    moved = open_model(tmp_path / "moved/beside").label_encoder()
    np.testing.assert_array_equal(moved.encode(["dog"]), expected)
    with pytest.raises(ModelError, match=r"open_clip_config\.json: cannot be read"):
        open_model(tmp_path / "moved/absolute").label_encoder()


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="is not a model of open_clip"):
        open_label_space(LabelSpec(text_model=str(tmp_path)))
