"""Measure how much of the student's speed remains when photos come from disk and are stored.

    python benchmarks/indexing.py --data ../shared/data

For each student: photos/s of the bare forward pass on batches that are already on the device,
photos/s of a whole index run (read, hash, decode, resize, normalize, encode, pool, store; one
commit a batch), and their ratio. Rounds alternate the two, so that other work on the machine slows
both. A second table shows the processor time of each step, timed alone on one thread. Decoding has
threads of its own, but runs on the same cores as the student.

Without --data the photos are synthetic and MobileNetV2 has random weights, which does not change
the speed.
"""

import argparse
import hashlib
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from PIL import Image, ImageFilter
from results import Results, Table, add_json_option, met

from indexer.encoding import EncodingPlan
from indexer.index import index
from indexer.pipeline import IndexPolicy
from indexer.walk import Walk
from mkt_search.models.build import create_student
from mkt_search.models.encoder import PhotoEncoder
from mkt_search.photos.decode import decode, read, to_pixels
from mkt_search.pooling.pool import pool
from mkt_search.process import keep_freed_memory
from mkt_search.settings.config import IndexConfig
from mkt_search.store.records import Batch, NewPhoto
from mkt_search.store.store import Store
from mkt_search.types import (
    Encoding,
    ImageSpec,
    PhotoFacts,
    PhotoVectors,
    Pooling,
    Precision,
)

MEAN_STD = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
SPEC = ImageSpec(224, 224, *MEAN_STD)
RATE_COLUMNS = {
    **{"student": "", "dtype": "", "forward pass, photos/s": ".1f", "index, photos/s": ".1f"},
    **{"ratio": ".3f", "least": ".3f", "most": ".3f", "aim": ".2f", "result": ""},
}


@dataclass(frozen=True)
class Case:
    """A student, the photos of one round, and the ratio to reach."""

    backbone: str
    dim: int
    top_k: int
    photos: int
    aim: float


CASES = (
    Case("mobilenetv2_100", dim=300, top_k=8, photos=512, aim=0.8),
    Case("vit_base_patch16_224", dim=512, top_k=18, photos=64, aim=0.95),
)


def paint_photos(folder: Path, count: int) -> None:
    """Write different photos of Corel's size, 192 x 128, as JPEGs of quality 90."""
    rng = np.random.default_rng(0)
    for number in range(count):
        coarse = rng.integers(0, 256, (8, 12, 3), dtype=np.uint8)
        image = Image.fromarray(coarse).resize((192, 128), Image.Resampling.BICUBIC)
        image = image.filter(ImageFilter.SHARPEN)
        image.save(folder / f"{number:05}.jpg", quality=90)


def take_photos(folder: Path, data: Path | None, count: int) -> None:
    """Fill a folder with links to photos of Corel-5k, or with synthetic photos."""
    if data is None:
        paint_photos(folder, count)
        return
    for path in islice(sorted((data / "corel5k" / "images").glob("*.jpg")), count):
        (folder / path.name).symlink_to(path.resolve())


def make_encoder(case: Case, data: Path | None, dtype: Any) -> PhotoEncoder:
    """Build the student with random heads."""
    weights = None
    if data is not None and case.backbone == "mobilenetv2_100":
        weights = data / "backbones" / "mobilenetv2_100_imagenet.safetensors"
    torch.manual_seed(0)
    student = create_student(case.backbone, image_size=(224, 224), dim=case.dim, weights=weights)
    return PhotoEncoder(student.eval(), SPEC, device="auto", dtype=dtype)


def encoding_of(case: Case, encoder: PhotoEncoder, pooling: Any) -> Encoding:
    """Return an encoding of 16 local vectors in int8, or of every patch in fp16."""
    m: int = 16
    precision: Precision = "int8"
    if pooling == "all":
        m, precision = encoder.grid[0] * encoder.grid[1], "fp16"
    return Encoding(
        "benchmark", case.dim, encoder.grid, pooling, m, case.top_k, precision, dtype=encoder.dtype
    )


