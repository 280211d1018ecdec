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
    from indexer.shards.plan import ShardPlan
    from mkt_search.errors import (
        CalibrationError,
        CheckpointMismatch,
        ConfigError,
        DatasetError,
        EvaluationError,
        LibraryDamaged,
        LibraryLocked,
        LibraryNotFound,
        MapError,
        MktError,
        ModelError,
        PhotoError,
        PhotoNotFound,
        PlanError,
        QueryError,
        SchemaOutdated,
        StoreError,
        TrainingError,
        UnknownLabel,
        XmpError,
    )
    from mkt_search.evaluation.ann_recall import RecallReport
    from mkt_search.evaluation.calibration_report import CalibrationReport
    from mkt_search.evaluation.evaluate import evaluate
    from mkt_search.evaluation.report import Report
    from mkt_search.library import Library
    from mkt_search.library_shards import encode_shards, read_plan
    from mkt_search.models.build import Model, open_model
    from mkt_search.models.vocabulary import read_vocabulary
    from mkt_search.progress import Progress, ProgressCallback, no_progress
    from mkt_search.projection.colours import MapColours
    from mkt_search.projection.shown import MapCluster, PhotoMap
    from mkt_search.search.completion import LabelHint
    from mkt_search.search.plan import Plan
    from mkt_search.search.regions import Region
    from mkt_search.search.score_photo import LabelScore, score_photo
    from mkt_search.search.search import Explanation
    from mkt_search.settings.config import Config
    from mkt_search.settings.config import load as load_config
    from mkt_search.store.checks import Problem
    from mkt_search.store.interfaces import Snapshot
    from mkt_search.store.optimize import Optimized
    from mkt_search.store.records import (
        Decision,
        DecisionBatch,
        Evaluation,
        LabelCount,
        PhotoRecord,
        Proposal,
        PruneReport,
        ReviewQueue,
        RunInfo,
        TagReport,
    )
    from mkt_search.store.status import Status
    from mkt_search.store.timeline import Month, Timeline
    from mkt_search.types import (
        Box,
        EncodeReport,
        Encoding,
        Feedback,
        Filters,
        Hit,
        ImportReport,
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
    "Decision",
    "DecisionBatch",
    "EncodeReport",
    "Encoding",
    "Evaluation",
    "EvaluationError",
    "Explanation",
    "Feedback",
    "Filters",
    "Hit",
    "ImportReport",
    "Judgement",
    "LabelCount",
    "LabelHint",
    "LabelScore",
    "LeftOut",
    "Library",
    "LibraryDamaged",
    "LibraryLocked",
    "LibraryNotFound",
    "MapCluster",
    "MapColours",
    "MapError",
    "MktError",
    "Model",
    "ModelError",
    "Month",
    "Optimized",
    "PhotoError",
    "PhotoFacts",
    "PhotoMap",
    "PhotoNotFound",
    "PhotoRecord",
    "Plan",
    "PlanError",
    "Problem",
    "Progress",
    "ProgressCallback",
    "Proposal",
    "PruneReport",
    "QueryError",
    "RecallReport",
    "Refusal",
    "Region",
    "RepairSummary",
    "Report",
    "ReviewQueue",
    "RunInfo",
    "SchemaOutdated",
    "ShardPlan",
    "Snapshot",
    "Status",
    "StoreError",
    "Summary",
    "Tag",
    "TagReport",
    "Term",
    "Timeline",
    "TrainingError",
    "UnknownLabel",
    "XmpError",
    "encode_shards",
    "evaluate",
    "load_config",
    "no_progress",
    "open_model",
    "read_plan",
    "read_vocabulary",
    "score_photo",
]

_NAMES_BY_MODULE = {
    "errors": (
        *("CheckpointMismatch", "ConfigError", "DatasetError", "EvaluationError", "LibraryDamaged"),
        *("CalibrationError", "PhotoNotFound", "PlanError", "XmpError"),
        *("LibraryLocked", "LibraryNotFound", "MktError", "ModelError", "PhotoError", "QueryError"),
        *("MapError", "SchemaOutdated", "StoreError", "TrainingError", "UnknownLabel"),
    ),
    "evaluation.ann_recall": ("RecallReport",),
    "evaluation.calibration_report": ("CalibrationReport",),
    "evaluation.evaluate": ("evaluate",),
    "evaluation.report": ("Report",),
    "library": ("Library",),
    "library_shards": ("encode_shards", "read_plan"),
    "models.build": ("Model", "open_model"),
    "progress": ("Progress", "ProgressCallback", "no_progress"),
    "search.completion": ("LabelHint",),
    "projection.colours": ("MapColours",),
    "projection.shown": ("MapCluster", "PhotoMap"),
    "search.plan": ("Plan",),
    "search.regions": ("Region",),
    "search.score_photo": ("LabelScore", "score_photo"),
    "search.search": ("Explanation",),
    "settings.config": ("Config", "load"),
    "store.checks": ("Problem",),
    "store.interfaces": ("Snapshot",),
    "store.optimize": ("Optimized",),
    "store.records": (
        *("Decision", "DecisionBatch", "Evaluation", "LabelCount", "PhotoRecord", "Proposal"),
        *("PruneReport", "ReviewQueue", "RunInfo", "TagReport"),
    ),
    "store.status": ("Status",),
    "store.timeline": ("Month", "Timeline"),
    "models.vocabulary": ("read_vocabulary",),
    "types": (
        *("Box", "Encoding", "Feedback", "Filters", "Hit", "Judgement", "LeftOut", "PhotoFacts"),
        *("Refusal", "EncodeReport", "ImportReport"),
        *("RepairSummary", "Summary", "Tag", "Term"),
    ),
    ".indexer.shards.plan": ("ShardPlan",),
}
_PUBLIC_NAMES = {"load": "load_config"}
_PLACES = {
    _PUBLIC_NAMES.get(name, name): (
        module[1:] if module.startswith(".") else f"mkt_search.{module}",
        name,
    )
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
