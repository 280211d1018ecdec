"""Training from Python."""

import subprocess
import sys
from pathlib import Path

import pytest

import training
from mkt_search.errors import ConfigError
from mkt_search.models.checkpoint import read_meta
from mkt_search.progress import Progress
from tests.painted import TINY_VIT, painted_world
from tests.tiny import tiny_clip
from training.runs.history import Epoch

TINY = {
    "backbone": "vit_tiny_patch16_224",
    "backbone_args": list(TINY_VIT),
    "image_height": 32,
    "image_width": 32,
    "pca_dim": 0,
    "min_photos": 2,
    "test_fraction": 0.25,
    "epochs": 1,
    "workers": 0,
    "device": "cpu",
}


def test_the_package_exports_the_function_and_its_result() -> None:
    assert set(training.__all__) == {"TrainReport", "train"}


def test_a_label_table_makes_a_student(tmp_path: Path) -> None:
    painted_world(tmp_path)
    events: list[Progress] = []
    epochs: list[Epoch] = []
    report = training.train(
        tmp_path / "out",
        photos=tmp_path / "photos",
        labels=tmp_path / "labels.json",
        label_table=tmp_path / "table.npz",
        label_transform="none",
        progress=events.append,
        on_epoch=epochs.append,
        **TINY,
    )
    meta = read_meta(report.checkpoint)
    assert report.results["test"]["photos"] == meta.results["test"]["photos"] == 12
    assert report.trained["settings"] == meta.trained["settings"]
    assert meta.trained["is_finished"]
    assert [epoch.number for epoch in epochs] == [1]
    assert Progress("features", 48, 48) in events


def test_a_text_tower_has_its_prompt_tuned_too(tmp_path: Path) -> None:
    painted_world(tmp_path)
    report = training.train(
        str(tmp_path / "out"),
        photos=str(tmp_path / "photos"),
        labels=str(tmp_path / "labels.json"),
        text_model=tiny_clip(tmp_path / "clip"),
        stage2={"epochs": 1, "workers": 0, "device": "cpu"},
        **TINY,
    )
    assert report.trained["stage"] == "stage2" and set(report.results) == {"test", "before"}
    assert report.checkpoint == tmp_path / "out"
    assert read_meta(tmp_path / "out.stage1").trained["stage"] == "stage1"


def test_neither_mkt_toml_nor_the_environment_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    painted_world(tmp_path)
    (tmp_path / "mkt.toml").write_text("[stage1]\nepochs = 9\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MKT_STAGE1_LR", "0.5")
    report = training.train(
        "out", photos="photos", labels="labels.json", label_table="table.npz", **TINY
    )
    settings = report.trained["settings"]
    assert (settings["epochs"], settings["lr"]) == (1, 3e-4)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"learning_rate": 1.0}, r'unknown setting "stage1\.learning_rate"'),
        ({"lr": "fast"}, r"stage1\.lr: lr in \[stage1\] must be a number"),
        ({"recipe": "quick"}, "must be linear, finetune or paper"),
        ({"stage2": {"lrr": 1.0}}, r'"stage2\.lrr"; did you mean "stage2\.lr"'),
    ],
)
def test_a_wrong_setting_is_named(settings: dict[str, object], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        training.train("out", photos="photos", **settings)  # type: ignore[arg-type]


def test_importing_the_package_imports_no_torch() -> None:
    code = "import sys, training; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_package_ships_its_types() -> None:
    assert training.__file__ is not None
    assert (Path(training.__file__).parent / "py.typed").is_file()
