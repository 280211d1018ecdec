"""Tags: a run covers its labels, can be reverted whole, and never touches a person's tags."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mkt_search.errors import QueryError
from mkt_search.progress import Progress, no_progress
from mkt_search.store.records import Batch, TagReport
from mkt_search.store.spill import SpillFile
from mkt_search.store.store import Store
from mkt_search.types import Filters
from tests import made

Assignment = tuple[int, str]  # the number of a content, and a label
PHOTOS = ["a.jpg", "b.jpg", "c.jpg", "copy of a.jpg", "gone.jpg"]
CONTENTS = [0, 1, 2, 0, 3]
SHAS = [made.sha(f"content {number}") for number in range(4)]


@pytest.fixture
def filled(store: Store, root: Path) -> Store:
    fill(store, root)
    return store


def fill(store: Store, root: Path) -> None:
    """Add five photos, of which two have the same bytes and one is missing."""
    rows = [0, 1, 2, None, 3]
    with store.writing("test"):
        stored = store.begin_encoding(made.encoding(), model="made")
        photos = [
            made.photo(root, name, row, content=SHAS[content])
            for name, row, content in zip(PHOTOS, rows, CONTENTS, strict=True)
        ]
        store.add(made.location(store, root), stored, Batch(photos, (), made.vectors(4)))
        store.catalog.mark_missing(ids_of(store, "gone.jpg"))


def ids_of(store: Store, *names: str) -> list[int]:
    by_name = {photo.relative: photo.id for photo in store.catalog.photos()}
    return [by_name[name] for name in names]


def tag(
    store: Store, labels: Sequence[str], chosen: Sequence[Assignment], *, dry: bool = False
) -> TagReport:
    """Apply assignments as a run, or only preview them."""
    ids = store.catalog.content_ids_of(SHAS)
    contents = np.array([ids[SHAS[content]] for content, _ in chosen], np.int64)
    numbers = np.array([labels.index(label) for _, label in chosen], np.int64)
    with SpillFile(store.directory) as assignments:
        assignments.add(contents, numbers, np.full(len(chosen), 0.5))
        if dry:
            return store.catalog.preview_tag_run(labels, assignments)
        with store.run("tag", {"labels": list(labels)}) as run:
            return store.catalog.apply_tag_run(
                run.id, labels, assignments, step="writing tags", progress=no_progress
            )


def run_of(report: TagReport) -> int:
    assert report.run is not None
    return report.run


def current(store: Store, source: str = "auto") -> set[tuple[str, str]]:
    return {(tag.path.name, tag.label) for tag in store.catalog.tags(source=source)}


def expected(chosen: Sequence[Assignment]) -> set[tuple[str, str]]:
    """What assignments of contents mean for indexed photos."""
    here = list(zip(PHOTOS[:4], CONTENTS[:4], strict=True))
    return {(name, label) for of, label in chosen for name, content in here if of == content}


def test_a_run_replaces_the_automatic_tags_of_its_labels_only(filled: Store) -> None:
    tag(filled, ["dog", "cat"], [(0, "dog"), (1, "dog"), (2, "cat")])
    report = tag(filled, ["dog"], [(1, "dog"), (2, "dog")])
    assert current(filled) == expected([(1, "dog"), (2, "dog"), (2, "cat")])
    assert (report.photos, report.labels, report.by_label) == (4, 1, {"dog": 2})
    assert (report.added, report.removed, report.kept) == (1, 2, 1)
    assert filled.catalog.runs()[-1].outcome == "done"
    assert filled.catalog.runs()[-1].summary["added"] == 1


def test_reverting_a_run_restores_what_it_replaced(filled: Store) -> None:
    tag(filled, ["dog"], [(0, "dog"), (1, "dog")])
    before = current(filled)
    run = run_of(tag(filled, ["dog"], [(1, "dog"), (2, "dog")]))
    report = filled.catalog.revert_run(run)
    assert (report.added, report.removed, report.kept) == (2, 1, 1)
    assert current(filled) == before
    assert filled.catalog.runs()[-1].outcome == "reverted"
    with pytest.raises(QueryError, match=f"Run {run} was taken back already"):
        filled.catalog.revert_run(run)
    with pytest.raises(QueryError, match=r"no tag run 99; tag runs: 1, 2\."):
        filled.catalog.revert_run(99)


def test_reverting_an_older_run_gives_each_label_to_the_next_run_that_covers_it(
    filled: Store,
) -> None:
    def labels(content: int, *names: str) -> list[Assignment]:
        return [(content, name) for name in names]

    tag(filled, ["dog", "cat", "sea"], labels(1, "dog", "cat", "sea"))
    second = run_of(tag(filled, ["dog", "cat", "sea"], labels(2, "dog", "cat", "sea")))
    third = run_of(tag(filled, ["cat"], labels(0, "cat")))
    fourth = run_of(tag(filled, ["dog", "cat"], labels(0, "dog", "cat")))
    report = filled.catalog.revert_run(second)
    assert (report.added, report.removed, report.kept) == (1, 1, 0)
    assert current(filled) == expected([(0, "dog"), (0, "cat"), (1, "sea")])
    filled.catalog.revert_run(fourth)
    assert current(filled) == expected([(1, "dog"), (0, "cat"), (1, "sea")])
    filled.catalog.revert_run(third)
    assert current(filled) == expected([(1, "dog"), (1, "cat"), (1, "sea")])


def test_every_spelling_finds_a_label_which_keeps_its_first_one(filled: Store) -> None:
    spelled = ["Café", "cafe\u0301", "CAFÉ\u200b", "\u00a0café "]
    [a, b] = ids_of(filled, "a.jpg", "b.jpg")
    assert filled.catalog.add_tag([a], "Café") == 1
    assert filled.catalog.add_tag([a, b], "cafe\u0301") == 1
    tag(filled, ["CAFÉ"], [(2, "CAFÉ")])
    for one in spelled:
        found = list(filled.catalog.tags(label=one))
        assert [(t.path.name, t.label) for t in found] == [
            *(("a.jpg", "Café"), ("b.jpg", "Café"), ("c.jpg", "Café")),
            ("copy of a.jpg", "Café"),
        ]
        ids = filled.catalog.matching_content_ids(Filters(tag=one))
        assert len(ids) == 3
    assert filled.catalog.remove_tag([a, b], "CAFÉ\u200b") == 2


def test_a_run_never_touches_human_tags(filled: Store) -> None:
    [photo] = ids_of(filled, "a.jpg")
    assert filled.catalog.add_tag([photo], "dog") == 1
    assert filled.catalog.add_tag([photo, photo], "dog") == 0
    run = run_of(tag(filled, ["dog"], [(1, "dog")]))
    assert current(filled, "human") == {("a.jpg", "dog"), ("copy of a.jpg", "dog")}
    filled.catalog.revert_run(run)
    assert current(filled, "human") == {("a.jpg", "dog"), ("copy of a.jpg", "dog")}


def test_a_removed_tag_does_not_return_with_an_older_run(filled: Store) -> None:
    tag(filled, ["dog"], [(1, "dog")])
    second = run_of(tag(filled, ["dog"], [(1, "dog"), (2, "dog")]))
    photos = ids_of(filled, "b.jpg")
    assert filled.catalog.remove_tag(photos, "dog") == 1
    assert filled.catalog.remove_tag(photos, "dog") == 0
    filled.catalog.revert_run(second)
    assert current(filled) == set()


def test_an_edited_photo_loses_automatic_tags_and_keeps_human_ones(
    filled: Store, root: Path
) -> None:
    filled.catalog.add_tag(ids_of(filled, "b.jpg"), "mine")
    tag(filled, ["theirs"], [(1, "theirs"), (2, "theirs")])
    stored = filled.active
    assert stored is not None
    place = made.location(filled, root)
    filled.add(place, stored, Batch([], [made.failed(root, "b.jpg", "permission denied")]))
    edited = made.photo(root, "b.jpg", row=0, content=made.sha("edited"), is_edit=True)
    filled.add(place, stored, Batch([edited], (), made.vectors(1, 9)))
    assert current(filled) == {("c.jpg", "theirs")}
    assert current(filled, "human") == {("b.jpg", "mine")}
    assert filled.catalog.replaced_photos() == set()


def test_a_replaced_picture_keeps_its_tags_as_a_missing_photo_until_it_is_found_again(
    filled: Store, root: Path
) -> None:
    filled.catalog.add_tag(ids_of(filled, "b.jpg"), "mine")
    stored = filled.active
    assert stored is not None
    place = made.location(filled, root)
    for number in range(2):  # also a second picture under the same name
        other = made.photo(root, "b.jpg", row=0, content=made.sha(f"other {number}"))
        filled.add(place, stored, Batch([other], (), made.vectors(1, 9 + number)))
        if not number:
            filled.catalog.add_tag([found_at(filled, root / "b.jpg")], "another")
    assert {
        (tag.path.name, tag.label, tag.is_missing) for tag in filled.catalog.tags(source="human")
    } == {("b.jpg", "mine", True), ("b.jpg", "another", True)}
    assert len(filled.catalog.replaced_photos()) == 2
    back = made.photo(root, "moved.jpg", content=SHAS[1])
    filled.add(place, stored, Batch([back]))
    assert current(filled, "human") == {("moved.jpg", "mine"), ("b.jpg", "another")}
    assert len(filled.catalog.replaced_photos()) == 1


def found_at(store: Store, path: Path) -> int:
    photo = store.catalog.photo_at(path)
    assert photo is not None
    return photo.id


def test_a_missing_photo_gives_its_row_to_its_new_name_and_its_old_name_to_another_photo(
    filled: Store, root: Path
) -> None:
    """In one batch, whichever of the two comes first."""
    stored = filled.active
    assert stored is not None
    [gone] = ids_of(filled, "gone.jpg")
    for new_name, new_path in (("gone.jpg", "x.jpg"), ("x.jpg", "a b.jpg")):
        renamed = made.photo(root, new_path, content=SHAS[3], renames=gone)
        new = made.photo(root, new_name, row=0, content=made.sha(new_name))
        both = [new, renamed] if new_path == "x.jpg" else [renamed, new]
        filled.add(made.location(filled, root), stored, Batch(both, (), made.vectors(1)))
        known = filled.catalog.known(filled.catalog.locate(root), stored.id)
        assert (known[new_path].id, known[new_path].content) == (gone, SHAS[3])
        assert known[new_name].content == made.sha(new_name)
        filled.catalog.mark_missing([gone])


def test_tags_are_listed_by_photo_and_score(filled: Store, root: Path) -> None:
    run = run_of(tag(filled, ["dog", "cat"], [(0, "dog"), (0, "cat"), (1, "cat")]))
    filled.catalog.add_tag(ids_of(filled, "copy of a.jpg"), "mine")
    listed = list(filled.catalog.tags())
    assert [(t.path, t.label, t.score, t.source, t.run) for t in listed] == [
        (root / "a.jpg", "mine", None, "human", None),
        (root / "a.jpg", "cat", 0.5, "auto", run),
        (root / "a.jpg", "dog", 0.5, "auto", run),
        (root / "b.jpg", "cat", 0.5, "auto", run),
        (root / "copy of a.jpg", "mine", None, "human", None),
        (root / "copy of a.jpg", "cat", 0.5, "auto", run),
        (root / "copy of a.jpg", "dog", 0.5, "auto", run),
    ]
    by: Callable[..., int] = lambda **conditions: len(list(filled.catalog.tags(**conditions)))  # noqa: E731
    assert by(label="cat") == 3 and by(label="nothing") == 0
    assert by(source="human") == 2 and by(run=run) == 5 and by(run=run + 1) == 0
    assert by(filters=Filters(path="copy*")) == 3


def test_a_preview_adds_nothing(filled: Store) -> None:
    report = tag(filled, ["new"], [(0, "new")], dry=True)
    assert (report.run, report.added, report.by_label) == (None, 2, {"new": 2})
    assert current(filled) == set() and filled.catalog.runs() == []


def test_progress_may_stop_a_run_and_nothing_changes(filled: Store) -> None:
    tag(filled, ["dog"], [(0, "dog")])
    before = current(filled)

    def stop(event: Progress) -> None:
        assert (event.step, event.done, event.total) == ("writing tags", 1, 1)
        raise KeyboardInterrupt

    ids = filled.catalog.content_ids_of(SHAS)
    with SpillFile(filled.directory) as assignments:
        assignments.add(np.array([ids[SHAS[1]]]), np.zeros(1), np.ones(1))
        with pytest.raises(KeyboardInterrupt), filled.run("tag", {"labels": ["dog"]}) as run:
            filled.catalog.apply_tag_run(
                run.id, ["dog"], assignments, step="writing tags", progress=stop
            )
    assert current(filled) == before
    assert [run.outcome for run in filled.catalog.runs()] == ["done", "interrupted"]


RUNS = st.lists(
    st.tuples(
        st.lists(st.sampled_from("abcd"), min_size=1, unique=True),
        st.lists(st.tuples(st.integers(0, 2), st.sampled_from("abcd")), unique=True),
    ),
    min_size=1,
    max_size=4,
)


@pytest.mark.slow
@given(runs=RUNS, order=st.randoms(use_true_random=False))
@settings(
    max_examples=8,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_runs_are_counted_as_sets_and_revert_in_any_order(
    new_url: Callable[[], str | None],
    tmp_path_factory: pytest.TempPathFactory,
    runs: list[tuple[list[str], list[Assignment]]],
    order: object,
) -> None:
    """Compare with plain sets; a preview counts as the run does, and a revert undoes it."""
    folder = tmp_path_factory.mktemp("runs")
    (folder / "photos").mkdir()
    store = Store.create(folder / ".mkt", url=new_url())
    fill(store, folder / "photos")
    store.catalog.add_tag(ids_of(store, "a.jpg"), "a")
    done: dict[int, tuple[list[str], set[tuple[str, str]]]] = {}
    for labels, given_ in runs:
        chosen = [one for one in given_ if one[1] in labels]
        everything = current(store)
        before = {one for one in everything if one[1] in labels}
        after = expected(chosen)
        trial = tag(store, labels, chosen, dry=True)
        assert current(store) == everything
        report = tag(store, labels, chosen)
        changes = (len(after - before), len(before - after), len(after & before))
        assert (report.added, report.removed, report.kept) == changes
        assert report.by_label == {one: sum(t[1] == one for t in after) for one in labels}
        assert vars(trial) | {"run": report.run} == vars(report)
        assert current(store) == (everything - before) | after
        done[run_of(report)] = (labels, after)
    left = list(done)
    for run in order.sample(left, len(left)):  # type: ignore[attr-defined]
        left.remove(run)
        store.catalog.revert_run(run)
        newest = {one: done[other] for other in left for one in done[other][0]}
        assert current(store) == {
            t for one, (_, tags) in newest.items() for t in tags if t[1] == one
        }
    assert current(store, "human") == {("a.jpg", "a"), ("copy of a.jpg", "a")}
    store.close()


def test_labels_are_counted_by_source_and_completed(filled: Store) -> None:
    tag(filled, ["Dog", "a_b"], [(0, "Dog"), (1, "Dog"), (2, "a_b")])
    filled.catalog.add_tag(ids_of(filled, "c.jpg"), "dog")
    filled.catalog.remove_tag(ids_of(filled, "a.jpg"), "sea")
    counts = {c.label: (c.auto, c.human, c.refused, c.photos) for c in filled.catalog.count_tags()}
    assert counts == {"Dog": (3, 1, 0, 4), "a_b": (1, 0, 0, 1), "sea": (0, 0, 2, 0)}
    assert filled.catalog.tag_labels_like("DO", count=9) == ["Dog"]
    assert filled.catalog.tag_labels_like("a_", count=9) == ["a_b"]
    assert filled.catalog.tag_labels_like("_", count=9) == []
    assert len(filled.catalog.tag_labels_like("", count=2)) == 2
