"""The methods of `Library` for a review: proposed tags, decisions, and the way back."""

from collections.abc import Sequence
from typing import get_args

from mkt_search.arguments import refuse_unknown
from mkt_search.library_tags import LibraryTags
from mkt_search.store.records import Choice, Decision, DecisionBatch, Proposal, ReviewQueue


class LibraryReview(LibraryTags):
    """The review of a library. `Library` inherits these methods."""

    def review_queues(self) -> list[ReviewQueue]:
        """Return what there is to review, by label and run, and what was decided."""
        return self.store.catalog.review_queues()

    def review_photos(
        self,
        label: str,
        *,
        run: int | None = None,
        after: tuple[float, int] | None = None,
        count: int = 50,
    ) -> list[Proposal]:
        """Return photos that runs gave a label and that no person has decided, best first.

        Of photos with the same bytes there is one: they are decided together.

        Args:
            label: the label; a synonym of `labels.toml` is its label.
            run: only what this run proposes.
            after: score and photo of the last one of the page before.
            count: how many at most.

        Raises:
            QueryError: the label is empty.
        """
        name = self.label_name(label)
        return self.store.catalog.proposals(name, run=run, after=after, count=count)

    def decide(self, label: str, decisions: Sequence[Decision]) -> tuple[int | None, int]:
        """Accept or reject a label on pictures: as `add_tag` and `remove_tag`, but undoable.

        Everything is committed when this returns. Of several decisions on a picture, now or later,
        the last counts. Photos that the library lost are left out.

        Returns:
            The id for `undo_decision`, None if no decision counts, and how many pictures changed.

        Raises:
            QueryError: the label is empty, or a verdict is neither accept nor reject.
            LibraryLocked, StoreError.
        """
        name = self.label_name(label)
        for decision in decisions:
            refuse_unknown("verdict", decision.verdict, get_args(Choice))
        with self.store.writing("mkt serve"):
            return self.store.catalog.decide(name, decisions)

    def undo_decision(self, decision: int) -> int:
        """Put back what `decide` replaced; return how many pictures changed.

        That is every word of a person, and every tag of a run with its score, p and run. A picture
        of which a person has said something else since is left alone, and one that was edited since
        keeps under its new bytes what was decided. Undoing twice changes nothing.

        Raises:
            QueryError: there is no such decision.
            LibraryLocked, StoreError.
        """
        with self.store.writing("mkt serve"):
            return self.store.catalog.undo_decisions(decision)

    def last_decision(self) -> DecisionBatch | None:
        """Return what `undo_decision` would best take back now, None for nothing."""
        return self.store.catalog.last_decisions()
