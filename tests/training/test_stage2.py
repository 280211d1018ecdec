"""Stage 2 on painted photos: the prompt learns; the rest of the checkpoint is that of stage 1."""

import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from mkt_search.errors import ModelError, TrainingError
from mkt_search.models import checkpoint
from mkt_search.models.build import open_model
from mkt_search.models.checkpoint import PROMPT, STUDENT, Prompt
from mkt_search.progress import Progress
from mkt_search.settings.config import DataConfig, Stage2Config
from tests.painted import no_number_at, painted_world
from tests.tiny import colour_checkpoint, tiny_clip, tiny_clip_folder
from tests.training.test_stage1 import remarks
from training import stage1, stage2
from training.learning import prompt
from training.runs.history import Epoch
from training.stage2 import train

QUICK = Stage2Config(epochs=3, batch_size=8, lr=1e-2, device="cpu", dtype="float32", workers=0)


class World(NamedTuple):
    """The first arguments of `train`: `train(*world, out)`."""

    data: DataConfig
    config: Stage2Config
    checkpoint: Path


def made(folder: Path) -> World:
    """Paint photos, and make a stage 1 checkpoint whose labels go through a tiny text tower."""
    world = painted_world(folder).but(
        label_table="", text_model=tiny_clip(folder / "clip"), epochs=0, unseen_fraction=0.25
    )
    stage1.train(*world, folder / "student")
    return World(world.data, QUICK, folder / "student")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return made(tmp_path_factory.mktemp("world"))


@pytest.fixture
def own_world(tmp_path: Path) -> World:
    """A world for one test to change."""
    return made(tmp_path)


def context(out: Path) -> torch.Tensor:
    return load_file(out / PROMPT)["context"]


def but(world: World, **changes: Any) -> World:
    return world._replace(config=replace(world.config, **changes))


def test_only_the_prompt_is_new_and_it_is_small(world: World, tmp_path: Path) -> None:
    before = {path.name: path.read_bytes() for path in world.checkpoint.iterdir()}
    meta = train(*world, tmp_path / "out")
    after = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    assert set(after) == {*before, PROMPT}
    assert after[STUDENT] == before[STUDENT]
    assert len(after[PROMPT]) < 4096
    assert before == {path.name: path.read_bytes() for path in world.checkpoint.iterdir()}
    assert meta.files == {
        **checkpoint.read_meta(world.checkpoint).files,
        PROMPT: checkpoint.hash_file(tmp_path / "out" / PROMPT),
    }


def test_the_checkpoint_opens_with_its_prompt_and_finds_photos_encoded_before(
    world: World, tmp_path: Path
) -> None:
    train(*world, tmp_path / "out")
    old, new = open_model(world.checkpoint), open_model(tmp_path / "out")
    assert new.fingerprint == old.fingerprint  # photos need no new index
    pixels = np.zeros((1, 32, 32, 3), np.uint8)
    np.testing.assert_array_equal(
        new.photo_encoder(device="cpu").encode(pixels).patches,
        old.photo_encoder(device="cpu").encode(pixels).patches,
    )
    assert new.label_encoder().fingerprint != old.label_encoder().fingerprint
    moved = new.label_encoder().encode(["red"]) - old.label_encoder().encode(["red"])
    assert np.abs(moved).max() > 1e-4


def test_the_checkpoint_records_the_provenance_of_both_stages(world: World, tmp_path: Path) -> None:
    meta = train(*world, tmp_path / "out")
    assert checkpoint.read_meta(tmp_path / "out") == meta
    found = meta.trained
    assert [set(epoch["losses"]) for epoch in found["epochs"]] == [{"rank"}] * 3
    assert found["stage"] == "stage2" and found["is_finished"]
    first = checkpoint.read_meta(world.checkpoint)
    assert found["stage1"] == {"trained": first.trained, "results": first.results}
    assert (found["seen"], found["unseen"]) == (first.trained["seen"], first.trained["unseen"])
    assert found["settings"]["lr"] == 1e-2 and "photos" not in found["settings"]
    assert set(meta.results) == {"test", "before"}
    for part in meta.results.values():
        assert set(part["paper"]) == {"ZSL", "GZSL"}
    for labels in ("seen", "unseen", "all"):  # that of stage 1, but for vectors kept in float16
        known = first.results["test"]["cosine"][labels]["fused"]
        assert meta.results["before"]["cosine"][labels]["fused"] == pytest.approx(known, abs=0.02)


