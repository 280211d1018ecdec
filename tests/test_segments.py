"""Segments: coded vectors, whole files."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mkt_search.errors import LibraryDamaged
from mkt_search.store import segments
from mkt_search.store.segments import decode, encode, open_segment, write
from tests import made

LOSS = {"fp16": 2**-11, "int8": 0.5 / 127, "int4": 0.5 / 7}


@pytest.mark.parametrize("precision", ["fp16", "int8", "int4"])
@given(seed=st.integers(0, 10_000), dim=st.integers(1, 33), scale=st.floats(1e-6, 1e6))
@settings(max_examples=30, deadline=None)
def test_a_coded_number_is_within_half_a_step(precision, seed: int, dim: int, scale: float) -> None:
    rng = np.random.default_rng(seed)
    vectors = (rng.standard_normal((3, 2, dim)) * scale).astype(np.float32)
    codes, steps = encode(vectors, precision)
    back = decode(codes, steps, precision, dim)
    largest = np.abs(vectors).max(axis=-1, keepdims=True)
    assert (np.abs(back - vectors) <= largest * LOSS[precision] * 1.001).all()


@pytest.mark.parametrize("precision", ["fp16", "int8", "int4"])
def test_the_code_of_a_vector_does_not_depend_on_its_neighbours(precision) -> None:
    vectors = made.vectors(6).locals_
    together, _ = encode(vectors, precision)
    alone, _ = encode(vectors[2:3], precision)
    assert (together[2:3] == alone).all()


@pytest.mark.parametrize(("precision", "width"), [("fp16", 40), ("int8", 20), ("int4", 10)])
def test_bytes_per_vector_are_what_the_precision_says(precision, width: int) -> None:
    codes, _ = encode(made.vectors(1).locals_, precision)
    assert codes.shape == (1, made.M, width)


def test_a_zero_vector_stays_zero() -> None:
    for precision in ("fp16", "int8", "int4"):
        codes, steps = encode(np.zeros((1, 1, 5), np.float32), precision)  # type: ignore[arg-type]
        assert not decode(codes, steps, precision, 5).any()  # type: ignore[arg-type]


def test_a_segment_gives_back_what_was_written(tmp_path: Path) -> None:
    vectors, encoding = made.vectors(7), made.encoding(precision="fp16")
    contents = [made.sha(str(i)) for i in range(7)]
    written = write(tmp_path, vectors, contents, encoding, prefix="1-")
    segment = open_segment(tmp_path / written.file, encoding)
    rows = np.array([5, 0])
    found = segment.vectors(rows)
    np.testing.assert_allclose(found[:, 0], vectors.global_[rows], rtol=2e-3, atol=2e-3)
    np.testing.assert_allclose(found[:, 1:], vectors.locals_[rows], rtol=2e-3, atol=2e-3)
    assert (segment.member_patches(rows) == vectors.members[rows]).all()
    assert (segment.counts(rows) == vectors.counts[rows]).all()
    assert segment.content[5].tobytes().hex() == contents[5]
    assert written.size == (tmp_path / written.file).stat().st_size
    assert written.sha256 == segments.digest(tmp_path / written.file)


def test_the_peak_bounds_every_fused_number(tmp_path: Path) -> None:
    vectors, encoding = made.vectors(9), made.encoding()
    written = write(tmp_path, vectors, [made.sha(str(i)) for i in range(9)], encoding)
    segment = open_segment(tmp_path / written.file, encoding)
    found = segment.vectors(slice(None))
    assert np.abs(found[:, :1] + found[:, 1:]).max() <= segment.peak() * (1 + 1e-6)


def test_the_same_vectors_make_the_same_file(tmp_path: Path) -> None:
    contents = [made.sha("a")]
    first = write(tmp_path, made.vectors(1), contents, made.encoding())
    assert write(tmp_path, made.vectors(1), contents, made.encoding()) == first


@pytest.mark.parametrize("keep", [0, 4, 30, 500, -1])
def test_a_segment_cut_short_is_damaged_not_a_traceback(tmp_path: Path, keep: int) -> None:
    written = write(tmp_path, made.vectors(3), [made.sha(c) for c in "abc"], made.encoding())
    path = tmp_path / written.file
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(LibraryDamaged, match=r"damaged.*mkt repair"):
        open_segment(path, made.encoding())


def test_a_missing_segment_names_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(LibraryDamaged, match=r"missing.*mkt repair"):
        open_segment(tmp_path / "gone.safetensors", made.encoding())


def test_a_segment_of_another_encoding_is_refused(tmp_path: Path) -> None:
    written = write(tmp_path, made.vectors(1), [made.sha("a")], made.encoding())
    with pytest.raises(LibraryDamaged, match="made under encoding"):
        open_segment(tmp_path / written.file, made.encoding(top_k=2))


@pytest.mark.parametrize("site", ["fsync", "replace"])
def test_a_full_disk_leaves_no_half_written_file(tmp_path: Path, site: str, monkeypatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, site, full)
    with pytest.raises(OSError, match="No space"):
        write(tmp_path, made.vectors(1), [made.sha("a")], made.encoding())
    assert list(tmp_path.iterdir()) == []


def test_more_segments_are_opened_than_the_limit_on_open_files_allowed(tmp_path: Path) -> None:
    written = write(tmp_path, made.vectors(1), [made.sha("a")], made.encoding())
    program = f"""
