"""The sketch of fused vectors: near the truth, and never a photo that was not asked for."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mkt_search.errors import LibraryDamaged
from mkt_search.store.ann import pq_index as ann
from mkt_search.store.ann.pq_index import PQIndex

DIM, M = 24, 3


def fused(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, M, DIM)).astype(np.float32)


def sketch_of(vectors: np.ndarray, contents: np.ndarray) -> PQIndex:
    sketch = PQIndex.train(vectors.reshape(-1, DIM), M)
    every = np.ones(vectors.shape[:2], np.bool_)
    sketch.add(vectors[:100], contents[:100], every[:100])
    sketch.add(vectors[100:], contents[100:], every[100:])
    return sketch


def owners(sketch: PQIndex, label: np.ndarray, vectors: int, **options) -> list[int]:
    [(contents, which)] = sketch.nearest(label[None], vectors, **options)
    assert len({*zip(contents.tolist(), which.tolist(), strict=True)}) == len(contents)
    assert (np.diff(contents) >= 0).all() and ((which >= 0) & (which < M)).all()
    return sorted(set(contents.tolist()))


def test_every_photo_is_a_candidate_when_all_are_wanted() -> None:
    contents = np.arange(7, 507)
    sketch = sketch_of(fused(500), contents)
    found = owners(sketch, fused(1, 9)[0, 0], M * 500)
    assert found == contents.tolist()
    assert sketch.contents.tolist() == contents.tolist()


def test_the_best_photos_are_among_few_candidates_though_noise_codes_badly() -> None:
    vectors, contents = fused(2_000), np.arange(2_000)
    sketch = sketch_of(vectors, contents)
    shares = []
    for label in fused(20, 5)[:, 0]:
        best = np.argsort(-(vectors @ label).max(axis=1))[:10]
        found = owners(sketch, label, 200)
        assert len(found) <= 200
        shares.append(np.isin(best, found).mean())
    assert np.mean(shares) > 0.4  # chance is 0.1; these vectors are white noise


def test_labels_asked_together_find_what_each_finds_alone() -> None:
    sketch, labels = sketch_of(fused(500), np.arange(500)), fused(3, 8)[:, 0]
    together = sketch.nearest(labels, 50)
    assert len(together) == len(labels)
    for label, (contents, which) in zip(labels, together, strict=True):
        [(own, own_which)] = sketch.nearest(label[None], 50)
        same = {*zip(own.tolist(), own_which.tolist(), strict=True)}
        both = same & {*zip(contents.tolist(), which.tolist(), strict=True)}
        assert len(both) >= 0.95 * len(same)  # the last of many equal ones may be another


def test_more_vectors_are_asked_for_until_enough_photos_own_them() -> None:
    sketch = sketch_of(fused(400), np.arange(400))
    label = fused(1, 4)[0, 0]
    assert len(owners(sketch, label, 3)) <= 3
    assert 50 <= len(owners(sketch, label, 3, owners=50)) < 400
    assert len(owners(sketch, label, 3, owners=1_000)) == 400
    allowed = np.array([3, 77, 399])
    assert owners(sketch, label, 1, owners=10, allowed=allowed) == [3, 77, 399]


def test_padding_is_no_vector_of_a_photo() -> None:
    vectors, contents = fused(300), np.arange(300)
    is_real = np.ones((300, M), np.bool_)
    is_real[7, 1:] = False
    vectors[7, 1:] = 100 * vectors[7, 0]
    sketch = PQIndex.train(vectors[is_real], M)
    sketch.add(vectors, contents, is_real)
    assert sketch.index.ntotal == 300 * M - 2
    assert sketch.contents.tolist() == contents.tolist()


@given(seed=st.integers(0, 1_000), wanted=st.integers(1, 60), share=st.sampled_from([0, 0.02, 0.5]))
@settings(max_examples=30, deadline=None)
def test_candidates_are_distinct_allowed_and_no_more_than_vectors(
    seed: int, wanted: int, share: float
) -> None:
    sketch = sketch_of(fused(300), np.arange(300) * 3)
    allowed = np.flatnonzero(np.random.default_rng(seed).random(900) < share)
    found = owners(sketch, fused(1, seed)[0, 0], wanted, allowed=allowed)
    assert len(found) <= wanted
    assert set(found) <= set(allowed.tolist()) & set(sketch.contents.tolist())


def test_a_filter_that_leaves_few_finds_each_of_them() -> None:
    sketch = sketch_of(fused(400), np.arange(400))
    allowed = np.array([3, 77, 399])
    found = owners(sketch, fused(1, 2)[0, 0], 100, allowed=allowed)
    assert found == [3, 77, 399]


@pytest.mark.parametrize("n", [1, 32, 300])
def test_a_sketch_comes_back_from_its_arrays_as_it_was(
    n: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ann, "AT_ONCE", 70)
    vectors = fused(300)
    rng = np.random.default_rng(n)
    contents, is_real = np.sort(rng.permutation(900)[:n]), rng.random((n, M)) < 0.7
    is_real[:, 0] = True
    sketch = PQIndex.train(vectors.reshape(-1, DIM), M)
    sketch.add(vectors[:n], contents, is_real)
    back = PQIndex.of_arrays(sketch.arrays(), DIM, M)
    assert back.contents.tolist() == sketch.contents.tolist() == contents.tolist()
    assert back.nbytes == sketch.nbytes
    for label in fused(3, 3)[:, 0]:
        for vectors_asked in (1, 20, 3 * n):
            for allowed in (None, contents[::3]):
                [found] = sketch.nearest(label[None], vectors_asked, allowed=allowed)
                [again] = back.nearest(label[None], vectors_asked, allowed=allowed)
                np.testing.assert_array_equal(again, found)
    back.add(vectors[:5], 1_000 + np.arange(5), np.ones((5, M), np.bool_))
    assert back.index.ntotal == is_real.sum() + 5 * M


def test_arrays_outlive_their_sketch_and_hold_no_file() -> None:
    sketch = sketch_of(fused(300), np.arange(300))
    codes, expected = sketch.arrays()["codes"], sketch.arrays()["codes"].copy()
    back = PQIndex.of_arrays(sketch.arrays(), DIM, M)
    del sketch
    sketch_of(fused(300, seed=5), np.arange(300))  # in the memory that might be free
    np.testing.assert_array_equal(codes, expected)
    assert back._empty.base is None


def test_a_photo_without_a_vector_takes_none_of_its_neighbours() -> None:
    vectors, is_real = fused(300), np.ones((300, M), np.bool_)
    is_real[7] = False
    sketch = PQIndex.train(vectors.reshape(-1, DIM), M)
    sketch.add(vectors, np.arange(300), is_real)
    back = PQIndex.of_arrays(sketch.arrays(), DIM, M)
    assert owners(back, vectors[0, 0], M * 300) == owners(sketch, vectors[0, 0], M * 300)


def test_a_sketch_without_photos_comes_back_too() -> None:
    sketch = PQIndex.train(fused(300).reshape(-1, DIM), M)
    back = PQIndex.of_arrays(sketch.arrays(), DIM, M)
    assert owners(back, fused(1)[0, 0], 10) == [] and not len(back.contents)


def test_the_file_holds_codes_and_no_id_of_a_vector() -> None:
    vectors = fused(3_200)
    sketch = sketch_of(vectors, np.arange(3_200))
    codes = DIM // 8 / 2 + 0.5  # subvectors come in pairs: 24 numbers are 4 of 4 bits, not 3
    arrays = sketch.arrays()
    held = sum(array.nbytes for name, array in arrays.items() if name != "empty")
    assert held < 3_200 * (M * codes + 1) + 1_000


def test_arrays_that_are_no_sketch_are_refused() -> None:
    arrays = sketch_of(fused(300), np.arange(300)).arrays()
    for name in arrays:
        for wrong in (np.frombuffer(b"not an index at all", np.uint8), None):
            harmed = {n: wrong if n == name else array for n, array in arrays.items()}
            with pytest.raises(LibraryDamaged, match="cannot be read"):
                PQIndex.of_arrays({n: a for n, a in harmed.items() if a is not None}, DIM, M)


def test_a_sketch_of_other_vectors_is_refused() -> None:
    arrays = sketch_of(fused(300), np.arange(300)).arrays()
    with pytest.raises(LibraryDamaged, match="of 24 numbers, not 25"):
        PQIndex.of_arrays(arrays, DIM + 1, M)
