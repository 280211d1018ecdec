"""How a candidate index is built and its recall measured: every number in one place."""

from dataclasses import dataclass


@dataclass(frozen=True)
class BuildPolicy:
    """Sizes of a build.

    min_photos: fewer are not enough to learn codebooks from.
    training_vectors: fused vectors that codebooks are learned from; FAISS uses no more.
    calibration_labels: labels that recall is measured on.
    calibration_pairs: pairs of them, once with both wanted and once with the second unwanted.
    depths: recall is measured for so many best photos.
    probe_counts: numbers of probes that are measured, rising; a group is searched at once, and the
        next one only while recall falls short.
    enough_recall: recall above which more probes are not measured.
    """

    min_photos: int = 256
    training_vectors: int = 16_384
    calibration_labels: int = 128
    calibration_pairs: int = 64
    depths: tuple[int, ...] = (10, 100)
    probe_counts: tuple[tuple[int, ...], ...] = (
        (100, 200, 400, 800, 1_600),
        (2_400, 3_200, 4_800, 6_400, 8_000),
        (9_600, 12_800, 25_600),
        (51_200,),
    )
    enough_recall: float = 0.999


DEFAULT = BuildPolicy()
