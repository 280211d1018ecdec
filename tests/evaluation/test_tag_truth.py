"""What tags say of photos: what is known, and what is not."""

from hypothesis import given, settings
from hypothesis import strategies as st

from mkt_search.evaluation.tag_truth import TagTruth

PARENTS = {"dog": ("animal",), "puppy": ("animal", "dog")}
LABELS = ["animal", "car", "dog", "puppy"]
Words = list[tuple[int, str, bool]]


def truth(words: Words) -> TagTruth:
    return TagTruth.of(words, lambda label: PARENTS.get(label.lower(), ()))


def known(words: Words, photo: int) -> dict[str, int]:
    found = truth(words)
    labels = [label for label in LABELS if label in found.labels]
    return dict(zip(labels, found.targets([photo], labels)[0].tolist(), strict=True))


def test_a_tagged_photo_shows_its_tags_and_no_other_label() -> None:
    assert known([(1, "dog", True), (2, "car", True)], 2) == {"animal": -1, "car": 1, "dog": -1}


def test_a_photo_shows_the_parents_of_its_tags() -> None:
    assert known([(1, "puppy", True)], 1) == {"animal": 1, "dog": 1, "puppy": 1}


def test_a_label_below_a_tag_is_open() -> None:
    words = [(1, "puppy", True), (2, "animal", True)]
    assert known(words, 2) == {"animal": 1, "dog": 0, "puppy": 0}


def test_of_a_photo_with_removed_labels_alone_these_are_known() -> None:
    words = [(1, "dog", True), (1, "car", True), (2, "car", False)]
    assert known(words, 2) == {"animal": 0, "car": -1, "dog": 0}
    assert truth(words).photos == [1, 2]


def test_spellings_of_a_label_are_one() -> None:
    words = [(1, "Dog", True), (2, "dog", False), (2, "CAR", True)]
    found = truth(words)
    assert found.labels == ["CAR", "Dog", "animal"]
    assert found.targets([1, 2], found.labels).tolist() == [[-1, 1, 1], [1, -1, -1]]


@settings(max_examples=50, deadline=None)
@given(
    st.dictionaries(
        st.tuples(st.integers(1, 4), st.sampled_from(LABELS)), st.booleans(), min_size=1
    )
)
def test_no_photo_is_negative_that_nobody_looked_at(said: dict[tuple[int, str], bool]) -> None:
    words = [(photo, label, is_set) for (photo, label), is_set in said.items()]
    found = truth(words)
    tagged = {photo for photo, _, is_set in words if is_set}
    targets = found.targets(range(1, 5), found.labels)
    for photo, row in zip(range(1, 5), targets, strict=True):
        for label, target in zip(found.labels, row, strict=True):
            if said.get((photo, label)):
                assert target == 1
            elif target < 0:
                assert photo in tagged or said.get((photo, label)) is False
