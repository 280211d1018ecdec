"""Bulk tagging: what is written, which rules are refused, and vocabularies."""

import os
from pathlib import Path

import pytest

from mkt_search.errors import QueryError
from mkt_search.tagging.bulk import check_rule, read_vocabulary


def test_a_vocabulary_is_one_label_a_line(tmp_path: Path) -> None:
    file = tmp_path / "labels.txt"
    file.write_bytes("\ufeff# animals\r\ndog\r\n\n  polar bear  \ndog\nÜber\n".encode())
    assert read_vocabulary(file) == ["dog", "polar bear", "Über"]


def test_a_vocabulary_has_a_label_once_in_its_first_spelling(tmp_path: Path) -> None:
    file = tmp_path / "labels.txt"
    file.write_bytes(
        "Beach\nCafe\u0301\nbeach\nCAF\u00c9\nred\u00a0car\nred car\n\u200b\n".encode()
    )
    assert read_vocabulary(file) == ["Beach", "Caf\u00e9", "red car"]


@pytest.mark.skipif(os.name == "nt", reason="POSIX")
def test_a_pipe_a_device_or_a_huge_file_is_no_vocabulary(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "large").write_bytes(b"")
    os.truncate(tmp_path / "large", 10**9)  # of NULs, which take no room
    for file in (tmp_path / "pipe", tmp_path / "large", Path("/dev/zero")):
        with pytest.raises(QueryError, match="cannot be read"):
            read_vocabulary(file)


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (b"", "has no labels"),
        (b"# only\n\n", "has no labels"),
        (b"\xff\xfe\xff", "not UTF-8"),
        (b"dog\n" + b"x" * 1_001, r"2: not a label"),
        (bytes(1_000), "1: not a label"),
    ],
)
def test_an_unusable_vocabulary_is_a_sentence(tmp_path: Path, data: bytes, complaint: str) -> None:
    file = tmp_path / "labels.txt"
    file.write_bytes(data)
    with pytest.raises(QueryError, match=rf"labels\.txt.*{complaint}"):
        read_vocabulary(file)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("tags.csv", 'path,label,score\r\na.jpg,dog,0.5\r\nb.jpg,"sea, salt",\r\n'),
        ("tags.tsv", "Label\tn\ndog\t1\n\nsea, salt\t2\n"),
        ("one.csv", 'dog\n# comment\n"sea, salt"\nDOG\n'),
    ],
)
def test_a_table_gives_its_column_of_labels(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    assert read_vocabulary(tmp_path / name) == ["dog", "sea, salt"]


@pytest.mark.parametrize(
    ("name", "text", "complaint"),
    [
        ("tags.csv", "a.jpg,dog\nb.jpg,sea\n", 'none of its columns has the heading "label"'),
        ("labels.json", '["dog", "sea"]\n', "write labels as text, one a line"),
        ("tags.csv", "\n,\n", "has no labels"),
    ],
)
def test_a_file_whose_lines_are_no_labels_is_refused(
    tmp_path: Path, name: str, text: str, complaint: str
) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(QueryError, match=complaint):
        read_vocabulary(tmp_path / name)


def test_a_missing_vocabulary_is_named(tmp_path: Path) -> None:
    with pytest.raises(QueryError, match=r"none\.txt: cannot be read \(No such file"):
        read_vocabulary(tmp_path / "none.txt")
    with pytest.raises(QueryError, match="directory"):
        read_vocabulary(tmp_path)


@pytest.mark.parametrize(
    ("top", "threshold", "labels"),
    [(0, None, ["a"]), (-1, 0.5, ["a"]), (3, None, []), (3, 1.5, ["a"])],
)
def test_a_rule_that_tags_everything_or_nothing_is_refused(top, threshold, labels) -> None:
    with pytest.raises(QueryError):
        check_rule(top=top, threshold=threshold, labels=labels)
