"""Measure templates on scenes of the demo world, with the demo's CLIP as it is.

    OMP_NUM_THREADS=1 python benchmarks/templates.py

Its text tower read five templates in its training ("{}", "a {}", "a picture of a {}", "a photo of a
{}" and "look at this {}"), so this shows what averaging does, and what a template does that a tower
never read; not which templates suit a CLIP of photos from the web. Printed are the mean APs over
all labels by stream, and what templates cost a text tower of the size of ViT-B-16's.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
from corel import encode_all
from pooling import SCENE_PIXELS
from results import Results, add_json_option

from mkt_search.demo.scenes.photos import LIBRARY_SEED, write_photos
from mkt_search.demo.scenes.world import LABELS
from mkt_search.evaluation.metrics import mean_average_precision
from mkt_search.models.build import DEMO_TEACHER, open_model
from mkt_search.models.clip import create_clip, tokenizer
from mkt_search.models.templates import TemplatesEncoder
from mkt_search.models.text import PromptedTextEncoder
from mkt_search.scoring import scale, score
from mkt_search.settings.config import ModelConfig

DEFAULT = ModelConfig().templates
READ = ("{}", "a {}", "a picture of a {}", "a photo of a {}", "look at this {}")
LISTS = {
    **{f"`{template}`": (template,) for template in DEFAULT},
    "the default, all of these": DEFAULT,
    "one of its training, `{}`": READ[:1],
    "all of its training": READ,
}
TIMED = "ViT-B-16"
TIMED_LABELS = 16


def main() -> None:
    """Read the options, measure, print, and save."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--photos", type=int, default=600, help="scenes to render")
    add_json_option(parser)
    given = parser.parse_args()
    results = Results(given.json)
    model, names = open_model(DEMO_TEACHER), list(LABELS)
    with tempfile.TemporaryDirectory() as folder:
        seeds = range(LIBRARY_SEED, LIBRARY_SEED + given.photos)
        labels_of = write_photos(Path(folder), seeds, side=SCENE_PIXELS)
        files = sorted(labels_of)
        encoded = scale(encode_all(model, [Path(folder, file) for file in files]))
    shown = [[1 if name in labels_of[file] else -1 for name in names] for file in files]
    targets = np.array(shown, np.int8)
    counts = np.ones(encoded.patches.shape[:2], np.int64)
    columns = {"templates": "", "number": "d", "global": ".3f", "local": ".3f", "fused": ".3f"}
    table = results.table("templates", columns)
    for name, templates in LISTS.items():
        labels = model.label_encoder(templates).encode(names)
        scores = score(labels, encoded.global_vectors, encoded.patches, counts, k=model.top_k)
        streams = (scores.global_scores, scores.local_scores, scores.fused)
        found = [mean_average_precision(each, targets).standard for each in streams]
        table.row(name, len(templates), *found)
    plain = PromptedTextEncoder(
        create_clip(TIMED), tokenizer(TIMED), template=DEFAULT[0], tower="random"
    )
    one, several = seconds(plain), seconds(TemplatesEncoder(plain, DEFAULT))
    results.fact("ms a label, one template", 1e3 * one, ".0f")
    results.fact("ms a label, the default", 1e3 * several, ".0f")
    results.save()


def seconds(encoder: PromptedTextEncoder | TemplatesEncoder) -> float:
    """Return the processor time of one label, the least of three rounds."""
    labels = [f"label {number}" for number in range(TIMED_LABELS)]
    times = []
    for _ in range(3):
        start = time.process_time()
        encoder.encode(labels)
        times.append(time.process_time() - start)
    return min(times) / TIMED_LABELS


if __name__ == "__main__":
    main()
