"""Batches of the student's vectors: the same for the same seed and epoch, from every source."""

import numpy as np
import pytest
import torch

from mkt_search.datasets.dataset import PhotoDataset
from mkt_search.progress import no_progress
from mkt_search.types import ImageSpec
from tests.tiny import SIDE, paint, tiny_student
from training.data.augment import NO_CHANGE, Augmentation
from training.data.features import FeatureCache, compute_features
from training.data.sources import (
    Batch,
    FeatureSource,
    PhotoSource,
    Source,
    VectorSource,
    full_batches,
    shuffled,
    steps_per_epoch,
)
from training.runs.spec import RunSpec

SPEC = ImageSpec(SIDE, SIDE, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
ROWS = np.array([1, 2, 4, 5, 6])


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> PhotoDataset:
    folder = tmp_path_factory.mktemp("photos")
    names = tuple(f"{i}.png" for i in range(7))
    for i, name in enumerate(names):
        paint(folder / name, (30 * i, 200, 90), {(0, 0): "red"}, size=(SIDE, SIDE))
    (folder / "4.png").write_bytes(b"not a photo")
    return PhotoDataset(folder, names, ("a",), np.ones((7, 1), np.int8))


@pytest.fixture(scope="module")
def cache(dataset: PhotoDataset, tmp_path_factory: pytest.TempPathFactory) -> FeatureCache:
    run = RunSpec(tmp_path_factory.mktemp("cache"), device="cpu", dtype="float32", workers=0)
    return compute_features(dataset, tiny_student(), SPEC, run, mirrored=True, progress=no_progress)


def photo_source(dataset: PhotoDataset, augmentation: Augmentation = NO_CHANGE) -> PhotoSource:
    return PhotoSource(
        tiny_student(),
        dataset,
        SPEC,
        augmentation=augmentation,
        batch_size=2,
        seed=0,
        workers=0,
        in_bfloat16=False,
    )


@pytest.fixture(params=["features", "vectors", "photos"])
def source(request: pytest.FixtureRequest, dataset: PhotoDataset, cache: FeatureCache) -> Source:
    if request.param == "features":
        return FeatureSource(tiny_student(), cache, batch_size=2, seed=0)
    if request.param == "vectors":
        return VectorSource(cache, device=torch.device("cpu"), batch_size=2, seed=0)
    return photo_source(dataset, Augmentation(flip=True, crop_scale=0.5))


def rows_of(batches: list[Batch]) -> list[int]:
    return [int(row) for batch in batches for row in batch.rows]


def test_training_batches_are_full_and_in_the_order_of_the_epoch(source: Source) -> None:
    for epoch in (1, 2):
        batches = list(source.training_batches(ROWS, epoch))
        assert [len(batch.rows) for batch in batches] == [2, 2]
        assert rows_of(batches) == shuffled(ROWS, seed=0, epoch=epoch)[:4].tolist()
    assert shuffled(ROWS, seed=0, epoch=1).tolist() != shuffled(ROWS, seed=0, epoch=2).tolist()


def test_an_epoch_gives_the_same_vectors_again(source: Source) -> None:
    first, second = (list(source.training_batches(ROWS, 1)) for _ in range(2))
    for a, b in zip(first, second, strict=True):
        assert all(torch.equal(x, y) for x, y in zip(a.vectors, b.vectors, strict=True))


def test_ordered_batches_have_every_row(source: Source) -> None:
    batches = list(source.ordered_batches(ROWS))
    assert rows_of(batches) == ROWS.tolist()
    assert not any(vectors.requires_grad for batch in batches for vectors in batch.vectors)


def test_photos_that_cannot_be_read_are_marked(source: Source) -> None:
    batches = list(source.ordered_batches(ROWS))
    readable = [bool(one) for batch in batches for one in batch.is_readable]
    assert readable == [True, True, False, True, True]


def test_cached_features_give_the_vectors_of_photos(
    dataset: PhotoDataset, cache: FeatureCache
) -> None:
    by_features = FeatureSource(tiny_student(), cache, batch_size=7, seed=0)
    (first,) = by_features.ordered_batches(np.array([0, 1, 2]))
    batches = list(photo_source(dataset).ordered_batches(np.array([0, 1, 2])))
    for number, vectors in enumerate(first.vectors):
        expected = torch.cat([batch.vectors[number] for batch in batches])
        torch.testing.assert_close(vectors, expected, atol=5e-3, rtol=5e-3)


def test_both_views_of_a_photo_are_trained_on(cache: FeatureCache) -> None:
    source = FeatureSource(tiny_student(), cache, batch_size=1, seed=0)
    found = {
        float(batch.vectors[0].detach().sum())
        for epoch in range(12)
        for batch in source.training_batches(np.array([1]), epoch)
    }
    assert len(found) == 2


def test_gradients_reach_what_learns(dataset: PhotoDataset) -> None:
    (batch, *_) = photo_source(dataset).training_batches(ROWS, 1)
    assert all(vectors.requires_grad for vectors in batch.vectors)


@pytest.mark.parametrize(("photos", "steps"), [(3, 1), (4, 1), (9, 2)])
def test_a_partial_batch_is_dropped_unless_it_is_the_only_one(photos: int, steps: int) -> None:
    batches = list(full_batches(np.arange(photos), 4))
    assert len(batches) == steps_per_epoch(photos, 4) == steps
    assert sum(map(len, batches)) == min(photos, 4 * steps)
