"""The public face, end to end on painted photos and a student that sees colours."""

import math
import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import event
from sqlalchemy.orm import Session

from mkt_search import Library
from mkt_search.errors import (
    CheckpointMismatch,
    LibraryNotFound,
    MktError,
    PhotoNotFound,
    QueryError,
    StoreError,
    UnknownLabel,
)
from mkt_search.models import checkpoint
from mkt_search.models.build import open_model
from mkt_search.photos.decode import decode, to_pixels
from mkt_search.progress import Progress
from mkt_search.search import label_vectors
from mkt_search.search.plan import DEFAULT
from mkt_search.search.search import search
from mkt_search.store.compact import CompactionPolicy, compact
from mkt_search.store.interfaces import WeightedQuery
from mkt_search.store.store import Store
from mkt_search.tagging import bulk as tagging
from mkt_search.types import Filters, PhotoFile, Term
from tests.tiny import (
    LABELS,
    colour_checkpoint,
    paint,
    tiny_checkpoint,
    tiny_meta,
    tiny_student,
    tiny_table,
)


def bring_in(
    library: Library, folder: Path, checkpoint: Path, *, rebuild: bool = False, **settings: Any
) -> None:
    """Index a folder on the processor, with four local vectors by default."""
    chosen: dict[str, Any] = {"m": 4, "device": "cpu", "dtype": "float32", "workers": 1}
    library.index(folder, model=checkpoint, rebuild=rebuild, **(chosen | settings))


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """Nine photos: plain ones, a blue one with one red patch, and a copy."""
    home = tmp_path_factory.mktemp("home")
    photos = home / "photos"
    for colour in ("red", "green", "blue", "yellow", "cyan", "magenta"):
        paint(photos / f"{colour}.png", colour)
    paint(photos / "trips" / "spot.png", "blue", {(1, 2): "red"})
    paint(photos / "trips" / "wide.png", "green", {(0, 0): "blue"}, size=(256, 128))
    (photos / "copy of red.png").write_bytes((photos / "red.png").read_bytes())
    checkpoint = colour_checkpoint(home / "colours")
    with Library.create(home) as library:
        bring_in(library, photos, checkpoint)
    return home


@pytest.fixture
def library(home: Path):
    with Library.open(home) as library:
        yield library


def names(hits) -> list[str]:
    return [hit.path.name for hit in hits]


def test_the_photo_of_the_asked_colour_comes_first(library: Library) -> None:
    for colour in ("green", "blue", "yellow", "cyan"):
        assert names(library.search(colour, k=1)) == [f"{colour}.png"]


def test_scores_are_what_the_head_computes(library: Library) -> None:
    """Plain red against "red" is 1/2 + 1/2; against "yellow", half of it at 45 degrees, cos 45."""
    best = library.search("red", k=1)[0]
    assert best.score == pytest.approx(1, abs=0.01)
    assert (best.global_part, best.local_part) == pytest.approx((0.5, 0.5), abs=0.01)
    yellow = {hit.path.name: hit.score for hit in library.search("yellow")}
    assert yellow["copy of red.png"] == pytest.approx(np.sqrt(0.5), abs=0.01)


@pytest.mark.parametrize("pooling", ["cover", "all"])
def test_a_score_has_the_weights_of_the_student_s_streams(tmp_path: Path, pooling: str) -> None:
    """Photos that a second run adds are weighed like those of the first."""
    model = tmp_path / "student"
    meta = tiny_meta(local_share=0.7, top_k=1)
    checkpoint.write(model, meta, tiny_student().state(), labels=tiny_table())
    photos = [paint(tmp_path / "photos" / "one.png", "red", {(1, 2): "green", (3, 0): "white"})]
    with Library.create(tmp_path) as library:
        bring_in(library, tmp_path / "photos", model, m=16, pooling=pooling)
        photos += [paint(tmp_path / "photos" / "two.png", "blue", {(0, 0): "yellow"})]
        bring_in(library, tmp_path / "photos", model, m=16, pooling=pooling)
        found = {label: {x.path.name: x for x in library.search(label)} for label in LABELS}
    pixels = np.stack([to_pixels(decode(photo.read_bytes()).image, meta.image) for photo in photos])
    encoded = open_model(model).photo_encoder(device="cpu", dtype="float32").encode(pixels)
    for label, z in zip(LABELS, tiny_table().encode(LABELS), strict=True):
        for photo, cls, patches in zip(
            photos, encoded.global_vectors, encoded.patches, strict=True
        ):
            of_global = 0.3 * z @ cls / np.linalg.norm(cls)
            of_local = 0.7 * max(z @ patch / np.linalg.norm(patch) for patch in patches)
            hit = found[label][photo.name]
            parts = (hit.global_part, hit.local_part, hit.score)
            assert parts == pytest.approx((of_global, of_local, of_global + of_local), abs=0.005)


