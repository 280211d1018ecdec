"""Segments: what is written is read back, damage is reported, reads are announced."""

import errno
import mmap
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mkt_search.errors import LibraryDamaged
from mkt_search.store.segments import files
from mkt_search.store.segments.segment import (
    Arrays,
    open_segment,
    write,
    write_arrays,
)
from mkt_search.types import PhotoVectors
from tests import made


def test_a_segment_gives_back_what_was_written(tmp_path: Path) -> None:
    vectors, encoding = made.vectors(7), made.encoding(precision="fp16")
    contents = [made.sha(str(i)) for i in range(7)]
    written = write(tmp_path, vectors, contents, encoding, prefix="1-")
    segment = open_segment(tmp_path / written.name, encoding)
    rows = np.array([5, 0])
    found = segment.vectors(rows)
    np.testing.assert_allclose(found[:, 0], vectors.global_vectors[rows], rtol=2e-3, atol=2e-3)
    np.testing.assert_allclose(found[:, 1:], vectors.local_vectors[rows], rtol=2e-3, atol=2e-3)
    assert (segment.members.sets(rows) == vectors.members[rows]).all()
    assert (segment.members.counts(rows) == vectors.counts[rows]).all()
    assert segment.content[5].tobytes().hex() == contents[5]
    assert written.size == (tmp_path / written.name).stat().st_size
    assert written.sha256 == files.digest(tmp_path / written.name)


def test_the_peak_bounds_every_fused_number(tmp_path: Path) -> None:
    vectors, encoding = made.vectors(9), made.encoding()
    written = write(tmp_path, vectors, [made.sha(str(i)) for i in range(9)], encoding)
    segment = open_segment(tmp_path / written.name, encoding)
    found = segment.vectors(slice(None))
    assert np.abs(found[:, :1] + found[:, 1:]).max() <= segment.peak() * (1 + 1e-6)


def test_the_same_vectors_make_the_same_file(tmp_path: Path) -> None:
    contents = [made.sha("a")]
    first = write(tmp_path, made.vectors(1), contents, made.encoding())
    assert write(tmp_path, made.vectors(1), contents, made.encoding()) == first


def test_rows_of_segments_with_different_packings_are_joined(
    tmp_path: Path,
) -> None:
    encoding = made.encoding()
    single, grouped = made.vectors(3), made.vectors(4)
    single.members[:] = np.arange(made.M)[:, None] == np.arange(encoding.patches)
    opened = []
    for vectors in (single, grouped):
        contents = [made.sha(f"{len(opened)} {i}") for i in range(len(vectors))]
        written = write(tmp_path, vectors, contents, encoding)
        opened.append(open_segment(tmp_path / written.name, encoding))
    assert [segment.members.form for segment in opened] == ["lists", "members"]
    rows = np.array([2, 0])
    arrays = Arrays.joined([segment.arrays(rows) for segment in opened])
    segment = open_segment(tmp_path / write_arrays(tmp_path, arrays, encoding).name, encoding)
    for at, part in ((slice(0, 2), opened[0]), (slice(2, 4), opened[1])):
        np.testing.assert_array_equal(segment.members.sets(at), part.members.sets(rows))
        np.testing.assert_array_equal(segment.vectors(at), part.vectors(rows))
        np.testing.assert_array_equal(segment.content[at], part.content[rows])


def test_the_view_of_each_set_is_kept_where_a_photo_has_several(tmp_path: Path) -> None:
    encoding, single = made.encoding(), made.vectors(3)
    members = np.pad(single.members, ((0, 0), (0, 0), (0, 2 * encoding.patches)))
    members[1] = np.roll(members[1], 2 * encoding.patches, axis=1)  # patches of the third view
    several = PhotoVectors(single.global_vectors, single.local_vectors, members)
    contents = [made.sha(c) for c in "abc"]
    written = write(tmp_path, several, contents, encoding)
    plain = write(tmp_path, single, contents, encoding)
    segment = open_segment(tmp_path / written.name, encoding)
    np.testing.assert_array_equal(segment.members.sets(slice(None)), members)
    assert written.size > plain.size
    assert b"views" not in (tmp_path / plain.name).read_bytes()
    arrays = Arrays.joined([open_segment(tmp_path / plain.name, encoding).arrays(slice(None))] * 2)
    assert b"views" not in (tmp_path / write_arrays(tmp_path, arrays, encoding).name).read_bytes()


@pytest.mark.parametrize("keep", [0, 4, 30, 500, -1])
def test_a_segment_cut_short_is_damage(tmp_path: Path, keep: int) -> None:
    written = write(tmp_path, made.vectors(3), [made.sha(c) for c in "abc"], made.encoding())
    path = tmp_path / written.name
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(LibraryDamaged, match=r"damaged.*mkt repair"):
        open_segment(path, made.encoding())


def test_a_missing_segment_names_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(LibraryDamaged, match=r"missing.*mkt repair"):
        open_segment(tmp_path / "gone.safetensors", made.encoding())


def test_a_segment_of_another_encoding_is_refused(tmp_path: Path) -> None:
    written = write(tmp_path, made.vectors(1), [made.sha("a")], made.encoding())
    with pytest.raises(LibraryDamaged, match="made under encoding"):
        open_segment(tmp_path / written.name, made.encoding(top_k=2))


