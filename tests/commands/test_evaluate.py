"""`mkt evaluate`: tables, files, what the library keeps, and errors."""

import json
import shutil
import sys
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config

from mkt_search.store.sql.database import open_engine
from mkt_search.store.sql.upgrade import migrations_folder
from tests.command_line import columns, mkt
from tests.labeled import colour_model, labeled_photos, prompted_model, record_training

ALL = ("--only", "all", "--f1-at", "1")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Labeled photos, a checkpoint with a record of its training, and a library of both."""
    home = labeled_photos(tmp_path_factory.mktemp("made"))
    colour_model(home / "student", seen=("red", "green"))
    mkt("init", home)
    mkt("index", home / "photos", "--model", home / "student", "--library", home)
    return home


@pytest.fixture
def home(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it as the current folder, for a test to change."""
    shutil.copytree(made, tmp_path / "home")
    monkeypatch.chdir(tmp_path / "home")
    return tmp_path / "home"


@pytest.fixture
def bare(home: Path, tmp_path: Path) -> Path:
    """The same without a library."""
    shutil.rmtree(home / ".mkt")
    (home / "mkt.toml").unlink()
    return home


DATA = ("--photos", "photos", "--labels", "labels.json")


def test_every_stream_of_a_model_is_a_line(home: Path) -> None:
    result = mkt("evaluate", *DATA, *ALL, "--model", "student")
    headings, *rows = columns(result)
    assert headings[:3] == ["model", "stream", "ZSL mAP"]
    assert [row[:2] for row in rows] == [["student", s] for s in ("global", "local", "fused")]
    assert all(0 <= float(cell) <= 1 for row in rows for cell in row[2:])
    assert len(rows[0]) == 2 + 4
    assert "12 photos of home/photos, 2 seen and 2 unseen labels" in result.stderr
    assert "seen and unseen labels are those of student" in result.stderr


def test_several_models_are_evaluated_on_the_same_labels(home: Path, tmp_path: Path) -> None:
    prompted_model(tmp_path / "tuned")
    result = mkt("evaluate", *DATA, *ALL, "--model", "student", "--model", str(tmp_path / "tuned"))
    rows = columns(result)[1:]
    assert [row[0] for row in rows[::3]] == ["student", "tuned", "tuned, plain template"]


def test_retrieval_prints_the_ranking_metrics(home: Path) -> None:
    rows = columns(mkt("evaluate", *DATA, *ALL, "--model", "student", "--retrieval"))
    assert len(rows) == 2 * (1 + 2 * 3)  # unseen and all; headings, two scales, three streams
    assert rows[4][:4] == ["student", "unseen", "cosine", "global"] and len(rows[0]) == 4 + 7


def test_files_hold_the_whole_report(home: Path) -> None:
    pytest.importorskip("matplotlib", reason="the extra `plots` is not installed")
    written = ("--json", "e.json", "--markdown", "e.md", "--html", "e.html", "--plots", "plots")
    result = mkt("evaluate", *DATA, *ALL, "--model", "student", *written)
    found = json.loads((home / "e.json").read_text())
    assert found["models"][0]["title"] == "student"
    assert {row["protocol"] for row in found["rows"]} == {"ZSL", "GZSL", "seen"}
    assert "seen and unseen labels are those of student" in found["notes"]
    assert "| student | fused |" in (home / "e.md").read_text()
    assert (home / "e.html").read_text().count("data:image/png;base64,") == 4
    assert {path.name for path in (home / "plots").iterdir()} == {
        "precision-recall.png",
        "scores.png",
        "streams.png",
        "labels-1-student.png",
    }
    assert "wrote 4 plots to plots" in result.stderr


def test_json_on_stdout_replaces_the_table(home: Path) -> None:
    result = mkt("evaluate", *DATA, *ALL, "--model", "student", "--json", "-")
    assert json.loads(result.stdout)["photos"] == 12


