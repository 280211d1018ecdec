"""The teacher's patch vectors of what the student sees, cropped, mirrored and augmented.

They are the corrected ones of `models.clip_student`, which tell where a label is. A student whose
own patch vectors learn them needs no correction. TIPSv2 (CVPR 2026;
https://arxiv.org/abs/2604.12012) found that students taught so align patches with text better than
their teachers do.
"""

import copy

import torch
from torch import Tensor
from torch.nn import functional

from mkt_search.models.clip_student import clip_student
from mkt_search.models.normalizer import Normalizer
from training.learning.teacher import Teacher


class PatchTeacher:
    """A copy of a teacher that encodes the student's pixels.

    Args:
        teacher: its tower must give patch vectors.
        grid: rows and columns of the student's patches; those of the teacher are resampled to it.
        device: where to encode.

    Raises:
        ModelError: patches of such a tower have no vectors of their own.
    """

    def __init__(self, teacher: Teacher, *, grid: tuple[int, int], device: torch.device) -> None:
        self._student = clip_student(copy.deepcopy(teacher)).to(device).eval()
        self._grid = grid
        self._size = (teacher.image.height, teacher.image.width)
        self._normalizer = Normalizer(teacher.image, device)
        self._device = device

    @torch.no_grad()
    def __call__(self, pixels: Tensor) -> Tensor:
        """Encode pixels (B, H, W, 3) uint8 of the student: patch vectors (B, P, D) of its grid."""
        if pixels.shape[1:3] != self._size:
            channels_first = pixels.to(self._device, torch.float32).permute(0, 3, 1, 2)
            resized = functional.interpolate(
                channels_first, size=self._size, mode="bilinear", antialias=True
            )
            pixels = resized.permute(0, 2, 3, 1)
        patches: Tensor = self._student(self._normalizer(pixels)).patches
        rows, columns = self._student.grid
        if (rows, columns) == self._grid:
            return patches
        maps = functional.normalize(patches, dim=-1).mT.reshape(len(patches), -1, rows, columns)
        resampled = functional.interpolate(maps, size=self._grid, mode="bilinear", antialias=True)
        return resampled.flatten(2).mT
