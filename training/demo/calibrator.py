"""Fit the calibrator that is shipped with the demo checkpoint.

    python -m training.demo.calibrator mkt_search/demo/shipped/checkpoint

It is fitted on the seen labels and on scenes of its own. The student learned these labels, but that
does not show in its scores: the quality that is kept with the calibrator is that of the unseen
labels on other scenes, and p is as good there.
"""

import argparse
import json
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from mkt_search.calibration import file as calibrators
from mkt_search.calibration import quality
from mkt_search.calibration.baselines import CALIBRATOR
from mkt_search.calibration.calibrator import Calibrator, Stamp
from mkt_search.calibration.fit import check_enough
from mkt_search.demo.scenes.photos import LABELS_FILE, write_photos
from mkt_search.demo.scenes.world import LABELS, unseen_things
from mkt_search.evaluation.calibrate import calibrate
from mkt_search.evaluation.calibration import Calibrated, evaluate_calibration
from mkt_search.models.build import CheckpointModel
from mkt_search.pooling.pool import pool
from mkt_search.progress import ProgressCallback, no_progress
from mkt_search.settings.config import Config, DataConfig
from training.learning.held_out import encoding_of

FIRST_SEED = 15_000_000
"""Of scenes that neither training, nor tests, nor the library of the tour has."""

SCENES = 1_500  # to fit on, and as many to measure on
SIDE = 320  # pixels, as in the library of the tour


def fit_demo(
    checkpoint: Path, *, scenes: int = SCENES, progress: ProgressCallback = no_progress
) -> Calibrator:
    """Fit the calibrator of a demo checkpoint on scenes, and write it into the checkpoint.

    Args:
        checkpoint: the checkpoint.
        scenes: how many to fit on, and as many to measure on.
        progress: receives counts of photos, and remarks.

    Raises:
        CalibrationError: there are too few scenes, or the file cannot be written.
    """
    check_enough(scenes, len(LABELS))  # before they are rendered
    model = CheckpointModel(checkpoint, name=str(checkpoint))
    encoding = encoding_of(model.dim, model.grid, model.top_k)
    stamp = Stamp.of(replace(encoding, checkpoint=model.fingerprint), model.label_fingerprint)
    with tempfile.TemporaryDirectory() as temporary:
        folders = [Path(temporary) / name for name in ("fitted", "tested")]
        configs = [
            _scenes(folder, FIRST_SEED + number * scenes, scenes, progress)
            for number, folder in enumerate(folders)
        ]
        found = calibrate(
            model,
            configs[0],
            stamp,
            lambda encoded, views: pool(encoded, encoding, views=views),
            model.label_encoder().encode,
            leave_out=unseen_things(),
            progress=progress,
        )
        report = evaluate_calibration(
            [Calibrated(model, found)], configs[1], only="all", progress=progress
        )
    measured = report.entries[0].methods[CALIBRATOR].quality
    assert measured is not None  # the calibrator gives p
    made_from = f"{len(found.labels)} seen labels, measured on {measured.labels} unseen ones"
    found = replace(found, quality=measured, made_from=made_from)
    calibrators.save(found, checkpoint / calibrators.FILE)
    return found


def _scenes(folder: Path, seed: int, count: int, progress: ProgressCallback) -> Config:
    """Render scenes with their labels into a folder, and return the settings that read them."""
    shown = write_photos(folder / "photos", range(seed, seed + count), side=SIDE, progress=progress)
    (folder / LABELS_FILE).write_text(json.dumps(shown), encoding="utf-8")
    data = DataConfig(photos=str(folder / "photos"), labels=str(folder / LABELS_FILE))
    return Config(data=data)


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("checkpoint", type=Path, help="folder of the demo checkpoint")
    found = fit_demo(parser.parse_args().checkpoint)
    sys.stdout.writelines(f"{sentence}\n" for sentence in quality.lines(found.quality))


if __name__ == "__main__":
    main()
