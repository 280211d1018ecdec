"""The anchor: the score of an anchored vector is a sum, and a stranger's anchor is checked."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional

from mkt_search.errors import ModelError
from mkt_search.models import checkpoint
from mkt_search.models.anchor import (
    TOP,
    Anchor,
    class_label,
    class_vectors,
    imagenet_names,
    read_class_names,
    read_classifier,
)
from mkt_search.models.build import open_model
from mkt_search.models.label_table import LabelTable
from mkt_search.models.student import StudentVectors
from tests.tiny import colour_student, colour_table, tiny_checkpoint, tiny_meta, tiny_student

CERTAIN = 100.0  # a logit so far above the others that its class has probability 1


def two_classes(**changes: Any) -> Anchor:
    """An anchor on 2 channels in 3 dimensions: each channel is a class, each class an axis."""
    parts = {
        "weight": CERTAIN * torch.eye(2),
        "bias": torch.zeros(2),
        "vectors": torch.eye(2, 3),
        "center": torch.tensor([0.5, 0.5, 0.0]),
        "patch_center": torch.tensor([0.0, 0.0, 0.25]),
    }
    return Anchor(**{**parts, **changes})


def test_the_part_of_a_certain_class_is_its_vector_less_the_center() -> None:
    part = two_classes()(torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]))
    expected = torch.tensor([[0.5, -0.5, 0.0], [-0.5, 0.5, 0.0], [0.0, 0.0, 0.0]])
    torch.testing.assert_close(part, expected)


def test_the_mean_is_over_the_most_probable_classes_alone() -> None:
    logits = torch.arange(TOP + 5, dtype=torch.float32)
    vectors = torch.eye(TOP + 5)
    none = torch.zeros(TOP + 5)
    part = Anchor(torch.zeros(TOP + 5, 1), logits, vectors, none)(torch.zeros(1, 1))[0]
    best = logits[5:].exp()
    torch.testing.assert_close(part[5:], best / best.sum())
    assert not part[:5].any()


def test_an_anchored_vector_is_the_students_direction_and_the_part() -> None:
    own = StudentVectors(torch.tensor([[0.0, 0.0, 4.0]]), torch.tensor([[[0.0, 3.0, 0.0]]]))
    cls, patches = torch.tensor([[1.0, 0.0]]), torch.tensor([[[0.0, 1.0]]])
    both = two_classes().add(own, cls, patches)
    torch.testing.assert_close(both.global_vectors, torch.tensor([[0.5, -0.5, 1.0]]))
    torch.testing.assert_close(both.patches, torch.tensor([[[0.0, 2.0, -0.25]]]))
    alone = two_classes(patch_center=None).add(own, cls, patches)
    assert torch.equal(alone.patches, own.patches)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.01, 10))
def test_the_score_of_an_anchored_vector_is_the_weighted_sum_of_two_scores(
    seed: int, weight: float
) -> None:
    rng = torch.Generator().manual_seed(seed)

    def drawn(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=rng)

    anchor = Anchor(drawn(12, 4), drawn(12), drawn(12, 6), drawn(6), drawn(6))
    own = StudentVectors(drawn(3, 6), drawn(3, 5, 6))
    cls, patches, labels = drawn(3, 4), drawn(3, 5, 4), drawn(7, 6)
    found = anchor.scaled(weight).add(own, cls, patches)
    student = functional.normalize(own.global_vectors, dim=-1) @ labels.T
    torch.testing.assert_close(
        found.global_vectors @ labels.T,
        student + weight * (anchor(cls) @ labels.T),
        rtol=1e-4,
        atol=1e-4,
    )


def test_a_checkpoint_gives_the_anchored_vectors_and_has_a_fingerprint_of_its_own(
    tmp_path: Path,
) -> None:
    student, table = colour_student(), colour_table()
    meta = tiny_meta(
        options={
            **{"img_size": 32, "patch_size": 8, "embed_dim": 3, "depth": 0, "num_heads": 1},
            **{"class_token": False, "pos_embed": "none", "global_pool": "avg"},
            "final_norm": False,
        },
        dim=8,
        top_k=1,
        heads="shared",
    )
    anchor = Anchor(CERTAIN * torch.eye(3), torch.zeros(3), torch.eye(3, 8), torch.zeros(8))
    plain = checkpoint.write(tmp_path / "plain", meta, student.state(), labels=table)
    anchored = checkpoint.write(
        tmp_path / "anchored", meta, student.state(), labels=table, anchor=anchor.state_dict()
    )
    assert (plain.format, anchored.format) == (1, 2)
    assert checkpoint.fingerprint(tmp_path / "plain") != checkpoint.fingerprint(
        tmp_path / "anchored"
    )
    pixels = np.full((1, 32, 32, 3), (255, 128, 128), np.uint8)
    found = [
        open_model(tmp_path / name).photo_encoder(device="cpu", dtype="float32").encode(pixels)
        for name in ("plain", "anchored")
    ]
    own = found[0].global_vectors / np.linalg.norm(found[0].global_vectors)
    np.testing.assert_allclose(found[1].global_vectors, own + np.eye(1, 8), atol=1e-5)
    np.testing.assert_array_equal(found[1].patches, found[0].patches)


def test_the_anchor_changes_neither_the_state_nor_the_plain_heads_of_a_student() -> None:
    student, own = tiny_student(), tiny_student()
    student.anchor = Anchor(torch.ones(2, 16), torch.ones(2), torch.ones(2, 16), torch.ones(16))
    assert student.state().keys() == own.state().keys()
    cls, patches = torch.randn(2, 16), torch.randn(2, 5, 16)
    for found, expected in zip(
        student.project(cls, patches), own.project(cls, patches), strict=True
    ):
        assert torch.equal(found, expected)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"bias": torch.zeros(3)}, "its bias has the shape"),
        ({"vectors": torch.eye(3, 16)}, "its vectors has the shape"),
        ({"center": torch.zeros(3)}, "its center has the shape"),
        ({"weight": torch.zeros(2, 16, 1)}, "1 to 65,536 classes"),
        ({"weight": torch.zeros(0, 16)}, "1 to 65,536 classes"),
        ({"bias": torch.tensor([0, float("nan")])}, "not finite"),
        ({"weight": torch.ones(2, 9)}, "a backbone of 9 channels"),
        ({"wings": torch.zeros(2)}, "it holds"),
    ],
)
def test_an_anchor_from_a_stranger_is_checked(
    tmp_path: Path, change: dict[str, Tensor], message: str
) -> None:
    parts = {
        "weight": torch.ones(2, 16),
        "bias": torch.zeros(2),
        "vectors": torch.ones(2, 16),
        "center": torch.zeros(16),
    }
    state = tiny_student().state()
    checkpoint.write(tmp_path / "c", tiny_meta(), state, anchor={**parts, **change})
    with pytest.raises(ModelError, match=message):
        open_model(tmp_path / "c").student()


def table_of(*names: str) -> LabelTable:
    return LabelTable(names, np.eye(len(names), 8, dtype=np.float32))


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("zebra", "zebra"),
        ("tabby, tabby cat", "tabby"),
        ("maltese dog, maltese terrier", "dog"),
        ("Polar Bear", "Polar Bear"),
        ("catamaran", None),
        ("", None),
    ],
)
def test_a_class_name_reaches_a_table_by_exact_word_then_by_head_noun(
    name: str, label: str | None
) -> None:
    table = table_of("zebra", "tabby", "cat", "dog", "terrier", "polar bear", "bear")
    assert class_label(name, table.__contains__) == label


def test_class_names_that_no_table_knows_are_left_out_and_refused_if_all_are() -> None:
    table = table_of("dog", "cat")
    names = ("tench", "maltese dog", "cat")
    rows, vectors = class_vectors(names, table, knows=table.__contains__)
    assert rows.tolist() == [1, 2]
    np.testing.assert_array_equal(vectors, table.encode(["dog", "cat"]))
    with pytest.raises(ModelError, match="none of the 1 class names, such as tench"):
        class_vectors(("tench",), table, knows=table.__contains__)


def test_imagenet_has_names_for_its_usual_counts_of_classes() -> None:
    thousand = imagenet_names(1_000)
    assert thousand is not None and thousand[0].startswith("tench")
    assert imagenet_names(1_001) == ("background", *thousand)
    assert imagenet_names(7) is None


def test_the_classifier_of_a_file_must_fit_backbone_and_names(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    save_file({"stem.weight": torch.zeros(2, 2)}, path)
    assert read_classifier(path, None, channels=4) is None
    head = {"classifier.weight": torch.zeros(2, 4).half(), "classifier.bias": torch.zeros(2).half()}
    save_file(head, path)
    found = read_classifier(path, ("a", "b"), channels=4)
    assert found is not None and found.weight.dtype == torch.float32
    with pytest.raises(ModelError, match="of another backbone: it reads 4 channels"):
        read_classifier(path, ("a", "b"), channels=5)
    with pytest.raises(ModelError, match="2 classes, but there are 3 class names"):
        read_classifier(path, ("a", "b", "c"), channels=4)
    with pytest.raises(ModelError, match="not those of ImageNet; give a file"):
        read_classifier(path, None, channels=4)


def test_class_names_are_read_a_line_each(tmp_path: Path) -> None:
    path = tmp_path / "names.txt"
    path.write_text("tench, Tinca tinca\ngoldfish\n")
    assert read_class_names(path) == ("tench, Tinca tinca", "goldfish")
    path.write_text("\n")
    with pytest.raises(ModelError, match="names no classes"):
        read_class_names(path)


def test_a_checkpoint_without_anchor_opens_as_before(tmp_path: Path) -> None:
    model = open_model(tiny_checkpoint(tmp_path / "c"))
    assert getattr(model.student(), "anchor", "none") is None
