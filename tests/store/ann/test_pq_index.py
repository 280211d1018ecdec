"""The PQ index of fused vectors: near the truth, and never a photo that is not allowed."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mkt_search.errors import LibraryDamaged
from mkt_search.store.ann import pq_index
from mkt_search.store.ann.pq_index import OwnedVectors, PQIndex

DIM, M = 24, 3


def fused(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, M, DIM)).astype(np.float32)


def index_of(vectors: np.ndarray, content_ids: np.ndarray) -> PQIndex:
    index = PQIndex.train(vectors.reshape(-1, DIM), M)
    every = np.ones(vectors.shape[:2], np.bool_)
    index.add(vectors[:100], content_ids[:100], every[:100])
    index.add(vectors[100:], content_ids[100:], every[100:])
    return index


@pytest.fixture(scope="module")
def index() -> PQIndex:
    """500 photos, their ids 0, 3, 6 ..."""
    return index_of(fused(500), 3 * np.arange(500))


def owners(index: PQIndex, label: np.ndarray, probes: int, **options: np.ndarray) -> list[int]:
    [found] = index.probe_for(label[None], **options)(probes)
    content_ids, local_index, ranks = found
    assert len({*zip(content_ids.tolist(), local_index.tolist(), strict=True)}) == len(content_ids)
    assert (np.diff(content_ids) >= 0).all() and ((local_index >= 0) & (local_index < M)).all()
    assert sorted(ranks.tolist()) == list(range(len(ranks)))
    assert found.owners == len(set(content_ids.tolist()))
    return sorted(set(content_ids.tolist()))


def test_every_photo_is_found_when_all_vectors_are_wanted(index: PQIndex) -> None:
    assert owners(index, fused(1, 9)[0, 0], M * 500) == index.content_ids.tolist()
    assert owners(index, fused(1, 9)[0, 0], 10 * M * 500) == index.content_ids.tolist()
    assert index.content_ids.tolist() == list(range(0, 1500, 3))


def test_the_best_photos_are_among_few_candidates_though_noise_codes_badly() -> None:
    vectors, content_ids = fused(2_000), np.arange(2_000)
    index = index_of(vectors, content_ids)
    shares = []
    for label in fused(20, 5)[:, 0]:
        best = np.argsort(-(vectors @ label).max(axis=1))[:10]
        found = owners(index, label, 200)
        assert len(found) <= 200
        shares.append(np.isin(best, found).mean())
    assert np.mean(shares) > 0.4  # chance is 0.1; these vectors are white noise


def test_directions_probed_together_find_what_each_finds_alone(index: PQIndex) -> None:
    labels = fused(3, 8)[:, 0]
    together = index.probe_for(labels)(50)
    assert len(together) == len(labels)
    for label, one in zip(labels, together, strict=True):
        [own] = index.probe_for(label[None])(50)
        same = {*zip(own.content_ids.tolist(), own.local_index.tolist(), strict=True)}
        both = same & {*zip(one.content_ids.tolist(), one.local_index.tolist(), strict=True)}
        assert len(both) >= 0.95 * len(same)  # of many with equal codes another one may be last


def test_the_best_of_many_vectors_are_those_of_fewer_probes(index: PQIndex) -> None:
    probe = index.probe_for(fused(2, 4)[:, 0])
    for many, few in zip(probe(300), probe(40), strict=True):
        kept = many.best(40)
        assert kept.ranks.max() == 39
        same = np.isin(kept.content_ids, few.content_ids)
        assert same.mean() >= 0.95  # of many with equal codes another one may be last


def test_a_probe_can_be_repeated_under_a_filter(index: PQIndex) -> None:
    allowed = np.array([3, 78, 399])
    probe = index.probe_for(fused(1, 2)[:, 0], allowed=allowed)
    np.zeros(1 << 22)  # takes memory that a filter no longer kept would have freed
    for count in (1, 5, 100):
        [found] = probe(count)
        assert set(found.content_ids.tolist()) <= set(allowed.tolist())
        assert len(found.ranks) == min(count, M * len(allowed))


def test_padding_is_no_vector_of_a_photo() -> None:
    vectors, content_ids = fused(300), np.arange(300)
    is_real = np.ones((300, M), np.bool_)
    is_real[7, 1:] = False
    vectors[7, 1:] = 100 * vectors[7, 0]
    index = PQIndex.train(vectors[is_real], M)
    index.add(vectors, content_ids, is_real)
    assert len(index) == 300 * M - 2
    assert index.content_ids.tolist() == content_ids.tolist()


@given(seed=st.integers(0, 1_000), wanted=st.integers(1, 60), share=st.sampled_from([0, 0.02, 0.5]))
@settings(max_examples=30, deadline=None)
def test_candidates_are_allowed_and_no_more_than_probes(
    index: PQIndex, seed: int, wanted: int, share: float
) -> None:
    allowed = np.flatnonzero(np.random.default_rng(seed).random(1_500) < share)
    found = owners(index, fused(1, seed)[0, 0], wanted, allowed=allowed)
    assert len(found) <= wanted
    assert set(found) <= set(allowed.tolist()) & set(index.content_ids.tolist())


def test_a_filter_that_leaves_few_finds_each_of_them(index: PQIndex) -> None:
    allowed = np.array([3, 78, 399])
    assert owners(index, fused(1, 2)[0, 0], 100, allowed=allowed) == [3, 78, 399]


@pytest.mark.parametrize("n", [1, 32, 300])
def test_an_index_comes_back_from_its_arrays_as_it_was(n: int) -> None:
    vectors = fused(300)
    rng = np.random.default_rng(n)
    content_ids, is_real = np.sort(rng.permutation(900)[:n]), rng.random((n, M)) < 0.7
    is_real[:, 0] = True
    index = PQIndex.train(vectors.reshape(-1, DIM), M)
    index.add(vectors[:n], content_ids, is_real)
    back = PQIndex.of_arrays(index.arrays(), DIM, M)
    assert back.content_ids.tolist() == index.content_ids.tolist() == content_ids.tolist()
    assert back.code_bytes == index.code_bytes
    for label in fused(3, 3)[:, 0]:
        for probes in (1, 20, 3 * n):
            for allowed in (None, content_ids[::3]):
                [found] = index.probe_for(label[None], allowed=allowed)(probes)
                [again] = back.probe_for(label[None], allowed=allowed)(probes)
                np.testing.assert_array_equal(again, found)
    back.add(vectors[:5], 1_000 + np.arange(5), np.ones((5, M), np.bool_))
    assert len(back) == is_real.sum() + 5 * M


def test_ids_of_many_contents_come_back_in_several_fills() -> None:
    n = 2 * pq_index.CONTENTS_PER_FILL + 5
    vectors = np.random.default_rng(0).standard_normal((n, 1, DIM)).astype(np.float32)
    index = PQIndex.train(vectors[:400, 0], 1)
    index.add(vectors, 2 * np.arange(n), np.ones((n, 1), np.bool_))
    back = PQIndex.of_arrays(index.arrays(), DIM, 1)
    [found], [again] = (one.probe_for(vectors[:1, 0])(n) for one in (index, back))
    np.testing.assert_array_equal(again.content_ids, found.content_ids)
    assert again.content_ids.tolist() == index.content_ids.tolist()


def test_arrays_outlive_their_index_and_hold_no_file(index: PQIndex) -> None:
    own = index_of(fused(300), np.arange(300))
    codes, expected = own.arrays()["codes"], own.arrays()["codes"].copy()
    del own
    index_of(fused(300, seed=5), np.arange(300))  # in the memory that might be free
    np.testing.assert_array_equal(codes, expected)
    file = bytes(index.arrays()["empty"])
    view = np.frombuffer(b"head" + file, np.uint8)[4:]
    assert PQIndex(view, M).arrays()["empty"].base is None


def test_a_photo_without_a_vector_takes_none_of_its_neighbours() -> None:
    vectors, is_real = fused(300), np.ones((300, M), np.bool_)
    is_real[7] = False
    index = PQIndex.train(vectors.reshape(-1, DIM), M)
    index.add(vectors, np.arange(300), is_real)
    back = PQIndex.of_arrays(index.arrays(), DIM, M)
    assert owners(back, vectors[0, 0], M * 300) == owners(index, vectors[0, 0], M * 300)


def test_an_index_without_photos_comes_back_too() -> None:
    index = PQIndex.train(fused(300).reshape(-1, DIM), M)
    back = PQIndex.of_arrays(index.arrays(), DIM, M)
    assert owners(back, fused(1)[0, 0], 10) == [] and not len(back.content_ids)


def test_the_file_holds_codes_and_no_id_of_a_vector() -> None:
    vectors = fused(3_200)
    index = index_of(vectors, np.arange(3_200))
    codes = DIM // 8 / 2 + 0.5  # subvectors come in pairs: 24 numbers are 4 of 4 bits, not 3
    arrays = index.arrays()
    held = sum(array.nbytes for name, array in arrays.items() if name != "empty")
    assert held < 3_200 * (M * codes + 1) + 1_000


def test_arrays_that_are_no_index_are_refused(index: PQIndex) -> None:
    arrays = index.arrays()
    for name in arrays:
        for wrong in (np.frombuffer(b"not an index at all", np.uint8), None):
            harmed = {n: wrong if n == name else array for n, array in arrays.items()}
            with pytest.raises(LibraryDamaged, match="cannot be read"):
                PQIndex.of_arrays({n: a for n, a in harmed.items() if a is not None}, DIM, M)


def test_an_index_of_other_vectors_is_refused(index: PQIndex) -> None:
    with pytest.raises(LibraryDamaged, match="of 24 numbers, not 25"):
        PQIndex.of_arrays(index.arrays(), DIM + 1, M)


@pytest.mark.parametrize("order", [np.arange(16), pq_index.ORDER_IN_BLOCK[::-1]], ids=["a", "b"])
def test_another_layout_of_codes_in_faiss_is_refused(index: PQIndex, order: np.ndarray) -> None:
    pq_index.check_layout(index.index)
    with pytest.raises(ValueError, match="lays out codes in another way"):
        pq_index.check_layout(index.index, order=order)


def test_owned_vectors_count_their_owners() -> None:
    found = OwnedVectors(np.array([4, 4, 4, 7, 9]), np.arange(5), np.array([4, 3, 2, 1, 0]))
    assert found.owners == 3 and found.is_first.tolist() == [True, False, False, True, True]
    assert found.best(2).content_ids.tolist() == [7, 9]
