"""Tiny real models for tests: a random student, and one whose output you can compute in your head.

`tiny_checkpoint` writes a ViT of random weights with a table of twelve labels. `colour_checkpoint`
writes a checkpoint whose student sees only colour: `e_cls` is the mean RGB colour of the photo and
`e_patch` that of each patch, in the first three of eight dimensions, and the label table has the
names of colours. So "red" finds what is painted red, and boxes lie on the painted patch.
`tiny_clip` makes a whole open_clip model of random weights.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw
from safetensors.torch import load_file, save_file
from timm.models import eva, fastvit, register_model, vision_transformer
from torch import nn

from mkt_search.models import checkpoint
from mkt_search.models.checkpoint import Meta
from mkt_search.models.label_table import LabelTable
from mkt_search.models.student import Student, create_backbone, create_heads
from mkt_search.types import ImageSpec

SIDE = 32
GRID = (4, 4)
LABELS = (
    *("red", "green", "blue", "dog", "cat", "beach"),
    *("tree", "car", "person", "snow", "night", "polar bear"),
)
COLOURS = {
    "red": (255, 0, 0),
    "green": (0, 255, 0),
    "blue": (0, 0, 255),
    "yellow": (255, 255, 0),
    "cyan": (0, 255, 255),
    "magenta": (255, 0, 255),
    "white": (255, 255, 255),
    "orange": (255, 128, 0),
}
COLOUR_DIM = 8
Colour = str | tuple[int, int, int]

_VIT: dict[str, Any] = {
    "img_size": SIDE,
    "patch_size": 8,
    "embed_dim": 16,
    "depth": 2,
    "num_heads": 2,
}
_COLOUR_VIT: dict[str, Any] = {
    **{"img_size": SIDE, "patch_size": 8, "embed_dim": 3, "depth": 0, "num_heads": 1},
    **{"class_token": False, "pos_embed": "none", "global_pool": "avg", "final_norm": False},
}


def tiny_meta(**changes: Any) -> Meta:
    """Return the description of the tiny ViT: 32 px, a grid of 4 x 4 patches, 16 dimensions."""
    given: dict[str, Any] = {
        "backbone": "vit_tiny_patch16_224",
        "options": _VIT,
        "image": ImageSpec(SIDE, SIDE, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
        "grid": GRID,
        "dim": 16,
        "top_k": 3,
        "heads": "linear",
    }
    return Meta(**{**given, **changes})


def tiny_student(*, seed: int = 0) -> Student:
    """Return a ViT of random weights with two linear heads; the same for the same seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        backbone = create_backbone("vit_tiny_patch16_224", image_size=(SIDE, SIDE), **_VIT)
        heads = create_heads("linear", 16, 16)
    return Student(backbone, *heads, dim=16, grid=GRID).eval()


def tiny_table(*, seed: int = 0, dim: int = 16) -> LabelTable:
    """Return twelve labels with random vectors; the same for the same seed."""
    vectors = np.random.default_rng(seed).normal(size=(len(LABELS), dim)).astype(np.float32)
    return LabelTable(LABELS, vectors)


def tiny_checkpoint(folder: Path, *, seed: int = 0) -> Path:
    """Write a checkpoint of the tiny student and the tiny table into `folder` and return it."""
    checkpoint.write(folder, tiny_meta(), tiny_student(seed=seed).state(), labels=tiny_table())
    return folder


def colour_table() -> LabelTable:
    """Return eight names of colours; "red" is the first axis, "yellow" is (1, 1, 0..) / sqrt 2."""
    rgb = np.array(list(COLOURS.values()), np.float32)
    return LabelTable(tuple(COLOURS), np.pad(rgb, ((0, 0), (0, COLOUR_DIM - 3))))


def colour_student() -> Student:
    """Return a student whose vectors are mean colours in [0, 1], zero-padded to 8 dimensions."""
    backbone = create_backbone("vit_tiny_patch16_224", image_size=(SIDE, SIDE), **_COLOUR_VIT)
    head = nn.Linear(3, COLOUR_DIM)
    with torch.no_grad():
        projection = backbone.get_submodule("patch_embed.proj")
        projection.weight.copy_(torch.eye(3)[:, :, None, None].expand(3, 3, 8, 8) / 64)  # type: ignore[operator]
        projection.bias.zero_()  # type: ignore[operator]
        head.weight.copy_(torch.eye(COLOUR_DIM, 3))
        head.bias.zero_()
    return Student(backbone, head, head, dim=COLOUR_DIM, grid=GRID).eval()


