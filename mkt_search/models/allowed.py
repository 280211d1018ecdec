"""What a checkpoint may say of its model: options by name, type and range.

A checkpoint may come from somebody else. What it says becomes arguments of timm and open_clip, some
of which load files or download them; so only these are passed on. Standard library only.
"""

import re
from collections.abc import Callable, Mapping

from mkt_search.types import MAX_SIDE, is_finite

Check = Callable[[object], bool]

WORD = re.compile(r"[A-Za-z0-9_]{0,40}")
MOST_IN_A_LIST = 16
MOST_NUMBER = 10_000_000  # of a description of open_clip; the largest is the size of a vocabulary
MOST_DEPTH = 4  # of a description of open_clip


def _whole(least: int, most: int) -> Check:
    return lambda value: type(value) is int and least <= value <= most


def _number(least: float, most: float) -> Check:
    return lambda value: is_finite(value) and least <= value <= most  # type: ignore[operator]


def _flag(value: object) -> bool:
    return type(value) is bool


def _word(value: object) -> bool:
    return isinstance(value, str) and WORD.fullmatch(value) is not None


def _or_none(check: Check) -> Check:
    return lambda value: value is None or check(value)


def _or_list(check: Check) -> Check:
    def is_allowed(value: object) -> bool:
        if isinstance(value, list | tuple):
            return 0 < len(value) <= MOST_IN_A_LIST and all(check(item) for item in value)
        return check(value)

    return is_allowed


_SHARE, _WIDTH = _number(0, 1), _or_list(_whole(1, 16_384))
TIMM: dict[str, Check] = {
    "img_size": _or_list(_whole(1, MAX_SIDE)),
    "patch_size": _or_list(_whole(1, 256)),
    "embed_dim": _WIDTH,
    "embed_dims": _WIDTH,
    "dims": _WIDTH,
    "depth": _or_list(_whole(0, 256)),
    "depths": _or_list(_whole(0, 256)),
    "num_heads": _or_list(_whole(1, 256)),
    "mlp_ratio": _or_list(_number(0, 16)),
    "window_size": _or_list(_whole(1, 256)),
    "reg_tokens": _whole(0, 256),
    "output_stride": _whole(1, 64),
    "num_classes": _whole(0, 0),
    "init_values": _or_none(_SHARE),
    **dict.fromkeys(("class_token", "dynamic_img_size", "final_norm", "pre_norm"), _flag),
    **dict.fromkeys(("no_embed_class", "qk_norm", "qkv_bias"), _flag),
    "fc_norm": _or_none(_flag),
    **dict.fromkeys(("drop_rate", "drop_path_rate", "attn_drop_rate"), _SHARE),
    **dict.fromkeys(("pos_drop_rate", "proj_drop_rate", "patch_drop_rate"), _SHARE),
    **dict.fromkeys(("act_layer", "global_pool", "norm_layer", "pad_type", "pos_embed"), _word),
}
"""Options of a timm architecture."""

OPEN_CLIP: dict[str, Check] = {"force_quick_gelu": _flag}
"""Options of a model that open_clip knows by name."""


def check_options(options: Mapping[str, object], known: Mapping[str, Check]) -> None:
    """Raise ValueError for an option that is not among the known ones, or out of range."""
    for name, value in options.items():
        if name not in known:
            raise ValueError(f"the option {str(name)[:60]!r} is not allowed in a checkpoint")
        if not known[name](value):
            raise ValueError(f"the option {name} cannot be {str(value)[:60]}")


def check_description(value: object, *, named: Mapping[str, Check], depth: int = 0) -> None:
    """Check open_clip's description of a model: numbers, flags and words in objects and lists.

    Args:
        value: the description, or a part of it.
        named: what texts that are no words may be, by key.
        depth: of the part.

    Raises:
        ValueError: something else is in it, such as a path.
    """
    if depth > MOST_DEPTH:
        raise ValueError("it is nested too deeply")
    if isinstance(value, Mapping):
        for key, item in value.items():
            if isinstance(item, str) and key in named:
                if not named[key](item):
                    raise ValueError(f"{key} cannot be {item[:60]!r}")
            else:
                check_description(item, named=named, depth=depth + 1)
    elif isinstance(value, list):
        if len(value) > MOST_IN_A_LIST:
            raise ValueError("it has a list that is too long")
        for item in value:
            check_description(item, named=named, depth=depth + 1)
    elif not (value is None or _flag(value) or _word(value) or _number(-100, MOST_NUMBER)(value)):
        raise ValueError(f"{str(value)[:60]!r} is not allowed in it")
