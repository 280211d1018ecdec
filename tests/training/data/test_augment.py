"""Augmentation depends on the generator alone and leaves the global generators as they were."""

import pickle
import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from mkt_search.datasets.dataset import PhotoDataset
from mkt_search.types import ImageSpec
from tests.tiny import SIDE, paint
from training.data.augment import (
    RANDAUGMENT_POLICY,
    Augmentation,
    rand_augment,
    random_box,
    seeded,
)
from training.data.photos import PhotoPixels, loader

SPEC = ImageSpec(SIDE, SIDE, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
PAPER = "rand-m9-mstd0.5-inc1"
EVERYTHING = Augmentation(flip=True, crop_scale=0.3, randaugment=PAPER)


@pytest.fixture
def dataset(tmp_path: Path) -> PhotoDataset:
    names = tuple(f"{i}.png" for i in range(6))
    for i, name in enumerate(names):
        paint(tmp_path / name, (40 * i, 200, 90), {(0, 0): "red", (2, 3): "blue"}, size=(48, 32))
    return PhotoDataset(tmp_path, names, ("a",), np.ones((6, 1), np.int8))


def photo() -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 256, (4, 6, 3), np.uint8)
    return Image.fromarray(pixels).resize((48, 32))


def changed(change: Augmentation, seed: int = 0) -> NDArray[np.uint8]:
    return change.to_pixels(photo(), SPEC, np.random.default_rng(seed))


def photos(
    dataset: PhotoDataset, rows: list[int], *, epoch: int = 1, workers: int = 0
) -> dict[int, torch.Tensor]:
    seen = PhotoPixels(dataset, np.array(rows), SPEC, augmentation=EVERYTHING, seed=(7, epoch))
    batches: Iterator[list[torch.Tensor]] = iter(loader(seen, batch_size=2, workers=workers))
    return {int(row): one for batch in batches for row, one in zip(batch[0], batch[1], strict=True)}


def test_a_photo_depends_on_seed_epoch_and_row_alone(
    dataset: PhotoDataset,
) -> None:
    alone, among = photos(dataset, [3]), photos(dataset, [5, 0, 3, 1])
    assert torch.equal(alone[3], among[3])
    assert not torch.equal(alone[3], photos(dataset, [3], epoch=2)[3])


def test_workers_make_no_difference(dataset: PhotoDataset) -> None:
    rows = [4, 2, 0, 5, 1, 3]
    by_none, by_two = photos(dataset, rows), photos(dataset, rows, workers=2)
    assert all(torch.equal(by_none[row], by_two[row]) for row in rows)


def test_the_global_generators_are_left_as_they_were() -> None:
    random.seed(3)
    np.random.seed(3)
    expected = random.random(), random.gauss(0, 1), np.random.rand()
    random.seed(3)
    np.random.seed(3)
    found = random.random()
    changed(EVERYTHING)
    assert (found, random.gauss(0, 1), np.random.rand()) == expected


def test_the_state_of_the_global_generators_does_not_matter() -> None:
    random.seed(1)
    first = changed(EVERYTHING)
    random.seed(2)
    np.random.seed(2)
    assert np.array_equal(changed(EVERYTHING), first)


def test_rand_augment_changes_photos_and_its_policy_counts() -> None:
    plain = changed(Augmentation())
    by_policy = [
        [changed(Augmentation(randaugment=policy), seed) for seed in range(8)]
        for policy in (PAPER, "rand-m1-n1")
    ]
    assert sum(not np.array_equal(pixels, plain) for pixels in by_policy[0]) >= 4
    assert any(not np.array_equal(a, b) for a, b in zip(*by_policy, strict=True))
    assert all(pixels.shape == (SIDE, SIDE, 3) for pixels in by_policy[0])


def test_uncovered_pixels_have_the_mean_colour() -> None:
    spec = ImageSpec(SIDE, SIDE, (1.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    shear = next(op for op in rand_augment("rand-m9-p1", spec).ops if op.name == "TranslateXRel")  # type: ignore[attr-defined]
    moved = np.array(shear(Image.new("RGB", (SIDE, SIDE))))
    assert {tuple(pixel) for pixel in moved.reshape(-1, 3).tolist()} == {(0, 0, 0), (255, 0, 0)}


@pytest.mark.parametrize("policy", ["rand-m0", PAPER, "rand-m10-inc1", "rand-m12-mmax12-inc1"])
def test_every_operation_works_at_every_strength(policy: str) -> None:
    image = Image.fromarray(changed(Augmentation()))
    for change in rand_augment(f"{policy}-p1", SPEC).ops:  # type: ignore[attr-defined]
        for seed in range(6):
            with seeded(seed):
                found = change(image)
            assert found.size == image.size and found.mode == "RGB", change


@pytest.mark.parametrize("policy", [PAPER, "rand", "rand-n3-p0.2-m5", "rand-m9-t3aw-mmax12"])
def test_policies_of_timm_are_parsed(policy: str) -> None:
    assert RANDAUGMENT_POLICY.fullmatch(policy) and rand_augment(policy, SPEC)


@pytest.mark.parametrize("policy", ["", "augmix-m3", "rand-x9", "rand-m", "rand-m9-", "rand m9"])
def test_other_text_is_refused(policy: str) -> None:
    with pytest.raises(ValueError, match="is not a RandAugment policy"):
        rand_augment(policy, SPEC)


def test_an_augmentation_can_be_pickled_for_a_worker() -> None:
    assert pickle.loads(pickle.dumps(EVERYTHING)) == EVERYTHING


@settings(max_examples=60)
@given(
    st.integers(0, 10_000),
    st.integers(1, 300),
    st.integers(1, 300),
    st.sampled_from([0.08, 0.25, 0.9, 1.0]),
)
def test_random_boxes_lie_inside_and_are_large_enough(
    seed: int, width: int, height: int, smallest: float
) -> None:
    left, top, right, bottom = random_box(width, height, smallest, np.random.default_rng(seed))
    assert 0 <= left < right <= width and 0 <= top < bottom <= height
    assert (right - left + 1) * (bottom - top + 1) >= smallest * width * height  # but for rounding


def test_a_crop_of_everything_is_the_photo() -> None:
    assert random_box(200, 100, 1.0, np.random.default_rng(0)) == (0, 0, 200, 100)


def test_crops_have_the_requested_aspect() -> None:
    rng = np.random.default_rng(0)
    own, square, strip = [], [], []
    for _ in range(200):
        for found, size, aspect in ((own, (2000, 1000), None), (square, (2000, 1000), 1.0)):
            left, top, right, bottom = random_box(*size, 0.1, rng, aspect=aspect)
            found.append((right - left) / (bottom - top))
        left, top, right, bottom = random_box(9000, 1000, 0.5, rng, aspect=1.0)
        strip.append((right - left, bottom - top))
    assert 1.5 - 0.01 < min(own) < max(own) < 8 / 3 + 0.01
    assert 0.75 - 0.01 < min(square) < 0.85 and 1.2 < max(square) < 4 / 3 + 0.01
    assert set(strip) == {(1333, 1000)}  # no square has half of a strip: the largest square


def test_a_square_input_gets_square_crops() -> None:
    wide = Image.new("RGB", (400, 100))
    wide.paste((255, 255, 255), (0, 0, 20, 20))
    spec = ImageSpec(SIDE, SIDE, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), "crop", 40)
    pixels = Augmentation(crop_scale=0.08).to_pixels(wide, spec, np.random.default_rng(0))
    assert pixels.shape == (SIDE, SIDE, 3)
