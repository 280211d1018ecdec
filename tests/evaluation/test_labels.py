"""Which photos, labels and rules an evaluation takes, and what it refuses."""

import json
from pathlib import Path

import pytest

from mkt_search.datasets.read import SplitDataset
from mkt_search.errors import DatasetError, EvaluationError
from mkt_search.evaluation.labels import check, choose, rules_of, story_of
from mkt_search.evaluation.protocol import Rules
from mkt_search.models.build import CheckpointModel
from mkt_search.settings.config import DataConfig, EvaluateConfig
from tests.judged import colour_model, labelled_photos, told


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, CheckpointModel]:
    """Checkpoints by what they were trained on."""
    home = tmp_path_factory.mktemp("models")
    seen = {"red-green": ("red", "green"), "red": ("red",), "none": ()}
    found = {name: colour_model(home / name, seen=labels) for name, labels in seen.items()}
    found["elsewhere"] = colour_model(home / "elsewhere")
    told(home / "elsewhere", seen=["dog"], unseen=["cat"])
    found["elsewhere"] = CheckpointModel(home / "elsewhere", name="elsewhere")
    return found


@pytest.fixture
def data(tmp_path: Path) -> DataConfig:
    labelled_photos(tmp_path)
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


def test_the_first_checkpoint_with_a_story_decides(
    data: DataConfig, models: dict[str, CheckpointModel]
) -> None:
    heard: list[str] = []
    chosen = [models["none"], models["red-green"], models["red"]]
    labelled, rows = choose(data, chosen, say=heard.append)
    assert labelled.labels.seen == ("red", "green")
    assert labelled.labels.unseen == ("blue", "yellow")
    assert labelled.dataset.labels == ("red", "green", "blue", "yellow")
    assert rows.tolist() == [1, 3, 5, 7, 9, 11]
    assert any("those of" in told and "red-green" in told for told in heard)
    assert any("was not trained on 1 label that count as seen: green" in told for told in heard)


def test_a_model_without_a_story_takes_the_split_of_the_data(
    data: DataConfig, models: dict[str, CheckpointModel]
) -> None:
    labelled, _ = choose(but(data, unseen_fraction=0.5), [models["none"]])
    assert len(labelled.labels.seen) == len(labelled.labels.unseen) == 2


def test_named_unseen_labels_win_over_every_story(
    data: DataConfig, models: dict[str, CheckpointModel], tmp_path: Path
) -> None:
    (tmp_path / "unseen.txt").write_text("yellow\n")
    named = but(data, unseen=str(tmp_path / "unseen.txt"))
    heard: list[str] = []
    labelled, _ = choose(named, [models["red-green"]], say=heard.append)
    assert (labelled.labels.seen, labelled.labels.unseen) == (("green", "red"), ("yellow",))
    assert heard == ["left out 1 label neither trained on nor named unseen: blue"]
    labelled, _ = choose(named, [models["none"]])
    assert labelled.labels.seen == ("blue", "green", "red")


def test_a_story_of_other_labels_leaves_every_label_unseen(
    data: DataConfig, models: dict[str, CheckpointModel]
) -> None:
    heard: list[str] = []
    labelled, _ = choose(data, [models["elsewhere"]], say=heard.append)
    assert labelled.labels.seen == () and len(labelled.labels.unseen) == 4
    assert heard == ["none of the labels here is in the story of elsewhere: all are unseen"]


def test_labels_of_the_story_that_are_not_here_are_told(data: DataConfig, tmp_path: Path) -> None:
    model = colour_model(tmp_path / "student")
    told(tmp_path / "student", seen=["red", "cyan"], unseen=["blue"])
    model = CheckpointModel(tmp_path / "student", name="student")
    heard: list[str] = []
    choose(data, [model], say=heard.append)
    assert "no photo here is labelled with 1 label of the story: cyan" in heard
    assert "left out 2 labels that the story does not name: green, yellow" in heard


def test_a_model_trained_on_an_unseen_label_is_refused(
    data: DataConfig, models: dict[str, CheckpointModel]
) -> None:
    with pytest.raises(EvaluationError, match=r"red-green was trained on 1 label .* \(green\)"):
        choose(data, [models["red"], models["red-green"]])


@pytest.mark.parametrize(("only", "count"), [("test", 6), ("train", 6), ("all", 12)])
def test_only_says_which_photos(
    data: DataConfig, models: dict[str, CheckpointModel], only: str, count: int
) -> None:
    without = but(data, validation="none")
    _, rows = choose(without, [models["red"]], only=only)  # type: ignore[arg-type]
    assert len(rows) == count


