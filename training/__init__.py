"""Train a student on labeled photos, and tune its prompt."""

from training.api import TrainReport, train

__all__ = ["TrainReport", "train"]
