"""A program of a user, for `mypy --strict`: every public call with its types. It is never run."""

from collections.abc import Sequence
from pathlib import Path

from mkt_search import (
    Box,
    CheckpointMismatch,
    Evaluation,
    Explanation,
    Filters,
    Hit,
    LabelScore,
    Library,
    MktError,
    Model,
    PhotoRecord,
    Progress,
    RepairSummary,
    Report,
    RunInfo,
    Snapshot,
    Status,
    Summary,
    Tag,
    TagReport,
    Term,
    evaluate,
    load_config,
    open_model,
    read_vocabulary,
    score_photo,
)


def show(event: Progress) -> None:
    print(event.step, event.done / max(event.total, 1), event.failed, event.message)


def index(folder: Path) -> Summary:
    with Library.create(folder, config=load_config(folder)) as library:
        summary: Summary = library.index(model="ViT-B-16/openai", progress=show)
        summary = library.index([folder, "elsewhere"], rebuild=True, m=8, precision="int4")
        summary = library.index(retry=True, dry_run=True, device="cuda", pooling="all")
        repaired: RepairSummary = library.repair(progress=show)
        print(repaired.encoded, summary.reasons.get("empty file", 0) + 1)
        return summary


def search(library: Library) -> list[Path]:
    explanation = Explanation()
    terms = [Term(label="dog"), Term(photo=Path("a.jpg"), weight=-0.5)]
    hits: list[Hit] = library.search("dog + beach", k=5, explanation=explanation)
    hits += library.search(terms, filters=Filters(camera="Pinhole"), boxes=False, exact=True)
    boxes: Sequence[Box] = hits[0].boxes
    snapshot: Snapshot = library.snapshot()
    print(boxes[0].left, snapshot.facts.photos, library.label_vectors(["dog"]).shape)
    scores: dict[Path, list[LabelScore]] = library.score(["a.jpg"], ["dog"], fuse="none")
    print(scores[Path("a.jpg")][0].score)
    return [hit.path for hit in hits]


def tag(library: Library) -> Sequence[Tag]:
    report: TagReport = library.tag(read_vocabulary(Path("labels.txt")), top=3, progress=show)
    if report.run is not None:
        library.untag(report.run)
    added: int = library.add_tag(["a.jpg"], "mine") + library.remove_tag(["a.jpg"], "mine")
    print(added, library.export_tags("tags.csv", source="human"))
    return list(library.tags(label="mine", photo="a.jpg"))


def maintain(library: Library) -> None:
    status: Status = library.status()
    runs: list[RunInfo] = library.runs()
    photo: PhotoRecord = next(iter(library))
    print(status.photos["indexed"], runs[0].kind, photo.path.suffix, len(library))
    for problem in library.verify(progress=show):
        print(problem.where, problem.fix)
    built = library.optimize(progress=show)
    print(built.photos if built is not None else 0, library.prune(dry_run=True).bytes)
    library.move_root("old", Path("new"))
    library.migrate()


def measure(library: Library) -> Report:
    model: Model = open_model("demo")
    config = load_config(Path())
    report: Report = evaluate([model], config, only="all")
    report = library.evaluate([], stored=True, photos="photos", labels="labels.json")
    run: int = library.keep_evaluation(report)
    kept: list[Evaluation] = library.evaluations()
    print(run, kept[0].model, library.evaluate_ann(["dog"]).photos)
    print(score_photo(Path("a.jpg"), ["dog"], model)[0].label)
    return report


try:
    index(Path("Pictures"))
except CheckpointMismatch as problem:
    error: MktError = problem
    print(error)
