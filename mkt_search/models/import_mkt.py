"""Convert the files that the authors of MKT released to a checkpoint with the same scores.

Their first stage is CLIP's image tower with QuickGELU: the norm after its last block on every
token, then one projection for the class token and the patches; its `projection.fc1` and
`projection.fc2` are never used. Their second stage is CLIP's whole text tower, in which only the
table of token embeddings was trained. During that training the label's tokens in "There is a
{name} in the scene" kept their initial embeddings, so only those of the other words and of the two
special tokens changed. Label vectors keep the lengths that the tower gives.

Released with He et al., AAAI 2023: https://github.com/sunanhe/MKT
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from torch import Tensor

from mkt_search.errors import ModelError
from mkt_search.models import checkpoint
from mkt_search.models.checkpoint import Meta, Prompt
from mkt_search.models.clip import (
    ClipWeights,
    create_clip,
    quick_gelu_name,
    text_state,
    tokenizer,
)
from mkt_search.models.student import check_fit, read_tensors
from mkt_search.models.text import PromptedTextEncoder
from mkt_search.models.towers import QUICK_GELU_VIT, timm_backbone_of, to_timm_names
from mkt_search.progress import Progress, ProgressCallback, no_progress
from mkt_search.types import ImageSpec

Names = Literal["clip", "tuned"]

TOP_K, TRAINED_TOP_K = 18, 16  # patches in the local score: in evaluation and in training
SOURCE = "https://github.com/sunanhe/MKT"
STEP = "import"  # the name of this work in progress events

_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's, although it is CLIP
_RESIZE, _CROP = 256, 224  # shorter side and center crop, in pixels
_UNUSED_PREFIX = "projection."
_ROUNDING_TOLERANCE = 0.01  # relative to a tensor's largest value
_EMBEDDINGS = "token_embedding.weight"
_DISTINCTIVE = {"image": "projection_dist", "text": _EMBEDDINGS}
"""For each of the two state dicts, a tensor that only it has."""


def import_mkt(
    *,
    clip: str,
    clip_weights: str | None,
    image: Path,
    text: Path,
    out: Path,
    names: Names = "clip",
    progress: ProgressCallback = no_progress,
) -> Meta:
    """Write a checkpoint from the two state dicts that the authors released.

    Args:
        clip: open_clip's name of the CLIP they started from: "ViT-B-16".
        clip_weights: its weights, a local file or a tag of open_clip; read only for `names` "clip".
        image: the state dict of their first stage.
        text: the state dict of their second stage.
        out: the directory to write.
        names: the embeddings of a label's tokens: "clip", as in their evaluation, or "tuned", as
            in their program for a single photo.
        progress: receives a remark if `text` was apparently not tuned from `clip_weights`.

    Returns:
        The meta of the checkpoint.

    Raises:
        ModelError: a file cannot be read or is of another kind, or `out` is not empty.
    """
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise ModelError(f"{out} already exists; name another directory with --out")
    first, second = _read(image, "image"), _read(text, "text")
    model = quick_gelu_name(clip)
    original = _original(model, clip_weights, names)
    meta = _meta(original.visual, model)
    _check_image(original.visual, first, path=image, model=model)
    complaint = f"{text} does not hold the text tower of {model}"
    check_fit(text_state(original), second, complaint=complaint)
    context = None
    if names == "clip":
        differing = _differing_tensor(text_state(original), second)
        if differing:
            remark = (
                f"{text} differs from {clip_weights} in more than its embeddings, such as"
                f" {differing}; if MKT was trained from another CLIP, name it with --clip-weights"
            )
            progress(Progress(STEP, message=remark))
        second, context = _with_clip_embeddings(original, second, tokenizer(model))
    provenance = {
        **{"by": "mkt import-mkt", "source": SOURCE, "clip": model, "names": names},
        **{"image": checkpoint.hash_file(image), "text": checkpoint.hash_file(text)},
        "top_k": TRAINED_TOP_K,
    }
    return checkpoint.write(
        out, replace(meta, trained=provenance), _student(first), context=context, text=second
    )


def _read(path: Path, kind: str) -> dict[str, Tensor]:
    """Read one of the two state dicts as float32.

    Raises:
        ModelError: it is another file; the text says if the two were swapped.
    """
    state = read_tensors(path)
    if _DISTINCTIVE[kind] not in state:
        swapped = next((other for other, name in _DISTINCTIVE.items() if name in state), None)
        way_out = "were --image-checkpoint and --text-checkpoint swapped?"
        raise ModelError(
            f"{path} is not the {kind} checkpoint of MKT: it has no {_DISTINCTIVE[kind]}"
            + (f", but it looks like the {swapped} checkpoint; {way_out}" if swapped else "")
        )
    return {name: tensor.float() for name, tensor in state.items()}


def _original(model: str, weights: str | None, names: Names) -> Any:
    """Build the CLIP that the authors started from; its weights matter only for "clip"."""
    if names == "tuned":
        return create_clip(model)
    if weights is None:
        raise ModelError(
            f"the tokens of a label get CLIP's own embeddings: name the weights of {model} with"
            " --clip-weights, or use the tuned embeddings with --names tuned"
        )
    return ClipWeights(model, weights).load()


def _meta(visual: Any, model: str) -> Meta:
    """Describe a student equal to MKT's image encoder, and its label encoder.

    Raises:
        ModelError: the CLIP is not a plain ViT with QuickGELU.
    """
    backbone, options = timm_backbone_of(visual)
    if backbone != QUICK_GELU_VIT:
        raise ModelError(f"{model} has no QuickGELU, which MKT uses; take ViT-B-16")
    height, width = visual.image_size
    side = max(height, width) * _RESIZE // _CROP
    return Meta(
        backbone=backbone,
        options=options,
        image=ImageSpec(height, width, _MEAN, _STD, "crop", shorter_side=side),
        grid=visual.grid_size,
        dim=visual.output_dim,
        top_k=TOP_K,
        heads="shared",
        prompt=Prompt(model, checkpoint.TOWER, lengths="own"),
    )


def _check_image(visual: Any, state: Mapping[str, Tensor], *, path: Path, model: str) -> None:
    own = {_DISTINCTIVE["image"] if n == "proj" else n: t for n, t in visual.state_dict().items()}
    used = {name: tensor for name, tensor in state.items() if not name.startswith(_UNUSED_PREFIX)}
    complaint = f"{path} does not hold the image encoder of MKT over {model}"
    check_fit(own, used, complaint=complaint)


def _differing_tensor(own: Mapping[str, Tensor], tuned: Mapping[str, Tensor]) -> str:
    """Return the name of a tensor that should not have changed in the second stage but did, or "".

    Differences as small as rounding to half precision do not count.
    """
    for name in sorted(set(own) - {_EMBEDDINGS}):
        largest = float((own[name] - tuned[name]).abs().max())
        if largest > _ROUNDING_TOLERANCE * float(own[name].abs().max()):
            return name
    return ""


def _student(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors of the student: CLIP's tower, and one head without a bias."""
    projection = _DISTINCTIVE["image"]
    tower = {n: t for n, t in state.items() if n != projection and not n.startswith(_UNUSED_PREFIX)}
    return {
        **{f"backbone.{name}": tensor for name, tensor in to_timm_names(tower).items()},
        "global_head.weight": state[projection].T,
    }


def _with_clip_embeddings(
    clip: Any, tuned: Mapping[str, Tensor], tokens: Any
) -> tuple[dict[str, Tensor], Tensor]:
    """Return the text tower with CLIP's own embeddings, and the trained context (C, W).

    The trained embeddings of the two special tokens, which are in no label, stay in the tower;
    those of the template's words become the context. Padding does not matter: it follows every
    token that the causal tower attends to.
    """
    table = clip.token_embedding.weight.detach().clone()
    clip.load_state_dict(tuned, strict=False)
    prompted = PromptedTextEncoder(clip, tokens, template=checkpoint.TEMPLATE, tower="")
    empty = tokens([""])[0]
    special = empty[empty != empty[-1]]
    table[special] = tuned[_EMBEDDINGS][special]
    return {**tuned, _EMBEDDINGS: table}, prompted.template_context()
