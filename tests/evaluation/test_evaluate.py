"""Several models on the same photos and labels, with values computed by hand."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from mkt_search.datasets.read import SplitDataset
from mkt_search.errors import CheckpointMismatch, ConfigError, EvaluationError, UnknownLabel
from mkt_search.evaluation.evaluate import (
    Stored,
    evaluate,
    evaluate_models,
    fingerprint,
    label_vectors,
    titles,
    untrained,
)
from mkt_search.evaluation.labels import select_photos
from mkt_search.evaluation.metrics import mean_average_precision, top_labels
from mkt_search.evaluation.protocol import Group, Rules
from mkt_search.evaluation.report import Report
from mkt_search.library import Library
from mkt_search.models import checkpoint
from mkt_search.models.anchor import Anchor
from mkt_search.models.anchor_choice import AnchorChoice, Point
from mkt_search.models.build import AnchorAlone, CheckpointModel, open_model
from mkt_search.progress import Progress
from mkt_search.search.score_photo import score_photo
from mkt_search.settings.config import Config, DataConfig, EvaluateConfig, ModelConfig
from tests.command_line import mkt
from tests.labeled import colour_model, labeled_photos, prompted_model, record_training
from tests.messages import Messages
from tests.tiny import colour_student, colour_table, tiny_clip

RULES = Rules(f1_at=(1,), depth=3)
CONFIG = Config(model=ModelConfig(device="cpu", dtype="float32"))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = labeled_photos(tmp_path_factory.mktemp("home"))
    colour_model(folder / "student", seen=("red", "green"))
    return folder


@pytest.fixture(scope="module")
def student(home: Path) -> CheckpointModel:
    return CheckpointModel(home / "student", name=str(home / "student"))


def all_of(home: Path, *models: CheckpointModel) -> tuple[SplitDataset, np.ndarray]:
    data = DataConfig(photos=str(home / "photos"), labels=str(home / "labels.json"), min_photos=1)
    return select_photos(data, models, only="all")


def stored_in(library: Library, *, patches: bool = False) -> Stored:
    return Stored(library.store.catalog, library.snapshot(), patches=patches)


def run(home: Path, *models: CheckpointModel, **more: object) -> Report:
    dataset, rows = all_of(home, *models)
    return evaluate_models(models, dataset, rows=rows, rules=RULES, config=CONFIG, **more)  # type: ignore[arg-type]


def test_the_best_patch_finds_every_colour_and_the_mean_colour_does_not(
    home: Path, student: CheckpointModel
) -> None:
    report = run(home, student)
    (entry,) = report.entries
    by_stream = {s: report.find(entry, s, "all", "cosine") for s in ("global", "local", "fused")}  # type: ignore[arg-type]
    assert by_stream["local"].standard == 1
    assert by_stream["global"].standard < by_stream["fused"].standard < 1
    assert (report.photos, report.unreadable) == (12, 0)
    assert report.labels == ("red", "green", "blue", "yellow")


@pytest.mark.parametrize(("group", "first"), [("unseen", 2), ("all", 0)])
def test_the_papers_metrics_are_those_of_each_photo_scored_alone(
    home: Path, student: CheckpointModel, group: Group, first: int
) -> None:
    dataset, rows = all_of(home, student)
    labels, targets = dataset.dataset.labels[first:], dataset.dataset.targets[:, first:]
    scores = np.zeros(targets.shape, np.float32)
    for row in rows:
        path = dataset.dataset.folder / dataset.dataset.files[row]
        found = score_photo(path, labels, student, config=CONFIG, fuse="vocabulary")
        by_label = {item.label: item.score for item in found}
        scores[row] = [by_label[label] for label in labels]
    report = run(home, student)
    row_of = report.find(report.entries[0], "fused", group)
    assert row_of.protocol == ("ZSL" if first else "GZSL")
    expected = mean_average_precision(scores, targets)
    assert row_of.paper["mAP"] == pytest.approx(expected.paper, abs=1e-6)
    assert row_of.paper["F1@1"] == pytest.approx(top_labels(scores, targets, ks=(1,))[1].f1)


def test_a_learned_prompt_is_evaluated_beside_its_plain_template(
    home: Path, student: CheckpointModel, tmp_path: Path
) -> None:
    tuned = prompted_model(tmp_path / "tuned")
    report = run(home, student, tuned)
    assert [entry.title for entry in report.entries] == [
        "student",
        "tuned",
        "tuned, plain template",
    ]
    assert [entry.prompt for entry in report.entries] == ["table", "learned", "template"]
    learned, plain = report.entries[1:]
    assert report.find(learned, "fused", "all") != report.find(plain, "fused", "all")


def test_the_plain_template_is_that_of_the_untuned_checkpoint(
    home: Path, student: CheckpointModel, tmp_path: Path
) -> None:
    labels = ["red", "a big blue thing"]
    tuned = label_vectors(prompted_model(tmp_path / "tuned"), labels)
    plain = label_vectors(prompted_model(tmp_path / "plain", learned=False), labels)
    assert list(tuned) == ["learned", "template"] and list(plain) == ["template"]
    np.testing.assert_allclose(tuned["template"], plain["template"], atol=1e-6)
    assert np.abs(tuned["learned"] - tuned["template"]).max() > 0.01


def test_a_clip_is_evaluated_with_its_templates_beside_the_plain_one(tmp_path: Path) -> None:
    model, labels = open_model(tiny_clip(tmp_path)), ["red", "blue"]
    found = label_vectors(model, labels, ("a {}", "{}"))
    assert list(found) == ["templates", "template"]
    np.testing.assert_array_equal(found["template"], label_vectors(model, labels)["template"])
    assert np.abs(found["templates"] - found["template"]).max() > 0.01
    tuned = prompted_model(tmp_path / "tuned")
    assert list(label_vectors(tuned, labels, ("a {}", "{}"))) == ["learned", "template"]


def test_photos_that_cannot_be_read_are_counted_and_reported(
    tmp_path: Path, student: CheckpointModel
) -> None:
    labeled_photos(tmp_path)
    (tmp_path / "photos" / "04.png").write_bytes(b"no photo")
    messages = Messages()
    report = run(tmp_path, student, progress=messages)
    assert (report.photos, report.unreadable) == (11, 1)
    assert "left out 1 photo that cannot be read: 04.png" in messages
    assert "1 unreadable photo" in report.summary()


def test_no_readable_photo_is_an_error(tmp_path: Path, student: CheckpointModel) -> None:
    labeled_photos(tmp_path)
    for file in (tmp_path / "photos").iterdir():
        file.write_bytes(b"no photo")
    with pytest.raises(EvaluationError, match=r"none of the 12 photos in .* can be read"):
        run(tmp_path, student)


def test_no_photo_at_all_is_an_error(home: Path, student: CheckpointModel) -> None:
    dataset, rows = all_of(home, student)
    with pytest.raises(EvaluationError, match="no photo to evaluate"):
        evaluate_models([student], dataset, rows=rows[:0], rules=RULES)


def test_a_label_outside_the_table_is_named(tmp_path: Path) -> None:
    labeled_photos(tmp_path)
    shown = json.loads((tmp_path / "labels.json").read_text())
    (tmp_path / "labels.json").write_text(json.dumps({**shown, "00.png": ["red", "magento"]}))
    (tmp_path / "unseen.txt").write_text("magento\n")
    model = colour_model(tmp_path / "student")
    data = DataConfig(
        photos=str(tmp_path / "photos"),
        labels=str(tmp_path / "labels.json"),
        unseen=str(tmp_path / "unseen.txt"),
    )
    dataset, rows = select_photos(data, [model], only="all")
    with pytest.raises(UnknownLabel, match=r'unknown label "magento" \(nearest: magenta'):
        evaluate_models([model], dataset, rows=rows, rules=Rules(f1_at=()))


def test_an_evaluation_reads_the_data_and_keeps_the_messages(
    home: Path, student: CheckpointModel
) -> None:
    data = DataConfig(photos=str(home / "photos"), labels=str(home / "labels.json"), min_photos=1)
    config = Config(model=CONFIG.model, data=data, evaluate=EvaluateConfig(f1_at=(1,), depth=3))
    events: list[Progress] = []
    report = evaluate([student], config, only="all", progress=events.append)
    expected = run(home, student)
    assert [row.as_dict() for row in report.rows] == [row.as_dict() for row in expected.rows]
    assert report.notes == tuple(event.message for event in events if event.message)
    assert f"seen and unseen labels are those of {student.name}" in report.notes
    assert Progress("student", 12, 12) in events
    assert report.settings["only"] == "all" and report.settings["evaluate"]["depth"] == 3


def test_labels_that_training_never_named_are_measured_apart(home: Path, tmp_path: Path) -> None:
    model = colour_model(tmp_path / "student")
    record_training(tmp_path / "student", seen=["red"], unseen=["green"])
    model = CheckpointModel(tmp_path / "student", name="student")
    report = run(home, model)
    assert report.never_named == ("blue", "yellow")
    assert report.groups == ("unseen", "all", "never named")
    row = report.find(report.entries[0], "local", "never named", "cosine")
    assert row.standard == 1 and row.protocol == "never named"
    assert report.paper_table().columns[-1] == "never named mAP"
    assert report.find(report.entries[0], "local", "all").retrieval["all"]["labels"] == 2
    assert "1 seen and 1 unseen labels, 2 that no training named" in report.summary()
    by_label = {item["label"]: item["is_named"] for item in report.as_dict()["labels"]}
    assert by_label == {"red": True, "green": True, "blue": False, "yellow": False}


def anchored(folder: Path, **trained: object) -> CheckpointModel:
    """The colour checkpoint with the classifier of three colours as its anchor."""
    meta = checkpoint.read_meta(colour_model(folder).directory)
    parts = 100 * torch.eye(3), torch.zeros(3), torch.eye(3, 8), torch.zeros(8), torch.zeros(8)
    anchor, names = Anchor(*parts), ["red", "green", "blue"]
    checkpoint.write(
        folder,
        replace(meta, trained={"seen": names, **trained}),
        colour_student().state(),
        labels=colour_table(),
        anchor=anchor.state_dict(),
    )
    return CheckpointModel(folder, name=str(folder))


def test_a_student_is_compared_with_what_it_knew_before_training(
    home: Path, tmp_path: Path
) -> None:
    data = DataConfig(photos=str(home / "photos"), labels=str(home / "labels.json"), min_photos=1)
    config = Config(model=CONFIG.model, data=data, evaluate=EvaluateConfig(f1_at=(1,)))
    choice = AnchorChoice(0.5, classes=3, covered=3, curve=(Point(0, 0.25, 0.5),))
    model = anchored(
        tmp_path / "student",
        anchor=choice.provenance(),
        teacher={"model": "ViT-B-16/openai", "fingerprint": "0" * 12},
    )
    report = evaluate([model], config, only="all")
    student, alone = report.entries
    assert alone.title == f"{model.name}, anchor alone"
    assert report.find(alone, "local", "all").standard == 1
    notes = " ".join(report.notes)
    assert "anchor of weight 0.5; 3 of 3 class names have a label vector" in notes
    assert "by weight of the anchor: 0: 0.250 / 0.500" in notes
    assert "the teacher ViT-B-16/openai is not compared; name it with --model" in notes
    assert student.fingerprint != alone.fingerprint
    pixels = np.full((1, 32, 32, 3), (255, 0, 0), np.uint8)
    encoder = AnchorAlone(model).photo_encoder(device="cpu", dtype="float32")
    np.testing.assert_allclose(encoder.encode(pixels).global_vectors, np.eye(1, 8), atol=1e-6)


def test_the_raw_teacher_is_a_row_where_its_files_are_here(tmp_path: Path) -> None:
    teacher = tiny_clip(tmp_path / "clip")
    model = anchored(tmp_path / "student", teacher={"model": teacher, "fingerprint": "0" * 12})
    found = untrained([model], lambda _: None)
    assert [each.name for each in found] == [f"{model.name}, anchor alone", teacher]
    assert untrained([*found[1:]], lambda _: None) == []


def test_names_are_short_unless_two_models_share_them(tmp_path: Path) -> None:
    models = [colour_model(tmp_path / name / "student") for name in "ab"]
    assert titles(models[:1]) == ["student"]
    assert titles(models) == [str(tmp_path / name / "student") for name in "ab"]
    assert titles([models[0], models[0]]) == [str(tmp_path / "a" / "student")] * 2


def test_the_fingerprint_depends_on_photos_and_labels(home: Path, student: CheckpointModel) -> None:
    dataset, rows = all_of(home, student)
    assert fingerprint(dataset, rows) == fingerprint(*all_of(home, student))
    assert fingerprint(dataset, rows) != fingerprint(dataset, rows[1:])
    assert len(fingerprint(dataset, rows)) == 12


# ---- what a library stores ----


@pytest.fixture(scope="module")
def library_home(home: Path) -> Path:
    mkt("init", home)
    mkt("index", home / "photos", "--model", home / "student", "--library", home, "--m", "2")
    return home


def test_stored_vectors_are_evaluated_beside_every_patch(
    library_home: Path, student: CheckpointModel
) -> None:
    with Library.open(library_home) as library:
        alone = run(library_home, student, stored=stored_in(library))
        both = run(library_home, student, stored=stored_in(library, patches=True))
    assert [entry.title for entry in both.entries] == ["student", "student, stored"]
    assert [entry.title for entry in alone.entries] == ["student, stored"]
    stored = [row.as_dict() for row in both.rows if row.entry.vectors == "stored"]
    assert stored == [row.as_dict() for row in alone.rows]
    exact, kept = (both.find(entry, "global", "all", "cosine").standard for entry in both.entries)
    assert kept == pytest.approx(exact, abs=0.05)  # int8 of the same global vectors


def test_photos_that_the_library_lacks_are_reported(
    library_home: Path, student: CheckpointModel, tmp_path: Path
) -> None:
    labeled_photos(tmp_path)
    (tmp_path / "photos" / "00.png").write_bytes(b"other bytes")
    messages = Messages()
    with Library.open(library_home) as library:
        report = run(tmp_path, student, stored=stored_in(library), progress=messages)
    assert "left out 1 photo that the library does not have: 00.png" in messages
    assert report.photos == 11 and report.unreadable == 0


def test_vectors_of_another_checkpoint_are_refused(library_home: Path, tmp_path: Path) -> None:
    other = prompted_model(tmp_path / "other")
    with (
        Library.open(library_home) as library,
        pytest.raises(CheckpointMismatch, match=r"Leave out --stored"),
    ):
        run(library_home, other, stored=stored_in(library))


def test_a_library_without_the_photos_says_how_to_add_them(
    student: CheckpointModel, tmp_path: Path
) -> None:
    labeled_photos(tmp_path / "here")
    mkt("init", tmp_path)
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.png").write_bytes((tmp_path / "here/photos/00.png").read_bytes())
    mkt("index", tmp_path / "photos", "--model", student.directory, "--library", tmp_path)
    dataset, rows = all_of(tmp_path / "here", student)
    with (
        Library.open(tmp_path) as library,
        pytest.raises(EvaluationError, match=r"none of the 1 photos .* `mkt index"),
    ):
        evaluate_models([student], dataset, rows=rows[1:2], stored=stored_in(library))


def test_a_library_evaluates_its_model_and_keeps_the_results(
    library_home: Path, student: CheckpointModel, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    shutil.copytree(library_home, home)
    settings = {"photos": str(home / "photos"), "labels": str(home / "labels.json")}
    with Library.open(home) as library:
        report = library.evaluate(only="all", f1_at=(1,), device="cpu", **settings)
        stored = library.evaluate(
            [home / "student"], only="all", stored=True, patches=True, f1_at=(1,), **settings
        )
        assert library.evaluations() == []
        run = library.keep_evaluation(report)
        (kept,) = library.evaluations()
    assert [entry.title for entry in report.entries] == ["student"]
    assert [entry.title for entry in stored.entries] == ["student", "student, stored"]
    assert (kept.run, kept.model, kept.fingerprint) == (run, "student", student.fingerprint)
    assert kept.settings["evaluate"]["f1_at"] == [1]
    assert report.settings["data"]["photos"] == settings["photos"]


def test_an_unknown_argument_names_the_nearest(library_home: Path) -> None:
    with (
        Library.open(library_home) as library,
        pytest.raises(ConfigError, match="unknown argument photo; did you mean photos"),
    ):
        library.evaluate(photo="photos")  # type: ignore[call-arg]