def test_a_tuned_prompt_can_be_tuned_further(world: World, tmp_path: Path) -> None:
    train(*world, tmp_path / "once")
    again = but(world, epochs=0)._replace(checkpoint=tmp_path / "once")
    meta = train(*again, tmp_path / "twice")
    assert torch.equal(context(tmp_path / "once"), context(tmp_path / "twice"))
    assert meta.trained["stage1"]["trained"]["stage"] == "stage2"
    assert meta.results["before"] == meta.results["test"]


def test_augmented_photos_tune_another_prompt_the_same_for_any_workers(
    world: World, tmp_path: Path
) -> None:
    augmented = but(world, flip=True, crop_scale=0.3, randaugment="rand-m9-mstd0.5-inc1")
    train(*world, tmp_path / "plain")
    meta = train(*augmented, tmp_path / "one")
    train(*but(augmented, workers=1), tmp_path / "two")
    assert torch.equal(context(tmp_path / "one"), context(tmp_path / "two"))
    assert not torch.equal(context(tmp_path / "one"), context(tmp_path / "plain"))
    plain = checkpoint.read_meta(tmp_path / "plain").results["before"]["cosine"]["all"]["fused"]
    assert meta.results["before"]["cosine"]["all"]["fused"] == pytest.approx(plain, abs=0.02)


def test_no_epochs_keep_the_template(world: World, tmp_path: Path) -> None:
    train(*but(world, epochs=0), tmp_path / "out")
    encoder = stage2.text_encoder(open_model(world.checkpoint))  # type: ignore[arg-type]
    assert torch.equal(context(tmp_path / "out"), encoder.template_context())


@pytest.mark.slow
def test_a_stopped_run_ends_with_the_prompt_of_an_undisturbed_one(
    world: World, tmp_path: Path
) -> None:
    changed = but(world, labels_per_step=4, clip_grad=1.0)
    train(*changed, tmp_path / "whole")

    def stop(epoch: Epoch) -> None:
        if epoch.number == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(*changed, tmp_path / "stopped", on_epoch=stop)
    assert not checkpoint.read_meta(tmp_path / "stopped").trained["is_finished"]
    events: list[Progress] = []
    train(*changed, tmp_path / "stopped", progress=events.append)
    assert "continuing after epoch 2 of 3" in remarks(events)
    assert torch.equal(context(tmp_path / "whole"), context(tmp_path / "stopped"))


KILLED = """
import os, pickle, signal, sys
from pathlib import Path
import open_clip
from training.stage2 import train

def kill(epoch):
    if epoch.number == 1:
        os.kill(os.getpid(), signal.SIGKILL)

open_clip.add_model_config(sys.argv[1])
world = pickle.loads(bytes.fromhex(sys.argv[2]))
train(*world, Path(sys.argv[3]), on_epoch=kill)
"""


