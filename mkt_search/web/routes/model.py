"""The model of the library: what it is, and how good it was found to be."""

from typing import Any

from fastapi import APIRouter
from typing_extensions import TypedDict

from mkt_search.calibration.calibrator import Calibrator
from mkt_search.errors import LibraryNotFound, MktError
from mkt_search.json_forms.status import EncodingData, encoding_as_data
from mkt_search.store.records import Evaluation
from mkt_search.web.routes.status import QualityData, quality_as_data
from mkt_search.web.serving import Served

router = APIRouter(tags=["model"])


class CurvePoint(TypedDict):
    """A corner of the curve from the logit of a score to its probability."""

    logit: float
    p: float


class CalibratorData(TypedDict):
    """What gives a score its probability; `labels` is how many it was fitted on."""

    quality: QualityData
    curve: list[CurvePoint]
    present_from: float
    reference_photos: int
    labels: int
    made_from: str


class EvaluationData(TypedDict):
    """What one model reached in an evaluation; times are UTC."""

    model: str
    fingerprint: str
    dataset: str
    dataset_fingerprint: str
    protocol: str
    settings: dict[str, Any]
    results: dict[str, Any]
    created_at: str | None
    run: int | None


class ModelData(TypedDict):
    """The model; `problem` is why it or its calibrator cannot be used."""

    model: str | None
    encoding: EncodingData | None
    calibrator: CalibratorData | None
    problem: str | None
    evaluations: list[EvaluationData]


@router.get("/model")
def get_model(serving: Served) -> ModelData:
    """Return what the model is, its calibrator, and the evaluations that are kept."""
    library, problem, calibrator = serving.library, None, None
    status = library.status()
    try:
        calibrator = library.calibrator()
    except LibraryNotFound:  # no photos yet
        pass
    except MktError as error:
        problem = str(error)
    return {
        "model": status.model,
        "encoding": encoding_as_data(status.encoding) if status.encoding else None,
        "calibrator": _calibrator(calibrator) if calibrator else None,
        "problem": problem,
        "evaluations": [_evaluation(found) for found in library.evaluations()],
    }


def _calibrator(calibrator: Calibrator) -> CalibratorData:
    x, y = calibrator.curve.x.tolist(), calibrator.curve.y.tolist()
    return {
        "quality": quality_as_data(calibrator.quality),
        "curve": [{"logit": logit, "p": p} for logit, p in zip(x, y, strict=True)],
        "present_from": calibrator.present_from,
        "reference_photos": len(calibrator.reference),
        "labels": len(calibrator.labels),
        "made_from": calibrator.made_from,
    }


def _evaluation(found: Evaluation) -> EvaluationData:
    return {
        "model": found.model,
        "fingerprint": found.fingerprint,
        "dataset": found.dataset,
        "dataset_fingerprint": found.dataset_fingerprint,
        "protocol": found.protocol,
        "settings": found.settings,
        "results": found.results,
        "created_at": found.created_at.isoformat() + "Z" if found.created_at else None,
        "run": found.run,
    }