def forward_rate(encoder: PhotoEncoder, batch: int, photos: int) -> float:
    """Return photos/s of the forward pass on batches that are normalized and on the device."""
    pixels = np.random.default_rng(0).integers(0, 256, (batch, 224, 224, 3), dtype=np.uint8)
    images = encoder.normalize(pixels)
    with torch.inference_mode():
        started = time.perf_counter()
        for _ in range(max(1, photos // batch)):
            last = encoder.student(images)
        last.global_vectors.sum().item()  # waits for a GPU
    return max(1, photos // batch) * batch / (time.perf_counter() - started)


def index_rate(
    encoder: PhotoEncoder, encoding: Encoding, folder: Path, batch: int, workers: int
) -> float:
    """Return photos/s of a whole index run into a new library."""
    with tempfile.TemporaryDirectory() as temporary:
        store = Store.create(Path(temporary) / ".mkt")
        plan = EncodingPlan(encoding, "benchmark")
        policy = IndexPolicy(batch_size=batch, workers=workers)
        started = time.perf_counter()
        summary = index(store, encoder, [folder], plan, policy=policy)
        seconds = time.perf_counter() - started
        store.close()
    assert summary.failed == 0
    return summary.indexed / seconds


def milliseconds(step: Callable[[], object], photos: int, repeats: int = 5) -> float:
    """Return processor milliseconds a photo of a step, the fastest of some tries."""
    taken = []
    for _ in range(repeats):
        started = time.process_time()
        step()
        taken.append(time.process_time() - started)
    return min(taken) / photos * 1000


def steps(
    case: Case, encoder: PhotoEncoder, encoding: Encoding, folder: Path, batch: int
) -> dict[str, float]:
    """Return processor milliseconds a photo of each step, on one thread."""
    files = list(islice(Walk(folder, folder), batch))
    data = [read(file.absolute) for file in files]
    images = [decode(one, shorter_side=224).image for one in data]
    pixels = np.stack([to_pixels(image, SPEC) for image in images])
    encoded = encoder.encode(pixels)
    pooled = pool(encoded, encoding)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return {
            "read + hash": milliseconds(
                lambda: [hashlib.sha256(read(file.absolute)).hexdigest() for file in files], batch
            ),
            "decode": milliseconds(lambda: [decode(one, shorter_side=224) for one in data], batch),
            "resize": milliseconds(lambda: [to_pixels(image, SPEC) for image in images], batch),
            "normalize": milliseconds(lambda: encoder.normalize(pixels), batch),
            "forward": milliseconds(lambda: encoder.encode(pixels), batch, repeats=2),
            "pool": milliseconds(lambda: pool(encoded, encoding), batch),
            "store": store_milliseconds(encoding, files, pooled),
        }
    finally:
        torch.set_num_threads(threads)


def store_milliseconds(encoding: Encoding, files: Sequence[Any], vectors: PhotoVectors) -> float:
    """Return processor milliseconds a photo of one commit."""
    facts = PhotoFacts(192, 128, "JPEG")
    with tempfile.TemporaryDirectory() as temporary:
        store = Store.create(Path(temporary) / ".mkt")
        stored = store.begin_encoding(encoding, model="benchmark")
        root = store.catalog.record_scan(store.catalog.locate(files[0].root), [], [])
        tries = iter(range(100))

        def commit() -> None:
            salt = str(next(tries))
            photos = [
                NewPhoto(file, hashlib.sha256((salt + file.path).encode()).hexdigest(), facts, row)
                for row, file in enumerate(files)
            ]
            store.add(root, stored, Batch(photos, (), vectors))

        taken = milliseconds(commit, len(files))
        store.close()
    return taken


def measure(case: Case, arguments: argparse.Namespace, table: Table) -> dict[str, float]:
    """Run the rounds of one student and add its row; return the time of each step."""
    encoder = make_encoder(case, arguments.data, arguments.dtype)
    encoding = encoding_of(case, encoder, arguments.pooling)
    batch, count = arguments.batch_size, arguments.photos or case.photos
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        take_photos(folder, arguments.data, count)
        forward_rate(encoder, batch, batch)  # warms up
        bare, whole, ratios = [], [], []
        for _ in range(arguments.rounds):
            before = forward_rate(encoder, batch, count)
            whole.append(index_rate(encoder, encoding, folder, batch, arguments.workers))
            after = forward_rate(encoder, batch, count)
            bare.append(2 / (1 / before + 1 / after))
            ratios.append(whole[-1] / bare[-1])
        taken = steps(case, encoder, encoding, folder, batch)
    ratio = statistics.median(ratios)
    table.row(
        *(case.backbone, encoder.dtype, statistics.median(bare), statistics.median(whole)),
        *(ratio, min(ratios), max(ratios), case.aim, met(ratio >= case.aim)),
    )
    return taken


def main() -> None:
    """Read the options, measure each student, print the tables, and save them."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, help="folder with corel5k/ and backbones/")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--workers", type=int, default=0, help="0 is one per processor")
    parser.add_argument("--photos", type=int, help="photos of a round; the default is 512 or 64")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--pooling", choices=get_args(Pooling), default=IndexConfig().pooling)
    parser.add_argument("--dtype", choices=("auto", "float32", "bfloat16"), default="auto")
    parser.add_argument("--only", help="one student, by the name of its backbone")
    add_json_option(parser)
    arguments = parser.parse_args()
    keep_freed_memory()  # as `mkt index` does; it speeds up both
    results = Results(arguments.json)
    results.fact("photos", "synthetic" if arguments.data is None else "Corel-5k")
    results.fact("batch size", arguments.batch_size)
    results.fact("threads", torch.get_num_threads())
    table = results.table("rates", RATE_COLUMNS)
    taken = {
        case.backbone: measure(case, arguments, table)
        for case in CASES
        if arguments.only in (None, case.backbone)
    }
    table = results.table("steps", {"step": "", **dict.fromkeys(taken, ".2f")})
    for step in next(iter(taken.values()), {}):
        table.row(step, *(of_student[step] for of_student in taken.values()))
    results.save()


if __name__ == "__main__":
    main()
