"""Features of a frozen backbone: computed once, resumable, and equal to the student's own."""

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from mkt_search.datasets.dataset import PhotoDataset
from mkt_search.errors import TrainingError
from mkt_search.models.student import Student
from mkt_search.progress import Progress, ProgressCallback, no_progress
from mkt_search.types import ImageSpec
from tests.tiny import SIDE, paint, tiny_student
from training.data.cache import ArrayCache
from training.data.features import FeatureCache, compute_features, fill
from training.data.photos import PhotoPixels
from training.runs.spec import RunSpec

SPEC = ImageSpec(SIDE, SIDE, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


def painted(folder: Path, count: int = 5) -> PhotoDataset:
    for i in range(count):
        paint(folder / f"{i}.png", (40 * i, 200, 90), {(0, 0): "red"}, size=(48, 32))
    names = tuple(f"{i}.png" for i in range(count))
    return PhotoDataset(folder, names, ("a",), np.ones((count, 1), np.int8))


def computed(
    dataset: PhotoDataset, folder: Path, *, mirrored: bool = False, student: Student | None = None
) -> tuple[FeatureCache, list[int]]:
    """Return the cache, and the counts that were reported."""
    events: list[Progress] = []
    cache = compute_features(
        dataset,
        student or tiny_student(),
        SPEC,
        RunSpec(folder, device="cpu", dtype="float32", workers=0),
        mirrored=mirrored,
        progress=events.append,
    )
    return cache, [event.done for event in events]


def pixels_of(dataset: PhotoDataset, *, mirror: bool = False) -> torch.Tensor:
    photos = PhotoPixels(dataset, np.arange(len(dataset)), SPEC, mirror=mirror)
    stacked = torch.stack([photos[i][1] for i in range(len(dataset))])
    return (stacked.permute(0, 3, 1, 2) / 255 - 0.5) / 0.5


def test_cached_features_are_those_of_the_student_for_both_views(tmp_path: Path) -> None:
    dataset, student = painted(tmp_path / "photos"), tiny_student()
    cache, _ = computed(dataset, tmp_path / "cache", mirrored=True, student=student)
    assert cache.views == 2 and cache.is_readable.all()
    for view in (0, 1):
        with torch.no_grad():
            cls, patches = student.features(pixels_of(dataset, mirror=bool(view)))
        found_cls, found_patches = cache.get(np.arange(5), view)
        torch.testing.assert_close(found_cls, cls, atol=4e-3, rtol=2e-3)
        torch.testing.assert_close(found_patches, patches, atol=4e-3, rtol=2e-3)


def test_features_are_computed_once(tmp_path: Path) -> None:
    dataset = painted(tmp_path / "photos")
    _, first = computed(dataset, tmp_path / "cache")
    _, second = computed(dataset, tmp_path / "cache")
    assert first == [5] and second == []


def test_other_weights_or_a_changed_photo_need_other_features(tmp_path: Path) -> None:
    dataset = painted(tmp_path / "photos")
    computed(dataset, tmp_path / "cache")
    assert computed(dataset, tmp_path / "cache", student=tiny_student(seed=1))[1] == [5]
    paint(tmp_path / "photos/2.png", "blue", size=(64, 64))
    assert computed(dataset, tmp_path / "cache")[1] == [5]


def test_a_stopped_computation_resumes_in_the_second_view(tmp_path: Path) -> None:
    dataset = painted(tmp_path / "photos", 5)

    def means(pixels: NDArray[np.uint8]) -> dict[str, NDArray[np.float64]]:
        return {"mean": pixels.mean(axis=(1, 2)), "left": pixels[:, :, 0].mean(axis=1)}

    def filled(folder: Path, progress: ProgressCallback) -> ArrayCache:
        arrays = ArrayCache(folder, 2 * len(dataset), is_hashed=False, flush_every=1)
        fill(arrays, dataset, SPEC, means, workers=0, progress=progress, batch_size=2)
        return arrays

    def stop(event: Progress) -> None:
        if event.done == 7:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        filled(tmp_path / "cache", stop)
    events: list[Progress] = []
    resumed = filled(tmp_path / "cache", events.append).arrays()
    assert [event.done for event in events] == [9, 10]
    whole = filled(tmp_path / "whole", no_progress).arrays()
    for name, values in whole.items():
        np.testing.assert_array_equal(resumed[name], values)
    assert not np.array_equal(whole["left"][:5], whole["left"][5:])  # the mirrored photos


def test_a_broken_photo_is_marked_and_counted(tmp_path: Path) -> None:
    dataset = painted(tmp_path / "photos")
    (tmp_path / "photos/1.png").write_bytes(b"not a photo")
    run = RunSpec(tmp_path / "cache", device="cpu", dtype="float32", workers=0)
    events: list[Progress] = []
    cache = compute_features(
        dataset, tiny_student(), SPEC, run, mirrored=False, progress=events.append
    )
    assert events == [Progress("features", 5, 5, failed=1)]
    assert cache.is_readable.tolist() == [True, False, True, True, True]


def test_features_beyond_float16_are_refused(tmp_path: Path) -> None:
    student = tiny_student()
    norm = student.backbone.get_parameter("norm.weight")
    torch.nn.init.constant_(norm, 1e6)
    with pytest.raises(TrainingError, match="beyond float16"):
        computed(painted(tmp_path / "photos"), tmp_path / "cache", student=student)