import resource, pathlib
from mkt_search.store.segments import open_segments
from tests import made
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (40, HARD))
path = pathlib.Path({str(tmp_path / written.file)!r})
print(len(open_segments([path] * 200, made.encoding())))
"""
    assert run(program.replace("HARD", "hard")).stdout == "200\n"
    told = run(program.replace("HARD", "40")).stderr.splitlines()[-1]
    assert "Too many open files" in told and "`ulimit -n`" in told and "StoreError" in told


def run(program: str) -> subprocess.CompletedProcess[str]:
    """A process of its own: a limit stays as it was set."""
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)


def test_rows_are_the_same_read_together_or_apart(tmp_path: Path) -> None:
    n = 700
    contents = [made.sha(str(i)) for i in range(n)]
    written = write(tmp_path, made.vectors(n), contents, made.encoding())
    segment = open_segment(tmp_path / written.file, made.encoding())
    every = np.stack([segment.vectors(slice(i, i + 1))[0] for i in range(n)])
    for rows in (
        *(slice(0, n), slice(n - 300, n + 5), slice(3, 3), np.arange(n)),
        *(np.arange(5, n, 2), np.arange(0, n, 3), np.arange(n - 20, n), np.empty(0, np.int64)),
        np.arange(n)[::-1],
    ):
        np.testing.assert_array_equal(segment.vectors(rows), every[rows])
        assert len(segment.counts(rows)) == len(every[rows])


def test_coded_rows_are_copies_whole_or_of_one_vector_each(tmp_path: Path) -> None:
    contents = [made.sha(str(i)) for i in range(9)]
    written = write(tmp_path, made.vectors(9), contents, made.encoding())
    segment = open_segment(tmp_path / written.file, made.encoding())
    rows, which = np.array([8, 2, 2]), np.array([0, made.M, 1])
    codes, steps = segment.coded(rows)
    np.testing.assert_array_equal(codes, segment.codes[rows])
    np.testing.assert_array_equal(steps, segment.steps[rows])
    out = np.empty((3, codes.shape[2]), np.uint8), np.empty(3, np.float32)
    segment.coded(rows, which, out=out)
    np.testing.assert_array_equal(out[0], segment.codes[rows, which])
    np.testing.assert_array_equal(out[1], segment.steps[rows, which])
    with pytest.raises(IndexError):
        segment.coded(np.array([9]))
