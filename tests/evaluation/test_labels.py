"""The photos, labels and rules of an evaluation, and what it refuses."""

import json
from pathlib import Path

import pytest

from mkt_search.datasets.read import SplitDataset
from mkt_search.errors import DatasetError, EvaluationError
from mkt_search.evaluation.labels import check_rules, make_rules, provenance_of, select_photos
from mkt_search.evaluation.protocol import Rules
from mkt_search.models.build import CheckpointModel
from mkt_search.settings.config import DataConfig, EvaluateConfig
from tests.labeled import colour_model, labeled_photos, record_training
from tests.messages import Messages


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, CheckpointModel]:
    """Checkpoints by what they were trained on."""
    home = tmp_path_factory.mktemp("models")
    seen = {"red-green": ("red", "green"), "red": ("red",), "none": ()}
    found = {name: colour_model(home / name, seen=labels) for name, labels in seen.items()}
    found["elsewhere"] = colour_model(home / "elsewhere")
    record_training(home / "elsewhere", seen=["dog"], unseen=["cat"])
    found["elsewhere"] = CheckpointModel(home / "elsewhere", name="elsewhere")
    return found


@pytest.fixture
def data(tmp_path: Path) -> DataConfig:
    labeled_photos(tmp_path)
    (tmp_path / "splits.json").write_text(
        json.dumps({f"{n:02}.png": "test" if n % 2 else "train" for n in range(12)})
    )
    return DataConfig(
        photos=str(tmp_path / "photos"),
        labels=str(tmp_path / "labels.json"),
        splits=str(tmp_path / "splits.json"),
        min_photos=1,
    )


def but(data: DataConfig, **changes: object) -> DataConfig:
    return DataConfig(**{**vars(data), **changes})


def test_the_first_checkpoint_with_a_provenance_decides(
    data: DataConfig, models: dict[str, CheckpointModel]
) -> None:
    messages = Messages()
    chosen = [models["none"], models["red-green"], models["red"]]
    dataset, rows = select_photos(data, chosen, progress=messages)
    assert dataset.labels.seen == ("red", "green")
    assert dataset.labels.unseen == ("blue", "yellow")
    assert dataset.dataset.labels == ("red", "green", "blue", "yellow")
    assert rows.tolist() == [1, 3, 5, 7, 9, 11]
    assert any("those of" in message and "red-green" in message for message in messages)
    assert any("was not trained on 1 seen label: green" in message for message in messages)


def test_a_model_without_a_provenance_takes_the_split_of_the_data(
    data: DataConfig, models: dict[str, CheckpointModel]
) -> None:
    dataset, _ = select_photos(but(data, unseen_fraction=0.5), [models["none"]])
    assert len(dataset.labels.seen) == len(dataset.labels.unseen) == 2


def test_named_unseen_labels_take_precedence_over_every_provenance(
    data: DataConfig, models: dict[str, CheckpointModel], tmp_path: Path
) -> None:
    (tmp_path / "unseen.txt").write_text("yellow\n")
    named = but(data, unseen=str(tmp_path / "unseen.txt"))
    messages = Messages()
    dataset, _ = select_photos(named, [models["red-green"]], progress=messages)
    assert (dataset.labels.seen, dataset.labels.unseen) == (("green", "red"), ("yellow",))
    assert dataset.labels.never_named == ()
    assert messages == ["left out 1 label that a training named and this split does not: blue"]
    dataset, _ = select_photos(named, [models["none"]])
    assert dataset.labels.seen == ("blue", "green", "red")


def test_a_provenance_with_other_labels_makes_every_label_unseen(
    data: DataConfig, models: dict[str, CheckpointModel]
) -> None:
    messages = Messages()
    dataset, _ = select_photos(data, [models["elsewhere"]], progress=messages)
    assert dataset.labels.seen == () and len(dataset.labels.unseen) == 4
    assert messages == ["elsewhere knows none of these labels: all count as unseen"]


def test_labels_on_no_photo_are_reported(data: DataConfig, tmp_path: Path) -> None:
    model = colour_model(tmp_path / "student")
    record_training(tmp_path / "student", seen=["red", "cyan"], unseen=["blue"])
    model = CheckpointModel(tmp_path / "student", name="student")
    messages = Messages()
    dataset, _ = select_photos(data, [model], progress=messages)
    assert "1 label of student on no photo: cyan" in messages
    assert dataset.labels.never_named == ("green", "yellow")
    assert dataset.dataset.labels == ("red", "blue", "green", "yellow")


def test_a_model_trained_on_an_unseen_label_is_refused(
    data: DataConfig, models: dict[str, CheckpointModel]
) -> None:
    with pytest.raises(EvaluationError, match=r"red-green was trained on 1 label .* \(green\)"):
        select_photos(data, [models["red"], models["red-green"]])


