"""The migrations build the very tables that the code declares, from nothing and back."""

import re
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import inspect, text

from mkt_search.errors import SchemaOutdated
from mkt_search.store.records import Decision, Proposal
from mkt_search.store.sql import checksums, decisions
from mkt_search.store.sql.database import check_schema, open_engine, reading, transaction
from mkt_search.store.sql.schema import HEAD, Base
from mkt_search.store.sql.upgrade import migrations_folder, upgrade


def declared(folder: Path, make) -> dict[str, str]:
    """Return the SQL of every table and index, white space folded."""
    engine = open_engine(f"sqlite:///{folder / 'a.db'}")
    make(engine)
    with engine.connect() as connection:
        rows = connection.execute(
            text("SELECT name, sql FROM sqlite_master WHERE name NOT LIKE 'sqlite_%'")
        )
        found = {name: re.sub(r"\s+", " ", sql or "") for name, sql in rows}
    engine.dispose()
    found.pop("alembic_version", None)
    return found


def columns(sql: str) -> set[str]:
    """Split a CREATE TABLE into its parts, whose order means nothing."""
    return set(re.split(r",\s*(?![^(]*\))", sql.partition("(")[2].rpartition(")")[0].strip()))


def test_migrations_build_what_the_code_declares(tmp_path: Path) -> None:
    (tmp_path / "code").mkdir()
    (tmp_path / "migrations").mkdir()
    by_code = declared(tmp_path / "code", Base.metadata.create_all)
    by_migrations = declared(tmp_path / "migrations", upgrade)
    assert by_code.keys() == by_migrations.keys()
    for name, sql in by_code.items():
        if sql.startswith("CREATE TABLE"):
            assert columns(sql) == columns(by_migrations[name]), name
        else:
            assert sql == by_migrations[name]


def test_the_code_knows_the_newest_migration() -> None:
    config = Config()
    config.set_main_option("script_location", str(migrations_folder()))
    assert ScriptDirectory.from_config(config).get_current_head() == HEAD


def test_upgrading_twice_changes_nothing(tmp_path: Path) -> None:
    engine = open_engine(f"sqlite:///{tmp_path / 'a.db'}")
    upgrade(engine)
    upgrade(engine)
    with engine.connect() as connection:
        assert connection.execute(text("SELECT number FROM revision")).all() == [(0,)]
    engine.dispose()


def test_downgrading_leaves_an_empty_database(tmp_path: Path) -> None:
    engine = open_engine(f"sqlite:///{tmp_path / 'a.db'}")
    upgrade(engine)
    config = Config()
    config.set_main_option("script_location", str(migrations_folder()))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "base")
    assert set(inspect(engine).get_table_names()) <= {"alembic_version"}
    engine.dispose()


def test_a_library_of_the_first_version_keeps_everything(tmp_path: Path) -> None:
    engine = open_engine(f"sqlite:///{tmp_path / 'a.db'}")
    config = Config()
    config.set_main_option("script_location", str(migrations_folder()))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        connection.execute(text("INSERT INTO root (id, path) VALUES (1, '/photos')"))
    with pytest.raises(SchemaOutdated, match=rf"schema 0001.*needs {HEAD}\. Run `mkt migrate`"):
        check_schema(engine)
    upgrade(engine)
    check_schema(engine)
    with engine.connect() as connection:
        assert connection.execute(text("SELECT path FROM root")).all() == [("/photos",)]
        assert connection.execute(text("SELECT count(*) FROM evaluation")).scalar() == 0
    engine.dispose()


def test_candidate_indexes_and_encodings_keep_their_values(tmp_path: Path) -> None:
    engine = open_engine(f"sqlite:///{tmp_path / 'a.db'}")
    config = Config()
    config.set_main_option("script_location", str(migrations_folder()))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0004")
        connection.execute(
            text(
                "INSERT INTO encoding (id, fingerprint, settings, model, vocabulary, state,"
                " created_at) VALUES (3, 'f', '{}', 'm', x'00', 'active', '2024-05-17')"
            )
        )
        connection.execute(
            text(
                "INSERT INTO generation (encoding_id, file, size, sha256, photos, newest_content,"
                " curve, created_at, revision, places_file, places_size, places_sha256) VALUES"
                " (3, 'a.sketch', 1, x'01', 2, 4, '{\"one\": {}}', '2024-05-17', 5, 'b.places', 6,"
                " x'07')"
            )
        )
    upgrade(engine)
    with engine.connect() as connection:
        [row] = connection.execute(text("SELECT * FROM candidate_index")).mappings()
        assert row["checksum"] is not None
        assert dict(row) | {"created_at": "", "checksum": None} == {
            **{"id": 1, "encoding_id": 3, "photos": 2, "revision": 5},
            **{"pq_file": "a.sketch", "pq_size": 1, "pq_sha256": b"\1"},
            **{"rowmap_file": "b.places", "rowmap_size": 6, "rowmap_sha256": b"\7"},
            **{"recall_curve": '{"one": {}}', "created_at": "", "checksum": None},
        }
        [row] = connection.execute(text("SELECT * FROM encoding")).mappings()
        assert (row["id"], row["model"], row["label_encoder"]) == (3, "m", None)
        assert "vocabulary" not in row
    engine.dispose()


