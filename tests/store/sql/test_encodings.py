"""Encodings, their models, and forms that are no longer read."""

from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from mkt_search.store.sql import encodings
from mkt_search.store.sql.schema import EncodingRow
from mkt_search.types import ImageSpec, ModelRecord
from tests import made

RECORD = ModelRecord("stamp", "labels", ImageSpec(32, 48, (0.1, 0.2, 0.3), (0.4, 0.5, 0.6)))


def test_an_encoding_comes_back_as_it_was_added(session: Session) -> None:
    first = encodings.add(session, made.encoding(), model="first", state="active")
    second = encodings.add(session, made.encoding(m=3), model="second", state="building")
    assert encodings.listed(session) == [first, second]
    assert second.encoding == made.encoding(m=3)
    assert (second.model, second.state, second.record) == ("second", "building", None)
    assert encodings.exists(session, first.id) and not encodings.exists(session, 99)


def test_a_model_is_recorded_and_can_be_forgotten(session: Session) -> None:
    added = encodings.add(session, made.encoding(), model="first", state="active")
    encodings.set_model(session, added.id, "moved", RECORD)
    [found] = encodings.listed(session)
    assert (found.model, found.record) == ("moved", RECORD)
    encodings.set_model(session, added.id, "moved", None)
    [found] = encodings.listed(session)
    assert found.record is None


def test_a_record_that_cannot_be_read_is_none(session: Session) -> None:
    """The model is opened then, and recorded again."""
    added = encodings.add(session, made.encoding(), model="first", state="active")
    encodings.set_model(session, added.id, "first", RECORD)
    row = session.scalars(select(EncodingRow)).one()
    for image in ({"height": 32}, {**(row.image or {}), "wieth": 3}, {"mean": 3, "std": 4}):
        row.image = image
        session.flush()
        assert encodings.listed(session)[0].record is None


def test_an_encoding_changes_its_state_and_goes(session: Session) -> None:
    added = encodings.add(session, made.encoding(), model="first", state="building")
    encodings.set_state(session, added.id, "active")
    assert encodings.listed(session)[0].state == "active"
    encodings.delete_encoding(session, added.id)
    assert encodings.listed(session) == []


@pytest.mark.parametrize(
    ("settings", "retired"),
    [
        ({}, ""),
        ({"local": "topk", "precision": "int4"}, ""),
        ({"local": "all", "precision": "fp16"}, ""),
        ({"local": "all", "precision": "int8"}, ""),
        ({"local": "ward"}, "pooling ward"),
        ({"precision": "fp16"}, "cover in fp16"),
        ({"scale": "vocabulary", "vocabulary": "0123"}, "scale vocabulary"),
    ],
    ids=str,
)
def test_a_form_that_is_no_longer_read_is_named(settings: dict[str, Any], retired: str) -> None:
    stored = made.encoding().as_settings()
    assert encodings.retired_form(stored | settings) == retired
