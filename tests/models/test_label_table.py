"""Label tables: lookup of labels, and errors for unknown ones."""

import gzip
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from mkt_search.errors import ModelError, UnknownLabel
from mkt_search.models.label_table import LabelTable

TABLES = Path(__file__).parents[2].parent / "shared/data/label_tables"
GLOVE = "the 1 0 0\ndog 3 4 0\n. . 0 0 2\n"


@pytest.fixture
def table() -> LabelTable:
    names = ["dog", "polar_bear", "Apple", "apple", "red"]
    return LabelTable(names, np.array([[2, 0], [3, 4], [0, 1], [1, 1], [0, 5]], np.float32))


def test_vectors_have_length_one_in_the_order_of_the_labels(table: LabelTable) -> None:
    np.testing.assert_allclose(table.encode(["red", "polar_bear"]), [[0.0, 1.0], [0.6, 0.8]])
    assert table.encode(["dog"]).dtype == np.float32
    assert table.dim == 2
    assert table.encode([]).shape == (0, 2)


def test_an_exact_name_is_preferred_to_another_case(table: LabelTable) -> None:
    np.testing.assert_array_equal(table.encode(["Apple"]), [[0, 1]])
    np.testing.assert_allclose(table.encode(["apple"]), [[0.5**0.5, 0.5**0.5]])
    np.testing.assert_array_equal(table.encode(["APPLE"]), table.encode(["Apple"]))


@pytest.mark.parametrize("label", ["polar bear", "Polar-Bear", " polar  bear "])
def test_spaces_dashes_and_case_do_not_matter(table: LabelTable, label: str) -> None:
    np.testing.assert_array_equal(table.encode([label]), table.encode(["polar_bear"]))


def test_several_known_words_give_their_mean(table: LabelTable) -> None:
    np.testing.assert_allclose(table.encode(["red dog"]), [[0.5**0.5, 0.5**0.5]])
    assert "red dog" in table
    assert "red cat" not in table


def test_mkt_s_label_vectors_get_their_names_from_the_files_beside_them(tmp_path: Path) -> None:
    vectors = torch.tensor([[3.0, 4.0], [0.0, 2.0], [1.0, 0.0]])
    torch.save([row.half() for row in vectors], tmp_path / "label_emb.pt")
    with pytest.raises(ModelError, match="has 3 label vectors without names, and Concepts925"):
        LabelTable.read(tmp_path / "label_emb.pt")
    (tmp_path / "Concepts925.txt").write_text("polar bear\nsnow\n")
    (tmp_path / "Concepts81.txt").write_text("sky\n")
    for content in ([row.half() for row in vectors], vectors):
        torch.save(content, tmp_path / "label_emb.pt")
        table = LabelTable.read(tmp_path / "label_emb.pt")
        assert table.names == ("polar bear", "snow", "sky")
        np.testing.assert_allclose(table.vectors, [[0.6, 0.8], [0, 1], [1, 0]], atol=1e-3)


