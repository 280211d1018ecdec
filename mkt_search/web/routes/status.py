"""The state of the library."""

from dataclasses import asdict
from importlib.metadata import version

from fastapi import APIRouter
from typing_extensions import TypedDict

from mkt_search.calibration.quality import Quality
from mkt_search.errors import LibraryNotFound, MktError
from mkt_search.json_forms import status as status_as_json
from mkt_search.json_forms.status import StatusData
from mkt_search.web.serving import PACKAGE, Served

router = APIRouter(tags=["library"])


class ReachedData(TypedDict):
    """What came of asking for a precision, over labels that some photo shows."""

    precision: float | None
    worst: float | None
    recall: float
    answered: int


class QualityData(TypedDict):
    """How good probabilities are, on labels whose truth is known; `reached` by precision asked."""

    labels: int
    photos: int
    ece: float
    ece_likely: float | None
    brier_skill: float
    auroc: float | None
    absent_answered: float | None
    present_missed: float | None
    reached: dict[str, ReachedData]


class ServedStatusData(StatusData):
    """The state of a library and of its server; `problem` is why a search would fail now."""

    read_only: bool
    version: str
    calibrator: QualityData | None
    problem: str | None


@router.get("/status")
def get_status(serving: Served) -> ServedStatusData:
    """Return what the library holds, and how it is served."""
    library = serving.library
    problem, quality = None, None
    try:
        if (calibrator := library.calibrator()) is not None:
            quality = quality_as_data(calibrator.quality)
    except LibraryNotFound:  # no photos yet, which is no problem
        pass
    except MktError as error:
        problem = str(error)
    return {
        **status_as_json.as_data(library.status()),
        "read_only": serving.options.read_only,
        "version": version(PACKAGE),
        "calibrator": quality,
        "problem": problem,
    }


def quality_as_data(quality: Quality) -> QualityData:
    """Return the quality of probabilities as JSON values."""
    data: QualityData = {
        **asdict(quality),  # type: ignore[typeddict-item]
        "reached": {f"{asked:g}": asdict(found) for asked, found in quality.reached.items()},
    }
    return data
