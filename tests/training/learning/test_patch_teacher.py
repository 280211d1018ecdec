"""The teacher's patch vectors are those of the pixels that the student sees, on its grid."""

from pathlib import Path

import pytest
import torch

from mkt_search.errors import ModelError
from mkt_search.models.clip import open_clip_weights
from mkt_search.models.clip_student import clip_student
from mkt_search.models.normalizer import Normalizer
from tests.tiny import tiny_clip
from training.learning.patch_teacher import PatchTeacher
from training.learning.teacher import Teacher, open_teacher

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> str:
    return tiny_clip(tmp_path_factory.mktemp("clip"))


@pytest.fixture(scope="module")
def teacher(spec: str) -> Teacher:
    return open_teacher(spec)


def pixels(height: int, width: int) -> torch.Tensor:
    rng = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (2, height, width, 3), generator=rng, dtype=torch.uint8)


def grid_of(teacher: Teacher) -> tuple[int, int]:
    return clip_student(teacher).grid


def test_they_are_the_corrected_patch_vectors_of_the_model(spec: str, teacher: Teacher) -> None:
    seen = pixels(teacher.image.height, teacher.image.width)
    found = PatchTeacher(teacher, grid=grid_of(teacher), device=CPU)(seen)
    student = clip_student(open_clip_weights(spec).load()).eval()
    assert student.patch_vectors == "kk"
    with torch.no_grad():
        expected = student(Normalizer(teacher.image, CPU)(seen)).patches
    torch.testing.assert_close(found, expected)
    assert not found.requires_grad


def test_pixels_and_patches_of_another_size_are_resampled(teacher: Teacher) -> None:
    rows, columns = grid_of(teacher)
    height, width = teacher.image.height, teacher.image.width
    plain = PatchTeacher(teacher, grid=(rows, columns), device=CPU)
    larger = plain(pixels(height, width).repeat_interleave(2, 1).repeat_interleave(2, 2))
    assert larger.shape == plain(pixels(height, width)).shape
    finer = PatchTeacher(teacher, grid=(2 * rows, 2 * columns), device=CPU)(pixels(height, width))
    assert finer.shape == (2, 4 * rows * columns, teacher.dim)
    even = torch.full((1, height // 2, width // 2, 3), 90, dtype=torch.uint8)
    whole = torch.full((1, height, width, 3), 90, dtype=torch.uint8)
    torch.testing.assert_close(plain(even), plain(whole))


def test_a_tower_whose_patches_have_no_vectors_is_refused(teacher: Teacher) -> None:
    class Other(torch.nn.Module):
        visual = torch.nn.Linear(1, 1)
        image = teacher.image

    with pytest.raises(ModelError, match="cannot be used as a student"):
        PatchTeacher(Other(), grid=(2, 2), device=CPU)  # type: ignore[arg-type]


def test_the_teacher_itself_is_left_as_it_is(teacher: Teacher, tmp_path: Path) -> None:
    PatchTeacher(teacher, grid=(1, 1), device=CPU)
    zeros = torch.zeros(1, 3, teacher.image.height, teacher.image.width)
    assert teacher(zeros).patches.shape[1] == 0
