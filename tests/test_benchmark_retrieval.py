"""The benchmark of a large library, at a size where it takes seconds."""

import json
import mmap
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from mkt_search.store.snapshot import LocalSnapshot
from mkt_search.store.store import Store
from mkt_search.types import Vector

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
BLOCK_BYTES = 1 << 28


def run(*options: str) -> subprocess.CompletedProcess[str]:
    program = [sys.executable, str(BENCHMARKS / "retrieval.py"), *options]
    return subprocess.run(program, capture_output=True, text=True)


class Case(NamedTuple):
    precision: str
    tables: dict[str, dict[str, Any]]


PRECISIONS = [
    pytest.param("int8", marks=pytest.mark.slow),
    pytest.param("int4", marks=pytest.mark.soak),
]


@pytest.fixture(scope="module", params=PRECISIONS)
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    """A precision, and the tables that are saved of 300 photos."""
    file = tmp_path_factory.mktemp("results") / "retrieval.json"
    sizes = ("--photos", "300", "--base", "100", "--queries", "4")
    rows = ("--rows", "exact,candidates,several,filters,hnsw,sqlite")
    done = run(*sizes, *rows, "--precision", request.param, "--json", str(file))
    assert done.returncode == 0, done.stderr
    return Case(request.param, json.loads(file.read_text())["tables"])


def test_the_tables_have_every_row(case: Case) -> None:
    names = [row[0] for row in case.tables[f"queries, 300 photos, {case.precision}"]["rows"]]
    for part in (
        "exact scan",
        "2 clients",
        "segments on disk",
        "two labels",
        "one but not another",
        "filter of 1.0%",
        "HNSW",
        "SQLite",
    ):
        assert any(part in name for name in names), f"no row of {part}: {names}"
    library = case.tables[f"library, 300 photos, {case.precision}"]["rows"]
    assert dict(row[:2] for row in library)["least recall@10 under a filter"] == "1.0000"


def test_exact_scan_finds_what_scoring_every_photo_finds(case: Case) -> None:
    table = case.tables[f"queries, 300 photos, {case.precision}"]
    (row,) = [row for row in table["rows"] if row[0].startswith("exact scan")]
    exact = dict(zip(table["columns"], row, strict=True))
    assert exact["recall@10"] == exact["recall@100"] == 1
    assert exact["MB read"] == pytest.approx(300 * 16 * 512 / 1e6, rel=1e-4)


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("--rows", "exact,hnws", "no rows 'hnws'; there are exact,candidates,several,filters,"),
        ("--photos", "255", "'255' is not a whole number of at least 256"),
        ("--queries", "none", "'none' is not a whole number of at least 1"),
        ("--recall", "99", "'99' is no share above 0 and up to 1"),
    ],
)
def test_bad_option_is_refused_with_what_it_takes(
    option: str,
    value: str,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import retrieval

    with pytest.raises(SystemExit) as stopped:
        retrieval.options().parse_args([option, value])
    assert stopped.value.code == 2
    assert f"argument {option}: {said}" in capsys.readouterr().err


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[LocalSnapshot, Vector]:
    """300 simulated photos, 44 of them recombined, and three labels."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import simulated

    world, encoding = simulated.World.make(), simulated.encoding()
    store = Store.create(tmp_path / ".mkt")
    stored = simulated.fill(store, encoding, simulated.photos(world, 300, encoding, base=256))
    return LocalSnapshot.open(store, stored), world.labels(3, seed=1)


def test_truth_is_every_photo_sorted_by_its_best_fused_vector(
    library: tuple[LocalSnapshot, Vector],
) -> None:
    from truth import truth

    snapshot, labels = library
    ids = snapshot.content_ids()[::2]
    vectors = snapshot.vectors(ids).vectors
    fused = vectors[:, :1] + vectors[:, 1:]  # `cover` scores the best <z, g + l>
    for label, best in zip(labels, truth(snapshot, labels, 20, ids), strict=True):
        scores = [max(float(label @ vector) for vector in photo) for photo in fused]
        plain = sorted(range(len(ids)), key=lambda i: -scores[i])[:20]
        assert best.tolist() == ids[plain].tolist()


def test_peers_have_the_same_true_best_to_find(library: tuple[LocalSnapshot, Vector]) -> None:
    from peer_data import read_peer_data
    from truth import truth

    snapshot, labels = library
    ids = snapshot.content_ids()
    best = truth(snapshot, labels, 5, ids)
    data = read_peer_data(snapshot, labels, best, with_global=True, sample=100)
    assert data.global_vectors.shape == (300, 512)
    assert ids[data.best].tolist() == best.tolist()
    scores = np.einsum("pmd,qd->qpm", data.fused.astype(np.float32), labels).max(axis=2)
    assert np.argsort(-scores, axis=1)[:, :5].tolist() == data.best_of_sample.tolist()


def test_memory_that_was_freed_still_counts_in_the_peak(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import memory

    before = memory.held_bytes()
    with memory.Peak() as peak:
        block = mmap.mmap(-1, BLOCK_BYTES, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        np.frombuffer(block, np.uint8)[:] = 1  # new pages: malloc may have some that were freed
        assert memory.held_bytes() >= before + 0.9 * BLOCK_BYTES
        time.sleep(5 * memory.SAMPLE_SECONDS)
        block.close()
    assert peak.bytes >= before + 0.9 * BLOCK_BYTES
    assert memory.held_bytes() < peak.bytes - 0.5 * BLOCK_BYTES


def test_recall_is_the_share_of_the_true_best_at_each_depth(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    from search_table import recalls

    truth = np.arange(200).reshape(2, 100)
    found = [np.arange(5), np.arange(100, 200)[::-1]]  # half of ten; all, the best ten last
    assert recalls(truth, found) == (pytest.approx(0.25), pytest.approx(0.525))
    assert recalls(truth[:, :4], [np.arange(4), np.array([], np.int64)]) == (0.5, None)