def test_other_test_photos_than_in_training_are_told(tmp_path: Path, data: DataConfig) -> None:
    model = colour_model(tmp_path / "student")
    story = {"seen": ["red"], "unseen": ["blue"], "photos": {"test": 6}}

    def heard_of(data: DataConfig, **settings: object) -> list[str]:
        told(tmp_path / "student", **story, settings=settings)
        model = CheckpointModel(tmp_path / "student", name="student")
        heard: list[str] = []
        choose(data, [model], say=heard.append)
        return [sentence for sentence in heard if "another split" in sentence]

    drawn = but(data, splits="", test_fraction=0.5)
    assert not heard_of(drawn, split_seed=0, test_fraction=0.5)
    (other,) = heard_of(drawn, split_seed=7)
    assert "(split_seed 7 there, 0 here)" in other
    assert not heard_of(data, split_seed=7)  # a file splits them
    (other,) = heard_of(but(drawn, test_fraction=0.75))
    assert "(test photos 6 there, 9 here)" in other
    assert story_of(model) is None


def test_photos_that_show_none_of_the_labels_are_refused(
    data: DataConfig, models: dict[str, CheckpointModel], tmp_path: Path
) -> None:
    shown = json.loads((tmp_path / "labels.json").read_text())
    for number in range(1, 12, 2):
        shown[f"{number:02}.png"] = ["red"]
    (tmp_path / "labels.json").write_text(json.dumps(shown))
    with pytest.raises(EvaluationError, match=r"none of the 6 photos \(test\) .* 2 unseen labels"):
        choose(data, [models["red-green"]])


def test_no_photos_to_test_is_a_sentence(
    data: DataConfig, models: dict[str, CheckpointModel], tmp_path: Path
) -> None:
    (tmp_path / "splits.json").write_text(json.dumps({f"{n:02}.png": "train" for n in range(12)}))
    with pytest.raises(DatasetError, match='assigns no labeled photo to "test"'):
        choose(data, [models["red"]])


def test_files_of_labels_that_are_empty_or_strange_are_refused(
    data: DataConfig, models: dict[str, CheckpointModel], tmp_path: Path
) -> None:
    (tmp_path / "unseen.txt").write_text("\n\n")
    with pytest.raises(EvaluationError, match=r"unseen\.txt names no label"):
        choose(but(data, unseen=str(tmp_path / "unseen.txt")), [models["red"]])
    (tmp_path / "unseen.txt").write_text("dragon\n")
    with pytest.raises(EvaluationError, match="not labelled with: dragon"):
        choose(but(data, unseen=str(tmp_path / "unseen.txt")), [models["red"]])
    (tmp_path / "labels.json").write_text("{}")
    with pytest.raises(DatasetError, match=r"labels\.json"):
        choose(data, [models["red"]])


def test_stories_are_those_of_checkpoints_that_tell(models: dict[str, CheckpointModel]) -> None:
    assert story_of(models["none"]) is None
    story = story_of(models["red"])
    assert story is not None and story.seen == ("red",)


# ---- rules ----


@pytest.fixture
def labelled(data: DataConfig, models: dict[str, CheckpointModel]) -> SplitDataset:
    """Two seen and two unseen labels."""
    return choose(data, [models["red-green"]])[0]


def test_depths_of_a_protocol_that_do_not_fit_are_left_out(labelled: SplitDataset) -> None:
    heard: list[str] = []
    rules = rules_of(EvaluateConfig(), labelled, heard.append)
    assert rules == Rules("nus-wide", ())
    assert heard == [f"left out F1@{k}: there are 2 unseen labels" for k in (3, 5)]


def test_the_protocol_is_that_of_the_dataset_unless_named(labelled: SplitDataset) -> None:
    def name(kind: str, **given: object) -> str:
        config = EvaluateConfig(f1_at=(1,), **given)  # type: ignore[arg-type]
        return rules_of(config, labelled, print, kind=kind).name

    assert (name("folder"), name("open-images")) == ("nus-wide", "open-images")
    assert name("open-images", protocol="nus-wide") == "nus-wide"


@pytest.mark.parametrize("depth", [3, 0])
def test_asked_depths_that_make_no_sense_are_refused(labelled: SplitDataset, depth: int) -> None:
    with pytest.raises(EvaluationError, match=f"--f1-at {depth} makes no sense with 2 unseen"):
        check(Rules(f1_at=(1, depth)), labelled)
