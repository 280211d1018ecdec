"""A training run as text: a line for each epoch, and tables of results."""

from collections.abc import Mapping
from typing import Any

from training.runs.history import Epoch

STREAMS = ("global", "local", "fused")


def epoch_line(epoch: Epoch) -> str:
    """Return the line for an epoch: its losses, and mAP on the validation photos."""
    total, *parts = epoch.losses.items()
    named = ", ".join(f"{name} {value:.4f}" for name, value in parts)
    words = [
        f"epoch {epoch.number}/{epoch.total}",
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


def results_table(results: Mapping[str, Any]) -> str:
    """Return the results on the test photos as a table; for stage 2, before and after."""
    if "before" in results:
        return _before_and_after(results["before"], results["test"])
    found = results["test"]
    lines = [f"mAP on {found['photos']:,} test photos    global   local   fused"]
    for scale in ("cosine", "vocabulary"):
        for labels, streams in found[scale].items():
            numbers = "  ".join(f"{streams[name]:6.4f}" for name in STREAMS)
            lines.append(f"{labels + ' labels, ' + scale:<27}  {numbers}")
    return "\n".join(lines)


def _before_and_after(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    """Return the mAP of the fused score with both prompts, and the difference."""
    rows = [
        (f"{labels} labels, {scale}", before[scale][labels]["fused"], after[scale][labels]["fused"])
        for scale in ("cosine", "vocabulary")
        for labels in after[scale]
    ]
    rows += [
        (f"{name}, the paper's count", before["paper"][name]["mAP"], found["mAP"])
        for name, found in after["paper"].items()
    ]
    title = f"mAP on {after['photos']:,} test photos"
    lines = [f"{title:<27}  before   tuned   change"]
    lines += [f"{name:<27}  {old:6.4f}  {new:6.4f}  {new - old:+7.4f}" for name, old, new in rows]
    return "\n".join(lines)
