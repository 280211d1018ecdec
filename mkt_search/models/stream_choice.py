"""How the weights of the two streams were chosen, as a checkpoint records it.

Standard library only.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from mkt_search.models.anchor_choice import MOST_POINTS, Point
from mkt_search.types import EQUAL_SHARES, is_finite

NEARLY = 0.995  # of the best mean, for a share nearer to 1/2 to be taken: less is chance


def check_local_share(share: object) -> None:
    """Raise ValueError unless a share lies between 0 and 1, both excluded."""
    if not isinstance(share, int | float) or not is_finite(share) or not 0 < share < 1:
        raise ValueError("the share of the local stream must lie between 0 and 1")


@dataclass(frozen=True)
class StreamChoice:
    """The share of the local stream and the curve that it was chosen on.

    Args:
        local_share: its weight in the score, between 0 and 1.
        curve: a point for each share that was tried; empty if the share was given.

    Raises:
        ValueError: a value has another type or is out of range.
    """

    local_share: float
    curve: tuple[Point, ...] = ()

    def __post_init__(self) -> None:
        check_local_share(self.local_share)
        if len(self.curve) > MOST_POINTS:
            raise ValueError("the curve of the streams is too long")

    @classmethod
    def of(cls, trained: Mapping[str, Any]) -> "StreamChoice | None":
        """Return the choice in the provenance of a checkpoint, if there is one.

        Raises:
            ValueError: it is malformed.
        """
        found = trained.get("streams")
        if found is None:
            return None
        try:
            return cls(found["local_share"], tuple(Point(**point) for point in found["curve"]))
        except (TypeError, KeyError) as error:
            raise ValueError(f"the streams of the training are malformed: {error}") from None

    @classmethod
    def best(cls, curve: Sequence[Point]) -> "StreamChoice":
        """Return the share nearest to 1/2 of those with nearly the best mean of both values."""
        enough = NEARLY * max(point.held_out + point.trained for point in curve)
        good = (point.weight for point in curve if point.held_out + point.trained >= enough)
        return cls(min(good, key=lambda share: (abs(share - EQUAL_SHARES), share)), tuple(curve))

    def provenance(self) -> dict[str, Any]:
        """Return what `of` reads, as plain values."""
        return {**asdict(self), "curve": [asdict(point) for point in self.curve]}

    def sentences(self) -> list[str]:
        """Return the choice and its curve in words."""
        found = [f"the local stream has a share of {self.local_share:g} in the score"]
        if self.curve:
            points = ", ".join(
                f"{p.weight:g}: {p.held_out:.3f} / {p.trained:.3f}" for p in self.curve
            )
            found.append(f"mAP of labels held out / trained on, by that share: {points}")
        return found
