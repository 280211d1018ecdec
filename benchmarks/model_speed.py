"""Time the image towers of the recommended models, of random weights, against ViT-B-16.

    OMP_NUM_THREADS=1 python benchmarks/model_speed.py

A batch of photos of random pixels goes through each architecture in turn, with the patch vectors
that `mkt index` takes by default. Printed are the medians of processor time per photo, and the
speed relative to ViT-B-16, which `mkt models` shows.
"""

import argparse
import statistics
import time

import numpy as np
from results import Results, add_json_option

from mkt_search.models.clip import create_clip
from mkt_search.models.clip_student import clip_student
from mkt_search.models.encoder import PhotoEncoder
from mkt_search.models.recommended import RECOMMENDED
from mkt_search.process import keep_freed_memory

BASE = "ViT-B-16"


def encoder(architecture: str) -> PhotoEncoder:
    """Return the image tower of an architecture, of random weights, in float32."""
    student = clip_student(create_clip(architecture))
    return PhotoEncoder(student, student.image, device="cpu", dtype="float32")


def main() -> None:
    """Read the options, measure, print, and save."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--photos", type=int, default=8, help="in the batch")
    parser.add_argument("--rounds", type=int, default=9)
    add_json_option(parser)
    given = parser.parse_args()
    keep_freed_memory()
    names = dict.fromkeys([BASE, *(model.name.partition("/")[0] for model in RECOMMENDED)])
    encoders = {name: encoder(name) for name in names}
    random = np.random.default_rng(0)
    taken: dict[str, list[float]] = {name: [] for name in names}
    for number in range(given.rounds + 1):
        for name, each in encoders.items():
            size = (given.photos, each.spec.height, each.spec.width, 3)
            pixels = random.integers(0, 256, size, np.uint8)
            start = time.process_time()
            each.encode(pixels)
            if number:  # the first round warms up
                taken[name].append((time.process_time() - start) / given.photos * 1e3)
    medians = {name: statistics.median(times) for name, times in taken.items()}
    results = Results(given.json)
    columns = {"model": "", "pixels": "", "patches": ",", "ms/photo": ".0f", "speed": ".2f"}
    table = results.table("speed", columns)
    for name, median in medians.items():
        spec, (rows, across) = encoders[name].spec, encoders[name].grid
        pixels_text = f"{spec.width} x {spec.height}"
        table.row(name, pixels_text, rows * across, median, medians[BASE] / median)
    results.save()


if __name__ == "__main__":
    main()
