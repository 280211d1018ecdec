"""The checkpoint in the package is small, complete and as good as docs/demo.md says."""

from functools import cache

import numpy as np

from mkt_search.demo.scenes.photos import LIBRARY_SEED, targets_of
from mkt_search.demo.scenes.render import render
from mkt_search.demo.scenes.world import LABELS, draw_scene, unseen_things
from mkt_search.evaluation.metrics import mean_average_precision
from mkt_search.models.build import DEMO, DEMO_CHECKPOINT, DEMO_CLIP, DEMO_TEACHER, open_model
from mkt_search.scoring import score_similarities, unit

SHIPPED = DEMO_CHECKPOINT.parent
MOST_BYTES = 16_000_000


@cache
def unseen_map(name: str, scenes: int = 150) -> float:
    """Return the fused mAP of unseen labels with every patch and cosine scale, on new scenes."""
    drawn = [draw_scene(seed) for seed in range(LIBRARY_SEED, LIBRARY_SEED + scenes)]
    model = open_model(name)
    encoded = model.photo_encoder().encode(
        np.stack([np.asarray(render(scene, model.image.width)) for scene in drawn])
    )
    labels = model.label_encoder().encode(unseen_things())
    vectors = np.concatenate([unit(encoded.global_vectors)[:, None], unit(encoded.patches)], axis=1)
    counts = np.ones(encoded.patches.shape[:2], np.int64)
    fused = score_similarities(vectors @ labels.T, counts, k=model.top_k).fused
    columns = [LABELS.index(label) for label in unseen_things()]
    targets = np.where(targets_of(drawn)[:, columns], 1, -1).astype(np.int8)
    return mean_average_precision(fused, targets).standard


def test_the_student_finds_labels_it_was_never_trained_on() -> None:
    assert unseen_map(DEMO) > 0.9  # chance is about 0.03


def test_the_student_is_no_worse_than_its_teacher() -> None:
    assert unseen_map(DEMO) > unseen_map(DEMO_TEACHER)


def test_no_unseen_label_was_a_target_of_the_student() -> None:
    trained = open_model(DEMO).meta.trained  # type: ignore[attr-defined]
    assert set(trained["unseen"]) == set(unseen_things())
    assert not set(trained["seen"]) & set(unseen_things())
    assert not set(trained["stage1"]["trained"]["seen"]) & set(unseen_things())


def test_the_shipped_files_are_small_and_public() -> None:
    files = [path for path in SHIPPED.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= MOST_BYTES
    assert all(path.stat().st_mode & 0o044 == 0o044 for path in files)
    assert {path.parent for path in files} == {DEMO_CHECKPOINT, DEMO_CLIP}


def test_the_provenance_has_no_paths_of_a_machine() -> None:
    text = (DEMO_CHECKPOINT / "meta.json").read_text()
    assert "/tmp" not in text and "/home" not in text and "/root" not in text
