"""Encodings keep their fingerprints, which are in every segment; filters have photos to find."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from mkt_search.errors import QueryError
from mkt_search.types import Encoding, Filters

CHECKPOINT = "0123456789ab"


@pytest.mark.parametrize(
    ("encoding", "fingerprint"),
    [
        (Encoding(CHECKPOINT, 512, (14, 14), "cover", 16, 18, "int8"), "45c28c9258f7"),
        (Encoding(CHECKPOINT, 512, (14, 14), "topk", 8, 18, "int4", "bfloat16"), "97c38218c5f8"),
        (Encoding(CHECKPOINT, 300, (7, 7), "all", 49, 8, "fp16"), "dbddb38b7de8"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_fingerprints_are_those_of_earlier_versions(encoding: Encoding, fingerprint: str) -> None:
    assert encoding.fingerprint == fingerprint


def test_settings_are_stored_as_earlier_versions_read_them() -> None:
    encoding = Encoding(CHECKPOINT, 512, (14, 14), "cover", 16, 18, "int8")
    settings = encoding.as_settings()
    assert settings == {
        "checkpoint": CHECKPOINT,
        "dim": 512,
        "grid": (14, 14),
        "local": "cover",
        "m": 16,
        "top_k": 18,
        "precision": "int8",
        "scale": "cosine",
        "vocabulary": "",
        "dtype": "float32",
    }
    assert Encoding.from_settings({**settings, "grid": [14, 14]}) == encoding


def test_the_first_decoder_is_not_stored_and_a_later_one_is() -> None:
    first = Encoding(CHECKPOINT, 512, (14, 14), "cover", 16, 18, "int8")
    second = replace(first, decoder=2)
    assert "decoder" not in first.as_settings()
    assert Encoding.from_settings(first.as_settings()).decoder == 1
    assert Encoding.from_settings(second.as_settings()) == second
    assert first.fingerprint != second.fingerprint


def test_filters_that_no_photo_can_pass_are_refused() -> None:
    day = datetime(2024, 5, 17)
    for before in (day, day - timedelta(days=1)):
        with pytest.raises(QueryError, match="on 2024-05-17 or later and before 2024-05-1"):
            Filters(after=day, before=before)
    assert Filters(after=day, before=day + timedelta(days=1)).tag is None


def test_the_patch_vectors_of_the_model_itself_are_not_stored_and_others_are() -> None:
    first = Encoding(CHECKPOINT, 512, (14, 14), "cover", 16, 18, "int8")
    second = replace(first, patch_vectors="kk")
    assert "patch_vectors" not in first.as_settings()
    assert Encoding.from_settings(first.as_settings()).patch_vectors == "own"
    assert Encoding.from_settings(second.as_settings()) == second
    assert first.fingerprint != second.fingerprint
    with pytest.raises(ValueError, match="no patch vectors 'qq'"):
        Encoding.from_settings({**second.as_settings(), "patch_vectors": "qq"})