def test_a_small_red_patch_is_found_and_boxed(library: Library) -> None:
    hits = {hit.path.name: hit for hit in library.search("red")}
    spot = hits["spot.png"]
    assert spot.local_part == pytest.approx(0.5, abs=0.01)
    assert spot.global_part < 0.1
    box = spot.boxes[0]
    assert (box.left, box.top, box.right, box.bottom) == (0.5, 0.25, 0.75, 0.5)
    assert hits["blue.png"].score < 0.01


def test_copies_stand_behind_one_hit(library: Library) -> None:
    best = library.search("red", k=1)[0]
    both = {best.path.name, *(path.name for path in best.copies)}
    assert both == {"red.png", "copy of red.png"}


def test_terms_add_up_with_their_weights(library: Library) -> None:
    both = library.search("red + blue", k=1)[0]
    assert both.path.name in ("spot.png", "magenta.png")
    alone = {hit.path.name: hit.score for hit in library.search("red")}
    minus = {hit.path.name: hit.score for hit in library.search("2*red - blue")}
    blue = {hit.path.name: hit.score for hit in library.search("blue")}
    for name, score in minus.items():
        assert score == pytest.approx(2 * alone[name] - blue[name], abs=1e-5)


def test_a_photo_can_be_the_query(library: Library, home: Path, tmp_path: Path) -> None:
    inside = library.search([Term(photo=home / "photos" / "cyan.png")], k=1)
    assert names(inside) == ["cyan.png"]
    stranger = paint(tmp_path / "mine.png", (40, 250, 0))
    assert names(library.search([Term(photo=stranger)], k=1)) == ["green.png"]
    with pytest.raises(QueryError, match=r"nothing\.jpg"):
        library.search([Term(photo=tmp_path / "nothing.jpg")])


def test_filters_limit_hits_and_their_copies(library: Library) -> None:
    assert set(names(library.search("red", filters=Filters(path="trips/*")))) == {
        "spot.png",
        "wide.png",
    }
    hits = library.search("red", k=1, filters=Filters(path="*/copy of*"))
    assert (names(hits), hits[0].copies) == (["copy of red.png"], ())
    assert library.search("red", filters=Filters(path="nowhere/*")) == []
    assert names(library.search("green", filters=Filters(min_width=200))) == ["wide.png"]


def test_every_hit_is_ordered_and_complete(library: Library) -> None:
    hits = library.search("red", k=100)
    assert len(hits) == 8
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)


def test_an_unknown_label_names_near_ones(library: Library) -> None:
    with pytest.raises(UnknownLabel, match="orange"):
        library.search("ornage")


@pytest.mark.parametrize(
    "call",
    [
        lambda library: library.tag("red", top=1),
        lambda library: library.label_vectors("red"),
        lambda library: library.score([], "red"),
    ],
)
def test_one_text_in_place_of_labels_is_refused(
    library: Library, call: Callable[[Library], object]
) -> None:
    with pytest.raises(QueryError, match=r'not a list of labels\. Write \["red"\]'):
        call(library)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda library: library.label_vectors([]), "name at least one"),
        (lambda library: library.photos(state="lost"), "indexed, failed, missing"),
        (lambda library: library.tags(source="me"), "auto, human, imported"),
        (lambda library: library.tag(["red"], threshold=math.nan), "is not a number"),
    ],
)
def test_arguments_without_a_meaning_are_refused(
    library: Library, call: Callable[[Library], object], message: str
) -> None:
    with pytest.raises(MktError, match=message):
        call(library)


