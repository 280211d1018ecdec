"""A training run as text: a line for each epoch, and tables of results."""

from collections.abc import Mapping
from typing import Any

from training.runs.history import Epoch

STREAMS = ("global", "local", "fused")
PARTS = ("P", "R", "F1")


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
        words.append(_zsl(maps["unseen"]))
    if "all" in maps and maps["all"]["fused"] is not None:
        words.append(f"GZSL mAP {maps['all']['fused']:.4f}")
    for name, found in epoch.validation.get("paper", {}).items():
        words += [
            f"{name} P/R/F1@{k} " + "/".join(f"{found[f'{part}@{k}']:.3f}" for part in PARTS)
            for k in _depths(found)
        ]
    return "  ".join([*words, f"lr {epoch.rate:.1e}", f"{epoch.seconds:.1f} s"])


def results_table(results: Mapping[str, Any]) -> str:
    """Return the results on the test photos as a table; for stage 2, before and after."""
    if "before" in results:
        return _before_and_after(results["before"], results["test"])
    found = results["test"]
    lines = [f"mAP on {found['photos']:,} test photos    global   local   fused"]
    for scale in ("cosine", "vocabulary"):
        for labels, streams in found[scale].items():
            numbers = "  ".join(_number(streams[name]) for name in STREAMS)
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
    for name, old, new in rows:
        change = "–" if old is None or new is None else f"{new - old:+7.4f}"
        lines.append(f"{name:<27}  {_number(old)}  {_number(new)}  {change:>7}")
    return "\n".join(lines)


def _zsl(streams: Mapping[str, float | None]) -> str:
    """Return the mAP over the unseen labels in words, or what it lacks."""
    if streams["fused"] is None:
        return "no ZSL mAP: no validation photo shows an unseen label"
    by_stream = ", ".join(f"{name} {streams[name]:.4f}" for name in ("global", "local"))
    return f"ZSL mAP {streams['fused']:.4f} ({by_stream})"


def _depths(found: Mapping[str, float]) -> list[str]:
    """Return the k of the metrics at k, as they are written."""
    return [name.partition("@")[2] for name in found if name.startswith("F1@")]


def _number(value: float | None) -> str:
    """Return a mean with four decimals, or a dash for a mean over nothing."""
    return "     –" if value is None else f"{value:6.4f}"
