"""A run as text."""

from training.runs.history import Epoch
from training.runs.report import epoch_line, results_table

MAPS = {"global": 0.1, "local": 0.2, "fused": 0.3}
BY_LABELS = {"unseen": MAPS, "seen": MAPS, "all": MAPS}
TEST = {
    "photos": 1200,
    "cosine": BY_LABELS,
    "vocabulary": BY_LABELS,
    "paper": {"ZSL": {"mAP": 0.4, "P@3": 0.1, "R@3": 0.2, "F1@3": 0.15}},
}


def test_an_epoch_is_one_line() -> None:
    epoch = Epoch(2, 3, {"loss": 1.5, "rank": 0.5, "distill": 1.0}, 1e-3, 2.0, TEST)
    assert epoch_line(epoch) == (
        "epoch 2/3  loss 1.5000 (rank 0.5000, distill 1.0000)  ZSL mAP 0.3000 (global 0.1000,"
        " local 0.2000)  GZSL mAP 0.3000  ZSL P/R/F1@3 0.100/0.200/0.150  lr 1.0e-03  2.0 s"
    )


def test_an_epoch_shows_precision_recall_and_f1_of_the_paper_s_counting() -> None:
    zsl = {"mAP": 0.4, "P@3": 0.1, "R@3": 0.25, "F1@3": 0.143, "P@5": 0.1, "R@5": 0.5, "F1@5": 0.2}
    line = epoch_line(Epoch(1, 1, {"loss": 1.5}, 0.5, 0.25, {**TEST, "paper": {"ZSL": zsl}}))
    assert "ZSL P/R/F1@3 0.100/0.250/0.143  ZSL P/R/F1@5 0.100/0.500/0.200  lr" in line


def test_an_epoch_says_that_no_validation_photo_shows_an_unseen_label() -> None:
    nothing = dict.fromkeys(MAPS)
    validation = {**TEST, "cosine": {**BY_LABELS, "unseen": nothing}, "paper": {}}
    line = epoch_line(Epoch(1, 1, {"loss": 1.5}, 0.5, 0.25, validation))
    assert "no ZSL mAP: no validation photo shows an unseen label  GZSL mAP 0.3000" in line
    assert "nan" not in line


def test_a_mean_over_no_label_is_a_dash_in_the_tables() -> None:
    part = {**BY_LABELS, "unseen": dict.fromkeys(MAPS)}
    test = {**TEST, "cosine": part, "vocabulary": part}
    assert results_table({"test": test}).splitlines()[1].split()[-3:] == ["–"] * 3
    after = results_table({"before": test, "test": test}).splitlines()
    assert after[1].split()[-3:] == ["–"] * 3


def test_an_epoch_without_validation_is_shorter() -> None:
    line = epoch_line(Epoch(1, 1, {"loss": 1.5}, 0.5, 0.25, {}))
    assert line == "epoch 1/1  loss 1.5000  lr 5.0e-01  0.2 s"


def test_results_are_a_table() -> None:
    lines = results_table({"test": TEST}).splitlines()
    assert lines[0].split() == ["mAP", "on", "1,200", "test", "photos", "global", "local", "fused"]
    assert lines[1] == "unseen labels, cosine        0.1000  0.2000  0.3000"
    assert len(lines) == 7


def test_results_of_stage_2_are_shown_before_and_after() -> None:
    after = {**TEST, "paper": {"ZSL": {"mAP": 0.5}}}
    lines = results_table({"before": TEST, "test": after}).splitlines()
    assert lines[-1] == "ZSL, the paper's count       0.4000  0.5000  +0.1000"