def test_one_photo_needs_no_list(home: Path) -> None:
    with Library.open(home) as library:
        photo = next(iter(library)).path
        assert library.add_tag(str(photo), "mine") == 1
        assert library.remove_tag(photo, "mine") == 1
        assert list(library.score(photo, ["red"])) == [photo]


@pytest.mark.parametrize("k", [0, -3])
def test_asking_for_no_photo_is_refused(library: Library, k: int) -> None:
    with pytest.raises(QueryError, match="at least 1"):
        library.search("red", k=k)


def test_walking_a_library(library: Library) -> None:
    assert len(library) == 9
    facts = {photo.path.name: photo.facts for photo in library}
    assert (facts["wide.png"].width, facts["wide.png"].height) == (256, 128)
    assert library.verify() == []
    status = library.status()
    assert (status.photos, status.duplicates, status.writer) == ({"indexed": 9}, 1, None)
    assert status.encoding is not None
    assert [root.path.name for root in status.roots] == ["photos"]


def test_the_wrong_checkpoint_is_refused_with_the_way_out(home: Path, tmp_path: Path) -> None:
    other = tiny_checkpoint(tmp_path / "other")
    with (
        Library.open(home, model=str(other)) as library,
        pytest.raises(CheckpointMismatch, match="--rebuild"),
    ):
        library.search("red")


def test_an_empty_library_says_what_to_do(tmp_path: Path) -> None:
    with (
        Library.create(tmp_path) as library,
        pytest.raises(LibraryNotFound, match="mkt index"),
    ):
        library.search("red")


def tagged(library: Library, **wanted: object) -> set[tuple[str, str]]:
    return {(tag.path.name, tag.label) for tag in library.tags(**wanted)}  # type: ignore[arg-type]


def test_a_vocabulary_is_put_on_every_photo_and_taken_back(home: Path) -> None:
    with Library.open(home) as library:
        trial = library.tag(["red", "blue"], top=1, dry_run=True)
        assert (trial.run, trial.added, tagged(library)) == (None, 9, set())
        done = library.tag(["red", "blue"], top=1)
        assert (done.photos, done.added, done.removed, done.kept) == (9, 9, 0, 0)
        assert ("copy of red.png", "red") in tagged(library)
        assert ("blue.png", "blue") in tagged(library)
        library.add_tag([home / "photos" / "cyan.png"], "my label")
        strict = library.tag(["red", "blue"], threshold=0.9)
        assert (strict.added, strict.removed, strict.kept) == (0, 5, 4)
        assert strict.by_label == {"red": 2, "blue": 2}
        assert names(library.search("red", filters=Filters(tag="my label"))) == ["cyan.png"]
        assert strict.run is not None and done.run is not None
        library.untag(strict.run)
        assert len(tagged(library, source="auto")) == 9
        library.untag(done.run)
        assert tagged(library) == {("cyan.png", "my label")}
        with pytest.raises(QueryError, match="taken back already"):
            library.untag(done.run)
        with pytest.raises(QueryError, match="tag runs"):
            library.untag(999)
        assert library.remove_tag([home / "photos" / "cyan.png"], "my label") == 1


def test_the_database_takes_other_writes_while_photos_are_scored(home: Path) -> None:
    with Library.open(home) as library, Library.open(home) as other:
        seen: list[str] = []

        def report_step(event: Progress) -> None:
            step = event.step
            seen.append(step)
            if step == tagging.SCORING:
                catalog = other.store.catalog  # the next line waits 30 s if the database is locked
                catalog.remember_label_vectors("another encoder", {"label": b"vector"})

        start = time.monotonic()
        report = library.tag(["red", "blue"], top=1, progress=report_step)
        assert time.monotonic() - start < 20
        assert set(seen) == {label_vectors.STEP, tagging.SCORING, tagging.WRITING}
        assert report.run is not None
        library.untag(report.run)


def test_tags_equal_the_scores_of_a_search(home: Path) -> None:
    with Library.open(home) as library:
        report = library.tag(["red", "green", "magenta"], threshold=-9.0)
        scores = {(tag.path.name, tag.label): tag.score for tag in library.tags()}
        for label in ("red", "green", "magenta"):
            for hit in library.search(label):
                assert scores[hit.path.name, label] == pytest.approx(hit.score, abs=1e-5)
        assert report.run is not None
        library.untag(report.run)