@pytest.mark.parametrize(("only", "count"), [("test", 6), ("train", 6), ("all", 12)])
def test_only_selects_the_photos(
    data: DataConfig, models: dict[str, CheckpointModel], only: str, count: int
) -> None:
    without = but(data, validation="none")
    _, rows = select_photos(without, [models["red"]], only=only)  # type: ignore[arg-type]
    assert len(rows) == count


def test_other_test_photos_than_in_training_are_reported(tmp_path: Path, data: DataConfig) -> None:
    model = colour_model(tmp_path / "student")
    trained = {"seen": ["red"], "unseen": ["blue"], "photos": {"test": 6}}

    def messages_on(data: DataConfig, **settings: object) -> list[str]:
        record_training(tmp_path / "student", **trained, settings=settings)
        model = CheckpointModel(tmp_path / "student", name="student")
        messages = Messages()
        select_photos(data, [model], progress=messages)
        return [message for message in messages if "another split" in message]

    drawn = but(data, splits="", test_fraction=0.5)
    assert not messages_on(drawn, split_seed=0, test_fraction=0.5)
    (other,) = messages_on(drawn, split_seed=7)
    assert "(split_seed 7 there, 0 here)" in other
    assert not messages_on(data, split_seed=7)  # a file splits them
    (other,) = messages_on(but(drawn, test_fraction=0.75))
    assert "(test photos 6 there, 9 here)" in other
    assert provenance_of(model) is None


def test_photos_that_show_none_of_the_labels_are_refused(
    data: DataConfig, models: dict[str, CheckpointModel], tmp_path: Path
) -> None:
    shown = json.loads((tmp_path / "labels.json").read_text())
    for number in range(1, 12, 2):
        shown[f"{number:02}.png"] = ["red"]
    (tmp_path / "labels.json").write_text(json.dumps(shown))
    with pytest.raises(EvaluationError, match=r"none of the 6 photos \(test\) .* 2 unseen labels"):
        select_photos(data, [models["red-green"]])


def test_a_split_without_test_photos_is_refused(
    data: DataConfig, models: dict[str, CheckpointModel], tmp_path: Path
) -> None:
    (tmp_path / "splits.json").write_text(json.dumps({f"{n:02}.png": "train" for n in range(12)}))
    with pytest.raises(DatasetError, match='assigns no labeled photo to "test"'):
        select_photos(data, [models["red"]])


def test_empty_files_and_unknown_labels_are_refused(
    data: DataConfig, models: dict[str, CheckpointModel], tmp_path: Path
) -> None:
    (tmp_path / "unseen.txt").write_text("\n\n")
    with pytest.raises(EvaluationError, match=r"unseen\.txt names no label"):
        select_photos(but(data, unseen=str(tmp_path / "unseen.txt")), [models["red"]])
    (tmp_path / "unseen.txt").write_text("dragon\n")
    with pytest.raises(EvaluationError, match="no photo is labeled with: dragon"):
        select_photos(but(data, unseen=str(tmp_path / "unseen.txt")), [models["red"]])
    (tmp_path / "labels.json").write_text("{}")
    with pytest.raises(DatasetError, match=r"labels\.json"):
        select_photos(data, [models["red"]])


def test_only_a_trained_checkpoint_has_a_provenance(models: dict[str, CheckpointModel]) -> None:
    assert provenance_of(models["none"]) is None
    provenance = provenance_of(models["red"])
    assert provenance is not None and provenance.seen == ("red",)


# ---- rules ----


@pytest.fixture
def dataset(data: DataConfig, models: dict[str, CheckpointModel]) -> SplitDataset:
    """Two seen and two unseen labels."""
    return select_photos(data, [models["red-green"]])[0]


def test_depths_of_a_protocol_beyond_the_labels_are_left_out(dataset: SplitDataset) -> None:
    messages = Messages()
    rules = make_rules(EvaluateConfig(), dataset, progress=messages)
    assert rules == Rules("nus-wide", ())
    assert messages == [f"left out F1@{k}: there are 2 unseen labels" for k in (3, 5)]


def test_the_protocol_is_that_of_the_dataset_unless_named(dataset: SplitDataset) -> None:
    def name(kind: str, **given: object) -> str:
        config = EvaluateConfig(f1_at=(1,), **given)  # type: ignore[arg-type]
        return make_rules(config, dataset, kind=kind).name

    assert (name("folder"), name("open-images")) == ("nus-wide", "open-images")
    assert name("open-images", protocol="nus-wide") == "nus-wide"


@pytest.mark.parametrize("depth", [3, 0])
def test_depths_beyond_the_labels_are_refused(dataset: SplitDataset, depth: int) -> None:
    with pytest.raises(EvaluationError, match=f"--f1-at {depth} does not fit 2 unseen"):
        check_rules(Rules(f1_at=(1, depth)), dataset)


def test_depths_of_the_settings_are_checked(dataset: SplitDataset) -> None:
    with pytest.raises(EvaluationError, match="--f1-at 3 does not fit 2 unseen labels"):
        make_rules(EvaluateConfig(f1_at=(3,)), dataset)
