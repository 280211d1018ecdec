"""MKT search: find and tag photos by any label, including labels the model was never trained on.

from mkt_search import Library

with Library.open("Pictures") as library:
    for hit in library.search("dog + beach", k=10):
        print(hit.score, hit.path)

Every public name is importable from here. They are loaded when first used, so importing the package
costs nothing.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mkt_search.errors import (
        CalibrationError,
        CheckpointMismatch,
        ConfigError,
        DatasetError,
        EvaluationError,
        LibraryDamaged,
        LibraryLocked,
        LibraryNotFound,
        MktError,
        ModelError,
        PhotoError,
        QueryError,
        SchemaOutdated,
        StoreError,
        TrainingError,
        UnknownLabel,
    )
    from mkt_search.evaluation.ann_recall import RecallReport
    from mkt_search.evaluation.calibration_report import CalibrationReport
    from mkt_search.evaluation.evaluate import evaluate
    from mkt_search.evaluation.report import Report
    from mkt_search.library import Library
    from mkt_search.models.build import Model, open_model
    from mkt_search.models.vocabulary import read_vocabulary
    from mkt_search.progress import Progress, ProgressCallback, no_progress
    from mkt_search.search.plan import Plan
    from mkt_search.search.score_photo import LabelScore, score_photo
    from mkt_search.search.search import Explanation
    from mkt_search.settings.config import Config
    from mkt_search.settings.config import load as load_config
    from mkt_search.store.checks import Problem
    from mkt_search.store.interfaces import Snapshot
    from mkt_search.store.optimize import Optimized
    from mkt_search.store.records import (
        Evaluation,
        PhotoRecord,
        PruneReport,
        RunInfo,
        TagReport,
    )
    from mkt_search.store.status import Status
    from mkt_search.types import (
        Box,
        Encoding,
        Feedback,
        Filters,
        Hit,
        Judgement,
        LeftOut,
        PhotoFacts,
        Refusal,
        RepairSummary,
        Summary,
        Tag,
        Term,
    )

__version__ = "0.1.0"

__all__ = [
    "Box",
    "CalibrationError",
    "CalibrationReport",
    "CheckpointMismatch",
    "Config",
    "ConfigError",
    "DatasetError",
    "Encoding",
    "Evaluation",
    "EvaluationError",
    "Explanation",
    "Feedback",
    "Filters",
    "Hit",
    "Judgement",
    "LabelScore",
    "LeftOut",
    "Library",
    "LibraryDamaged",
    "LibraryLocked",
    "LibraryNotFound",
    "MktError",
    "Model",
    "ModelError",
    "Optimized",
    "PhotoError",
    "PhotoFacts",
    "PhotoRecord",
    "Plan",
    "Problem",
    "Progress",
    "ProgressCallback",
    "PruneReport",
    "QueryError",
    "RecallReport",
    "Refusal",
    "RepairSummary",
    "Report",
    "RunInfo",
    "SchemaOutdated",
    "Snapshot",
    "Status",
    "StoreError",
    "Summary",
    "Tag",
    "TagReport",
    "Term",
    "TrainingError",
    "UnknownLabel",
    "evaluate",
    "load_config",
    "no_progress",
    "open_model",
    "read_vocabulary",
    "score_photo",
]

_NAMES_BY_MODULE = {
    "errors": (
        *("CheckpointMismatch", "ConfigError", "DatasetError", "EvaluationError", "LibraryDamaged"),
        *("CalibrationError",),
        *("LibraryLocked", "LibraryNotFound", "MktError", "ModelError", "PhotoError", "QueryError"),
        *("SchemaOutdated", "StoreError", "TrainingError", "UnknownLabel"),
    ),
    "evaluation.ann_recall": ("RecallReport",),
    "evaluation.calibration_report": ("CalibrationReport",),
    "evaluation.evaluate": ("evaluate",),
    "evaluation.report": ("Report",),
    "library": ("Library",),
    "models.build": ("Model", "open_model"),
    "progress": ("Progress", "ProgressCallback", "no_progress"),
    "search.plan": ("Plan",),
    "search.score_photo": ("LabelScore", "score_photo"),
    "search.search": ("Explanation",),
    "settings.config": ("Config", "load"),
    "store.checks": ("Problem",),
    "store.interfaces": ("Snapshot",),
    "store.optimize": ("Optimized",),
    "store.records": ("Evaluation", "PhotoRecord", "PruneReport", "RunInfo", "TagReport"),
    "store.status": ("Status",),
    "models.vocabulary": ("read_vocabulary",),
    "types": (
        *("Box", "Encoding", "Feedback", "Filters", "Hit", "Judgement", "LeftOut", "PhotoFacts"),
        *("Refusal",),
        *("RepairSummary", "Summary", "Tag", "Term"),
    ),
}
_PUBLIC_NAMES = {"load": "load_config"}
_PLACES = {
    _PUBLIC_NAMES.get(name, name): (f"mkt_search.{module}", name)
    for module, names in _NAMES_BY_MODULE.items()
    for name in names
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, attribute = _PLACES[name]
    globals()[name] = value = getattr(importlib.import_module(module), attribute)
    return value


def __dir__() -> list[str]:
    """Return the public names."""
    return [*__all__, "__version__"]