def test_labels_without_anything_to_stand_out_among_are_refused(library: Library) -> None:
    with pytest.raises(QueryError, match="--top"):
        library.tag(["red"])


@pytest.mark.parametrize(
    ("pooling", "precision"),
    [("cover", "int8"), ("cover", "int4"), ("topk", "int8"), ("topk", "int4"), ("all", None)],
)
def test_the_fast_search_equals_scoring_everything(
    home: Path, tmp_path: Path, pooling: str, precision: str | None
) -> None:
    """For every kind of local vector and every precision, over photos of noise."""
    rng = np.random.default_rng(0)
    photos = tmp_path / "photos"
    for number in range(40):
        patches = {
            (int(r), int(c)): tuple(map(int, rng.integers(0, 256, 3)))
            for r, c in rng.integers(0, 4, (6, 2))
        }
        paint(photos / f"{number:02}.png", tuple(map(int, rng.integers(0, 256, 3))), patches)
    with Library.create(tmp_path) as library:
        bring_in(
            library, photos, home / "colours", pooling=pooling, precision=precision, top_k=3, m=5
        )
        snapshot, whole = library.snapshot(), replace(DEFAULT, score_all_below_share=1.0)
        ids = snapshot.content_ids().tolist()
        for label in ("red", "green", "white", "orange"):
            z = library.label_vectors([label])
            query = WeightedQuery(z, np.ones(1, np.float32))
            truth = search(snapshot, query, 7, policy=whole)
            found = library.search(label, k=7)
            expected = [f"{ids.index(content_id):02}.png" for content_id in truth.content_ids]
            assert names(found) == expected
            assert [hit.score for hit in found] == pytest.approx(truth.scores.tolist(), abs=1e-6)


def test_an_open_library_sees_what_another_process_adds(home: Path, tmp_path: Path) -> None:
    paint(tmp_path / "photos" / "red.png", "red")
    with Library.create(tmp_path) as writer, Library.open(tmp_path) as reader:
        bring_in(writer, tmp_path / "photos", home / "colours")
        assert names(reader.search("red")) == ["red.png"]
        paint(tmp_path / "photos" / "orange.png", "orange")
        bring_in(writer, tmp_path / "photos", home / "colours")
        assert set(names(reader.search("red"))) == {"red.png", "orange.png"}
        (tmp_path / "photos" / "red.png").unlink()
        bring_in(writer, tmp_path / "photos", home / "colours")
        assert names(reader.search("red")) == ["orange.png"]
        assert reader.prune(dry_run=True).photos == 1
        assert reader.prune().photos == 1
        assert reader.verify() == []


def test_an_open_library_asks_the_new_model_after_a_rebuild(home: Path, tmp_path: Path) -> None:
    paint(tmp_path / "photos" / "red.png", "red")
    with Library.create(tmp_path) as writer, Library.open(tmp_path) as reader:
        bring_in(writer, tmp_path / "photos", home / "colours")
        assert names(reader.search("red")) == ["red.png"]
        other = tiny_checkpoint(tmp_path / "tiny")
        bring_in(writer, tmp_path / "photos", other, rebuild=True)
        assert reader.search("dog")[0].score == pytest.approx(writer.search("dog")[0].score)
        assert reader.model.name == str(other)


def test_an_open_library_follows_a_prune(home: Path, tmp_path: Path) -> None:
    """The database gives the id of a merged segment to the one in its place."""
    for colour in ("red", "green", "blue"):
        paint(tmp_path / "photos" / f"{colour}.png", colour)
    with Library.create(tmp_path) as writer, Library.open(tmp_path) as reader:
        bring_in(writer, tmp_path / "photos", home / "colours")
        assert names(reader.search("green", k=1)) == ["green.png"]
        (tmp_path / "photos" / "blue.png").unlink()  # the first row of the segment
        bring_in(writer, tmp_path / "photos", home / "colours")
        writer.prune()
        assert names(reader.search("green", k=1)) == ["green.png"]
        assert names(reader.search("red", k=1)) == ["red.png"]