def colour_checkpoint(folder: Path) -> Path:
    """Write a checkpoint of the colour student and the colour table into `folder` and return it."""
    meta = tiny_meta(
        options=_COLOUR_VIT,
        image=ImageSpec(SIDE, SIDE, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
        dim=COLOUR_DIM,
        top_k=1,
        heads="shared",
    )
    checkpoint.write(folder, meta, colour_student().state(), labels=colour_table())
    return folder


def paint(
    path: Path,
    colour: Colour,
    patches: Mapping[tuple[int, int], Colour] = MappingProxyType({}),
    *,
    size: tuple[int, int] = (128, 128),
) -> Path:
    """Save a photo of one colour, with some patches (row, column) of the 4 x 4 grid in others.

    The suffix decides the format; `size` is (width, height), multiples of four. Colours are names
    in `COLOURS` or in Pillow, or RGB tuples.
    """
    width, height = size
    image = Image.new(
        "RGB", size, COLOURS.get(colour, colour) if isinstance(colour, str) else colour
    )
    draw = ImageDraw.Draw(image)
    for (row, column), fill in patches.items():
        left, top = column * width // GRID[1], row * height // GRID[0]
        right, bottom = (column + 1) * width // GRID[1], (row + 1) * height // GRID[0]
        fill = COLOURS.get(fill, fill) if isinstance(fill, str) else fill
        draw.rectangle((left, top, right - 1, bottom - 1), fill)
    path.parent.mkdir(parents=True, exist_ok=True)
    options: dict[str, Any] = {"quality": 95, "subsampling": 0} if path.suffix == ".jpg" else {}
    image.save(path, **options)
    return path


TOWERS: dict[str, dict[str, Any]] = {
    "vit": {"image_size": 32, "patch_size": 8, "width": 32, "layers": 2, "head_width": 16},
    "wide": {"image_size": [32, 48], "patch_size": 8, "width": 32, "layers": 2, "head_width": 16},
    "resnet": {"image_size": 64, "layers": [1, 1, 1, 1], "width": 16},
    "coca": {
        **{"image_size": 32, "patch_size": 8, "width": 32, "layers": 1, "head_width": 16},
        **{"attentional_pool": True, "attn_pooler_heads": 2},
    },
    "map": {"timm_model_name": "test_vit3", "timm_pool": "map", "timm_proj": "", "image_size": 160},
    "tokens": {"timm_model_name": "test_vit", "timm_pool": "", "image_size": 160},
    "convnext": {"timm_model_name": "test_convnext", "timm_pool": "avg", "image_size": 160},
    "openai": {"image_size": 32, "patch_size": 8, "width": 32, "layers": 2, "head_width": 16},
    "sig-lip2": {  # open_clip takes another tokenizer for a name with "siglip"
        **{"timm_model_name": "tiny_siglip2", "timm_pool": "map", "timm_proj": "none"},
        "image_size": 32,
    },
    "pe-core": {"timm_model_name": "tiny_pe_core", "timm_pool": "map", "image_size": 32},
    "mobileclip2": {"timm_model_name": "tiny_mobileclip2", "timm_pool": "avg", "image_size": 128},
}
_SHRUNKEN = {"img_size": 32, "patch_size": 8, "embed_dim": 16, "depth": 2, "num_heads": 2}


@register_model  # type: ignore[untyped-decorator]
def tiny_siglip2(**options: Any) -> nn.Module:
    """Build the tower of ViT-B-16-SigLIP2, shrunken."""
    model: nn.Module = vision_transformer.vit_base_patch16_siglip_256(**options, **_SHRUNKEN)
    return model


@register_model  # type: ignore[untyped-decorator]
def tiny_pe_core(**options: Any) -> nn.Module:
    """Build the tower of PE-Core-B-16, shrunken."""
    model: nn.Module = eva.vit_pe_core_base_patch16_224(**options, **_SHRUNKEN)
    return model


@register_model  # type: ignore[untyped-decorator]
def tiny_mobileclip2(**options: Any) -> nn.Module:
    """Build the tower of MobileCLIP2-S2, shrunken."""
    model: nn.Module = fastvit.fastvit_mci2(
        **options, layers=(1, 1, 1, 1), embed_dims=(8, 16, 32, 32)
    )
    return model


def tiny_clip(folder: Path, tower: str = "vit", *, seed: int = 0) -> str:
    """Register a tiny model in open_clip and write random weights for it; return its NAME/FILE.

    `tower` is a key of `TOWERS`. Its text tower reads 24 tokens, and its label space has 16
    dimensions.
    """
    import open_clip

    from mkt_search.models.clip import create_clip  # slow to import, and few tests need it

    name = f"tiny-{tower}"
    config = {
        "embed_dim": 16,
        "vision_cfg": TOWERS[tower],
        "quick_gelu": tower == "openai",
        "text_cfg": {"context_length": 24, "width": 32, "heads": 2, "layers": 2},
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.json").write_text(json.dumps(config))
    open_clip.add_model_config(folder / f"{name}.json")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = create_clip(name)
        for parameter in model.parameters():  # no bias and no norm may hide a mistake
            torch.nn.init.normal_(parameter, std=0.1 if parameter.ndim > 1 else 0.5)
    weights = folder / f"{name}.safetensors"
    save_file({n: t.contiguous() for n, t in model.state_dict().items()}, weights)
    return f"{name}/{weights}"


def other_image_tower(clip: str, path: Path) -> str:
    """Write the weights of a CLIP with another image tower, and return its NAME/FILE."""
    name, _, weights = clip.partition("/")
    tensors = load_file(weights)
    image_tower = {n: 0.9 * t for n, t in tensors.items() if n.startswith("visual.")}
    save_file({**tensors, **image_tower}, path)
    return f"{name}/{path}"


def tiny_clip_folder(
    folder: Path, tower: str = "vit", *, seed: int = 0, half: bool = False
) -> Path:
    """Write the model of `tiny_clip` as an open_clip folder and return that."""
    import open_clip

    from mkt_search.models.clip import create_clip, write_clip_folder

    name, _, weights = tiny_clip(folder / "parts", tower, seed=seed).partition("/")
    model = create_clip(name, pretrained=weights)
    preparation = {
        **{"mean": [0.5, 0.4, 0.3], "std": [0.2, 0.3, 0.4]},
        **{"resize_mode": "squash", "interpolation": "bicubic"},
    }
    config = open_clip.get_model_config(name)
    write_clip_folder(folder, model, model_cfg=config, preprocess_cfg=preparation, half=half)
    return folder