def test_photos_that_cannot_be_read_are_reported(home: Path) -> None:
    (home / "photos" / "03.png").write_bytes(b"no photo")
    result = mkt("evaluate", *DATA, *ALL, "--model", "student")
    assert "left out 1 photo that cannot be read: 03.png" in result.stderr
    assert "11 photos of home/photos" in result.stderr
    assert "1 unreadable photo left out" in result.stderr


def test_settings_can_come_from_mkt_toml(home: Path) -> None:
    (home / "mkt.toml").write_text("[evaluate]\nf1_at = [2]\ndepth = 4\n")
    result = mkt("evaluate", *DATA, "--only", "all", "--model", "student", "--json", "-")
    row = json.loads(result.stdout)["rows"][0]
    assert "F1@2" in row["paper"] and "nDCG@4" in row["retrieval"]["all"]


# ---- the library ----


def test_the_librarys_model_is_the_default(home: Path) -> None:
    assert columns(mkt("evaluate", *DATA, *ALL))[1][0] == "student"


def test_stored_vectors_alone_or_beside_every_patch(home: Path) -> None:
    alone = columns(mkt("evaluate", *DATA, *ALL, "--stored"))[1:]
    assert [row[0] for row in alone] == ["student, stored"] * 3
    both = columns(mkt("evaluate", *DATA, *ALL, "--stored", "--patches"))[1:]
    assert [row[0] for row in both[::3]] == ["student", "student, stored"]
    assert both[3:] == alone


def test_results_are_kept_and_listed(home: Path) -> None:
    assert "No evaluation yet" in mkt("evaluate", "--list").stderr
    first = mkt("evaluate", *DATA, *ALL, "--model", "student")
    assert "kept as run 2" in first.stderr
    mkt("evaluate", *DATA, *ALL, "--stored")
    rows = columns(mkt("evaluate", "--list"))
    assert [(row[0], row[2], row[3], row[4]) for row in rows] == [
        ("3", "home/photos", "student, stored", "12"),
        ("2", "home/photos", "student", "12"),
    ]
    assert rows[1][5] == columns(first)[3][2]  # ZSL mAP of the fused score
    kept = json.loads(mkt("evaluate", "--list", "--json", "-").stdout)
    assert kept[1]["settings"]["only"] == "all"
    assert kept[1]["dataset_fingerprint"] == kept[0]["dataset_fingerprint"]


def test_no_store_keeps_nothing(home: Path) -> None:
    mkt("evaluate", *DATA, *ALL, "--model", "student", "--no-store")
    assert columns(mkt("evaluate", "--list")) == []


def test_without_a_library_nothing_is_kept(bare: Path) -> None:
    result = mkt("evaluate", *DATA, *ALL, "--model", "student")
    assert "there is no library to keep the results in" in result.stderr
    assert not (bare / ".mkt").exists() and len(columns(result)) == 4


def test_a_library_of_an_older_version_is_refused_before_any_work(home: Path) -> None:
    config = Config()
    config.set_main_option("script_location", str(migrations_folder()))
    engine = open_engine(f"sqlite:///{home / '.mkt' / 'mkt.db'}")
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "0001")
    engine.dispose()
    result = mkt("evaluate", *DATA, *ALL, "--model", "student", code=1)
    assert "Run `mkt migrate`" in result.stderr and result.stdout == ""
    mkt("migrate")
    assert "kept as run" in mkt("evaluate", *DATA, *ALL, "--model", "student").stderr


# ---- what is refused, and how ----


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--model", "nowhere"), "there is no checkpoint at nowhere"),
        (
            ("--model", "student", *ALL, "--f1-at", "3"),
            "--f1-at 3 does not fit 2 unseen labels",
        ),
        (("--model", "student", "--html", "no/e.html"), "there is no folder no"),
        (("--model", "student", "--splits", "s.json"), 'assigns no labeled photo to "test"'),
        (("--model", "student", "--unseen", "none.txt"), "none.txt names no label"),
    ],
)
def test_bad_input_is_a_sentence(home: Path, arguments: tuple[str, ...], sentence: str) -> None:
    (home / "s.json").write_text(json.dumps({f"{n:02}.png": "train" for n in range(12)}))
    (home / "none.txt").write_text("")
    result = mkt("evaluate", *DATA, *arguments, code=1)
    assert result.stderr.splitlines()[-1].startswith("Error: ")
    assert sentence in result.stderr and result.stdout == ""


