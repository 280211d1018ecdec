"""What a library says of its model, its probabilities and its index, by `Library` alone."""

from pathlib import Path

import pytest

from mkt_search import Library
from mkt_search.errors import EvaluationError, QueryError
from tests.tiny import colour_checkpoint, paint


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a library of two photos that was never evaluated nor calibrated."""
    home = tmp_path_factory.mktemp("home")
    paint(home / "red.png", (255, 0, 0))
    paint(home / "blue.png", (0, 0, 255))
    with Library.create(home) as library:
        library.index(home, model=colour_checkpoint(home / "model"), device="cpu", workers=1)
    return home


def test_a_new_library_keeps_no_evaluation_and_no_calibrator(home: Path) -> None:
    with Library.open(home) as library:
        assert library.evaluations() == []
        assert library.calibrator() is None


def test_exact_search_is_measured_where_there_is_no_candidate_index(home: Path) -> None:
    with Library.open(home) as library:
        report = library.evaluate_ann(["red"], queries=3, depths=(1, 2))
    assert (report.photos, report.indexed) == (2, 0)


def test_arguments_without_a_meaning_are_refused(home: Path) -> None:
    with Library.open(home) as library:
        with pytest.raises(EvaluationError, match="needs stored=True"):
            library.evaluate(patches=True)
        with pytest.raises(QueryError, match=r'not a list of labels\. Write \["red"\]'):
            library.evaluate_ann("red")