def test_dates_of_photos_were_read_from_exif(tmp_path: Path) -> None:
    engine = open_engine(f"sqlite:///{tmp_path / 'a.db'}")
    config = Config()
    config.set_main_option("script_location", str(migrations_folder()))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0005")
        connection.execute(text("INSERT INTO root (id, path) VALUES (1, '/photos')"))
        connection.execute(
            text(
                "INSERT INTO photo (root_id, path, size, mtime_ns, state, taken_at) VALUES"
                " (1, 'a.jpg', 1, 1, 'indexed', '2024-05-17'), (1, 'b.jpg', 1, 1, 'indexed', NULL)"
            )
        )
    upgrade(engine)
    with engine.connect() as connection:
        rows = connection.execute(text("SELECT path, date_source FROM photo ORDER BY path")).all()
    assert rows == [("a.jpg", "exif"), ("b.jpg", None)]
    engine.dispose()


@pytest.mark.slow
def test_labels_that_look_the_same_become_one(tmp_path: Path) -> None:
    """Each run keeps its best tag of a photo, and the next run replaces it."""
    engine = open_engine(f"sqlite:///{tmp_path / 'a.db'}")
    config = Config()
    config.set_main_option("script_location", str(migrations_folder()))
    labels = {1: "Beach", 2: "sea", 3: "beach", 4: "BEACH\u200b", 5: "Cafe\u0301"}
    tags = [  # id, photo, label, source, score, run, superseded by
        *((1, 1, 1, "human", None, None, None), (2, 1, 3, "human", None, None, None)),
        *((3, 1, 1, "auto", 0.1, 1, 3), (4, 1, 3, "auto", 0.2, 2, None)),
        *((5, 1, 4, "auto", 0.3, 2, None), (6, 1, 1, "auto", 0.4, 3, None)),
        *((7, 2, 3, "auto", 0.5, 1, None), (8, 2, 2, "auto", 0.6, 1, None)),
        (9, 2, 5, "imported", None, None, None),
    ]
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0007")
        connection.execute(text("INSERT INTO root (id, path) VALUES (1, '/photos')"))
        for photo in (1, 2):
            connection.execute(
                text(
                    "INSERT INTO photo (id, root_id, path, size, mtime_ns, state)"
                    " VALUES (:id, 1, :path, 1, 1, 'indexed')"
                ),
                {"id": photo, "path": f"{photo}.jpg"},
            )
        for run in (1, 2, 3):
            connection.execute(
                text(
                    "INSERT INTO run (id, kind, settings, outcome, process, started_at)"
                    " VALUES (:id, 'tag', '{}', 'done', '', '2024-05-17')"
                ),
                {"id": run},
            )
        for label, name in labels.items():
            given = {"id": label, "name": name}
            connection.execute(text("INSERT INTO label (id, name) VALUES (:id, :name)"), given)
        columns = ("id", "photo_id", "label_id", "source", "score", "run_id", "superseded_by")
        for tag in tags:
            names = ", ".join(columns)
            values = ", ".join(f":{name}" for name in columns)
            connection.execute(
                text(f"INSERT INTO tag ({names}, created_at) VALUES ({values}, '2024-05-17')"),
                dict(zip(columns, tag, strict=True)),
            )
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0009")  # later ones move the tags of people elsewhere
    with engine.connect() as connection:
        found = connection.execute(text("SELECT id, name, key FROM label ORDER BY id")).all()
        assert found == [(1, "Beach", "beach"), (2, "sea", "sea"), (5, "Cafe\u0301", "café")]
        found = connection.execute(
            text("SELECT id, label_id, superseded_by FROM tag ORDER BY id")
        ).all()
        assert found == [
            *((1, 1, None), (3, 1, 2), (5, 1, 3), (6, 1, None)),
            *((7, 1, None), (8, 2, None), (9, 5, None)),
        ]
    engine.dispose()