def test_patches_without_stored_is_a_usage_error(home: Path) -> None:
    assert "--patches goes with --stored" in mkt("evaluate", *DATA, "--patches", code=2).stderr


def test_splits_that_conflict_are_refused(home: Path) -> None:
    colour_model(home / "other", seen=("red", "blue"))
    models = ("--model", "student", "--model", "other")
    result = mkt("evaluate", *DATA, *ALL, *models, code=1)
    assert "other was trained on 1 label that would count as unseen (blue)" in result.stderr


def test_a_label_outside_the_table_names_the_nearest(home: Path) -> None:
    record_training(home / "student", seen=["red"], unseen=["magento"])
    (home / "labels.json").write_text(json.dumps({"00.png": ["red", "magento"], "01.png": ["red"]}))
    result = mkt("evaluate", *DATA, *ALL, "--model", "student", code=1)
    assert 'unknown label "magento" (nearest: magenta' in result.stderr


def test_an_empty_labels_file_is_a_sentence(home: Path) -> None:
    (home / "labels.json").write_text("{}")
    result = mkt("evaluate", *DATA, *ALL, "--model", "student", code=1)
    assert "labels.json" in result.stderr


def test_labels_that_no_photo_shows_are_a_sentence(home: Path) -> None:
    record_training(home / "student", seen=["red"], unseen=["blue"])
    labels = {"00.png": {"labels": ["red"], "absent": ["blue"]}, "01.png": {"labels": ["red"]}}
    lines = [json.dumps({"file": name, **said}) for name, said in labels.items()]
    (home / "labels.jsonl").write_text(
        "\n".join([*lines, '{"file": "02.png", "labels": ["blue"]}'])
    )
    (home / "s.json").write_text('{"00.png": "test", "01.png": "test", "02.png": "train"}')
    data = ("--photos", "photos", "--labels", "labels.jsonl", "--splits", "s.json")
    result = mkt("evaluate", *data, "--model", "student", code=1)
    assert "none of the 2 photos (test) shows any of the 1 unseen labels" in result.stderr


def test_no_model_and_no_library_names_both_ways(bare: Path) -> None:
    result = mkt("evaluate", *DATA, *ALL, code=1)
    assert "mkt init" in result.stderr and "--model" in result.stderr


def test_stored_without_a_library_is_refused(bare: Path) -> None:
    assert "mkt init" in mkt("evaluate", *DATA, "--stored", "--model", "student", code=1).stderr


def test_without_matplotlib_plots_are_refused_and_a_page_has_none(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    result = mkt("evaluate", *DATA, *ALL, "--model", "student", "--plots", "p", code=1)
    assert "pip install 'mkt-search[plots]'" in result.stderr and not (home / "p").exists()
    result = mkt("evaluate", *DATA, *ALL, "--model", "student", "--html", "e.html")
    assert "the page has no plots" in result.stderr
    assert "<img" not in (home / "e.html").read_text()


# ---- probabilities ----


def test_probabilities_need_a_calibrator(home: Path, bare: Path) -> None:
    result = mkt("evaluate", *DATA, "--calibration", "--model", "student", code=1)
    assert "Make one with `mkt calibrate`" in result.stderr


def test_the_ranking_metrics_do_not_go_with_probabilities(home: Path) -> None:
    for other in ("--retrieval", "--list", "--stored"):
        assert "do not go" in mkt("evaluate", *DATA, "--calibration", other, code=2).stderr
