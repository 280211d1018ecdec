"""Train a student on labelled photos, and tune its prompt."""

from training.api import TrainReport, train

__all__ = ["TrainReport", "train"]
