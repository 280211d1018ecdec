"""How the weight of an anchor was chosen, as a checkpoint records it. Standard library only."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from mkt_search.types import check_whole, is_finite

MOST_POINTS = 100


@dataclass(frozen=True)
class Point:
    """A weight or share, and mean AP in held-out photos of labels held out and of trained ones."""

    weight: float
    held_out: float
    trained: float

    def __post_init__(self) -> None:
        for value in (self.weight, self.held_out, self.trained):
            if not is_finite(value) or not 0 <= value <= 1:
                raise ValueError(
                    "a point of an anchor's or a stream's curve is not three numbers from 0 to 1"
                )


@dataclass(frozen=True)
class AnchorChoice:
    """The weight of an anchor and the curve that it was chosen on.

    Args:
        weight: share of the anchor in the vectors, or of the teacher's weights, 0 to below 1.
        classes: of the classifier; 0 for an anchor of the teacher's weights.
        covered: classes whose names have a label vector.
        curve: the first point has weight 0; empty if the weight was given.

    Raises:
        ValueError: a value has another type or is out of range.
    """

    weight: float
    classes: int = 0
    covered: int = 0
    curve: tuple[Point, ...] = ()

    def __post_init__(self) -> None:
        if not is_finite(self.weight) or not 0 <= self.weight < 1:
            raise ValueError("the weight of the anchor must be from 0 to below 1")
        check_whole("classes of the anchor", self.classes, least=0, most=1 << 24)
        check_whole("covered classes of the anchor", self.covered, least=0, most=self.classes)
        if len(self.curve) > MOST_POINTS:
            raise ValueError("the anchor's curve is too long")

    @classmethod
    def of(cls, trained: Mapping[str, Any]) -> "AnchorChoice | None":
        """Return the choice in the provenance of a checkpoint, if there is one.

        Raises:
            ValueError: it is malformed.
        """
        found = trained.get("anchor")
        if found is None:
            return None
        try:
            curve = tuple(Point(**point) for point in found["curve"])
            return cls(found["weight"], found["classes"], found["covered"], curve)
        except (TypeError, KeyError) as error:
            raise ValueError(f"the anchor of the training is malformed: {error}") from None

    def provenance(self) -> dict[str, Any]:
        """Return what `of` reads, as plain values."""
        return {**asdict(self), "curve": [asdict(point) for point in self.curve]}

    def sentences(self) -> list[str]:
        """Return the choice and its curve in words."""
        covered = f"{self.covered:,} of {self.classes:,} class names have a label vector"
        what = covered if self.classes else "that is the teacher's share of the weights"
        found = [f"anchor of weight {self.weight:g}; {what}"]
        if self.curve:
            points = ", ".join(
                f"{p.weight:g}: {p.held_out:.3f} / {p.trained:.3f}" for p in self.curve
            )
            found.append(f"mAP of labels held out / trained on, by weight of the anchor: {points}")
        return found
