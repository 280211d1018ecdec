"""Time what the anchor adds to encoding: a MobileNetV2 of random weights, with and without.

    OMP_NUM_THREADS=1 python benchmarks/anchor_cost.py

A batch of 16 photos of random pixels goes through the student alone and through students whose
classifier has 256 and 1,000 classes with a label vector. They alternate; printed is the ratio of
the medians of processor time, and the aim.
"""

import argparse
import statistics
import time

import numpy as np
import torch
from results import Results, add_json_option, met

from mkt_search.models.anchor import Anchor
from mkt_search.models.build import create_student
from mkt_search.models.encoder import PhotoEncoder
from mkt_search.process import keep_freed_memory
from mkt_search.types import ImageSpec

AIM = 1.25  # times the student alone
SIDE, DIM, CHANNELS = 224, 300, 1_280
CLASSES = (0, 256, 1_000)


def encoder(classes: int) -> PhotoEncoder:
    """Return a student with an anchor of so many classes; 0 is none."""
    torch.manual_seed(0)
    student = create_student("mobilenetv2_100", image_size=(SIDE, SIDE), dim=DIM)
    if classes:
        parts = (classes, CHANNELS), (classes,), (classes, DIM), (DIM,), (DIM,)
        student.anchor = Anchor(*(torch.randn(*shape) for shape in parts))
    half = (0.5, 0.5, 0.5)
    return PhotoEncoder(student, ImageSpec(SIDE, SIDE, half, half), device="cpu")


def main() -> None:
    """Read the options, measure, print, and save."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--photos", type=int, default=16, help="in the batch")
    parser.add_argument("--rounds", type=int, default=15)
    add_json_option(parser)
    given = parser.parse_args()
    keep_freed_memory()
    pixels = np.random.default_rng(0).integers(0, 256, (given.photos, SIDE, SIDE, 3), np.uint8)
    encoders = {classes: encoder(classes) for classes in CLASSES}
    taken: dict[int, list[float]] = {classes: [] for classes in CLASSES}
    for number in range(given.rounds + 1):
        for classes, each in encoders.items():
            start = time.process_time()
            each.encode(pixels)
            if number:  # the first round warms up
                taken[classes].append((time.process_time() - start) / given.photos * 1e3)
    medians = {classes: statistics.median(times) for classes, times in taken.items()}
    results = Results(given.json)
    table = results.table(
        "cost",
        {
            "classes with a label vector": ",",
            "ms/photo": ".2f",
            "ratio": ".2f",
            "aim": ".2f",
            "": "",
        },
    )
    for classes, median in medians.items():
        ratio = median / medians[0]
        table.row(classes, median, ratio, AIM, met(ratio <= AIM))
    results.save()


if __name__ == "__main__":
    main()
