"""Photos of a dataset, a panorama among them, scored in batches, against each photo alone."""

from pathlib import Path

import numpy as np
import pytest

from mkt_search.datasets.dataset import PhotoDataset
from mkt_search.datasets.read import read_published
from mkt_search.errors import EvaluationError
from mkt_search.evaluation.score_dataset import Loading, score_photos
from mkt_search.models.build import CheckpointModel
from mkt_search.photos import decode as images
from mkt_search.progress import Progress
from mkt_search.scoring import of_best_view
from mkt_search.search.score_photo import fused
from mkt_search.settings.config import DataConfig
from mkt_search.types import Encoded
from tests.labeled import colour_model, labeled_photos
from tests.tiny import paint

PHOTO_ROWS = np.array([0, 3, 4, 7, 11])
PANORAMA = 4


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> CheckpointModel:
    return colour_model(tmp_path_factory.mktemp("model") / "student")


@pytest.fixture
def dataset(tmp_path: Path) -> PhotoDataset:
    labeled_photos(tmp_path)
    paint(tmp_path / "photos" / f"{PANORAMA:02}.png", "green", {(1, 3): "blue"}, size=(320, 64))
    data = DataConfig(photos=str(tmp_path / "photos"), labels=str(tmp_path / "labels.json"))
    return read_published(data).dataset


@pytest.mark.parametrize("batch_size", [1, 2, 32])
def test_scores_are_those_of_each_photo_alone(
    dataset: PhotoDataset, model: CheckpointModel, batch_size: int
) -> None:
    labels = model.label_encoder().encode(dataset.labels)
    encoder = model.photo_encoder(device="cpu", dtype="float32")
    rows, (scored,) = score_photos(
        encoder, dataset, PHOTO_ROWS, [labels], k=2, loading=Loading(batch_size, workers=2)
    )
    assert rows.tolist() == PHOTO_ROWS.tolist()
    np.testing.assert_array_equal(scored.targets, dataset.targets[PHOTO_ROWS])
    for i, row in enumerate(PHOTO_ROWS):
        path = dataset.folder / dataset.files[row]
        views = images.to_views(images.decode(images.read(path)), model.image)
        encoded = encoder.encode(views)
        for scores, fuse in ((scored.dot, "none"), (scored.cosine, "cosine")):
            of_views = fused(encoded, labels, k=2, fuse=fuse)  # type: ignore[arg-type]
            expected = of_best_view(of_views, [len(views)])
            np.testing.assert_allclose(
                scores.global_scores[i], expected.global_scores[0], atol=1e-6
            )
            np.testing.assert_allclose(scores.local_scores[i], expected.local_scores[0], atol=1e-6)


def test_photos_that_cannot_be_read_are_left_out(
    dataset: PhotoDataset, model: CheckpointModel
) -> None:
    (dataset.folder / dataset.files[3]).write_bytes(b"no photo")
    (dataset.folder / dataset.files[4]).unlink()
    labels = model.label_encoder().encode(dataset.labels)
    events: list[Progress] = []
    rows, (scored,) = score_photos(
        model.photo_encoder(device="cpu"),
        dataset,
        PHOTO_ROWS,
        [labels],
        k=1,
        loading=Loading(2),
        step="student",
        progress=events.append,
    )
    assert rows.tolist() == [0, 7, 11]
    assert scored.targets.shape == scored.dot.fused.shape == (3, 4)
    assert events == [
        Progress("student", 0, 5),
        Progress("student", 2, 5, failed=1),
        Progress("student", 4, 5, failed=2),
        Progress("student", 5, 5, failed=2),
    ]


def test_each_set_of_label_vectors_has_its_scores(
    dataset: PhotoDataset, model: CheckpointModel
) -> None:
    labels = model.label_encoder().encode(dataset.labels)
    encoder = model.photo_encoder(device="cpu")
    rows = PHOTO_ROWS[PHOTO_ROWS != PANORAMA]
    _, (first, second) = score_photos(encoder, dataset, rows, [labels, -labels], k=16)
    np.testing.assert_allclose(first.dot.global_scores, -second.dot.global_scores)


def test_numbers_that_are_not_finite_are_an_error_that_names_a_photo(dataset: PhotoDataset) -> None:
    class Broken:
        spec = colour_model(dataset.folder.parent / "student").image

        def encode(self, pixels: np.ndarray) -> Encoded:
            shape = (len(pixels), 16, 8)
            return Encoded(np.full(shape[::2], np.nan, np.float32), np.zeros(shape, np.float32))

    with pytest.raises(EvaluationError, match=r"not finite for 00\.png or another photo"):
        score_photos(Broken(), dataset, PHOTO_ROWS, [np.ones((4, 8), np.float32)], k=1)  # type: ignore[arg-type]


def test_more_scores_than_memory_are_refused_before_any_work(
    dataset: PhotoDataset, model: CheckpointModel
) -> None:
    labels = model.label_encoder().encode(dataset.labels)
    encoder = model.photo_encoder(device="cpu")
    with pytest.raises(EvaluationError, match=r"5 photos for 4 labels take .* GiB, there are"):
        score_photos(encoder, dataset, PHOTO_ROWS, [labels], k=1, memory_bytes=100)
