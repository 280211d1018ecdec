"""The calibrator that is shipped with the demo checkpoint."""

import os
import shutil
from pathlib import Path

import pytest

from mkt_search.calibration import file as calibrators
from mkt_search.calibration.file import MAX_BYTES
from mkt_search.demo.scenes.world import unseen_things
from mkt_search.errors import CalibrationError
from mkt_search.models.build import locate, open_model
from mkt_search.search.score_photo import calibrator_of
from mkt_search.settings.config import Config
from training.demo.calibrator import fit_demo


def test_the_shipped_one_is_of_the_shipped_model() -> None:
    found = calibrator_of(open_model("demo"), Config()).needed()
    assert not set(found.labels) & set(unseen_things())
    assert found.quality.labels == len(unseen_things()) and not found.quality.is_chance
    for asked, reached in found.quality.reached.items():
        assert reached.precision == pytest.approx(asked, abs=0.05)
    assert (Path(locate("demo")) / calibrators.FILE).stat().st_size < MAX_BYTES


def test_too_few_scenes_are_refused_before_any_is_rendered(tmp_path: Path) -> None:
    with pytest.raises(CalibrationError, match="too few"):
        fit_demo(tmp_path, scenes=20)


@pytest.mark.slow
def test_it_is_fitted_on_seen_labels_and_measured_on_unseen_ones(tmp_path: Path) -> None:
    shipped = Path(locate("demo")).parent
    shutil.copytree(shipped, tmp_path / "shipped", copy_function=os.link)
    (tmp_path / "shipped/checkpoint" / calibrators.FILE).unlink()
    made = fit_demo(tmp_path / "shipped/checkpoint", scenes=110)
    assert made.quality.photos == 110
    assert calibrators.load(tmp_path / "shipped/checkpoint" / calibrators.FILE).labels
