"""Pickles of plain data are read back, and no code in a pickle ever runs."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mkt_search.datasets.pickles import read_pickle
from mkt_search.errors import DatasetError

PROTOCOLS = st.sampled_from(range(pickle.HIGHEST_PROTOCOL + 1))
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(st.text(), inner, max_size=3)
    ),
    max_leaves=8,
)


def reread(folder: Path, value: Any, protocol: int) -> Any:
    (folder / "p.pkl").write_bytes(pickle.dumps(value, protocol))
    return read_pickle(folder / "p.pkl")


@pytest.mark.slow
@given(PLAIN, PROTOCOLS)
@settings(max_examples=60, deadline=None)
def test_containers_and_text_are_read_back(
    tmp_path_factory: pytest.TempPathFactory, value: Any, protocol: int
) -> None:
    assert reread(tmp_path_factory.getbasetemp(), value, protocol) == value


ARRAYS = [
    np.array(["/m/011k07", "é", ""]),
    np.array(["a", "bcd"], object),
    np.array([b"x", b"yz"]),
    np.arange(6).reshape(2, 3),
    np.arange(6, dtype=">i2"),
    np.array([[0.5, -1.0]], np.float32),
    np.array([], "U3"),
    np.array("one"),
    np.array([True, False]),
]


@pytest.mark.parametrize("array", ARRAYS, ids=lambda a: f"{a.dtype}{a.shape}")
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_arrays_are_read_as_lists(tmp_path: Path, array: Any, protocol: int) -> None:
    assert reread(tmp_path, array, protocol) == array.tolist()


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_scalars_of_arrays_and_sets_are_read_back(tmp_path: Path, protocol: int) -> None:
    value = {"names": [np.str_("a_b_c.jpg"), np.int64(3)], "set": {1}, "bytes": b"\xff"}
    plain = {"names": ["a_b_c.jpg", 3], "set": {1}, "bytes": b"\xff"}
    assert reread(tmp_path, value, protocol) == plain


def test_pickles_of_numpy_1_are_read(tmp_path: Path) -> None:
    written = pickle.dumps(np.array(["a"]), 0)
    assert b"numpy._core" in written or b"numpy.core" in written
    for core in (b"numpy.core.", b"numpy._core."):
        renamed = written.replace(b"numpy._core.", core).replace(b"numpy.core.", core)
        (tmp_path / "p.pkl").write_bytes(renamed)
        assert read_pickle(tmp_path / "p.pkl") == ["a"]


class Evil:
    def __init__(self, call: Any, *arguments: Any) -> None:
        self.call, self.arguments = call, arguments

    def __reduce__(self) -> Any:
        return self.call, self.arguments


def a_file(folder: Path) -> Path:
    return folder / "was here"


@pytest.mark.parametrize(
    ("value", "named"),
    [
        (Evil(eval, "1"), "builtins.eval"),
        (Evil(getattr, "a", "upper"), "builtins.getattr"),
        (Path("a"), "pathlib"),
        (np.memmap, "numpy.memmap"),
        (np.dtype("U1"), "Dtype"),
        (np.ndarray, "type"),
    ],
    ids=lambda v: v if isinstance(v, str) else "",
)
def test_anything_else_is_refused_with_its_name(tmp_path: Path, value: Any, named: str) -> None:
    with pytest.raises(DatasetError, match=rf"p\.pkl holds {named}.* is not loaded"):
        reread(tmp_path, value, 4)


def test_no_code_in_a_refused_pickle_runs(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"holds posix\.|holds nt\."):
        reread(tmp_path, [Evil(__import__("os").mkdir, str(a_file(tmp_path)))], 4)
    assert not a_file(tmp_path).exists()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"rubbish",
        pickle.dumps(["a", "b"])[:-3],
        pickle.dumps(np.array(["a", "b"]))[:-9],
        b"\x80\x04" + b"]" * 10 + b"b.",
        pickle.dumps(np.zeros(2, [("a", "i4")])),
        pickle.dumps(np.asfortranarray(np.arange(6).reshape(2, 3))),
        pickle.dumps(np.array(["2020-01-01"], "datetime64[D]")),
        b"\x80\x04K\x05Q.",  # a reference to something outside
    ],
    ids=range(9),
)
def test_a_damaged_pickle_is_refused_with_its_file(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "p.pkl").write_bytes(content)
    with pytest.raises(DatasetError, match=r"p\.pkl (is not a pickle of plain data|holds)"):
        read_pickle(tmp_path / "p.pkl")


def test_a_list_that_contains_itself_is_refused(tmp_path: Path) -> None:
    value: list[Any] = []
    value.append(value)
    with pytest.raises(DatasetError, match="is damaged: maximum recursion"):
        reread(tmp_path, value, 4)


def test_a_missing_pickle_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"p\.pkl: cannot be read \(No such file"):
        read_pickle(tmp_path / "p.pkl")
