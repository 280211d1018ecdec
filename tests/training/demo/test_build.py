"""The demo models trained from scratch, by a recipe so small that they learn nothing."""

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from mkt_search.demo.scenes.world import unseen_things
from mkt_search.errors import ModelError, TrainingError
from mkt_search.models import checkpoint
from mkt_search.models.build import open_model
from mkt_search.progress import Progress, no_progress
from tests.command_line import mkt
from tests.training.test_stage1 import remarks
from training.demo.build import CLIP_RUN, SMALL, Recipe, build_demo, prepare_data
from training.runs.files import hold

pytestmark = pytest.mark.slow  # the models are trained once, in 7 processor seconds


def pictures() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), np.uint8)


def stamps(folder: Path) -> dict[str, int]:
    return {
        str(path.relative_to(folder)): path.stat().st_mtime_ns
        for part in ("clip", "photos", "plain", "distilled", "tuned")
        for path in (folder / part).rglob("*")
    }


@pytest.fixture
def own_build(demo_build: Path, tmp_path: Path) -> Path:
    """A copy of the folder, for one test to change."""
    return Path(shutil.copytree(demo_build, tmp_path / "build", copy_function=os.link))


def test_every_step_leaves_its_folder(demo_build: Path) -> None:
    assert (demo_build / "clip/open_clip_config.json").is_file()
    for name in ("plain", "distilled", "tuned", "checkpoint"):
        assert checkpoint.is_checkpoint(demo_build / name), name
    assert len(list((demo_build / "photos").iterdir())) == SMALL.train + SMALL.test
    for name in ("labels.json", "splits.json", "unseen.txt", "recipe.json"):
        assert (demo_build / name).is_file(), name


def test_every_step_is_reported(demo_build: Path) -> None:
    log = (demo_build.parent / "log.txt").read_text()
    assert "clip: step 6 of 6, loss" in log
    assert "rendering 160 photos of 64 x 64 pixels" in log
    assert log.count("epoch 1/1") == 3
    assert f"training {demo_build.resolve() / 'tuned'}" in log


def test_one_student_is_distilled_and_one_is_not(demo_build: Path) -> None:
    for name, distill in (("plain", 0.0), ("distilled", SMALL.distill)):
        found = checkpoint.read_meta(demo_build / name).trained
        assert found["settings"]["distill"] == distill
        assert not set(found["seen"]) & set(unseen_things())
        assert set(found["unseen"]) <= set(unseen_things())
        assert found["is_finished"]


def test_a_second_call_skips_finished_steps(own_build: Path) -> None:
    before, events = stamps(own_build), list[Progress]()
    found = build_demo(own_build, SMALL, progress=events.append)
    assert found == own_build.resolve() / "checkpoint" and stamps(own_build) == before
    *done, calibrator = remarks(events)
    assert done == [f"{own_build.resolve() / n} is done" for n in ("plain", "distilled", "tuned")]
    assert calibrator.startswith("no calibrator: 64 photos are too few")


def test_a_missing_step_is_repeated(own_build: Path) -> None:
    expected = checkpoint.fingerprint(own_build / "checkpoint")
    for name in ("tuned", "tuned.run", "checkpoint"):
        shutil.rmtree(own_build / name)
    events: list[Progress] = []
    build_demo(own_build, SMALL, progress=events.append)
    assert f"training {own_build.resolve() / 'tuned'}" in remarks(events)
    assert checkpoint.fingerprint(own_build / "checkpoint") == expected


def test_the_checkpoint_is_the_tuned_one_in_16_bits(demo_build: Path) -> None:
    whole = load_file(demo_build / "tuned" / checkpoint.STUDENT)
    small = load_file(demo_build / "checkpoint" / checkpoint.STUDENT)
    assert set(small) == set(whole)
    for name, tensor in whole.items():
        expected = tensor.half() if tensor.is_floating_point() else tensor
        assert torch.equal(small[name], expected), name
    tuned, shipped = (open_model(demo_build / name) for name in ("tuned", "checkpoint"))
    found, expected = (
        m.photo_encoder(device="cpu", dtype="float32").encode(pictures()) for m in (shipped, tuned)
    )
    np.testing.assert_allclose(found.global_vectors, expected.global_vectors, atol=0.02)
    np.testing.assert_array_equal(
        shipped.label_encoder().encode(["red star"]), tuned.label_encoder().encode(["red star"])
    )


def test_the_text_tower_is_found_after_both_were_moved(own_build: Path, tmp_path: Path) -> None:
    before = open_model(own_build / "checkpoint").label_encoder().encode(["pink boat"])
    (tmp_path / "shipped").mkdir()
    for name in ("checkpoint", "clip"):
        shutil.move(own_build / name, tmp_path / "shipped" / name)
    shutil.rmtree(own_build)
    moved = open_model(tmp_path / "shipped/checkpoint")
    np.testing.assert_array_equal(moved.label_encoder().encode(["pink boat"]), before)
    assert moved.photo_encoder(device="cpu").encode(pictures()).patches.shape == (2, 64, 128)
    shutil.rmtree(tmp_path / "shipped/clip")
    with pytest.raises(ModelError, match=r"clip/open_clip_config\.json: cannot be read"):
        open_model(tmp_path / "shipped/checkpoint").label_encoder()


def test_no_path_of_the_machine_is_recorded(demo_build: Path) -> None:
    for file in ("checkpoint/meta.json", "clip/open_clip_config.json"):
        text = (demo_build / file).read_text()
        assert str(demo_build) not in text and str(demo_build.resolve()) not in text
        assert str(Path.home()) + "/" not in text
        assert '"/' not in text


def test_a_relative_folder_records_no_more(
    own_build: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    build_demo(Path("build"), SMALL)
    assert str(tmp_path.resolve()) not in (own_build / "checkpoint/meta.json").read_text()


def test_unseen_labels_that_no_photo_shows_are_left_out(tmp_path: Path) -> None:
    prepare_data(tmp_path, replace(SMALL, train=3, test=0), no_progress)
    shown = {
        label
        for labels in json.loads((tmp_path / "labels.json").read_text()).values()
        for label in labels
    }
    unseen = (tmp_path / "unseen.txt").read_text().split("\n")
    assert set(filter(None, unseen)) == shown & set(unseen_things())


# wrong inputs


def test_a_folder_with_other_things_is_refused(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    with pytest.raises(TrainingError, match="has other things in it; name a new folder"):
        build_demo(tmp_path, SMALL)
    assert [path.name for path in tmp_path.iterdir()] == ["photos"]


def test_a_folder_of_another_recipe_is_refused(own_build: Path) -> None:
    before = stamps(own_build)
    with pytest.raises(TrainingError, match=r"begun with another recipe, the one in recipe\.json"):
        build_demo(own_build, Recipe())
    assert stamps(own_build) == before


def test_two_processes_are_refused(own_build: Path) -> None:
    with hold(own_build / CLIP_RUN):
        with pytest.raises(TrainingError, match="`mkt train`"):
            build_demo(own_build, SMALL)


# the command


def test_the_command_continues_in_the_folder_and_prints_the_checkpoint(own_build: Path) -> None:
    result = mkt("train", "demo", "--small", "--out", own_build)
    assert result.stdout == f"{own_build.resolve() / 'checkpoint'}\n"
    assert "tuned is done" in result.stderr
    refused = mkt("train", "demo", "--out", own_build, code=1)
    assert "begun with another recipe" in refused.stderr