def test_rows_of_a_library_without_checksums_get_them(tmp_path: Path) -> None:
    engine = open_engine(f"sqlite:///{tmp_path / 'a.db'}")
    config = Config()
    config.set_main_option("script_location", str(migrations_folder()))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0009")
        connection.execute(text("INSERT INTO root (path) VALUES ('/a'), ('/b')"))
        connection.execute(text("INSERT INTO content (id, sha256) VALUES (7, x'01')"))
        connection.execute(text("INSERT INTO change (content_id, revision) VALUES (9, 1)"))
    upgrade(engine)
    with reading(engine) as session:
        assert list(checksums.problems(session)) == []
        assert session.scalar(text("SELECT newest_content FROM revision")) == 9
        assert session.scalar(text("SELECT count(checksum) FROM root")) == 2
    engine.dispose()


def test_tags_of_a_library_without_probabilities_keep_their_scores(tmp_path: Path) -> None:
    engine = open_engine(f"sqlite:///{tmp_path / 'a.db'}")
    config = Config()
    config.set_main_option("script_location", str(migrations_folder()))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0011")
        connection.execute(text("INSERT INTO root (id, path) VALUES (1, '/photos')"))
        connection.execute(
            text(
                "INSERT INTO photo (id, root_id, path, size, mtime_ns, state, replaced)"
                " VALUES (1, 1, 'a.jpg', 1, 1, 'indexed', 0)"
            )
        )
        connection.execute(text("INSERT INTO label (id, name, key) VALUES (1, 'dog', 'dog')"))
        connection.execute(
            text(
                "INSERT INTO tag (photo_id, label_id, source, score, created_at)"
                " VALUES (1, 1, 'auto', 0.5, '2024-05-17 00:00:00')"
            )
        )
    upgrade(engine)
    with reading(engine) as session:
        assert session.execute(text("SELECT score, p FROM tag")).all() == [(0.5, None)]
        assert list(checksums.problems(session)) == []
    engine.dispose()


def test_a_library_of_before_judgements_keeps_the_words_of_people(tmp_path: Path) -> None:
    engine = open_engine(f"sqlite:///{tmp_path / 'a.db'}")
    config = Config()
    config.set_main_option("script_location", str(migrations_folder()))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0012")
        connection.execute(text("INSERT INTO content (id, sha256) VALUES (7, x'01')"))
        connection.execute(text("INSERT INTO label (id, name, key) VALUES (1, 'dog', 'dog')"))
        connection.execute(
            text(
                "INSERT INTO refusal (content_id, label_id, created_at)"
                " VALUES (7, 1, '2024-05-17 00:00:00')"
            )
        )
    upgrade(engine)
    with reading(engine) as session:
        assert session.execute(text("SELECT content_id, label_id FROM refusal")).all() == [(7, 1)]
        assert session.scalar(text("SELECT count(*) FROM judgement")) == 0
        assert list(checksums.problems(session)) == []
    engine.dispose()


def test_a_library_from_before_reviews_can_be_reviewed(tmp_path: Path) -> None:
    engine = open_engine(f"sqlite:///{tmp_path / 'a.db'}")
    config = Config()
    config.set_main_option("script_location", str(migrations_folder()))
    sha, time = "\0" * 32, "'2024-05-17 00:00:00.000000'"
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0013")
        for statement in (
            "INSERT INTO root (id, path) VALUES (1, '/photos')",
            "INSERT INTO content (id, sha256) VALUES (7, zeroblob(32))",
            "INSERT INTO photo (id, root_id, path, size, mtime_ns, state, content_id)"
            " VALUES (1, 1, 'a.jpg', 1, 1, 'indexed', 7)",
            "INSERT INTO label (id, name, key) VALUES (1, 'dog', 'dog')",
            "INSERT INTO run (id, kind, settings, outcome, process, started_at)"
            f" VALUES (1, 'tag', '{{\"labels\": [\"dog\"]}}', 'done', '', {time})",
            "INSERT INTO tag (photo_id, label_id, source, score, p, run_id, created_at)"
            f" VALUES (1, 1, 'auto', 0.5, 0.75, 1, {time})",
        ):
            connection.exec_driver_sql(statement)
    upgrade(engine)
    with transaction(engine) as session:
        [proposal] = decisions.proposals(session, "dog", run=None, after=None, count=9)
        assert proposal == Proposal(1, sha.encode().hex(), 1, 0.5, 0.75)
        batch, _ = decisions.decide(session, "dog", [Decision(1, "reject")])
        assert decisions.proposals(session, "dog", run=None, after=None, count=9) == []
        decisions.undo(session, batch or 0)
        assert decisions.proposals(session, "dog", run=None, after=None, count=9) == [proposal]
        assert list(checksums.problems(session)) == []
    engine.dispose()