class Rogue:
    """Would make a file if it was unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (self.path,))


def test_label_vectors_with_code_in_them_are_refused(tmp_path: Path) -> None:
    for content in (Rogue(tmp_path / "touched"), {"a": 1}, [torch.ones(2), torch.ones(3)]):
        torch.save(content, tmp_path / "label_emb.pt")
        with pytest.raises(ModelError, match="cannot be read as a list of label vectors"):
            LabelTable.read(tmp_path / "label_emb.pt")
    assert not (tmp_path / "touched").exists()


def test_a_repeated_name_is_the_mean_of_its_unit_vectors() -> None:
    table = LabelTable(["a", "b", "a"], np.array([[9, 0], [1, 0], [0, 1]], np.float32))
    assert table.names == ("a", "b")
    np.testing.assert_allclose(table.encode(["a"]), [[0.5**0.5, 0.5**0.5]])


def test_unknown_labels_name_the_nearest_known_ones(table: LabelTable) -> None:
    with pytest.raises(
        UnknownLabel, match=r'unknown label "dgo" \(nearest: dog\).*has only its 5 labels'
    ):
        table.encode(["dgo"])
    with pytest.raises(UnknownLabel, match=r'2 unknown labels: "qqqq", "polar baer" \(nearest'):
        table.encode(["qqqq", "dog", "polar baer"])
    with pytest.raises(UnknownLabel, match=r"8 unknown labels.* and 3 more"):
        table.encode([f"zz{n}" for n in range(8)])
    with pytest.raises(UnknownLabel):
        table.encode([""])


def test_a_saved_table_is_read_back_bit_for_bit(tmp_path: Path) -> None:
    vectors = np.random.default_rng(0).normal(size=(500, 37)).astype(np.float32)
    table = LabelTable([f"label {n}" for n in range(500)], vectors).centered()
    table.save(tmp_path / "labels.npz")
    read = LabelTable.read(tmp_path / "labels.npz")
    np.testing.assert_array_equal(read.vectors, table.vectors)
    assert read.fingerprint == table.fingerprint
    assert read.centered().fingerprint != table.fingerprint


def test_the_fingerprint_changes_with_a_name_or_a_number(table: LabelTable) -> None:
    vectors = table.vectors.copy()
    assert LabelTable(table.names, vectors).fingerprint == table.fingerprint
    assert LabelTable(("x", *table.names[1:]), vectors).fingerprint != table.fingerprint
    vectors[0, 1] += 0.5
    assert LabelTable(table.names, vectors).fingerprint != table.fingerprint


def test_npz_arrays_are_found_or_chosen(tmp_path: Path) -> None:
    path = tmp_path / "table.npz"
    np.savez(path, words=["a"], vectors=np.ones((1, 2), np.float16))
    assert LabelTable.read(path).names == ("a",)
    np.savez(path, words=["a"], names=["b"], vectors=np.ones((1, 2)))
    assert LabelTable.read(path).names == ("b",)
    assert LabelTable.read(path, column="words").names == ("a",)
    np.savez(path, labels=["a"], vectors=np.ones((1, 2)))
    with pytest.raises(ModelError, match=r'needs the arrays "names" or "words".*has: labels'):
        LabelTable.read(path)


@pytest.mark.parametrize("is_zipped", [False, True])
def test_glove_text_is_read(tmp_path: Path, is_zipped: bool) -> None:
    path = tmp_path / ("glove.txt.gz" if is_zipped else "glove.txt")
    path.write_bytes(gzip.compress(GLOVE.encode()) if is_zipped else GLOVE.encode())
    table = LabelTable.read(path)
    assert table.names == ("the", "dog", ". .")
    np.testing.assert_allclose(table.encode(["dog"]), [[0.6, 0.8, 0]], rtol=1e-6)


def test_a_word2vec_header_is_skipped(tmp_path: Path) -> None:
    (tmp_path / "w2v.txt").write_text("1 3\ndog 3 4 0\n")
    assert LabelTable.read(tmp_path / "w2v.txt").names == ("dog",)


def test_centering_subtracts_the_mean_unit_vector(tmp_path: Path) -> None:
    np.savez(tmp_path / "t.npz", names=["a", "b"], vectors=np.array([[3.0, 0], [0, 1]]))
    centered = LabelTable.read(tmp_path / "t.npz", center=True).encode(["a", "b"])
    np.testing.assert_allclose(centered, [[0.5**0.5, -(0.5**0.5)], [-(0.5**0.5), 0.5**0.5]])


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("a.npz", b"not a zip", "cannot be read"),
        ("a.npz", b"", "cannot be read"),
        ("a.txt", b"", "is empty"),
        ("a.txt", b"dog 1 2\ncat 1 x\n", r"a\.txt:2: expected a word and 2 numbers"),
        ("a.txt", b"dog\n", r"a\.txt:1"),
        ("a.txt", b"\xff\xfe 1 2\n", "neither .npz nor GloVe text"),
        ("a.txt", b"dog nan 1\n", "NaN or infinity"),
        ("a.txt.gz", b"no gzip", "cannot be read"),
    ],
)
def test_a_broken_table_is_refused_with_a_reason(
    tmp_path: Path, name: str, data: bytes, message: str
) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(ModelError, match=message):
        LabelTable.read(tmp_path / name)


def test_a_missing_table_is_refused_with_a_reason(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no label table at"):
        LabelTable.read(tmp_path / "none.npz")


def test_pickled_arrays_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "t.npz", names=np.array(["a"], object), vectors=np.ones((1, 2)))
    with pytest.raises(ModelError, match="cannot be read"):
        LabelTable.read(tmp_path / "t.npz")


def test_an_archive_with_a_damaged_header_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "t.npz", names=["a"], vectors=np.ones((1, 2)))
    with zipfile.ZipFile(tmp_path / "t.npz") as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(tmp_path / "damaged.npz", "w") as damaged:
        for name, data in members.items():
            damaged.writestr(name, data.replace(b"(1, 2)", b"((((((").replace(b"}", b"{"))
    with pytest.raises(ModelError, match="cannot be read as a label table"):
        LabelTable.read(tmp_path / "damaged.npz")


@pytest.mark.skipif(not TABLES.exists(), reason="no ../shared/data/label_tables")
def test_real_tables_contain_real_labels() -> None:
    glove = LabelTable.read(TABLES / "glove_300d_names.npz", center=True)
    assert (len(glove), glove.dim) == (1065, 300)
    dog, wolf, car = glove.encode(["dog", "wolf", "car"])
    assert dog @ wolf > 0.2 > dog @ car
    clip = LabelTable.read(TABLES / "clip_vitb32_text_names.npz")
    assert (len(clip), clip.dim) == (1585, 512)
    with pytest.raises(UnknownLabel, match="nearest: "):
        clip.encode(["giraffee"])
