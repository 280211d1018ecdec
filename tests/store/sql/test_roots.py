"""Registered folders: where a folder lies, what a parent takes in, how a disk is moved."""

from pathlib import Path

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from mkt_search.errors import QueryError
from mkt_search.store.records import RootLocation
from mkt_search.store.sql import hand_tags, roots, tags
from mkt_search.store.sql.schema import Photo
from tests.store.sql.conftest import Rows


def paths(session: Session) -> set[str]:
    return set(session.scalars(select(Photo.path)))


def test_a_new_folder_is_located_without_an_id_and_registered_with_one(
    session: Session, tmp_path: Path
) -> None:
    found = roots.locate(session, tmp_path)
    assert found == RootLocation(None, tmp_path, "")
    registered = roots.register(session, found)
    assert registered.id is not None
    assert roots.locate(session, tmp_path) == registered
    assert roots.register(session, registered) == registered
    assert roots.folders(session) == [tmp_path]


def test_a_folder_below_a_root_is_a_prefix(session: Session, tmp_path: Path) -> None:
    root = roots.register(session, roots.locate(session, tmp_path))
    found = roots.locate(session, tmp_path / "trip" / "day 1")
    assert found == RootLocation(root.id, tmp_path, "trip/day 1/")


def test_a_parent_takes_in_the_roots_below_it(session: Session, rows: Rows) -> None:
    rows.photo("a.jpg", root="/pictures/trip")
    rows.photo("b.jpg", root="/pictures/home")
    rows.photo("c.jpg", root="/pictures-2")
    parent = roots.register(session, RootLocation(None, Path("/pictures"), ""))
    assert roots.folders(session) == [Path("/pictures"), Path("/pictures-2")]
    assert paths(session) == {"trip/a.jpg", "home/b.jpg", "c.jpg"}
    counts = {path: photos for _, path, photos in roots.with_counts(session)}
    assert counts == {Path("/pictures"): 2, Path("/pictures-2"): 1}
    assert roots.roots_below(session, Path("/")) == {
        parent.id: "pictures/",
        rows.roots["/pictures-2"]: "pictures-2/",
    }


def test_a_root_that_became_a_link_is_found(session: Session, tmp_path: Path) -> None:
    folder, moved = tmp_path / "photos", tmp_path / "disk"
    folder.mkdir()
    root = roots.register(session, roots.locate(session, folder))
    folder.rename(moved)
    folder.symlink_to(moved)
    assert roots.locate(session, folder / "trip") == RootLocation(root.id, folder, "trip/")


def test_a_root_moves_with_its_photos(session: Session, rows: Rows) -> None:
    rows.photo("a.jpg", root="/old")
    rows.photo("b.jpg", root="/old")
    assert roots.move(session, Path("/old"), Path("/new")) == 2
    assert roots.folders(session) == [Path("/new")]


def test_a_root_does_not_move_around_another(session: Session, rows: Rows) -> None:
    rows.root("/old")
    rows.root("/other")
    with pytest.raises(QueryError, match="overlaps /other, another folder of this library"):
        roots.move(session, Path("/old"), Path("/"))


@pytest.mark.parametrize("new", ["/new", "/new/below"])
def test_a_root_moves_to_where_its_photos_were_indexed_again(
    session: Session, rows: Rows, new: str
) -> None:
    prefix = new.removeprefix("/new")[1:] + "/" if new != "/new" else ""
    old = rows.photo("trip/a.jpg", root="/old", content="a")
    rows.photo("replaced.jpg", root="/old", content="b")
    rows.photo("only there.jpg", root="/old")
    rows.photo("else.jpg", root="/new", content="c")
    rows.photo(f"{prefix}trip/a.jpg", root="/new", content="a", size=99)
    rows.photo(f"{prefix}replaced.jpg", root="/new", content="d")
    hand_tags.add(session, [old.id + 1], "mine")
    assert roots.move(session, Path("/old"), Path(new)) == 3
    assert roots.folders(session) == [Path("/new")]
    found = {(p.path, p.state, p.replaced != 0) for p in session.scalars(select(Photo))}
    assert found == {
        (f"{prefix}trip/a.jpg", "indexed", False),
        (f"{prefix}replaced.jpg", "indexed", False),
        (f"{prefix}replaced.jpg", "missing", True),
        (f"{prefix}only there.jpg", "indexed", False),
        ("else.jpg", "indexed", False),
    }
    session.expire_all()
    assert (old.path, old.size) == (f"{prefix}trip/a.jpg", 99)
    [tag] = tags.current(session)
    assert (tag.label, tag.path.name, tag.is_missing) == ("mine", "replaced.jpg", True)


def test_a_folder_is_found_that_has_most_photos_of_another(session: Session, rows: Rows) -> None:
    for name in ("a", "b", "c"):
        rows.photo(f"trip/{name}.jpg", root="/old", content=name)
    rows.photo("disk/trip/a.jpg", root="/new", content="a")
    assert roots.moved_to(session, Path("/old")) is None
    rows.photo("disk/trip/b.jpg", root="/new", content="b")
    rows.photo("copy of c.jpg", root="/new", content="c")
    assert roots.moved_to(session, Path("/old")) == (Path("/new/disk"), 2)


def test_an_unknown_root_names_the_known_ones(session: Session, rows: Rows) -> None:
    with pytest.raises(QueryError, match="its folders: none yet"):
        roots.move(session, Path("/old"), Path("/new"))
    rows.root("/photos")
    with pytest.raises(QueryError, match=r"/old is not a folder of this library.*: /photos"):
        roots.move(session, Path("/old"), Path("/new"))