def test_a_tag_run_that_is_stopped_behind_its_commit_is_done(home: Path, tmp_path: Path) -> None:
    paint(tmp_path / "photos" / "red.png", "red")
    with Library.create(tmp_path) as library:
        bring_in(library, tmp_path / "photos", home / "colours")
        first, second = library.tag(["red"], top=1).run, library.tag(["red"], top=1).run
        commits: list[Session] = []

        def stop(session: Session) -> None:
            commits.append(session)
            if len(commits) == 3:  # behind those that clear up and that begin the run
                raise KeyboardInterrupt

        event.listen(Session, "after_commit", stop)
        try:
            with pytest.raises(KeyboardInterrupt):
                library.tag(["red"], top=1)
        finally:
            event.remove(Session, "after_commit", stop)
        assert [run.outcome for run in library.runs() if run.kind == "tag"] == ["done"] * 3
        assert first is not None and second is not None
        library.untag(second)
        assert [tag.run for tag in library.tags()] == [second + 1]


def test_threads_search_one_library_while_another_process_writes(
    home: Path, tmp_path: Path
) -> None:
    shutil.copytree(home / ".mkt", tmp_path / ".mkt")
    writer = Store.open(tmp_path / ".mkt")
    stop = threading.Event()
    wrong: list[str] = []
    answers = [0] * 3

    def ask(library: Library, which: int) -> None:
        colour = ("green", "blue", "yellow")[which]
        while not stop.is_set():
            try:
                best, *others = library.search(colour, k=3)
                names = [best.path.name, *(hit.path.name for hit in others)]
                # a photo that goes between the search and the look at its row is left out
                if names[0] != f"{colour}.png" or len(set(names)) != len(names):
                    wrong.append(f"{colour}: {names}")
            except Exception as error:
                wrong.append(repr(error))
            answers[which] += 1

    with Library.open(tmp_path) as library:
        gone = [library.photo(home / "photos" / name) for name in ("cyan.png", "magenta.png")]
        threads = [threading.Thread(target=ask, args=(library, which)) for which in range(3)]
        for thread in threads:
            thread.start()
        try:
            for _ in range(8):
                with writer.writing("test"):
                    writer.catalog.mark_missing([photo.id for photo in gone])
                    location = writer.catalog.locate(home / "photos")
                    back = [(p.id, PhotoFile(p.root, p.relative, p.path, 1, 1)) for p in gone]
                    writer.catalog.record_scan(location, [], back)
                    stored = writer.active
                    assert stored is not None
                    compact(writer, stored, CompactionPolicy(min_segments=1))
        finally:
            stop.set()
            for thread in threads:
                thread.join()
    writer.close()
    assert wrong == []
    assert min(answers) > 0


def test_a_closed_library_says_so_whatever_is_asked_of_it(home: Path) -> None:
    library = Library.open(home)
    library.search("red")
    library.close()
    library.close()
    calls: list[Callable[[], object]] = [
        lambda: library.search("red"),
        lambda: len(library),
        lambda: list(library),
        lambda: library.model,
        lambda: library.label_vectors(["red"]),
        library.snapshot,
        library.status,
        lambda: library.tag(["red"], top=1),
        lambda: library.add_tag(home / "photos" / "red.png", "mine"),
    ]
    for call in calls:
        with pytest.raises(StoreError, match="The library was closed"):
            call()
    with Library.open(home) as again:
        assert again.search("red", k=1)


def test_a_photo_is_named_by_its_path_or_its_id(own_library: Path) -> None:
    path = own_library / "photos" / "red.png"
    with Library.open(own_library) as library:
        record = library.photo(path)
        assert library.photo(record.id) == record
        assert library.add_tag([record.id, path], "ball") == 1
        assert [tag.label for tag in library.tags(photo=record.id)] == ["ball"]
        assert [copy.path.name for copy in library.copies(path)] == ["copy.png"]
        with pytest.raises(PhotoNotFound, match="There is no photo 99999 in the library"):
            library.photo(99_999)


def test_photos_are_listed_page_by_page(library: Library) -> None:
    first = library.photos_after(count=5)
    rest = library.photos_after(first[-1].id, count=5)
    assert [p.id for p in (*first, *rest)] == sorted(p.id for p in library.photos())
    assert library.photos_after(state="failed") == []
    with pytest.raises(QueryError, match='no state "odd"'):
        library.photos_after(state="odd")