@pytest.mark.parametrize("site", ["fsync", "replace"])
def test_a_full_disk_leaves_no_half_written_file(tmp_path: Path, site: str, monkeypatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, site, full)
    with pytest.raises(OSError, match="No space"):
        write(tmp_path, made.vectors(1), [made.sha("a")], made.encoding())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_more_segments_are_opened_than_the_limit_on_open_files_allowed(tmp_path: Path) -> None:
    written = write(tmp_path, made.vectors(1), [made.sha("a")], made.encoding())
    program = f"""
import resource, pathlib
from mkt_search.store.segments.segment import open_segments
from tests import made
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (40, HARD))
path = pathlib.Path({str(tmp_path / written.name)!r})
print(len(open_segments([path] * 200, made.encoding())))
"""
    assert run(program.replace("HARD", "hard")).stdout == "200\n"
    error = run(program.replace("HARD", "40")).stderr.splitlines()[-1]
    assert "Too many open files" in error and "`ulimit -n`" in error and "StoreError" in error


def run(program: str) -> subprocess.CompletedProcess[str]:
    """A process of its own: a limit stays as it was set."""
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)


class RecordingMap(mmap.mmap):
    """A mapped file that records which bytes it was advised to read."""

    advised: list[tuple[int, int]]

    def madvise(self, option: int, start: int = 0, length: int = 0) -> None:
        if option == mmap.MADV_WILLNEED:
            super().madvise(option, start, length)
            self.advised.append((start, start + length))


@pytest.mark.skipif(not hasattr(mmap, "MADV_WILLNEED"), reason="needs madvise")
@given(
    rows=st.sets(st.integers(0, 199), min_size=1, max_size=40),
    along=st.sampled_from([0, 300, 1 << 16]),
)
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
def test_every_byte_of_rows_is_read_ahead(
    tmp_path: Path, rows: set[int], along: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    contents = [made.sha(str(i)) for i in range(200)]
    encoding = made.encoding(precision="fp16")
    written = write(tmp_path, made.vectors(200), contents, encoding)
    with monkeypatch.context() as patched:
        patched.setattr(mmap, "mmap", RecordingMap)
        segment = open_segment(tmp_path / written.name, encoding)
    assert isinstance(segment.file, RecordingMap)
    segment.file.advised = []
    segment.read_ahead(np.array(list(rows)), segment.codes, segment.steps, merge_within=along)
    base = np.frombuffer(segment.file, np.uint8).ctypes.data
    for array in (segment.codes, segment.steps):
        for row in rows:
            start = array[row].ctypes.data - base
            end = start + array[row].nbytes
            assert any(a <= start and end <= b for a, b in segment.file.advised)
    most = 2 if along == 1 << 16 else 2 * len(rows)
    assert len(segment.file.advised) <= most


def test_rows_read_together_equal_rows_read_apart(tmp_path: Path) -> None:
    n = 700
    contents = [made.sha(str(i)) for i in range(n)]
    written = write(tmp_path, made.vectors(n), contents, made.encoding())
    segment = open_segment(tmp_path / written.name, made.encoding())
    apart = np.stack([segment.vectors(slice(i, i + 1))[0] for i in range(n)])
    for rows in (
        *(slice(0, n), slice(n - 300, n + 5), slice(3, 3), np.arange(n)),
        *(np.arange(5, n, 2), np.arange(0, n, 3), np.arange(n - 20, n), np.empty(0, np.int64)),
        np.arange(n)[::-1],
    ):
        np.testing.assert_array_equal(segment.vectors(rows), apart[rows])
        assert len(segment.members.counts(rows)) == len(apart[rows])


def test_coded_rows_are_copies_of_all_vectors_or_of_one_each(tmp_path: Path) -> None:
    contents = [made.sha(str(i)) for i in range(9)]
    written = write(tmp_path, made.vectors(9), contents, made.encoding())
    segment = open_segment(tmp_path / written.name, made.encoding())
    rows, vector = np.array([8, 2, 2]), np.array([0, made.M, 1])
    codes, steps = segment.coded(rows)
    np.testing.assert_array_equal(codes, segment.codes[rows])
    np.testing.assert_array_equal(steps, segment.steps[rows])
    out = np.empty((3, codes.shape[2]), np.uint8), np.empty(3, np.float32)
    segment.coded(rows, vector, out=out)
    np.testing.assert_array_equal(out[0], segment.codes[rows, vector])
    np.testing.assert_array_equal(out[1], segment.steps[rows, vector])
    with pytest.raises(IndexError):
        segment.coded(np.array([9]))


@pytest.mark.parametrize("array", ["codes", "steps", "content", "members", "checks"])
def test_a_changed_bit_of_a_row_is_found_in_that_row_alone(tmp_path: Path, array: str) -> None:
    encoding = made.encoding()
    written = write(tmp_path, made.vectors(4), [made.sha(c) for c in "abcd"], encoding)
    path = tmp_path / written.name
    segment = open_segment(path, encoding)
    segment.check(slice(None))
    part = segment.members.packed if array == "members" else getattr(segment, array)
    data = bytearray(path.read_bytes())
    data[data.index(part[2].tobytes())] ^= 16
    path.write_bytes(data)
    segment = open_segment(path, encoding)
    segment.check(np.array([0, 1, 3]))
    with pytest.raises(LibraryDamaged, match=f"{path.name} is damaged.*mkt repair"):
        segment.check(np.array([3, 2]))


def test_a_segment_of_an_earlier_version_has_no_checks(tmp_path: Path) -> None:
    encoding = made.encoding()
    written = write(tmp_path, made.vectors(2), [made.sha(c) for c in "ab"], encoding)
    arrays, metadata = files.unpacked(np.fromfile(tmp_path / written.name, np.uint8))
    del arrays["checks"]
    earlier = files.write_named(tmp_path, files.packed(arrays, metadata))
    segment = open_segment(tmp_path / earlier.name, encoding)
    segment.check(slice(None))
    assert segment.vectors(slice(None)).shape == (2, 1 + made.M, made.DIM)


def test_a_folder_in_the_place_of_a_segment_names_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(LibraryDamaged, match=r"a link or a folder.*Move it away.*mkt repair"):
        open_segment(tmp_path, made.encoding())
