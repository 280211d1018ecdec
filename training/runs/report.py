"""A training run in words: a line for each epoch, and tables of what was reached."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from training.runs.history import Epoch

PHOTOS_BETWEEN_LINES = 1_000
STREAMS = ("global", "local", "fused")


def epoch_line(epoch: "Epoch", *, of: int) -> str:
    """Return what is said after an epoch: losses, then mAP on the validation photos."""
    total, *parts = epoch.losses.items()
    named = ", ".join(f"{name} {value:.4f}" for name, value in parts)
    words = [
        f"epoch {epoch.number}/{of}",
        f"loss {total[1]:.4f}" + (f" ({named})" if named else ""),
    ]
    maps = epoch.validation.get("cosine", {})
    if "unseen" in maps:
        streams = maps["unseen"]
        words.append(
            f"ZSL mAP {streams['fused']:.4f} (global {streams['global']:.4f},"
            f" local {streams['local']:.4f})"
        )
    if "all" in maps:
        words.append(f"GZSL mAP {maps['all']['fused']:.4f}")
    return "  ".join([*words, f"lr {epoch.rate:.1e}", f"{epoch.seconds:.1f} s"])


def photos_line(done: int, total: int) -> str:
    """Return how many photos have features, or nothing where the last line is not long ago."""
    step = PHOTOS_BETWEEN_LINES
    is_due = done == total or done // step > max(done - 32, 0) // step
    return f"features of {done:,} of {total:,} photos" if is_due else ""


def results_table(results: Mapping[str, Any]) -> str:
    """Return the results on the test photos as a table; those of stage 2 beside what was before."""
    if "before" in results:
        return _before_and_after(results["before"], results["test"])
    found = results["test"]
    lines = [f"mAP on {found['photos']:,} test photos    global   local   fused"]
    for rule in ("cosine", "vocabulary"):
        for labels, streams in found[rule].items():
            numbers = "  ".join(f"{streams[name]:6.4f}" for name in STREAMS)
            lines.append(f"{labels + ' labels, ' + rule:<27}  {numbers}")
    return "\n".join(lines)


def _before_and_after(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    """The mAP of the fused score with the prompt as it was and as it is, and the difference."""
    rows = [
        (f"{labels} labels, {rule}", before[rule][labels]["fused"], after[rule][labels]["fused"])
        for rule in ("cosine", "vocabulary")
        for labels in after[rule]
    ]
    rows += [
        (f"{name}, the paper's count", before["paper"][name]["mAP"], found["mAP"])
        for name, found in after["paper"].items()
    ]
    title = f"mAP on {after['photos']:,} test photos"
    lines = [f"{title:<27}  before   tuned   change"]
    lines += [f"{name:<27}  {old:6.4f}  {new:6.4f}  {new - old:+7.4f}" for name, old, new in rows]
    return "\n".join(lines)