@pytest.mark.slow
def test_a_killed_process_leaves_a_run_that_continues(world: World, tmp_path: Path) -> None:
    import pickle

    root = Path(__file__).parent.parent.parent
    config = world.checkpoint.parent / "clip/tiny-vit.json"
    done = subprocess.run(
        [sys.executable, "-c", KILLED, config, pickle.dumps(tuple(world)).hex(), tmp_path / "out"],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    events: list[Progress] = []
    train(*world, tmp_path / "out", progress=events.append)
    assert "continuing after epoch 1 of 3" in remarks(events)
    train(*world, tmp_path / "whole")
    assert torch.equal(context(tmp_path / "whole"), context(tmp_path / "out"))


@pytest.mark.slow
def test_the_seed_decides_and_the_labels_at_once_do_not(world: World, tmp_path: Path) -> None:
    found = {}
    for name, changes in {
        "a": {},
        "same": {},
        "other": {"seed": 1},
        "parts": {"labels_at_once": 2},
    }.items():
        train(*but(world, epochs=1, **changes), tmp_path / name)
        found[name] = context(tmp_path / name)
    assert torch.equal(found["a"], found["same"])
    assert not torch.allclose(found["a"], found["other"], atol=1e-5)
    torch.testing.assert_close(found["parts"], found["a"], atol=1e-4, rtol=1e-3)


@pytest.mark.slow
def test_unseen_labels_never_influence_the_prompt(own_world: World, tmp_path: Path) -> None:
    train(*own_world, tmp_path / "whole")
    labels_file = Path(own_world.data.labels)
    labels = json.loads(labels_file.read_text())
    unseen = checkpoint.read_meta(own_world.checkpoint).trained["unseen"]
    for position, name in enumerate(sorted(labels)):  # move the unseen labels to other photos
        own = [label for label in labels[name] if label not in unseen]
        labels[name] = own + ([unseen[position % 2]] if position % 3 == 0 else [])
    labels_file.write_text(json.dumps(labels))
    (tmp_path / "unseen.txt").write_text("\n".join(unseen))
    data = replace(own_world.data, unseen=str(tmp_path / "unseen.txt"))
    events: list[Progress] = []
    train(*own_world._replace(data=data), tmp_path / "moved", progress=events.append)
    assert torch.equal(context(tmp_path / "whole"), context(tmp_path / "moved"))
    assert any(line.startswith("stage 1 had other photos, labels") for line in remarks(events))


def test_a_loss_that_is_not_a_number_names_the_batch_and_keeps_the_last_epoch(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prompt, "ranking_loss_of", no_number_at(5, prompt.ranking_loss_of))
    sentence = r"epoch 2, batch 2 \(photos \d+\.png.*epoch 1 is kept in .*out\.run.*--lr"
    with pytest.raises(TrainingError, match=sentence):
        train(*world, tmp_path / "out")
    found = checkpoint.read_meta(tmp_path / "out").trained
    assert len(found["epochs"]) == 1 and not found["is_finished"]
    assert torch.isfinite(context(tmp_path / "out")).all()


def test_a_context_that_is_not_finite_is_never_kept(world: World, tmp_path: Path) -> None:
    one_step = but(world, epochs=1, batch_size=64, lr=1000.0, weight_decay=1e37)
    with pytest.raises(TrainingError, match="weights are not finite numbers after epoch 1"):
        train(*one_step, tmp_path / "out")
    assert not (tmp_path / "out").exists() and not (tmp_path / "out.run" / "state.pt").exists()


def test_an_open_clip_model_is_not_a_checkpoint(world: World, tmp_path: Path) -> None:
    folder = tiny_clip_folder(tmp_path / "clip")
    with pytest.raises(TrainingError, match=r"is an open_clip model, not a checkpoint\. Make"):
        train(world.data, world.config, folder, tmp_path / "out")


def test_the_student_s_vectors_are_computed_once(world: World, tmp_path: Path) -> None:
    changed = but(world, epochs=1, cache=str(tmp_path / "cache"))
    events: list[Progress] = []
    for out in ("a", "b"):
        train(*changed, tmp_path / out, progress=events.append)
    assert [event.done for event in events if event.step == "features"] == [32, 48]


def test_a_broken_photo_is_left_out_and_named(own_world: World, tmp_path: Path) -> None:
    (Path(own_world.data.photos) / "003.png").write_bytes(b"rubbish")
    events: list[Progress] = []
    train(*own_world, tmp_path / "out", progress=events.append)
    assert "left out 1 photo that cannot be read: 003.png" in remarks(events)


@pytest.mark.slow
def test_every_kind_of_settings_trains(world: World, tmp_path: Path) -> None:
    kinds: list[dict[str, Any]] = [
        {"score": "vocabulary", "labels_at_once": 2},
        {"score": "dot", "loss_on": "both", "absent_labels": "skip", "weight_decay": 0.1},
        {"labels_per_step": 3, "dtype": "bfloat16", "batch_size": 100},
    ]
    for number, changes in enumerate(kinds):
        meta = train(*but(world, epochs=1, **changes), tmp_path / str(number))
        assert np.isfinite(meta.results["test"]["cosine"]["all"]["fused"]), changes


def test_a_run_with_other_settings_is_refused(world: World, tmp_path: Path) -> None:
    train(*but(world, epochs=1), tmp_path / "out")
    with pytest.raises(TrainingError, match=r"lr was 0.01 and is now 0.5.*--restart"):
        train(*but(world, epochs=1, lr=0.5), tmp_path / "out")
    meta = train(*but(world, epochs=1, lr=0.002), tmp_path / "out", restart=True)
    assert meta.trained["settings"]["lr"] == 0.002


@pytest.mark.slow
def test_a_text_tower_inside_the_checkpoint_is_copied(world: World, tmp_path: Path) -> None:
    shutil.copytree(world.checkpoint, tmp_path / "student")
    described = json.loads((tmp_path / "student/meta.json").read_text())
    shutil.copy(described["prompt"]["weights"], tmp_path / "student/clip.safetensors")
    described["prompt"]["weights"] = "clip.safetensors"
    (tmp_path / "student/meta.json").write_text(json.dumps(described))
    moved = but(world, epochs=1)._replace(checkpoint=tmp_path / "student")
    train(*moved, tmp_path / "out")
    train(*but(world, epochs=1), tmp_path / "expected")
    shutil.rmtree(tmp_path / "student")
    np.testing.assert_array_equal(
        open_model(tmp_path / "out").label_encoder().encode(["red"]),
        open_model(tmp_path / "expected").label_encoder().encode(["red"]),
    )


def test_a_checkpoint_with_a_label_table_has_no_prompt_to_tune(
    world: World, tmp_path: Path
) -> None:
    table = world._replace(checkpoint=colour_checkpoint(tmp_path / "table"))
    sentence = r"table looks its labels up in a table.*--text-model instead of --label-table"
    with pytest.raises(TrainingError, match=sentence):
        train(*table, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_template_without_words_cannot_be_tuned(world: World, tmp_path: Path) -> None:
    meta = checkpoint.read_meta(world.checkpoint)
    assert meta.prompt is not None
    bare = Prompt(meta.prompt.model, meta.prompt.weights, template="{}")
    state = load_file(world.checkpoint / STUDENT)
    checkpoint.write(tmp_path / "bare", replace(meta, prompt=bare), state)
    with pytest.raises(TrainingError, match=r'template "{}" .* has no words of its own to tune'):
        train(*world._replace(checkpoint=tmp_path / "bare"), tmp_path / "out")


def test_labels_that_stage_1_learned_cannot_be_unseen(world: World, tmp_path: Path) -> None:
    data = replace(world.data, split_seed=3)
    with pytest.raises(
        TrainingError, match=r"stage 1 trained on \d label.*--split-seed of stage 1"
    ):
        train(*world._replace(data=data), tmp_path / "out")


def test_a_label_of_eighty_tokens_is_named(own_world: World, tmp_path: Path) -> None:
    labels_file = Path(own_world.data.labels)
    long = "very " * 79 + "red"
    labels_file.write_text(labels_file.read_text().replace('"red"', json.dumps(long)))
    with pytest.raises(ModelError, match=r'the label "very very .* is too long'):
        train(*own_world, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_source_is_never_replaced_and_must_be_a_checkpoint(
    world: World, tmp_path: Path
) -> None:
    with pytest.raises(TrainingError, match=r"would replace the checkpoint .*another --out"):
        train(*world, world.checkpoint, restart=True)
    with pytest.raises(ModelError, match="there is no checkpoint at"):
        train(*world._replace(checkpoint=tmp_path), tmp_path / "out")
